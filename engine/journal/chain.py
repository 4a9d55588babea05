"""The segments one after the other: which comes next, and which of the oldest may go.

Their files come from `supply`, their bytes are found by `pages`, and the sync thread
syncs, closes and unlinks them.
"""

from __future__ import annotations

from pathlib import Path

from .files import Files
from .frame import VERSION, Header, random_salt
from .pages import Pages
from .port import Clock, RandBits
from .recovery import Segment
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
        self._begin_block(end_of_last=tail.end)

    def extend(self, base_seq: int, *, acked: int, beyond_bound: bool = False) -> Tail:
        """Begin the next segment.

        :param beyond_bound: for records that were accepted already and have to move.
        :raises JournalFull: there is no room for one.
        """
        tail = self._make(base_seq, acked=acked, beyond_bound=beyond_bound)
        try:
            tail.place(self._directory)
        except OSError as error:
            self._supply.give_back(tail.file)
            raise self._supply.full(error) from error
        self._enter(tail)
        return tail

    def begin_block(self) -> None:
        """Begin the next block of the segment that is written, of which nothing is buffered."""
        self._begin_block(end_of_last=self.tail.end)

    def note_acked(self, upto: int) -> None:
        """Note when a segment was first seen to be acknowledged."""
        now_seconds = self._clock.monotonic()
        for segment in self._pages.segments[:-1]:
            if segment.acked_at_seconds is None and segment.last_seq <= upto:
                segment.acked_at_seconds = now_seconds

    def drop(self, *, durable_acked: int, durable_checkpoint: int) -> None:
        """Unlink what the retention rule lets go."""
        segments = self._pages.segments[:-1]
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
        """Have a segment that is in its place synced, read and written."""
        self._syncer.track(tail.file)
        self._pages.begin_segment(
            Segment(tail.file.path, tail.header, tail.size, tail.header.base_seq),
            end_of_last=self.tail.end,
        )
        self._syncer.seal(self.tail.file)
        end_of_last, self.tail = self.tail.end, tail
        self._begin_block(end_of_last=end_of_last)

    def _begin_block(self, *, end_of_last: int) -> None:
        tail = self.tail
        tail.frames = self._pages.begin_block(
            seq=tail.last_seq + 1, offset=tail.end, end_of_last=end_of_last
        ).frames
