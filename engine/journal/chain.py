"""The segments one after the other: which comes next, and which of the oldest may go.

Their files come from `supply`, their bytes are found by `pages`, and the sync thread
syncs, closes and unlinks them.

Records that have to leave a device's bad spot move to new segments, and a kill in the
middle of that loses nothing and doubles nothing: a later segment replaces earlier ones
from its first record on (`recovery`), so the new ones get their names only when all
of them are written, the newest first. What is not in its place yet is read where it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .errors import JournalFull
from .files import Files
from .frame import DATA_OFFSET, FRAME_BYTES, VERSION, Header, random_salt
from .pages import Pages
from .port import Clock, RandBits
from .recovery import BLOCK_BYTES, Segment
from .retention import Extent, Retention, droppable
from .supply import Supply
from .syncer import Syncer
from .tail import Tail


class Chain:
    """:ivar tail: the segment that is written."""

    def __init__(
        self,
        directory: Path,
        *,
        tail: Tail,
        files: Files,
        clock: Clock,
        randbits: RandBits,
        segment_bytes: int,
        retention: Retention,
        pages: Pages,
        supply: Supply,
        syncer: Syncer,
    ) -> None:
        self.tail = tail
        self._directory = directory
        self._files = files
        self._clock = clock
        self._randbits = randbits
        self._segment_bytes = segment_bytes
        self._retention = retention
        self._pages = pages
        self._supply = supply
        self._syncer = syncer
        self._next_ordinal = tail.header.ordinal + 1
        syncer.track(tail.file)
        pages.segments.append(Segment(tail.file.path, tail.header, tail.size, tail.header.base_seq))
        self.begin_block()

    def extend(self, base_seq: int, *, acked: int) -> Tail:
        """Begin the next segment.

        :raises JournalFull: there is no room for one.
        """
        tail = self._make(base_seq, acked=acked, beyond_bound=False)
        try:
            tail.place(self._directory)
        except OSError as error:
            self._supply.give_back(tail.file)
            raise self._supply.full(error) from error
        self._enter(tail)
        return tail

    def move(self, records: Iterable[tuple[int, bytes]], base_seq: int, *, acked: int) -> Tail:
        """Write records, of kind and body, to segments that replace the ones before them.

        They were accepted already, so they may exceed the bound.

        :raises JournalFull: there is no room, or the device failed again; what the old
            segments hold is what the next opening reads.
        """
        moved: list[Tail] = []
        unplaced: list[Tail] = []
        try:
            tail = self._make(base_seq, acked=acked, beyond_bound=True)
            moved.append(tail)
            unplaced.append(tail)
            for kind, body in records:
                if tail.end + FRAME_BYTES + len(body) > tail.size:
                    tail.flush()
                    tail = self._make(tail.last_seq + 1, acked=acked, beyond_bound=True)
                    moved.append(tail)
                    unplaced.append(tail)
                tail.buffer(kind, body)
            tail.flush()
            while unplaced:
                unplaced[-1].place(self._directory)
                unplaced.pop()
        except (OSError, JournalFull) as error:
            for tail in moved:
                if tail in unplaced:
                    self._supply.discard(tail.file)
                else:
                    self._syncer.discard(tail.file)
            if isinstance(error, JournalFull):
                raise
            raise self._supply.full(error) from error
        for tail in moved:
            self._enter(tail)
        return tail

    def begin_block(self) -> None:
        """Begin the next block of the segment that is written, of which nothing is buffered."""
        tail = self.tail
        tail.frames = self._pages.begin_block(
            seq=tail.last_seq + 1, offset=tail.end, end_of_last=tail.end
        ).frames

    def note_acked(self, upto: int) -> None:
        """Note when a segment was first seen to be acknowledged."""
        now_seconds = self._clock.monotonic()
        for segment in self._pages.segments[:-1]:
            if segment.acked_at_seconds is None and segment.last_seq <= upto:
                segment.acked_at_seconds = now_seconds

    def drop(self, *, durable_acked: int, durable_checkpoint: int) -> None:
        """Unlink what the retention rule lets go."""
        segments = self._pages.segments[:-1]
        if not segments:
            return
        count = droppable(
            (Extent(s.last_seq, s.size, s.acked_at_seconds) for s in segments),
            durable_acked=durable_acked,
            durable_checkpoint=durable_checkpoint,
            now_seconds=self._clock.monotonic(),
            retention=self._retention,
        )
        if count:
            self._pages.drop(count)
            self._syncer.unlink([(s.path, s.size) for s in segments[:count]])

    def _make(self, base_seq: int, *, acked: int, beyond_bound: bool) -> Tail:
        """Return the next segment, which is not yet in its place."""
        file = self._supply.take(acked=acked, beyond_bound=beyond_bound)
        header = Header(
            VERSION,
            self._next_ordinal,
            base_seq,
            acked,
            self.tail.header.incarnation,
            random_salt(self._randbits),
        )
        self._next_ordinal += 1
        tail = Tail(self._files, file, header, self._segment_bytes)
        try:
            tail.begin()
        except OSError as error:
            self._supply.give_back(file)
            raise self._supply.full(error) from error
        return tail

    def _enter(self, tail: Tail) -> None:
        """Have a segment that is in its place synced, read, and written on."""
        self._syncer.track(tail.file)
        self._pages.begin_segment(
            Segment(tail.file.path, tail.header, tail.size, tail.header.base_seq),
            end_of_last=self.tail.end,
        )
        seq, offset = tail.header.base_seq, DATA_OFFSET
        block = self._pages.begin_block(seq=seq, offset=offset, end_of_last=self.tail.end)
        for frame in tail.frames:
            if offset + len(frame) - block.start > BLOCK_BYTES and block.frames:
                block = self._pages.begin_block(seq=seq, offset=offset, end_of_last=offset)
            block.frames.append(frame)
            seq, offset = seq + 1, offset + len(frame)
        tail.frames = block.frames
        self._syncer.seal(self.tail.file)
        self.tail = tail
