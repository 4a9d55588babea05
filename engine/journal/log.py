"""The segment log under `FileJournal`: everything that needs no event loop.

`append_nowait` is on the publish path of a trading bot, so it is one comparison, one
checksum and one write(2); everything else happens where that comparison fails: at
the end of a block or segment, after a rest, while frames are buffered. It writes
into blocks that were reserved before, so a full disk shows between two segments and
leaves room for the records that must still be written then.

When the device fails, what is not known to be durable is written to new segments,
which replace the old ones (`Chain.move`).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from .chain import Chain
from .errors import JournalError, JournalFailed, JournalFull
from .files import NO_SPACE, Files
from .frame import FRAME_BYTES, check_kind, frame_size, pack_crc, pack_word_and_wire
from .pages import Pages
from .port import CHECKPOINT, MAX_KIND, Clock, OpenReport, RandBits, Record
from .recovery import BLOCK_BYTES
from .retention import Retention
from .supply import Supply
from .syncer import Ended, Position, Prepared, Synced, Syncer, Unlinked
from .tail import Tail
from .takeover import Taken
from .waiters import Waiters

#: Kept at the end of the last segment for records with `reserve=True`.
RESERVE_BYTES = 1 << 20
#: What may wait for the device before appends are refused: a device that hangs is a
#: matter for an alert, not for memory without bound.
MAX_UNSYNCED_BYTES = 32 << 20


class SegmentLog:
    """Appends, acks, reading; takes in what the sync thread has done.

    :param announce: has `collect` called soon; called in the sync thread.
    """

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
        waiters: Waiters,
        announce: Callable[[], None],
        on_fault: Callable[[str], None],
        files: Files,
    ) -> None:
        tail = taken.tail
        self.report: OpenReport = taken.report
        self.incarnation = tail.header.incarnation
        self.acked = self._acked_written = taken.report.acked
        self.wants_checkpoint = True
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._waiters = waiters
        self._on_fault = on_fault
        self._closed = False
        self._failure: JournalFailed | None = None
        self._replaced = False  # by a segment of which no sync has succeeded yet
        self._active = False  # the sync thread looks at the log every 50 ms
        self._calm: Position | None = None  # of the last sync, if it covered everything

        # The hot path reads these. Up to `_room` a record needs no thought; `_limit` is the
        # same, or 0 while frames are buffered or the sync thread has to be woken.
        self._write = files.write
        self._tail = tail
        self._room = self._limit = 0

        self._synced = Position(tail.written, self.acked)
        self._checkpoint = self._durable_checkpoint = taken.report.last_checkpoint
        self._syncer = Syncer(
            directory=directory, files=files, written=self._position, announce=announce
        )
        self._supply = Supply(
            directory,
            files=files,
            clock=clock,
            syncer=self._syncer,
            incarnation=self.incarnation,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            used_bytes=taken.bytes,
            spare=taken.spare,
        )
        self._pages = Pages(
            taken.segments, incarnation=self.incarnation, files=files, on_fault=on_fault
        )
        self._chain = Chain(
            directory,
            tail=tail,
            files=files,
            clock=clock,
            randbits=randbits,
            segment_bytes=segment_bytes,
            retention=retention,
            pages=self._pages,
            supply=self._supply,
            syncer=self._syncer,
        )
        self._chain.note_acked(self.acked)

    @property
    def first_seq(self) -> int:
        return self._pages.first_seq(self.last_seq)

    @property
    def last_seq(self) -> int:
        return self._tail.last_seq

    def append_nowait(self, kind: int, body: bytes, *, reserve: bool = False) -> int:
        tail = self._tail
        end = tail.end + FRAME_BYTES + len(body)
        if end > self._limit or not 0 < kind <= MAX_KIND:
            check_kind(kind)
            return self._append_slowly(kind, body, reserve)
        seq = tail.written + 1
        rest = pack_word_and_wire(kind << 24 | len(body), tail.salt + seq) + body
        frame = pack_crc(zlib.crc32(rest, tail.crc_seed)) + rest
        try:
            whole = self._write(tail.fd, frame) == len(frame)
        except OSError as error:
            return self._append_after(error, kind, body, reserve)
        if not whole:
            tail.rewind()
            return self._append_slowly(kind, body, reserve)
        tail.end = end
        tail.written = seq
        tail.frames.append(frame)
        return seq

    def append_buffered(self, kind: int, body: bytes, *, reserve: bool) -> int:
        """Append a record that `flush` writes, or the next record that is not buffered.

        :raises ValueError, JournalFull, JournalFailed: as `append_nowait`.
        """
        check_kind(kind)
        if self._tail.end + FRAME_BYTES + len(body) > self._room:
            self._make_room(kind, body, reserve)
        self._limit = 0
        return self._tail.buffer(kind, body)

    def ack(self, upto: int) -> None:
        if upto <= self.acked:
            return
        self.check_open()
        if upto > self.last_seq:
            raise ValueError(f"ack of {upto}: the last record is {self.last_seq}")
        with contextlib.suppress(JournalFull):  # told to those who wait and to `on_fault`
            self.flush()
        upto = self.acked = min(upto, self.last_seq)
        self._chain.note_acked(upto)
        try:
            self._tail.write_ack(upto)
        except OSError as error:
            if error.errno not in NO_SPACE:
                self._replace(error)
            # On a full disk the ack is known here and goes out with the next one. Lost in a
            # crash, it only means that its records are shipped, and deduplicated, again.
            return
        self._acked_written = upto
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

    def flush(self) -> None:
        """Write what is buffered.

        :raises JournalFull: the disk is full; what could not be written is withdrawn.
        :raises JournalFailed: the device failed.
        """
        if not self._tail.is_buffering:
            return
        if self._failure is not None:
            raise self._failure
        try:
            self._tail.flush()
        except OSError as error:
            if error.errno in NO_SPACE:
                self._withdraw(error)
            self._replace(error)
            if self._failure is not None:
                raise self._failure from error
            return
        self._note_unsynced()
        self._set_limit()

    def flush_and_sync(self) -> None:
        """As `flush`, and have it synced at once; who waits is told how it went."""
        self._active = True  # `sync_now` follows: one wake-up of the thread, not two
        try:
            with contextlib.suppress(JournalError):
                self.flush()
        finally:  # also if `on_fault` raised
            self._syncer.sync_now()

    def sync_watched(self, seconds: float) -> None:
        """Have everything synced, and return when that has begun, or after so many seconds.

        Nobody is told of its end before `watch` or `look_away`.
        """
        self._syncer.sync_watched(seconds)

    def watch(self, seconds: float) -> bool:
        """Wait in the caller's thread for the end of a sync that `sync_watched` has begun.

        :returns: False if none ended in so many seconds; who waits for it is told as ever.
        """
        ended = self._syncer.watch(seconds)
        if ended:
            self.collect()
        return ended

    def look_away(self) -> None:
        """Do not wait for that end: who waits for it is told as ever."""
        self._syncer.look_away()
        self.collect()

    def begin_sync(self) -> Position | None:
        """Have everything synced; return the position to wait for, None if it is reached.

        :raises JournalFailed: the device failed, or the journal is closed.
        """
        self.collect()
        with contextlib.suppress(JournalFull):  # told to those who wait and to `on_fault`
            self.flush()
        # Last, for both may find a failure, and it has told those who waited by then: who
        # waits for the news of it after that waits for ever.
        self.check_open()
        position = self._position()
        if self._synced == position:
            return None
        self._syncer.sync_now()
        return position

    def check_open(self) -> None:
        """:raises JournalFailed: the device failed, or the journal is closed."""
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise self._closed_error()

    def stop(self) -> None:
        """Take nothing more and have the sync thread end; `Waiters.ended` tells when."""
        with contextlib.suppress(JournalError):
            self.flush()  # what was appended while a last sync was waited for
        self._closed = True
        self._set_limit()
        self._syncer.stop()

    def close(self) -> None:
        """Close the files. Call when the sync thread has ended."""
        self._syncer.close()
        self._waiters.on_failed(self._closed_error())
        self._supply.close()

    def collect(self) -> None:
        """Take in what the sync thread has done."""
        results = self._syncer.results
        while results:
            match results.popleft():
                case Synced(generation, _, _) if generation != self._syncer.generation:
                    continue  # of segments that were replaced while it ran
                case Synced(_, position, None):
                    self._on_synced(position)
                case Synced(_, _, error):
                    assert error is not None
                    self._replace(error)
                case Prepared(file, _):
                    if file is not None:
                        self._supply.prepared(file)
                    self._set_limit()
                case Ended(error):
                    self._waiters.on_ended()
                    if error is not None:
                        self._fail(f"{self._directory}: the sync thread ended ({error!r})")
                case Unlinked(freed_bytes):
                    self._supply.freed(freed_bytes)

    # Appending where the hot path ends.

    def _append_slowly(self, kind: int, body: bytes, reserve: bool) -> int:
        self._make_room(kind, body, reserve)
        self.flush()
        try:
            seq = self._tail.write(kind, body)
        except OSError as error:
            return self._append_after(error, kind, body, reserve)
        self._note_unsynced()
        self._set_limit()
        return seq

    def _append_after(self, error: OSError, kind: int, body: bytes, reserve: bool) -> int:
        """Append a record whose write failed to another segment, or raise."""
        if error.errno in NO_SPACE:
            self._tail.rewind()
            raise self._supply.full(error) from error
        self._replace(error)
        if self._failure is not None:
            raise self._failure from error
        return self._append_slowly(kind, body, reserve)

    def _withdraw(self, error: OSError) -> NoReturn:
        """Give up buffered frames that are not whole on disk; nobody was told they are."""
        count = self._tail.withdraw()
        self._note_unsynced()
        self._set_limit()
        full = self._supply.full(error)
        unheard = count - self._waiters.on_withdrawn(self.last_seq, full)
        if unheard:
            self._on_fault(f"{unheard} buffered records dropped: {full}")
        raise full from error

    # Room.

    def _make_room(self, kind: int, body: bytes, reserve: bool) -> None:
        """Rotate or begin a block where that is due.

        :raises ValueError: the record can never be appended.
        :raises JournalFull: there is no room for the record.
        """
        size = frame_size(kind, body, segment_bytes=self._segment_bytes)
        self.collect()
        self.check_open()
        if self._pages.memory_bytes > MAX_UNSYNCED_BYTES:
            self._pages.forget_synced(self._synced.seq)
            waiting = self._pages.memory_bytes
            if waiting > MAX_UNSYNCED_BYTES * (2 if reserve else 1):
                raise JournalFull(
                    f"{self._directory}: {waiting} bytes wait for the device, which completes "
                    "no sync. Check the disk."
                )
        end = self._tail.end + size
        if end > (self._tail.size if reserve else self._capacity()):
            self._rotate()
        elif end - self._pages.current.start > BLOCK_BYTES and self._tail.frames:
            self._begin_block()

    def _capacity(self) -> int:
        """Offset up to which any record may be written."""
        size = self._tail.size
        return size if self._supply.ready else size - min(RESERVE_BYTES, size // 4)

    def _set_limit(self) -> None:
        if self._closed or self._failure is not None:
            self._room = 0
        else:
            self._room = min(self._pages.current.start + BLOCK_BYTES, self._capacity())
        self._limit = self._room if self._active and not self._tail.is_buffering else 0

    def _rotate(self) -> None:
        """Go on in the next segment.

        :raises JournalFull: there is no room for one.
        """
        self.flush()
        self._enter(self._chain.extend(self.last_seq + 1, acked=self.acked))

    def _enter(self, tail: Tail) -> None:
        self._pages.forget_synced(self._synced.seq)
        self._tail = tail
        self._acked_written = self.acked
        self.wants_checkpoint = True
        self._note_unsynced()
        self._supply.want()

    def _begin_block(self) -> None:
        self.flush()
        self._pages.forget_synced(self._synced.seq)
        self._chain.begin_block()

    # What the sync thread has done.

    def _position(self) -> Position:
        return Position(self._tail.written, self._acked_written)

    def _note_unsynced(self) -> None:
        if not self._active:
            self._active = True
            self._syncer.sync_soon()
            self._supply.want()

    def _on_synced(self, position: Position) -> None:
        self._synced = position
        self._replaced = False
        if self._checkpoint <= position.seq:
            self._durable_checkpoint = self._checkpoint
        self._waiters.on_synced(position)
        if position == self._position() and self._active and not self._tail.is_buffering:
            # At rest is what the next sync finds unchanged: to wake the thread again for each
            # record of a log that is written to all the time would cost more than the records.
            if position == self._calm:
                self._active = False
                self._limit = 0
                self._syncer.rest()
            self._calm = position
        self._chain.drop(
            durable_acked=self._synced.acked, durable_checkpoint=self._durable_checkpoint
        )

    def _replace(self, error: OSError) -> None:
        """Leave the segments that failed, and write again what is not known to be durable.

        The failed files are never synced or written again, only read up to the last
        sync that succeeded.
        """
        if self._failure is not None or self._closed:
            return
        where = f"{self._tail.file.path} failed ({error.strerror})"
        if self._replaced:
            self._fail(f"{where}, and so did the segment before it")
            return
        self._replaced = True
        self._limit = 0
        unsynced = self._pages.take_from(self._synced.seq + 1)
        self._tail.abandon(self._synced.seq)
        self._syncer.abandon()
        try:
            self._enter(self._chain.move(unsynced, self._synced.seq + 1, acked=self.acked))
        except JournalError as second:
            self._fail(f"{where}, and its records could not be written elsewhere: {second}")
            return
        self._syncer.recover()
        self._set_limit()
        self._on_fault(
            f"{where}; its {len(unsynced)} unsynced records were written to "
            f"{self._tail.file.path}. Check the disk."
        )

    def _fail(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = JournalFailed(
            f"{reason}. What was appended since the last sync may or may not be on disk. "
            "Repair or replace the disk, then open the journal again."
        )
        self._set_limit()
        self._waiters.on_failed(self._failure)
        self._on_fault(str(self._failure))

    def _closed_error(self) -> JournalFailed:
        return JournalFailed(f"{self._directory}: the journal is closed. Open it again.")
