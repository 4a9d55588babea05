"""The journal of backtests and virtual time: the same promises on a disk of RAM.

The `MemoryDisk` outlives the journal, so that a crash (with or without the loss of
what was not synced) and the opening after it can be played. Nothing here has a
thread or a timer: the sync that the real journal does every 50 ms is worked out
from the clock when somebody could tell the difference.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .errors import JournalFailed, JournalFull, JournalLocked
from .frame import DATA_OFFSET, FRAME_BYTES, check_kind, frame_size, largest_body
from .port import (
    CHECKPOINT,
    MAX_KIND,
    SYNC_INTERVAL_SECONDS,
    Appended,
    Clock,
    Durability,
    OpenReport,
    RandBits,
    Record,
)
from .retention import Extent, Retention, droppable
from .waiters import Appending


@dataclass(slots=True)
class _Segment:
    base_seq: int
    incarnation: int
    bytes: int = DATA_OFFSET
    records: list[Record] = field(default_factory=list)
    acked_at_seconds: float | None = None

    @property
    def last_seq(self) -> int:
        return self.base_seq + len(self.records) - 1


class MemoryDisk:
    """A disk that can be cut off, filled and broken.

    :ivar full: no record finds room, except reserved ones within `reserve_bytes`.
    :ivar failing_syncs: how many of the next syncs fail with EIO; two in a row are fatal
        to the open journal, as on a real disk.
    :ivar refused_at: monotonic moments at which it has refused a sync for good; what was written
        since the last one before may be lost with the power.
    """

    def __init__(self, *, reserve_bytes: int = 1 << 20) -> None:
        self.full = False
        self.failing_syncs = 0
        self.refused_at: list[float] = []
        self.reserve_bytes = reserve_bytes
        self.segments: list[_Segment] = []
        self.next_seq = 1
        self.acked = 0
        self.checkpoint = 0
        self.journal: MemoryJournal | None = None

    @property
    def bytes(self) -> int:
        return sum(segment.bytes for segment in self.segments)

    def fail_syncs(self, count: int) -> None:
        """From now on the next `count` syncs fail; those that were due before have been made."""
        if self.journal is not None:
            self.journal.settle()
        self.failing_syncs = count

    def crash(self, *, lose_unsynced: bool) -> None:
        """End the open journal as kill -9 does, or as a power cut does that loses its worst.

        The journal that was open raises `JournalFailed` from now on.
        """
        journal, self.journal = self.journal, None
        if journal is None:
            return
        synced_seq, acked, checkpoint = journal.abandon()
        self.acked = journal.acked
        if lose_unsynced:
            self.acked, self.checkpoint = acked, checkpoint
            for segment in self.segments:
                kept = max(0, synced_seq + 1 - segment.base_seq)
                for record in segment.records[kept:]:
                    segment.bytes -= FRAME_BYTES + len(record.body)
                del segment.records[kept:]
            self.next_seq = synced_seq + 1

    def digest(self) -> str:
        """A hash of everything that was written and not dropped."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(b"%d %d" % (self.next_seq, self.acked))
        for segment in self.segments:
            for seq, kind, incarnation, body in segment.records:
                digest.update(b"|%d %d %d %d|%b" % (seq, kind, incarnation, len(body), body))
        return digest.hexdigest()


class MemoryJournal:
    """See `holdfast.journal.port.Journal`; opened by `MemoryJournal.open`."""

    def __init__(
        self,
        disk: MemoryDisk,
        *,
        clock: Clock,
        incarnation: int,
        on_fault: Callable[[str], None],
        segment_bytes: int,
        max_bytes: int,
        retention: Retention,
    ) -> None:
        self.incarnation = incarnation
        self.wants_checkpoint = True
        self._disk = disk
        self._monotonic = clock.monotonic
        self._on_fault = on_fault
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._largest = largest_body(segment_bytes)
        self._retention = retention
        self._failure: JournalFailed | None = None
        self._reserve_used = 0
        self._synced_seq = self._written = disk.next_seq - 1
        self._synced_acked = disk.acked
        self._synced_checkpoint = disk.checkpoint
        self._sync_due = float("inf")
        self.report = OpenReport(
            path="memory",
            segments=len(disk.segments),
            records=sum(len(segment.records) for segment in disk.segments),
            bytes=disk.bytes,
            first_seq=self.first_seq,
            last_seq=self._written,
            acked=disk.acked,
            last_checkpoint=disk.checkpoint,
        )
        disk.segments = [segment for segment in disk.segments if segment.records]
        now = self._monotonic()
        for segment in disk.segments:
            segment.acked_at_seconds = now if segment.last_seq <= disk.acked else None
        self._begin_segment()

    @classmethod
    def open(
        cls,
        disk: MemoryDisk,
        *,
        clock: Clock,
        randbits: RandBits,
        on_fault: Callable[[str], None],
        segment_bytes: int = 16 << 20,
        max_bytes: int = 2 << 30,
        retain_acked_seconds: float = 600,
        retain_acked_bytes: int = 64 << 20,
    ) -> MemoryJournal:
        """Open the journal on a disk; parameters as of `FileJournal.open`.

        :raises JournalLocked: a journal is open on this disk.
        """
        if disk.journal is not None:
            raise JournalLocked("this MemoryDisk has an open journal: close it, or crash the disk")
        journal = cls(
            disk,
            clock=clock,
            incarnation=randbits(53) | 1 << 46,
            on_fault=on_fault,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            retention=Retention(retain_acked_seconds, retain_acked_bytes),
        )
        disk.journal = journal
        return journal

    @property
    def first_seq(self) -> int:
        for segment in self._disk.segments:
            if segment.records:
                return segment.base_seq
        return self._written + 1

    @property
    def last_seq(self) -> int:
        return self._written

    @property
    def failed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._failure is not None

    @property
    def acked(self) -> int:
        return self._disk.acked

    def append_nowait(self, kind: int, body: bytes, *, reserve: bool = False) -> int:
        if not 0 < kind <= MAX_KIND:
            check_kind(kind)
        size = FRAME_BYTES + len(body)
        segment = self._current
        if (
            size > self._largest
            or segment.bytes + size > self._segment_bytes
            or self._disk.full
            or self._failure is not None
            or self._monotonic() >= self._sync_due
        ):
            segment = self._make_room(kind, body, reserve)
        if self._sync_due == float("inf"):
            self._sync_due = self._monotonic() + SYNC_INTERVAL_SECONDS
        seq = self._written + 1
        segment.records.append(Record(seq, kind, self.incarnation, body))
        segment.bytes += size
        self._written = seq
        self._disk.next_seq = seq + 1
        return seq

    def append(
        self,
        kind: int,
        body: bytes,
        *,
        durability: Durability = Durability.POWER,
        reserve: bool = False,
    ) -> Appended:
        seq = self.append_nowait(kind, body, reserve=reserve)
        return Appending(seq, before=self._sync if durability is Durability.POWER else None)

    async def sync(self) -> None:
        self._check_open()
        self._sync()

    def ack(self, upto: int) -> None:
        if upto <= self._disk.acked:
            return
        self._check_open()
        if upto > self._written:
            raise ValueError(f"ack of {upto}: the last record is {self._written}")
        self._disk.acked = upto
        now = self._monotonic()
        for segment in self._disk.segments[:-1]:
            if segment.acked_at_seconds is None and segment.last_seq <= upto:
                segment.acked_at_seconds = now
        self._sync_due = min(self._sync_due, now + SYNC_INTERVAL_SECONDS)
        self._sync_if_due()

    def read(
        self, *, after: int, limit: int = 500, kinds: Collection[int] | None = None
    ) -> list[Record]:
        page: list[Record] = []
        for segment in self._disk.segments:
            if segment.last_seq <= after:
                continue
            start = max(0, after + 1 - segment.base_seq)
            if kinds is None:
                page += segment.records[start : start + limit - len(page)]
            else:
                for record in segment.records[start:]:
                    if record.kind in kinds:
                        page.append(record)
                        if len(page) >= limit:
                            break
            if len(page) >= limit:
                break
        return page

    def checkpoint(self, body: bytes) -> int:
        segment = self._make_room(CHECKPOINT, body, reserve=True)
        seq = self._written + 1
        segment.records.append(Record(seq, CHECKPOINT, self.incarnation, body))
        segment.bytes += FRAME_BYTES + len(body)
        self._written = self._disk.checkpoint = seq
        self._disk.next_seq = seq + 1
        self.wants_checkpoint = False
        self._sync_due = min(self._sync_due, self._monotonic() + SYNC_INTERVAL_SECONDS)
        return seq

    async def aclose(self) -> None:
        if self._disk.journal is not self:
            return
        try:
            if self._failure is None:
                self._sync()
        finally:
            self._disk.journal = None
            self._failure = JournalFailed("the journal is closed. Open it again.")

    def settle(self) -> None:
        """Make the sync that a device would have made by now, or fail as it would have."""
        if self._failure is None:
            with contextlib.suppress(JournalFailed):  # told to `on_fault`, and the next append
                self._sync_if_due()

    def abandon(self) -> tuple[int, int, int]:
        """Stop as a killed process does; return what a power cut leaves: seq, ack, checkpoint."""
        self.settle()
        self._failure = JournalFailed("the process of this journal was killed")
        return self._synced_seq, self._synced_acked, self._synced_checkpoint

    def _make_room(self, kind: int, body: bytes, reserve: bool) -> _Segment:
        size = frame_size(kind, body, segment_bytes=self._segment_bytes)
        self._check_open()
        self._sync_if_due()
        rotates = self._current.bytes + size > self._segment_bytes
        over = rotates and self._disk.bytes + size > self._max_bytes
        if self._disk.full or over:
            if not reserve or self._reserve_used + size > self._disk.reserve_bytes:
                raise JournalFull(
                    "the memory disk is full"
                    if self._disk.full
                    else f"max_bytes={self._max_bytes} is used up by records not acknowledged"
                )
            self._reserve_used += size
        else:
            self._reserve_used = 0
            if rotates:
                self._begin_segment()
        return self._current

    def _begin_segment(self) -> None:
        self._current = _Segment(self._written + 1, self.incarnation)
        self._disk.segments.append(self._current)
        self.wants_checkpoint = True

    def _sync_if_due(self) -> None:
        if self._monotonic() >= self._sync_due:
            self._sync()

    def _sync(self) -> None:
        """Settled before anybody is told: who is told of a fault writes it down here, and what
        is written then is no part of this sync.
        """
        refused = min(self._disk.failing_syncs, 2)
        self._disk.failing_syncs -= refused
        if refused == 2:
            # Worked out late, perhaps: a device would have been asked when it was due.
            self._disk.refused_at.append(min(self._monotonic(), self._sync_due))
            failure = self._failure = JournalFailed("memory disk: two syncs in a row failed")
            self._on_fault(str(failure))
            raise failure
        self._synced_seq = self._written
        self._synced_acked = self._disk.acked
        self._synced_checkpoint = self._disk.checkpoint
        self._sync_due = float("inf")
        self._drop()
        if refused:
            self._on_fault("memory disk: a sync failed; its records were written elsewhere")

    def _drop(self) -> None:
        segments = self._disk.segments
        if len(segments) == 1:
            return
        count = droppable(
            (Extent(s.last_seq, s.bytes, s.acked_at_seconds) for s in segments[:-1]),
            durable_acked=self._synced_acked,
            durable_checkpoint=self._synced_checkpoint,
            now_seconds=self._monotonic(),
            retention=self._retention,
        )
        del segments[:count]

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
