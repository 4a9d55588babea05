"""Each event once per subscription, and no hole without a marker.

A bus that lost its tail gets it again from the producer's outbox, so a reader that
had seen those entries meets them twice, under new ids. And a reader that was away
for longer than the bus keeps entries comes back to a hole. Both show in the
sequence of the producer, which is what this looks at.
"""

from __future__ import annotations

from typing import Final

from holdfast.model import Gap
from holdfast.ports import BusEntry

PRODUCERS_REMEMBERED: Final = 1024
"""A producer is one opening of one bot's journal; the longest silent are forgotten."""


class Delivery:
    """What one subscription has handed out, per producer."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def admit(self, entry: BusEntry) -> tuple[BusEntry, ...]:
        """What to hand out for `entry`: nothing, itself, or a marker and itself."""
        producer, sequence, gap = entry.producer, entry.sequence, entry.gap
        last = self._last.pop(producer, None)
        if last is None:
            if len(self._last) >= PRODUCERS_REMEMBERED:
                del self._last[next(iter(self._last))]
            self._last[producer] = sequence
            return (entry,)
        self._last[producer] = max(last, sequence)  # put back as the latest heard of
        if sequence <= last:
            return ()
        if gap is not None:
            return (entry._replace(gap=Gap(producer, last + 1, gap.last)),)
        if sequence == last + 1:
            return (entry,)
        missed = Gap(producer, last + 1, sequence - 1)
        return (BusEntry(entry.id, producer, missed.last, b"", missed), entry)
