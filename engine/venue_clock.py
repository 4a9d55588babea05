"""The venue's clock, as far as it can be known from here.

Attempts are stamped with it and absence is judged on it. It is carried by the
monotonic clock, so that a jump of the machine's wall clock can not stamp an
order wrongly; a jump of the venue's is noticed by the next measurement, which the
refusal that it causes asks for.
"""

from __future__ import annotations

from collections.abc import Callable

from .clock_offset import ENOUGH_ERROR_MS, SAMPLES, ClockOffset
from .errors import LinkDown
from .ports import Clock, ExecutionClient


class VenueClock:
    """
    :ivar on_jump: called with the milliseconds by which the venue's clock was found set.
    """

    def __init__(self, client: ExecutionClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._offset = ClockOffset()
        self.on_jump: Callable[[int], None] = _nobody_cares

    @property
    def is_measured(self) -> bool:
        """Whether the venue has been asked for its time in this life."""
        return self._offset.is_measured

    @property
    def error_ms(self) -> int:
        """How far off it may be: half of the best round trip."""
        return self._offset.error_ms

    def now_ms(self) -> int:
        """Milliseconds UTC on the venue's clock; the machine's own until measured once."""
        venue_ms = self._offset.venue_ms(self._clock.monotonic_ns())
        return self._clock.time_ns() // 1_000_000 if venue_ms is None else venue_ms

    @property
    def skew_ms(self) -> int:
        """How far the machine's wall clock is ahead of the venue's."""
        return self._clock.time_ns() // 1_000_000 - self.now_ms()

    async def sync(self, *, timeout_seconds: float) -> None:
        """Measure: the best of several, or the first that is good enough.

        :raises LinkDown: the venue could not be asked even once.
        """
        for number in range(SAMPLES):
            before_ns = self._clock.monotonic_ns()
            try:
                venue_ms = await self._client.venue_time_ms(timeout_seconds=timeout_seconds)
            except LinkDown:
                if number:
                    return
                raise
            after_ns = self._clock.monotonic_ns()
            jump_ms = self._offset.observe(
                before_ns=before_ns, after_ns=after_ns, venue_ms=venue_ms
            )
            if jump_ms:
                self.on_jump(jump_ms)
            if self._offset.error_ms <= ENOUGH_ERROR_MS:
                return


def _nobody_cares(_jump_ms: int) -> None:
    pass
