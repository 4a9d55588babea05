"""The real clock and the real dice: the only module that reads time or chance.

Everything else takes them through the ports `Clock` and `Entropy`, so that a
backtest can put virtual time and a seed in their place.
"""

from __future__ import annotations

import functools
import os
import random
import secrets
import sys
import time

from .ports import Entropy

if sys.platform == "linux":
    # CLOCK_MONOTONIC stands still while the machine sleeps; a lease measured with it
    # would still look fresh after eight hours in a closed laptop (clock_gettime(2)).
    _THROUGH_SUSPEND = time.CLOCK_BOOTTIME
else:  # on macOS CLOCK_MONOTONIC counts sleep, unlike time.monotonic (clock_gettime(3))
    _THROUGH_SUSPEND = time.CLOCK_MONOTONIC


class SystemClock:
    """Durations from a clock that runs through suspend, dates from UTC."""

    def __init__(self) -> None:
        # A partial of a builtin: no Python frame on the path of `gate.check()`.
        self.monotonic = functools.partial(time.clock_gettime, _THROUGH_SUSPEND)
        self.monotonic_ns = functools.partial(time.clock_gettime_ns, _THROUGH_SUSPEND)
        self.time_ns = time.time_ns


class SystemEntropy:
    """Chance from the operating system."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))

    def random(self) -> float:
        return self._random.random()

    def randbits(self, bits: int) -> int:
        return secrets.randbits(bits)

    def child(self, name: str) -> Entropy:
        return SystemEntropy()
