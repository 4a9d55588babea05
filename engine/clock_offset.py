"""The venue's clock against a local one, out of questions and answers; pure.

The venue stamps its answer somewhere between the question and the answer, so one exchange
tells the offset to within half of its round trip. The better of two that agree is kept. Two
that can not both be true, however far off each may be, mean that one of the clocks was set:
then only the newer one holds.
"""

from __future__ import annotations

from typing import Final

ENOUGH_ERROR_MS: Final = 10
"""A measurement this good needs no second one: far below every margin that is set on it."""
SAMPLES: Final = 3
"""Measurements of which the best is taken, where none is good enough before."""
DRIFT: Final = 200e-6
"""How fast two clocks that nobody sets may part: 200 ppm, twice a poor crystal's."""


class ClockOffset:
    """
    :ivar error_ms: how far off the offset may be, as measured.
    """

    def __init__(self) -> None:
        self._offset_ms: int | None = None
        self._measured_ms = 0
        self.error_ms = 0

    @property
    def is_measured(self) -> bool:
        return self._offset_ms is not None

    def venue_ms(self, local_ns: int) -> int | None:
        """What the venue's clock shows when the local one shows `local_ns`; None: not measured."""
        return None if self._offset_ms is None else local_ns // 1_000_000 + self._offset_ms

    def observe(self, *, before_ns: int, after_ns: int, venue_ms: int) -> int:
        """Take one question and answer, stamped with the local clock.

        :returns: by how many milliseconds the venue's clock was seen to be set, against the
            local one; 0 for none.
        """
        offset_ms = venue_ms - (before_ns + after_ns) // 2_000_000
        error_ms = (after_ns - before_ns) // 2_000_000 + 1
        at_ms = after_ns // 1_000_000
        if self._offset_ms is None:
            self._take(offset_ms, error_ms, at_ms)
            return 0
        aged_error_ms = self.error_ms + int((at_ms - self._measured_ms) * DRIFT) + 1
        apart_ms = offset_ms - self._offset_ms
        if abs(apart_ms) > error_ms + aged_error_ms:
            self._take(offset_ms, error_ms, at_ms)
            return apart_ms
        if error_ms <= aged_error_ms:
            self._take(offset_ms, error_ms, at_ms)
        return 0

    def _take(self, offset_ms: int, error_ms: int, at_ms: int) -> None:
        self._offset_ms, self.error_ms, self._measured_ms = offset_ms, error_ms, at_ms
