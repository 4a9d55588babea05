"""The journal on disk: a segment log with one writer.

`append_nowait` is on the publish path of a trading bot, so it is one comparison, one
checksum and one write(2); everything else happens where that comparison fails: at
the end of a block or segment, after a rest, while frames are buffered. It writes
into blocks that were reserved before, so a full disk shows between two segments and
leaves room for the records that must still be written then. Appends of level `power`
of one turn of the event loop become one write and one fdatasync.

An old tail is never appended to: every opening begins a new segment.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import zlib
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from .errors import JournalError, JournalFailed, JournalFull
from .files import NO_SPACE, Files
from .frame import (
    ACK,
    DATA_OFFSET,
    FRAME_BYTES,
    HEADER_COPY_OFFSET,
    VERSION,
    Header,
    check_kind,
    encode,
    frame_size,
    pack_crc,
    pack_word_and_wire,
    random_salt,
)
from .pages import Pages
from .port import (
    CHECKPOINT,
    MAX_KIND,
    SYNC_INTERVAL_SECONDS,
    Clock,
    Durability,
    OpenReport,
    RandBits,
    Record,
)
from .recovery import BLOCK_BYTES, Inspection, Segment, segment_name
from .retention import Extent, Retention, droppable
from .syncer import Open, Position, Prepared, Synced, Syncer, Unlinked
from .takeover import MIN_SEGMENT_BYTES, Taken, take_over, write_header

#: Kept at the end of the last segment for records with `reserve=True`.
RESERVE_BYTES = 1 << 20
#: What may wait for the device before appends are refused; a record of an outage of the
#: disk itself belongs into an alert, not into memory without bound.
MAX_UNSYNCED_BYTES = 32 << 20
_RETRY_SECONDS = 0.25


class _Waiter(NamedTuple):
    seq: int
    acked: int
    done: asyncio.Future[None]


class FileJournal:
    """See `holdfast.journal.port.Journal`; opened by `FileJournal.open`."""

    def __init__(
        self,
        directory: Path,
        *,
        taken: Taken,
        clock: Clock,
        randbits: RandBits,
        segment_bytes: int,
        max_bytes: int,
        retention: Retention,
        on_fault: Callable[[str], None],
        files: Files,
    ) -> None:
        header = taken.header
        self.incarnation = header.incarnation
        self.report: OpenReport = taken.report
        self._directory = directory
        self._lock_fd = taken.lock_fd
        self._clock = clock
        self._randbits = randbits
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._retention = retention
        self._on_fault = on_fault
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._next_ordinal = header.ordinal + 1
        self._spare = taken.spare
        self._preparing = False
        self._files_made = 0
        self._allocate_not_before = float("-inf")
        self._closed = False
        self._failure: JournalFailed | None = None
        self._replaced = False  # by a segment of which no sync has succeeded yet

        self._acked = self._acked_written = taken.report.acked
        self._checkpoint = self._durable_checkpoint = taken.report.last_checkpoint
        self.wants_checkpoint = True

        # The hot path reads these. Up to `_room` a record needs no thought; `_limit` is the
        # same, or 0 while frames are buffered or the sync thread has to be woken.
        self._write = files.write
        self._file = taken.current
        self._fd = taken.current.fd
        self._salt = header.salt
        self._crc_seed = header.crc_seed
        self._header = header
        self._size = taken.size
        self._end = DATA_OFFSET
        self._room = self._limit = 0
        self._written = header.base_seq - 1
        self._pending: list[bytes] = []  # frames with a seq that are not yet written

        self._active = False  # the sync thread looks at the log every 50 ms
        self._synced = Position(self._written, self._acked)
        self._waiters: deque[_Waiter] = deque()
        self._flush_soon = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self._syncer = Syncer(
            directory=directory, files=files, written=self._position, announce=self._announce
        )
        self._syncer.track(taken.current)

        now = clock.monotonic()
        for segment in taken.segments:
            if segment.last_seq <= self._acked:
                segment.acked_at_seconds = now
        self._bytes = taken.bytes
        self._pages = Pages(
            taken.segments, incarnation=header.incarnation, files=files, on_fault=on_fault
        )
        self._pages.begin_segment(Segment(taken.current.path, header, taken.size, header.base_seq))
        self._begin_block(DATA_OFFSET)

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        clock: Clock,
        randbits: RandBits,
        on_fault: Callable[[str], None],
        segment_bytes: int = 16 << 20,
        max_bytes: int = 2 << 30,
        retain_acked_seconds: float = 600,
        retain_acked_bytes: int = 64 << 20,
        files: Files | None = None,
    ) -> FileJournal:
        """Open or create the journal in a folder of its own; verifies every record.

        :param on_fault: told in words what failed and what was done; called in the thread
            of the event loop.
        :param max_bytes: bound of all files together.
        :param retain_acked_seconds: how long acknowledged records stay readable, for a bus
            that loses what it acknowledged.
        :param retain_acked_bytes: how much of them stays, at most.
        :param files: the system calls; replaced in tests of failing disks.
        :raises JournalLocked: another process has it open.
        :raises JournalDamaged: the device can not read or sync a file.
        :raises JournalVersion: a newer holdfast wrote it.
        :raises JournalFull: there is no room for the smallest segment.
        """
        if not MIN_SEGMENT_BYTES <= segment_bytes <= 1 << 28:
            raise ValueError(f"segment_bytes={segment_bytes} is not in 16 KiB to 256 MiB")
        if max_bytes < retain_acked_bytes + 3 * segment_bytes:
            raise ValueError("max_bytes must exceed retain_acked_bytes by three segments")
        directory, files = Path(path), files or Files()
        incarnation = randbits(53) | 1 << 46

        taken = await anyio.to_thread.run_sync(
            functools.partial(
                take_over,
                directory,
                files=files,
                segment_bytes=segment_bytes,
                max_bytes=max_bytes,
                incarnation=incarnation,
                randbits=randbits,
            )
        )
        for span in taken.report.damaged:
            on_fault(f"damaged, skipped: {span}")
        return cls(
            directory,
            taken=taken,
            clock=clock,
            randbits=randbits,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            retention=Retention(retain_acked_seconds, retain_acked_bytes),
            on_fault=on_fault,
            files=files,
        )

    @staticmethod
    def inspect(path: str | os.PathLike[str]) -> Inspection:
        """Look into a journal that another process may be writing. Blocks; changes nothing.

        :raises JournalDamaged, JournalVersion: as `open`.
        """
        return Inspection(Path(path), Files())

    @property
    def first_seq(self) -> int:
        return self._pages.first_seq(self.last_seq)

    @property
    def last_seq(self) -> int:
        return self._written + len(self._pending)

    @property
    def acked(self) -> int:
        return self._acked

    def append_nowait(self, kind: int, body: bytes, *, reserve: bool = False) -> int:
        end = self._end + FRAME_BYTES + len(body)
        if end > self._limit or not 0 < kind <= MAX_KIND:
            check_kind(kind)
            return self._append_slowly(kind, body, reserve)
        seq = self._written + 1
        tail = pack_word_and_wire(kind << 24 | len(body), self._salt + seq) + body
        frame = pack_crc(zlib.crc32(tail, self._crc_seed)) + tail
        try:
            whole = self._write(self._fd, frame) == len(frame)
        except OSError as error:
            return self._append_after(error, kind, body, reserve)
        if not whole:
            self._files.seek(self._fd, self._end)
            return self._append_slowly(kind, body, reserve)
        self._end = end
        self._written = seq
        self._frames.append(frame)
        return seq

    async def append(
        self,
        kind: int,
        body: bytes,
        *,
        durability: Durability = Durability.POWER,
        reserve: bool = False,
    ) -> int:
        if durability is Durability.PROCESS:
            return self.append_nowait(kind, body, reserve=reserve)
        check_kind(kind)
        if self._end + FRAME_BYTES + len(body) > self._room:
            self._make_room(body, reserve)
        seq = self._written + len(self._pending) + 1
        frame = encode(self._header, kind, seq, body)
        self._pending.append(frame)
        self._frames.append(frame)
        self._end += len(frame)
        self._limit = 0
        if durability is Durability.MEMORY:
            if not self._flush_soon and self._flush_timer is None:
                self._flush_timer = self._loop.call_later(SYNC_INTERVAL_SECONDS, self._flush_late)
            return seq
        if not self._flush_soon:
            self._flush_soon = True
            self._loop.call_soon(self._flush_and_sync)
        done = self._loop.create_future()
        self._waiters.append(_Waiter(seq, 0, done))
        await done
        return seq

    async def sync(self) -> None:
        self._check_open()
        self._collect()
        self._flush()
        position = self._position()
        if self._synced == position:
            return
        self._syncer.sync_now()
        done = self._loop.create_future()
        self._waiters.append(_Waiter(*position, done))
        await done

    def ack(self, upto: int) -> None:
        if upto <= self._acked:
            return
        self._check_open()
        if upto > self.last_seq:
            raise ValueError(f"ack of {upto}: the last record is {self.last_seq}")
        self._flush()
        self._acked = upto
        now = self._clock.monotonic()
        for segment in self._pages.segments[:-1]:
            if segment.acked_at_seconds is None and segment.last_seq <= upto:
                segment.acked_at_seconds = now
        try:
            self._write_ack(upto)
        except OSError as error:
            if error.errno not in NO_SPACE:
                self._replace(error)
            # On a full disk the ack is known here and goes out with the next one. Lost in a
            # crash, it only means that its records are shipped, and deduplicated, again.
            return
        self._note_unsynced()
        self._set_limit()

    def read(
        self, *, after: int, limit: int = 500, kinds: Collection[int] | None = None
    ) -> list[Record]:
        return self._pages.read(after=after, last_seq=self.last_seq, limit=limit, kinds=kinds)

    def checkpoint(self, body: bytes) -> int:
        seq = self._append_slowly(CHECKPOINT, body, reserve=True)
        self._checkpoint = seq
        self.wants_checkpoint = False
        return seq

    async def aclose(self) -> None:
        if self._closed:
            return
        try:
            if self._failure is None:
                await self.sync()
        finally:
            self._closed = True
            self._set_limit()
            if self._flush_timer is not None:
                self._flush_timer.cancel()
            # A device that hangs must not hang the loop; the join itself is not given up,
            # for until then the thread may write to files that the next opening reads.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._syncer.stop)
            self._collect()
            self._fail_waiters(self._closed_error())
            if self._spare is not None:
                self._files.close(self._spare.fd)
                self._spare = None
            os.close(self._lock_fd)

    # Appending where the hot path ends.

    def _append_slowly(self, kind: int, body: bytes, reserve: bool) -> int:
        self._make_room(body, reserve)
        self._flush()
        seq = self._written + 1
        frame = encode(self._header, kind, seq, body)
        try:
            self._write_whole(frame)
        except OSError as error:
            return self._append_after(error, kind, body, reserve)
        self._end += len(frame)
        self._written = seq
        self._frames.append(frame)
        self._note_unsynced()
        self._set_limit()
        return seq

    def _append_after(self, error: OSError, kind: int, body: bytes, reserve: bool) -> int:
        """Append a record whose write failed to another segment, or raise."""
        if error.errno in NO_SPACE:
            self._files.seek(self._fd, self._end)
            raise self._full(error) from error
        self._replace(error)
        if self._failure is not None:
            raise self._failure from error
        return self._append_slowly(kind, body, reserve)

    def _make_room(self, body: bytes, reserve: bool) -> None:
        """Rotate or begin a block where that is due.

        :raises ValueError: the record can never be appended.
        :raises JournalFull: there is no room for the record.
        """
        size = frame_size(body, segment_bytes=self._segment_bytes)
        self._collect()
        self._check_open()
        if self._pages.memory_bytes > MAX_UNSYNCED_BYTES:
            self._pages.forget_synced(self._synced.seq)
            waiting = self._pages.memory_bytes
            if waiting > MAX_UNSYNCED_BYTES * (2 if reserve else 1):
                raise JournalFull(
                    f"{self._directory}: {waiting} bytes wait for the device, which completes "
                    "no sync. Check the disk."
                )
        if self._end + size > (self._size if reserve else self._capacity()):
            self._flush()
            self._rotate()
        elif self._end + size - self._pages.current.start > BLOCK_BYTES and self._frames:
            self._flush()
            self._begin_block(self._end)

    def _capacity(self) -> int:
        """Offset up to which any record may be written."""
        if self._spare is not None:
            return self._size
        return self._size - min(RESERVE_BYTES, self._size // 4)

    def _set_limit(self) -> None:
        if self._closed or self._failure is not None:
            self._room = 0
        else:
            self._room = min(self._pages.current.start + BLOCK_BYTES, self._capacity())
        self._limit = self._room if self._active and not self._pending else 0

    def _write_whole(self, data: bytes) -> None:
        written = self._write(self._fd, data)
        while written < len(data):
            written += self._write(self._fd, data[written:])

    def _write_ack(self, upto: int) -> None:
        if self._end + FRAME_BYTES <= self._size:
            frame = encode(self._header, ACK, upto, b"")
            try:
                self._write_whole(frame)
            except OSError:
                self._files.seek(self._fd, self._end)
                raise
            self._end += FRAME_BYTES
        else:
            # The segment is full to the last byte. Acks are what makes room again, so they
            # have a place that no record can take: the second copy of the header.
            header = self._header._replace(acked=upto)
            self._files.write_at(self._fd, header.pack(), HEADER_COPY_OFFSET)
        self._acked_written = upto

    def _begin_block(self, offset: int) -> None:
        self._pages.forget_synced(self._synced.seq)
        block = self._pages.begin_block(seq=self.last_seq + 1, offset=offset, end_of_last=self._end)
        self._frames = block.frames

    # Buffered frames.

    def _flush(self) -> None:
        """Write what is buffered.

        :raises JournalFull: the disk is full; what could not be written is withdrawn.
        :raises JournalFailed: the device failed.
        """
        if not self._pending:
            return
        data, done = b"".join(self._pending), 0
        try:
            while done < len(data):
                done += self._write(self._fd, data[done:])
        except OSError as error:
            if error.errno in NO_SPACE:
                self._withdraw(done, error)
            else:
                self._replace(error)
                if self._failure is not None:
                    raise self._failure from error
            return
        self._written += len(self._pending)
        self._pending.clear()
        self._note_unsynced()
        self._set_limit()

    def _withdraw(self, bytes_written: int, error: OSError) -> None:
        """Give up buffered frames that are not whole on disk; nobody was told they are."""
        start = self._end - sum(map(len, self._pending))
        whole = 0
        for frame in self._pending:
            if bytes_written < len(frame):
                break
            bytes_written -= len(frame)
            start += len(frame)
            whole += 1
        count = len(self._pending) - whole
        del self._frames[-count:]
        self._pending.clear()
        self._written += whole
        self._end = start
        self._files.seek(self._fd, start)
        self._note_unsynced()
        self._set_limit()
        full = self._full(error)
        waiting = 0
        while self._waiters and self._waiters[-1].seq > self._written:
            _fail(self._waiters.pop(), full)
            waiting += 1
        if count > waiting:
            self._on_fault(f"{count - waiting} buffered records dropped: {full}")
        raise full from error

    def _flush_late(self) -> None:
        """Write what only records of level `memory` have waited for."""
        self._flush_timer = None
        with contextlib.suppress(JournalError):  # told to `on_fault` and to those who wait
            self._flush()

    def _flush_and_sync(self) -> None:
        self._flush_soon = False
        self._active = True  # `sync_now` follows: one wake-up of the thread, not two
        with contextlib.suppress(JournalError):
            self._flush()
        self._syncer.sync_now()

    # Segments.

    def _rotate(self) -> None:
        """Begin the next segment.

        :raises JournalFull: there is no room for one.
        """
        last, end = self._file, self._end
        self._begin_segment(self.last_seq + 1)
        self._pages.segments[-2].end = end
        self._pages.segments[-2].next_seq = self.last_seq + 1
        self._syncer.seal(last)

    def _begin_segment(self, base_seq: int) -> None:
        spare = self._spare
        file, size = (spare, self._segment_bytes) if spare is not None else self._allocate()
        ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
        header = Header(
            VERSION, ordinal, base_seq, self._acked, self.incarnation, random_salt(self._randbits)
        )
        path = self._directory / segment_name(ordinal, base_seq)
        try:
            write_header(self._files, file.fd, header)
            self._files.rename(file.path, path)
        except OSError as error:
            if spare is None:
                self._discard(file)
            raise self._full(error) from error
        self._spare = None
        file.path = path
        self._syncer.track(file)
        self._pages.begin_segment(Segment(path, header, size, base_seq))
        end_of_last, self._end = self._end, DATA_OFFSET
        self._file, self._fd, self._size = file, file.fd, size
        self._header, self._salt, self._crc_seed = header, header.salt, header.crc_seed
        self._frames = self._pages.begin_block(
            seq=base_seq, offset=DATA_OFFSET, end_of_last=end_of_last
        ).frames
        self._acked_written = self._acked
        self.wants_checkpoint = True
        self._note_unsynced()
        self._want_spare()

    def _allocate(self) -> tuple[Open, int]:
        """Make a segment file at once: the log grew faster than the spare was prepared."""
        now = self._clock.monotonic()
        if self._bytes + self._segment_bytes > self._max_bytes or now < self._allocate_not_before:
            raise self._full(None)
        path = self._unused_path()
        file = None
        try:
            file = Open(self._files.create(path), path)
            self._files.allocate(file.fd, self._segment_bytes)
        except OSError as error:
            if file is not None:
                self._discard(file)
            self._allocate_not_before = now + _RETRY_SECONDS
            raise self._full(error) from error
        self._bytes += self._segment_bytes
        return file, self._segment_bytes

    def _discard(self, file: Open) -> None:
        self._syncer.discard(file)
        self._files.unlink(file.path)

    def _want_spare(self) -> None:
        # One at a time, until its result was taken in here, and never the same name twice:
        # a file prepared again while it is already written to would lose its records.
        if self._preparing or self._spare is not None:
            return
        if self._bytes + self._segment_bytes <= self._max_bytes:
            self._preparing = True
            self._syncer.prepare(self._unused_path(), self._segment_bytes)

    def _unused_path(self) -> Path:
        self._files_made += 1
        return self._directory / f"{self.incarnation:014x}-{self._files_made}.tmp"

    def _drop(self) -> None:
        """Unlink what the retention rule lets go."""
        segments = self._pages.segments[:-1]
        count = droppable(
            (Extent(s.last_seq, s.size, s.acked_at_seconds) for s in segments),
            durable_acked=self._synced.acked,
            durable_checkpoint=self._durable_checkpoint,
            now_seconds=self._clock.monotonic(),
            retention=self._retention,
        )
        if count:
            self._pages.drop(count)
            self._syncer.unlink([(s.path, s.size) for s in segments[:count]])

    # Results of the sync thread.

    def _position(self) -> Position:
        return Position(self._written, self._acked_written)

    def _announce(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._collect)
        except RuntimeError:
            return  # the loop is closed; nobody waits any more

    def _note_unsynced(self) -> None:
        if not self._active:
            self._active = True
            self._syncer.sync_soon()
            self._want_spare()

    def _collect(self) -> None:
        """Take in what the sync thread has done."""
        results = self._syncer.results
        while results:
            match results.popleft():
                case Synced(position, None):
                    self._on_synced(position)
                case Synced(_, error):
                    assert error is not None
                    self._replace(error)
                case Prepared(file, _):
                    if file is not None:
                        self._spare = file
                        self._preparing = False
                        self._bytes += self._segment_bytes
                    self._set_limit()
                case Unlinked(freed_bytes):
                    self._bytes -= freed_bytes
                    self._want_spare()

    def _on_synced(self, position: Position) -> None:
        self._synced = position
        self._replaced = False
        if self._checkpoint <= position.seq:
            self._durable_checkpoint = self._checkpoint
        waiters = self._waiters
        while waiters and waiters[0].seq <= position.seq and waiters[0].acked <= position.acked:
            done = waiters.popleft().done
            if not done.done():  # else its waiter was cancelled
                done.set_result(None)
        if position == self._position() and not self._pending and self._active:
            self._active = False
            self._limit = 0
            self._syncer.rest()
        self._drop()

    def _replace(self, error: OSError) -> None:
        """Leave the segments that failed, and write again what is not known to be durable.

        The failed files are never synced or written again, only read up to the last
        sync that succeeded.
        """
        if self._failure is not None or self._closed:
            return
        where = f"{self._file.path} failed ({error.strerror})"
        if self._replaced:
            self._fail(f"{where}, and so did the segment before it")
            return
        self._replaced = True
        self._limit = 0
        unsynced = self._pages.take_from(self._synced.seq + 1)
        self._pending.clear()
        self._written = self._synced.seq
        kept: list[Open] = []
        try:
            self._begin_segment(self._synced.seq + 1)
            kept.append(self._file)
            for kind, body in unsynced:
                size = FRAME_BYTES + len(body)
                if self._end + size > self._size:
                    self._flush()
                    self._rotate()
                    kept.append(self._file)
                elif self._end + size - self._pages.current.start > BLOCK_BYTES and self._frames:
                    self._flush()
                    self._begin_block(self._end)
                frame = encode(self._header, kind, self.last_seq + 1, body)
                self._pending.append(frame)
                self._frames.append(frame)
                self._end += len(frame)
            self._flush()
        except JournalError as second:
            self._fail(f"{where}, and its records could not be written elsewhere: {second}")
            return
        self._syncer.recover(kept)
        self._set_limit()
        self._on_fault(
            f"{where}; its {len(unsynced)} unsynced records were written to {self._file.path}. "
            "Check the disk."
        )

    def _fail(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = JournalFailed(
            f"{reason}. What was appended since the last sync may or may not be on disk. "
            "Repair or replace the disk, then open the journal again."
        )
        self._set_limit()
        self._on_fault(str(self._failure))
        self._fail_waiters(self._failure)

    def _fail_waiters(self, error: JournalFailed) -> None:
        while self._waiters:
            _fail(self._waiters.popleft(), error)

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> JournalFailed:
        return JournalFailed(f"{self._directory}: the journal is closed. Open it again.")

    def _full(self, error: OSError | None) -> JournalFull:
        if error is None and self._bytes + self._segment_bytes > self._max_bytes:
            return JournalFull(
                f"{self._directory} holds {self._bytes} of max_bytes={self._max_bytes}, and "
                f"records from {self._acked + 1} on are not acknowledged. Bring the bus back, "
                "or raise max_bytes."
            )
        cause = error.strerror if error is not None else "tried a moment ago"
        return JournalFull(
            f"{self._directory}: no room for {self._segment_bytes} more bytes ({cause}). "
            "Free disk space; the journal then goes on by itself."
        )


def _fail(waiter: _Waiter, error: JournalError) -> None:
    if not waiter.done.done():
        waiter.done.set_exception(error)
