"""What an opening does to the folder before the first record.

In this order, so that a crash at any point leaves a journal that opens: lock, read
and verify, make durable what the last writer may not have synced, give back the
space it reserved, begin a segment of our own, and only then remove leftovers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import JournalDamaged, JournalFull
from .files import NO_SPACE, Files, lock
from .frame import DATA_OFFSET, VERSION, Header, random_salt
from .port import OpenReport, RandBits
from .recovery import BLOCK_BYTES, Segment, recover
from .syncer import Open
from .tail import Tail

MIN_SEGMENT_BYTES = 1 << 14


@dataclass(slots=True)
class Taken:
    """An opened folder.

    :ivar segments: those before `tail`.
    :ivar bytes: of all files together.
    """

    lock_fd: int
    report: OpenReport
    segments: list[Segment]
    tail: Tail
    spare: Open | None
    bytes: int


def take_over(
    directory: Path,
    *,
    files: Files,
    segment_bytes: int,
    max_bytes: int,
    incarnation: int,
    randbits: RandBits,
) -> Taken:
    """Open the folder for writing; blocks.

    :raises JournalLocked, JournalDamaged, JournalVersion, JournalFull: see `FileJournal.open`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock_fd = lock(directory / "LOCK")
    try:
        recovered = recover(directory, files)
        _settle(recovered.segments, files)
        used = sum(
            files.size(directory / name) for name in files.names(directory) if name[-4:] == ".seg"
        )
        header = Header(
            VERSION,
            recovered.next_ordinal,
            recovered.next_seq,
            recovered.report.acked,
            incarnation,
            random_salt(randbits),
        )
        empty = [segment for segment in recovered.segments if _is_empty(segment)]
        recovered.segments = [s for s in recovered.segments if not _is_empty(s)]
        tail, spare = _begin(directory, header, segment_bytes, max_bytes - used, empty, files)
        # What the headers of these said stands in the new one.
        for segment in empty:
            used -= segment.size
            files.unlink(segment.path)
        used += tail.size + (segment_bytes if spare is not None else 0)
    except BaseException:
        os.close(lock_fd)
        raise
    return Taken(lock_fd, recovered.report, recovered.segments, tail, spare, used)


def _is_empty(segment: Segment) -> bool:
    return not segment.marks and not segment.known_gaps


def _settle(segments: list[Segment], files: Files) -> None:
    for segment in segments:
        try:
            fd = files.open(segment.path)
            try:
                files.sync(fd)
            finally:
                files.close(fd)
            if segment.size > segment.end and not segment.tail_bytes and segment.marks:
                files.truncate(segment.path, segment.end)  # zeros that were never used
                segment.size = segment.end
        except OSError as error:
            raise JournalDamaged(
                f"{segment.path} can not be made durable ({error.strerror}). Copy the folder to "
                "a sound disk and open the copy."
            ) from error


def _begin(
    directory: Path,
    header: Header,
    segment_bytes: int,
    free_bytes: int,
    empty: list[Segment],
    files: Files,
) -> tuple[Tail, Open | None]:
    leftovers = [directory / name for name in files.names(directory) if name[-4:] == ".tmp"]
    whole = [path for path in leftovers if _is_spare(path, segment_bytes, files)][:2]
    for path in leftovers:
        if path not in whole:
            files.unlink(path)
    if whole:
        current, size = Open(files.open(whole[0]), whole[0]), segment_bytes
    else:
        size = max(min(segment_bytes, free_bytes), MIN_SEGMENT_BYTES)
        try:
            current, size = _first_file(directory, size, files)
        except JournalFull:
            if not empty:
                raise
            # Restarted again and again on a full disk: the last opening's segment will do.
            reused = max(empty, key=lambda segment: segment.size)
            empty.remove(reused)
            current, size = Open(files.open(reused.path), reused.path), reused.size
    tail = Tail(files, current, header, size)
    tail.begin()
    tail.place(directory)
    files.sync(tail.fd)
    files.sync_directory(directory)
    spare = Open(files.open(whole[1]), whole[1]) if whole[1:] else None
    return tail, spare


def _is_spare(path: Path, segment_bytes: int, files: Files) -> bool:
    """Whether a file can be a segment: of full size, and nothing but zeros after the header.

    What is left of a move (`Chain.move`) holds frames, which would pass for damage.
    """
    if files.size(path) != segment_bytes:  # a spare grows as it is filled
        return False
    for offset in range(DATA_OFFSET, segment_bytes, BLOCK_BYTES):
        data = files.read(path, offset, BLOCK_BYTES)
        if data != bytes(len(data)):
            return False
    return True


def _first_file(directory: Path, size: int, files: Files) -> tuple[Open, int]:
    """Create the segment of an opening, a small one if the disk has no room for more."""
    path = directory / "first.tmp"
    while True:
        fd = files.create(path)
        try:
            for offset in range(0, size, BLOCK_BYTES):
                files.fill(fd, offset, min(BLOCK_BYTES, size - offset))
        except OSError as error:
            files.close(fd)
            files.unlink(path)
            if error.errno not in NO_SPACE or size <= MIN_SEGMENT_BYTES:
                raise JournalFull(
                    f"{directory}: no room for a segment of {size} bytes ({error.strerror}). "
                    "Free disk space."
                ) from error
            size = max(size // 4, MIN_SEGMENT_BYTES)
        else:
            return Open(fd, path), size
