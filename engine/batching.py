"""How the events that wait are cut into batches, and how much may be in flight.

Pure: records and what the bus has in, batches out. A batch holds events of one
producer with numbers that follow each other; where numbers are missing, the next
batch begins with the marker of what is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from .event_record import payload_of, sequence_of
from .journal import Record
from .model import Gap

BATCH_BYTES: Final = 256 * 1024
"""Payload of one batch, unless a single event is larger. The answer to a heartbeat queues
behind what is in flight, so a slow line would be taken for a dead one if that were much."""
BATCHES_BYTES_IN_FLIGHT: Final = 4
"""What may be in flight, in full batches of bytes."""
LEAST_BATCH_BYTES: Final = 4 * 1024
"""Down to which the bound is halved when a connection is lost with batches in flight."""


class Cut(NamedTuple):
    """What was taken off the records that wait."""

    producer: str
    first: int
    """Number of the first event."""
    payloads: list[bytes]
    """Empty: the bus has all that was taken."""
    reaches: int
    """Journal position of the last record taken."""
    gap: Gap | None
    """What is gone before the first event."""


def cut(
    waiting: deque[Record],
    *,
    has: Mapping[str, int],
    producer_of: Callable[[int], str],
    most_events: int,
    most_bytes: int,
) -> Cut:
    """Take the next batch off `waiting`, which holds one record at least.

    :param has: per producer, the number of the last event that was sent or is at the bus.
    """
    payloads: list[bytes] = []
    size = 0
    producer, first, reaches = "", 0, 0
    gap: Gap | None = None
    while waiting and len(payloads) < most_events:
        record = waiting[0]
        name = producer_of(record.incarnation)
        if payloads and name != producer:
            break
        sequence = sequence_of(record.body)
        expected = first + len(payloads) if payloads else has.get(name, 0) + 1
        if payloads and sequence != expected:
            break  # a hole: the next batch begins with its marker
        payload = payload_of(record.body)
        if payloads and size + len(payload) > most_bytes:
            break
        waiting.popleft()
        reaches = record.seq
        if sequence < expected:
            continue
        if not payloads:
            producer, first = name, sequence
            if sequence > expected:
                gap = Gap(name, expected, sequence - 1)
        payloads.append(payload)
        size += len(payload)
    return Cut(producer, first, payloads, reaches, gap)


class Window:
    """How many bytes may be in flight: less after a loss, slowly more with what gets through."""

    def __init__(self, *, most_batches: int) -> None:
        self._most_batches = most_batches
        self.batch_bytes = BATCH_BYTES

    def has_room(self, in_flight: Collection[int]) -> bool:
        """For one batch more, which may be a full one.

        :param in_flight: bytes of payload of each batch that is not confirmed.
        """
        if not in_flight:
            return True
        free = BATCHES_BYTES_IN_FLIGHT * self.batch_bytes - sum(in_flight)
        return len(in_flight) < self._most_batches and free >= self.batch_bytes

    def lost(self) -> None:
        """The connection went with batches in flight: perhaps more than the line carries."""
        self.batch_bytes = max(self.batch_bytes // 2, LEAST_BATCH_BYTES)

    def confirmed(self) -> None:
        self.batch_bytes = min(self.batch_bytes + LEAST_BATCH_BYTES, BATCH_BYTES)
