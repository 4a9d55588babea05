"""Time and chance, so that a run can be repeated from its seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time. `monotonic` runs through suspend; `time_ns` is UTC wall clock."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds since some moment. A plain callable: the gate calls it on its hot path."""

    @property
    def monotonic_ns(self) -> Callable[[], int]: ...

    @property
    def time_ns(self) -> Callable[[], int]: ...


class Entropy(Protocol):
    """Chance."""

    def random(self) -> float:
        """In [0, 1)."""

    def randbits(self, bits: int) -> int: ...

    def child(self, name: str) -> Entropy:
        """An independent stream, so that one consumer more or less does not shift the others."""
