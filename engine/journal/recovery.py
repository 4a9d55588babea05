"""Reading a journal folder without changing it: the base of opening and inspecting.

Segments are ordered by ordinal. Where a later one begins at or below the seqs of
an earlier one (it was written because a sync of the earlier one failed), the later
one holds the truth and the earlier one is read only up to there. A segment has its
name only when it holds all of that (`Chain.move`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import JournalDamaged, JournalVersion
from .files import Files
from .frame import (
    DATA_OFFSET,
    FRAME_BYTES,
    VERSION,
    Gap,
    Header,
    Mark,
    Walk,
    header_damage,
    parse_header,
    records,
)
from .port import OpenReport, Record, Span

#: Distance of the marks from which a page is read: one page of 500 events or so.
BLOCK_BYTES = 1 << 18

_NAME = re.compile(r"(\d{10})-(\d{20})\.seg")


def segment_name(ordinal: int, base_seq: int) -> str:
    return f"{ordinal:010d}-{base_seq:020d}.seg"


@dataclass(slots=True)
class Segment:
    """A segment that is no longer written, or what is known of the one that is.

    :ivar next_seq: one past its last record.
    :ivar end: offset after its last frame.
    :ivar marks: of each block the first record and its offset.
    :ivar tail_bytes: bytes after the last frame that are not zero.
    :ivar known_gaps: offset and size of the damage that was reported already.
    """

    path: Path
    header: Header
    size: int
    next_seq: int
    end: int = DATA_OFFSET
    tail_bytes: int = 0
    marks: list[Mark] = field(default_factory=list)
    known_gaps: set[tuple[int, int]] = field(default_factory=set)
    acked_at_seconds: float | None = None

    @property
    def last_seq(self) -> int:
        return self.next_seq - 1

    def block_of(self, seq: int) -> int:
        """Index of the block that holds the record, or the next one there is."""
        low, high = 0, len(self.marks)
        while low < high:
            middle = (low + high) // 2
            if self.marks[middle].seq <= seq:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0)

    def read_block(self, files: Files, index: int) -> tuple[list[Record], list[Gap]]:
        """Read and verify the records between two marks.

        :raises OSError: the file can not be read.
        """
        mark = self.marks[index]
        end = self.marks[index + 1].offset if index + 1 < len(self.marks) else self.end
        data = files.read(self.path, mark.offset, end - mark.offset)
        walk = Walk(self.header, data, mark.seq, self.next_seq, origin=mark.offset)
        found = records(walk)
        return found, walk.gaps


@dataclass(slots=True)
class Recovered:
    """:ivar next_ordinal: a number that no file of the folder has had.
    :ivar next_seq: for the next record; never one that may have been given out before."""

    segments: list[Segment]
    report: OpenReport
    next_ordinal: int
    next_seq: int


def recover(path: Path, files: Files) -> Recovered:
    """Read, verify and index everything in the folder.

    :raises JournalDamaged: the device can not read a file.
    :raises JournalVersion: a segment is of a later format.
    """
    names = sorted(name for name in files.names(path) if _NAME.fullmatch(name))
    found: list[tuple[Path, int, Header | None, int]] = []
    damaged: list[Span] = []
    for name in names:
        file = path / name
        try:
            data, size = files.read(file, 0, DATA_OFFSET), files.size(file)
        except FileNotFoundError:
            continue  # dropped by the writer while an inspection looks on
        except OSError as error:
            raise _unreadable(file, error) from error
        header = parse_header(data)
        if header is not None:
            damaged += [Span(str(file), at, length) for at, length in header_damage(data)]
        if header is not None and header.version > VERSION:
            raise JournalVersion(
                f"{file} has format {header.version}, this holdfast knows up to {VERSION}. "
                "Install the holdfast that wrote it, or a later one."
            )
        found.append((file, int(name[11:31]), header, size))

    segments: list[Segment] = []
    torn: list[Span] = []
    acked = checkpoint = count = total_bytes = 0
    next_seq = found[0][1] if found else 1
    for position, (file, base_seq, header, size) in enumerate(found):
        total_bytes += size
        later = [base for _, base, _, _ in found[position + 1 :]]
        bound = min(later) if later else None
        begins = base_seq if bound is None else min(base_seq, bound)
        if begins > next_seq:
            damaged.append(Span(str(file), 0, 0, next_seq, begins - 1))
        try:
            if header is None:
                span, next_seq = _headless(file, files, base_seq, size, bound)
                if span is not None:
                    damaged.append(span)
                continue
            segment = Segment(file, header, size, base_seq)
            walk, seen = _index(segment, files, bound)
        except FileNotFoundError:
            # Dropped by the writer meanwhile, and with it everything before the next one.
            next_seq = next_seq if bound is None else bound
            continue
        except OSError as error:
            raise _unreadable(file, error) from error
        acked = max(acked, header.acked)
        count += seen
        acked = max(acked, walk.acked)
        checkpoint = max(checkpoint, walk.checkpoint)
        if bound is not None and walk.next_seq < bound:
            if walk.last_gap is not None:
                walk.last_gap.first_missing, walk.last_gap.last_missing = walk.next_seq, bound - 1
            else:
                damaged.append(Span(str(file), segment.end, 0, walk.next_seq, bound - 1))
        for gap in walk.gaps:
            at_tail = gap.offset >= segment.end
            if at_tail:
                segment.tail_bytes = gap.bytes
            span = Span(str(file), gap.offset, gap.bytes, gap.first_missing, gap.last_missing)
            segment.known_gaps.add((gap.offset, gap.bytes))
            (torn if at_tail and not gap.first_missing else damaged).append(span)
        segment.next_seq = next_seq = walk.next_seq if bound is None else bound
        segments.append(segment)
    if acked >= next_seq:
        # An ack outlived the records it stands for (a power cut may keep later pages and
        # lose earlier ones). Their numbers are spent: reused, they would count as shipped.
        damaged.append(Span(str(path), 0, 0, next_seq, acked))
        next_seq = acked + 1
    report = OpenReport(
        path=str(path),
        segments=len(found),
        records=count,
        bytes=total_bytes,
        first_seq=next((mark.seq for s in segments for mark in s.marks[:1]), next_seq),
        last_seq=next_seq - 1,
        acked=acked,
        last_checkpoint=checkpoint,
        torn=tuple(torn),
        damaged=tuple(damaged),
    )
    next_ordinal = int(names[-1][:10]) + 1 if names else 1
    return Recovered(segments, report, next_ordinal, next_seq)


def _index(segment: Segment, files: Files, bound: int | None) -> tuple[Walk, int]:
    data = files.read(segment.path)
    walk = Walk(
        segment.header, data, segment.header.base_seq, bound, start=min(DATA_OFFSET, len(data))
    )
    count, next_mark = 0, 0
    marks = segment.marks
    for seq, _, start, _ in walk.frames():
        if start >= next_mark:
            marks.append(Mark(seq, start - FRAME_BYTES))
            next_mark = start + BLOCK_BYTES
        count += 1
    segment.end = walk.end
    return walk, count


def _headless(
    file: Path, files: Files, base_seq: int, size: int, bound: int | None
) -> tuple[Span | None, int]:
    """Judge a segment whose header is lost in both copies, and with it the salt."""
    data = files.read(file)
    if data == bytes(len(data)):  # a power cut kept the name of a new segment, not its bytes
        return None, bound or base_seq
    # How many records it held is unknown; no number it may have used is used again.
    next_seq = bound or base_seq + size // FRAME_BYTES
    if next_seq == base_seq:
        return Span(str(file), 0, size), next_seq
    return Span(str(file), 0, size, base_seq, next_seq - 1, at_most=bound is None), next_seq


def _unreadable(file: Path, error: OSError) -> JournalDamaged:
    return JournalDamaged(
        f"{file} can not be read ({error.strerror}). Copy the folder to a sound disk, leaving "
        "out what can not be copied, and open the copy."
    )


class Inspection:
    """A look at a journal, also while another process writes it: no lock, no change.

    Where a writer is busy, its current record may show up as a torn tail.
    """

    def __init__(self, path: Path, files: Files) -> None:
        found = recover(path, files)
        self._files = files
        self._segments = found.segments
        self.report = found.report

    def records(self, *, after: int = 0) -> Iterator[Record]:
        """Iterate records from disk, in order, each verified again.

        :raises JournalDamaged: the device can not read a file.
        """
        for segment in self._segments:
            if segment.last_seq <= after:
                continue
            for index in range(segment.block_of(after + 1), len(segment.marks)):
                try:
                    block, _ = segment.read_block(self._files, index)
                except FileNotFoundError:
                    break  # acknowledged and dropped meanwhile
                except OSError as error:
                    raise _unreadable(segment.path, error) from error
                for record in block:
                    if record.seq > after:
                        yield record
