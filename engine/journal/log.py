"""The segment log under `FileJournal`: everything that needs no event loop.

`append_nowait` is on the publish path of a trading bot, so it is one comparison, one
checksum and one write(2); everything else happens where that comparison fails: at
the end of a block or segment, after a rest, while frames are buffered. It writes
into blocks that were reserved before, so a full disk shows between two segments and
leaves room for the records that must still be written then.

When the device fails, what is not known to be durable is written to a new segment,
which from its first record on replaces the old ones (`recovery` reads it so).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

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
from .port import CHECKPOINT, MAX_KIND, Clock, OpenReport, RandBits, Record
from .recovery import BLOCK_BYTES, Segment, segment_name
from .retention import Extent, Retention, droppable
from .supply import Supply
from .syncer import Ended, Position, Prepared, Synced, Syncer, Unlinked
from .takeover import Taken, write_header

#: Kept at the end of the last segment for records with `reserve=True`.
RESERVE_BYTES = 1 << 20
#: What may wait for the device before appends are refused: a device that hangs is a
#: matter for an alert, not for memory without bound.
MAX_UNSYNCED_BYTES = 32 << 20


class SegmentLog:
    """Appends, acks, rotation, reading; the results of the sync thread.

    What concerns those who wait for a sync is left to five methods of the subclass:
    `_announce`, `_on_synced_to`, `_on_withdrawn`, `_on_failed`, `_on_ended`.
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
        on_fault: Callable[[str], None],
        files: Files,
    ) -> None:
        header = taken.header
        self.incarnation = header.incarnation
        self.report: OpenReport = taken.report
        self._directory = directory
        self._clock = clock
        self._randbits = randbits
        self._segment_bytes = segment_bytes
        self._retention = retention
        self._on_fault = on_fault
        self._files = files
        self._next_ordinal = header.ordinal + 1
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
        self._syncer = Syncer(
            directory=directory, files=files, written=self._position, announce=self._announce
        )
        self._syncer.track(taken.current)
        self._supply = Supply(
            directory,
            files=files,
            clock=clock,
            syncer=self._syncer,
            incarnation=header.incarnation,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            used_bytes=taken.bytes,
            spare=taken.spare,
        )

        now = clock.monotonic()
        for segment in taken.segments:
            if segment.last_seq <= self._acked:
                segment.acked_at_seconds = now
        self._pages = Pages(
            taken.segments, incarnation=header.incarnation, files=files, on_fault=on_fault
        )
        self._pages.segments.append(
            Segment(taken.current.path, header, taken.size, header.base_seq)
        )
        self._begin_block(DATA_OFFSET)

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

    def ack(self, upto: int) -> None:
        if upto <= self._acked:
            return
        self._check_open()
        if upto > self.last_seq:
            raise ValueError(f"ack of {upto}: the last record is {self.last_seq}")
        with contextlib.suppress(JournalFull):  # told to those who wait and to `on_fault`
            self._flush()
        upto = self._acked = min(upto, self.last_seq)
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

    # Appending where the hot path ends.

    def _append_slowly(self, kind: int, body: bytes, reserve: bool) -> int:
        self._make_room(body, reserve)
        self._flush()
        seq = self._written + 1
        frame = encode(self._salt, self._crc_seed, kind, seq, body)
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
            raise self._supply.full(error) from error
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
        if self._supply.ready:
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
            frame = encode(self._salt, self._crc_seed, ACK, upto, b"")
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
        if self._failure is not None:
            raise self._failure
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
        full = self._supply.full(error)
        self._on_withdrawn(count, full)
        raise full from error

    # Segments.

    def _rotate(self, *, beyond_bound: bool = False) -> None:
        """Begin the next segment.

        :raises JournalFull: there is no room for one.
        """
        last = self._file
        self._begin_segment(self.last_seq + 1, beyond_bound=beyond_bound)
        self._syncer.seal(last)

    def _begin_segment(self, base_seq: int, *, beyond_bound: bool) -> None:
        file = self._supply.take(acked=self._acked, beyond_bound=beyond_bound)
        ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
        header = Header(
            VERSION, ordinal, base_seq, self._acked, self.incarnation, random_salt(self._randbits)
        )
        path = self._directory / segment_name(ordinal, base_seq)
        try:
            write_header(self._files, file.fd, header)
            self._files.rename(file.path, path)
        except OSError as error:
            self._supply.give_back(file)
            raise self._supply.full(error) from error
        file.path = path
        self._syncer.track(file)
        self._pages.begin_segment(
            Segment(path, header, self._segment_bytes, base_seq), end_of_last=self._end
        )
        end_of_last, self._end = self._end, DATA_OFFSET
        self._file, self._fd, self._size = file, file.fd, self._segment_bytes
        self._header, self._salt, self._crc_seed = header, header.salt, header.crc_seed
        self._frames = self._pages.begin_block(
            seq=base_seq, offset=DATA_OFFSET, end_of_last=end_of_last
        ).frames
        self._acked_written = self._acked
        self.wants_checkpoint = True
        self._note_unsynced()
        self._supply.want()

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

    def _note_unsynced(self) -> None:
        if not self._active:
            self._active = True
            self._syncer.sync_soon()
            self._supply.want()

    def _collect(self) -> None:
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
                    self._on_ended()
                    if error is not None:
                        self._fail(f"{self._directory}: the sync thread ended ({error!r})")
                case Unlinked(freed_bytes):
                    self._supply.freed(freed_bytes)

    def _on_synced(self, position: Position) -> None:
        self._synced = position
        self._replaced = False
        if self._checkpoint <= position.seq:
            self._durable_checkpoint = self._checkpoint
        self._on_synced_to(position)
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
        self._syncer.abandon()
        try:
            self._begin_segment(self._synced.seq + 1, beyond_bound=True)
            for kind, body in unsynced:
                size = FRAME_BYTES + len(body)
                if self._end + size > self._size:
                    self._flush()
                    self._rotate(beyond_bound=True)
                elif self._end + size - self._pages.current.start > BLOCK_BYTES and self._frames:
                    self._flush()
                    self._begin_block(self._end)
                frame = encode(self._salt, self._crc_seed, kind, self.last_seq + 1, body)
                self._pending.append(frame)
                self._frames.append(frame)
                self._end += len(frame)
            self._flush()
        except JournalError as second:
            self._fail(f"{where}, and its records could not be written elsewhere: {second}")
            return
        self._syncer.recover()
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
        self._on_failed(self._failure)
        self._on_fault(str(self._failure))

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> JournalFailed:
        return JournalFailed(f"{self._directory}: the journal is closed. Open it again.")

    # What the subclass adds.

    def _announce(self) -> None:
        """Have `_collect` called in the loop; called in the sync thread."""
        raise NotImplementedError

    def _on_synced_to(self, position: Position) -> None:
        raise NotImplementedError

    def _on_withdrawn(self, count: int, error: JournalFull) -> None:
        """Told that the newest buffered records were given up."""
        raise NotImplementedError

    def _on_failed(self, error: JournalFailed) -> None:
        raise NotImplementedError

    def _on_ended(self) -> None:
        """Told that the sync thread does nothing more."""
        raise NotImplementedError
