"""The journal on disk, as a coroutine sees it: levels, waiting, opening, closing.

Appends of level `power` of one turn of the event loop become one write and share
one fdatasync, for which a thread waits (`syncer`). The log itself is in `log`. An
old tail is never appended to: every opening begins a new segment (`takeover`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from .errors import JournalError, JournalFailed, JournalFull
from .files import Files
from .frame import FRAME_BYTES, check_kind, encode
from .log import SegmentLog
from .port import SYNC_INTERVAL_SECONDS, Clock, Durability, RandBits
from .recovery import Inspection
from .retention import Retention
from .syncer import Position
from .takeover import MIN_SEGMENT_BYTES, Taken, take_over

#: Seq and ack that must be synced, and the future of the one who waits.
_Waiter = tuple[int, int, asyncio.Future[None]]


class FileJournal(SegmentLog):
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
        self._loop = asyncio.get_running_loop()
        self._lock_fd = taken.lock_fd
        self._waiters: deque[_Waiter] = deque()
        self._flush_soon = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self._closing = asyncio.Lock()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        super().__init__(
            directory,
            taken=taken,
            clock=clock,
            randbits=randbits,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            retention=retention,
            on_fault=on_fault,
            files=files,
        )

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
        :param max_bytes: bound of all files together. Records that move because a device
            failed may exceed it until their old files are dropped.
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
        frame = encode(self._salt, self._crc_seed, kind, seq, body)
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
        self._waiters.append((seq, 0, done))
        await done
        return seq

    async def sync(self) -> None:
        self._collect()
        with contextlib.suppress(JournalFull):  # told to those who wait and to `on_fault`
            self._flush()
        # Last, for both may find a failure, and it has told those who waited by then: who
        # waits for the news of it after that waits for ever.
        self._check_open()
        position = self._position()
        if self._synced == position:
            return
        self._syncer.sync_now()
        done = self._loop.create_future()
        self._waiters.append((*position, done))
        await done

    async def aclose(self) -> None:
        async with self._closing:  # who comes second returns when it is closed, too
            if self._closed:
                return
            try:
                # What fails here was told to `on_fault` and to those who wait.
                with contextlib.suppress(JournalError):
                    await self.sync()
            finally:
                with contextlib.suppress(JournalError):
                    self._flush()  # what was appended while the sync was waited for
                self._closed = True
                self._set_limit()
                if self._flush_timer is not None:
                    self._flush_timer.cancel()
                await self._stop()

    async def _stop(self) -> None:
        """End the thread, and with it all waiting; a cancellation is raised after that.

        A device that hangs does not hang the loop, but its thread is waited for: until it
        has ended it may write to files that the next opening reads.
        """
        cancelled: asyncio.CancelledError | None = None
        self._syncer.stop()
        with anyio.CancelScope(shield=True):
            while not self._ended.done():
                try:
                    await asyncio.wait((self._ended,))
                except asyncio.CancelledError as error:  # of the task, which no shield stops
                    cancelled = error
        self._syncer.close()
        self._on_failed(self._closed_error())
        self._supply.close()
        os.close(self._lock_fd)
        if cancelled is not None:
            raise cancelled

    def _flush_late(self) -> None:
        """Write what only records of level `memory` have waited for."""
        self._flush_timer = None
        with contextlib.suppress(JournalError):  # told to `on_fault` and to those who wait
            self._flush()

    def _flush_and_sync(self) -> None:
        self._flush_soon = False
        self._active = True  # `sync_now` follows: one wake-up of the thread, not two
        try:
            with contextlib.suppress(JournalError):
                self._flush()
        finally:  # also if `on_fault` raised
            self._syncer.sync_now()

    def _announce(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._collect)
        except RuntimeError:
            return  # the loop is closed; nobody waits any more

    def _on_synced_to(self, position: Position) -> None:
        waiters = self._waiters
        while waiters:
            seq, acked, done = waiters[0]
            if seq > position.seq or acked > position.acked:
                break
            waiters.popleft()
            if not done.done():  # else its waiter was cancelled
                done.set_result(None)

    def _on_withdrawn(self, count: int, error: JournalFull) -> None:
        waiting = 0
        while self._waiters and self._waiters[-1][0] > self._written:
            _fail(self._waiters.pop(), error)
            waiting += 1
        if count > waiting:
            self._on_fault(f"{count - waiting} buffered records dropped: {error}")

    def _on_failed(self, error: JournalFailed) -> None:
        while self._waiters:
            _fail(self._waiters.popleft(), error)

    def _on_ended(self) -> None:
        self._ended.set_result(None)


def _fail(waiter: _Waiter, error: JournalError) -> None:
    _, _, done = waiter
    if not done.done():
        done.set_exception(error)
