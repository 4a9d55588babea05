"""The venue has asked to be left alone: for how long nothing may be sent or asked.

Binance says so with 429 and 418 and the header Retry-After. Whoever goes on asking is
throttled longer, then banned, for up to three days.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf


class Silence:
    """Over by itself.

    :param monotonic: seconds, running through suspend (`Clock.monotonic`).
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until = -inf

    def keep(self, seconds: float) -> None:
        """From now on; a longer one that is being kept goes on."""
        self._until = max(self._until, self._monotonic() + seconds)

    @property
    def seconds(self) -> float:
        """How long it lasts from now; 0: there is none."""
        return 0.0 if self._until == -inf else max(self._until - self._monotonic(), 0.0)

    @property
    def reason(self) -> str:
        """In words; empty where there is none."""
        return f"it asks for silence, {self.seconds:.0f} s more" if self.seconds else ""
