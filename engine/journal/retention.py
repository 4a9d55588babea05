"""When a segment may be dropped: a pure rule, the same for disk and memory.

Acknowledged records stay for a while as the window from which the bus is filled
again after it lost what it had acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Extent(NamedTuple):
    """:ivar last_seq: newest record of the segment. :ivar acked_at_seconds: monotonic time
    at which all of it was seen acknowledged, None before that."""

    last_seq: int
    bytes: int
    acked_at_seconds: float | None


class Retention(NamedTuple):
    """:ivar seconds: how long acknowledged records stay. :ivar bytes: how many of them, at most."""

    seconds: float
    bytes: int


def droppable(
    extents: Iterable[Extent],
    *,
    durable_acked: int,
    durable_checkpoint: int,
    now_seconds: float,
    retention: Retention,
) -> int:
    """Return how many of the oldest segments may be unlinked.

    All three must hold: everything in it is acknowledged and that survives a power
    cut; the last checkpoint is durable and lies in a later segment; the window (age,
    or the bytes from this segment on that are acknowledged) has passed it.

    :param extents: sealed segments, oldest first.
    """
    candidates = []
    for extent in extents:
        if extent.last_seq > durable_acked or extent.last_seq >= durable_checkpoint:
            break
        candidates.append(extent)
    kept_bytes = sum(extent.bytes for extent in candidates)
    for count, extent in enumerate(candidates):
        at = extent.acked_at_seconds
        expired = at is not None and now_seconds - at >= retention.seconds
        if not expired and kept_bytes <= retention.bytes:
            return count
        kept_bytes -= extent.bytes
    return len(candidates)
