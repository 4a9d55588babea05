"""The log as pages: recent blocks from memory, older ones from disk.

Memory holds every frame that is not yet known to be synced, because after a failed
sync the page cache is not to be trusted and they must be written again elsewhere;
beyond that the newest few megabytes, which serve the shipper and new readers.
"""

from __future__ import annotations

import bisect
import operator
from collections import deque
from collections.abc import Callable, Collection, Iterator

from .files import Files
from .frame import FRAME_BYTES, Mark, kind_of, make_record
from .port import Record, Span
from .recovery import Segment

#: What memory keeps of the synced log, so that live shipping reads nothing from disk.
RING_BYTES = 4 << 20


_SEQ = operator.itemgetter(0)


class Block:
    """Consecutive frames of one segment in memory."""

    __slots__ = ("first_seq", "frames", "start")

    def __init__(self, first_seq: int, start: int) -> None:
        self.first_seq = first_seq
        self.start = start
        self.frames: list[bytes] = []

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.frames) - 1


class Pages:
    """:param incarnation: of the frames in memory; all of them are of this opening."""

    def __init__(
        self,
        segments: list[Segment],
        *,
        incarnation: int,
        files: Files,
        on_fault: Callable[[str], None],
    ) -> None:
        self.segments = segments
        self._incarnation = incarnation
        self._files = files
        self._on_fault = on_fault
        self._blocks: deque[tuple[Block, int]] = deque()  # sealed, with their size in bytes
        self._blocks_bytes = 0
        self.current = Block(1, 0)
        self._cached: tuple[Segment, int, list[Record]] | None = None

    @property
    def memory_bytes(self) -> int:
        """Size of the blocks in memory, the current one not counted."""
        return self._blocks_bytes

    def begin_segment(self, segment: Segment, *, end_of_last: int) -> None:
        last = self.segments[-1]
        last.next_seq, last.end = segment.header.base_seq, end_of_last
        self.segments.append(segment)

    def begin_block(self, *, seq: int, offset: int, end_of_last: int) -> Block:
        """Start a block at a record; the last one ended at an offset of its own segment."""
        last = self.current
        if last.frames:
            size = end_of_last - last.start
            self._blocks.append((last, size))
            self._blocks_bytes += size
        segment = self.segments[-1]
        if segment.marks and segment.marks[-1].seq == seq:
            segment.marks.pop()
        segment.marks.append(Mark(seq, offset))
        segment.next_seq, segment.end = seq, offset  # what lies before can be read from disk
        self.current = Block(seq, offset)
        return self.current

    def forget_synced(self, synced_seq: int) -> None:
        """Keep in memory what is not synced, and the newest `RING_BYTES`."""
        while self._blocks_bytes > RING_BYTES and self._blocks[0][0].last_seq <= synced_seq:
            _, size = self._blocks.popleft()
            self._blocks_bytes -= size

    def take_from(self, first_seq: int) -> list[tuple[int, bytes]]:
        """Remove records from here on, to be written again, and return kind and body of each."""
        taken: list[tuple[int, bytes]] = []
        for block in [*(block for block, _ in self._blocks), self.current]:
            skip = max(0, first_seq - block.first_seq)
            taken += [(kind_of(frame), frame[FRAME_BYTES:]) for frame in block.frames[skip:]]
            del block.frames[skip:]
        while self._blocks and not self._blocks[-1][0].frames:
            _, size = self._blocks.pop()
            self._blocks_bytes -= size
        for segment in self.segments:
            if segment.next_seq > first_seq or segment is self.segments[-1]:
                segment.next_seq = first_seq
                segment.marks = [mark for mark in segment.marks if mark.seq < first_seq]
        self._cached = None
        return taken

    def drop(self, count: int) -> None:
        """Forget the oldest segments."""
        del self.segments[:count]
        self._cached = None

    def first_seq(self, last_seq: int) -> int:
        """Seq of the oldest record; one more than the last if there is none."""
        for segment in self.segments:
            if segment.marks:
                return segment.marks[0].seq
        return last_seq + 1

    def read(
        self, *, after: int, last_seq: int, limit: int, kinds: Collection[int] | None
    ) -> list[Record]:
        page: list[Record] = []
        for records, start, stop in self._runs(after, last_seq):
            if kinds is None:
                page += records[start : min(stop, start + limit - len(page))]
            else:
                matching = [record for record in records[start:stop] if record.kind in kinds]
                page += matching[: limit - len(page)]
            if len(page) >= limit:
                break
        return page

    def _runs(self, after: int, last_seq: int) -> Iterator[tuple[list[Record], int, int]]:
        """Yield the records after a seq, a block at a time: `(records, start, stop)`."""
        oldest = self._blocks[0][0] if self._blocks else self.current
        in_memory = oldest.first_seq if oldest.frames else last_seq + 1
        seq = max(after + 1, self.first_seq(last_seq))
        for segment in self.segments:
            if seq >= in_memory:
                break
            if segment.next_seq <= seq or not segment.marks:
                continue
            for index in range(segment.block_of(seq), len(segment.marks)):
                if segment.marks[index].seq >= in_memory:
                    break
                records = self._from_disk(segment, index)
                if records and records[-1].seq >= seq:
                    yield records, _position(records, seq), _position(records, in_memory)
                    seq = records[-1].seq + 1
        # Whoever follows the log reads its end time and again: without a look at each block.
        older = () if seq >= self.current.first_seq else [block for block, _ in self._blocks]
        for block in (*older, self.current):
            skip = max(0, seq - block.first_seq)
            if skip < len(block.frames):
                first = block.first_seq
                incarnation = self._incarnation
                records = [
                    make_record((seq, kind_of(frame), incarnation, frame[FRAME_BYTES:]))
                    for seq, frame in enumerate(block.frames[skip:], first + skip)
                ]
                yield records, 0, len(records)

    def _from_disk(self, segment: Segment, index: int) -> list[Record]:
        if self._cached is not None and self._cached[0] is segment and self._cached[1] == index:
            return self._cached[2]
        try:
            records, gaps = segment.read_block(self._files, index)
        except OSError as error:
            self._on_fault(
                f"{segment.path} can not be read ({error.strerror}); the records of one block "
                "are skipped. Copy the folder to a sound disk."
            )
            return []
        self._cached = (segment, index, records)
        for gap in gaps:
            if (gap.offset, gap.bytes) not in segment.known_gaps:
                segment.known_gaps.add((gap.offset, gap.bytes))
                span = Span(
                    str(segment.path), gap.offset, gap.bytes, gap.first_missing, gap.last_missing
                )
                self._on_fault(f"damaged since it was opened, skipped: {span}")
        return records


def _position(records: list[Record], seq: int) -> int:
    """Index of the first record at or after a seq."""
    return bisect.bisect_left(records, seq, key=_SEQ)
