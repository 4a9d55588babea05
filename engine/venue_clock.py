"""The venue's clock, as far as it can be known from here.

Attempts are stamped with it and absence is judged on it. It is carried by the
monotonic clock, so that a jump of the machine's wall clock can not stamp an
order wrongly; a jump of the venue's is noticed by the refusal it causes.
"""

from __future__ import annotations

from .ports import Clock, ExecutionClient


class VenueClock:
    """
    :ivar error_ms: half of the round trip of the last measurement: how far off it may be.
    """

    def __init__(self, client: ExecutionClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._offset_ms: int | None = None
        self.error_ms = 0

    @property
    def is_measured(self) -> bool:
        """Whether the venue has been asked for its time in this life."""
        return self._offset_ms is not None

    def now_ms(self) -> int:
        """Milliseconds UTC on the venue's clock; the machine's own until measured once."""
        if self._offset_ms is None:
            return self._clock.time_ns() // 1_000_000
        return self._clock.monotonic_ns() // 1_000_000 + self._offset_ms

    @property
    def skew_ms(self) -> int:
        """How far the machine's wall clock is ahead of the venue's."""
        return self._clock.time_ns() // 1_000_000 - self.now_ms()

    async def sync(self, *, timeout_seconds: float) -> None:
        """Measure. The reply's stamp is taken to be of the middle of the round trip.

        :raises LinkDown: the venue could not be asked.
        """
        before = self._clock.monotonic_ns()
        venue_ms = await self._client.venue_time_ms(timeout_seconds=timeout_seconds)
        after = self._clock.monotonic_ns()
        self._offset_ms = venue_ms - (before + after) // 2_000_000
        self.error_ms = (after - before) // 2_000_000 + 1
