"""The port `Clock` in virtual time, with the mishaps that clocks have."""

from __future__ import annotations

from .loop import NANOSECONDS_PER_SECOND, SimLoop


class VirtualClock:
    """Clock of one simulated machine on a `SimLoop`.

    Several machines of one simulation each have their own: the loop's time is common to
    them, jumps and suspensions are not.

    :param loop: the simulation's loop; by default the running one.
    :raises RuntimeError: if no loop is given outside a simulation.
    """

    def __init__(self, loop: SimLoop | None = None) -> None:
        self._loop = SimLoop.current() if loop is None else loop
        self._suspended_ns = 0
        self._suspended_seconds = 0.0
        self._jumped_ns = 0

    def monotonic(self) -> float:
        """Seconds since the start, suspensions included."""
        return self._loop._now_seconds + self._suspended_seconds

    def monotonic_ns(self) -> int:
        """Nanoseconds since the start, suspensions included; exact."""
        return self._loop._now_ns + self._suspended_ns

    def time_ns(self) -> int:
        """What the machine takes for UTC, in nanoseconds since the Unix epoch."""
        return self._loop.start_ns + self._loop._now_ns + self._suspended_ns + self._jumped_ns

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or, if negative, back; durations are not touched."""
        self._jumped_ns += round(seconds * NANOSECONDS_PER_SECOND)

    def suspend(self, seconds: float) -> None:
        """Let the machine sleep: its clocks have moved on when it wakes, its timers have not.

        Linux stops CLOCK_MONOTONIC, and with it the timers of asyncio, for that long; a
        clock that counts through suspend (CLOCK_BOOTTIME) leaps. For a process that stood
        still while time went on for all, see `SimLoop.stall`.
        """
        if not seconds >= 0:
            raise ValueError(f"a suspension cannot last {seconds!r} s")
        self._suspended_ns += round(seconds * NANOSECONDS_PER_SECOND)
        self._suspended_seconds = self._suspended_ns / NANOSECONDS_PER_SECOND
