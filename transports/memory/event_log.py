"""The data of a bus and the rules of its append, without connections, clock or faults."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from holdfast.model import Gap
from holdfast.ports import AppendStatus, Batch, BusEntry, Fence

STREAM_MAXLEN: Final = 200_000
"""Entries kept; the oldest go first."""

_PAGE: Final = 500


class EventLog:
    """The data of a bus and the rules of its append, as a plain state machine."""

    def __init__(self, lineage: str, *, first_id: int = 1, maxlen: int = STREAM_MAXLEN) -> None:
        self.lineage = lineage
        self.entries: list[BusEntry] = []
        self.last_sequences: dict[str, int] = {}
        self.fence = 0
        self.fence_written_at: float | None = None
        """When a batch last carried that token; None: not since it was seen."""
        self.next_id = first_id
        self._ids: list[int] = []
        self._maxlen = maxlen

    def append(self, batch: Batch, *, now: float, refuse_after: int | None = None) -> AppendStatus:
        """Append what is new in `batch`.

        :param now: seconds, by the clock of the bus.
        :param refuse_after: as if the bus had run out of room after so many payloads.
        """
        last = self.last_sequences.get(batch.producer, 0)
        if batch.lineage != self.lineage:
            return AppendStatus("lineage", last)
        if 0 < batch.fencing_token < self.fence:
            return AppendStatus("fenced", last, f"token {self.fence} has written")
        if batch.fencing_token:
            self.fence, self.fence_written_at = batch.fencing_token, now
        if batch.first > last + 1:
            if batch.gap is None or batch.gap.first != last + 1:
                return AppendStatus("gap", last)
            self._add(batch.producer, batch.gap.last, b"", batch.gap)
            last = batch.gap.last
        skip = last + 1 - batch.first
        new = batch.payloads[skip:]
        for payload in new if refuse_after is None else new[:refuse_after]:
            last += 1
            self._add(batch.producer, last, payload, None)
        if refuse_after is not None and refuse_after < len(new):
            return AppendStatus("error", last)
        return AppendStatus("ok", last)

    def raise_fence(self, token: int) -> None:
        """A lease with this token was given."""
        if token > self.fence:
            self.fence, self.fence_written_at = token, None

    def silence(self, *, now: float) -> Fence:
        """How long the newest token has not been written with."""
        if self.fence_written_at is None:
            self.fence_written_at = now
        return Fence(self.fence, now - self.fence_written_at)

    def _add(self, producer: str, sequence: int, payload: bytes, gap: Gap | None) -> None:
        self.entries.append(BusEntry(f"{self.next_id}-0", producer, sequence, payload, gap))
        self._ids.append(self.next_id)
        self.next_id += 1
        self.last_sequences[producer] = sequence
        if len(self.entries) > self._maxlen + _PAGE:
            del self.entries[:_PAGE], self._ids[:_PAGE]

    def after(self, entry_id: int) -> list[BusEntry]:
        """The next page of entries beyond `entry_id`."""
        start = bisect_right(self._ids, entry_id)
        return self.entries[start : start + _PAGE]

    def roll_back(self, count: int) -> None:
        """Forget the last `count` entries, as a failover to a replica that lagged would."""
        keep = max(0, len(self.entries) - count)
        for entry in reversed(self.entries[keep:]):
            first = entry.sequence if entry.gap is None else entry.gap.first
            self.last_sequences[entry.producer] = first - 1
        del self.entries[keep:], self._ids[keep:]
