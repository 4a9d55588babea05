"""The journal on disk, as a coroutine sees it: levels, waiting, opening, closing.

Appends of level `power` of one turn of the event loop become one write and share
one fdatasync, for which a thread waits (`syncer`). The log itself is in `log`. An
old tail is never appended to: every opening begins a new segment (`takeover`).

One that comes alone, as the intent of an order does, is on its way to the device when
`append` returns, and where it is awaited in the same turn the loop stands still for it:
a millisecond at most until the device is at it, and one until it is done. A sync takes a
tenth of that on a good disk; to hear of its end through the loop takes several times as
long, because the thread gets the interpreter, and the caller its turn, only after all
else that is ready. Where a millisecond is too short, the loop is left running. In
between the caller may do what needs no sync, which then takes no time: the device works
meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread

from .errors import JournalError
from .files import Files
from .log import SegmentLog
from .port import SYNC_INTERVAL_SECONDS, Appended, Clock, Durability, RandBits
from .recovery import Inspection
from .retention import Retention
from .takeover import MIN_SEGMENT_BYTES, Taken, take_over
from .waiters import Appending, Waiters

#: How long the loop may stand still for the sync of a lone record.
STANDSTILL_SECONDS = 0.001
#: After a sync that took longer, so many lone records are waited for by the loop: a slow
#: disk holds it up for a tenth of them, and a fast one that was slow once is soon found out.
APPENDS_AFTER_SLOW_SYNC = 9


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
        self._loop = asyncio.get_running_loop()
        self._lock_fd = taken.lock_fd
        self._waiters = Waiters(self._loop)
        self._turn_began = False  # with the first record of level `power` in this turn
        self._grouped = 0  # of this turn's, so many wait for its end
        self._crowded = True  # more than one did so in the turn before, for all that is known
        self._not_alone_for = 0  # so many more, after a slow sync
        self._watching = False  # a lone record is on its way, and its turn is not over
        self._flush_timer: asyncio.TimerHandle | None = None
        self._closing = asyncio.Lock()
        self._closed = False
        self._log = log = SegmentLog(
            directory,
            taken=taken,
            clock=clock,
            randbits=randbits,
            segment_bytes=segment_bytes,
            max_bytes=max_bytes,
            retention=retention,
            waiters=self._waiters,
            announce=self._announce,
            on_fault=on_fault,
            files=files,
        )
        self.incarnation = log.incarnation
        self.report = log.report
        # The log's own methods: a frame of Python in between would be a tenth of an append.
        self.append_nowait = log.append_nowait
        self.ack = log.ack
        self.read = log.read
        self.checkpoint = log.checkpoint

    @property
    def first_seq(self) -> int:
        return self._log.first_seq

    @property
    def last_seq(self) -> int:
        return self._log.last_seq

    @property
    def acked(self) -> int:
        return self._log.acked

    @property
    def wants_checkpoint(self) -> bool:
        return self._log.wants_checkpoint

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
    def is_at(path: str | os.PathLike[str]) -> bool:
        """Whether the folder is one that `open` has made, be it empty or damaged."""
        folder = Path(path)
        return (folder / "LOCK").exists() or any(folder.glob("*.seg"))

    @staticmethod
    def inspect(path: str | os.PathLike[str]) -> Inspection:
        """Look into a journal that another process may be writing. Blocks; changes nothing.

        :raises JournalDamaged, JournalVersion: as `open`.
        """
        return Inspection(Path(path), Files())

    def append(
        self,
        kind: int,
        body: bytes,
        *,
        durability: Durability = Durability.POWER,
        reserve: bool = False,
    ) -> Appended:
        if durability is Durability.PROCESS:
            return Appending(self.append_nowait(kind, body, reserve=reserve))
        if durability is Durability.POWER and not self._turn_began:
            self._turn_began = True  # who else comes in it shares the next sync
            self._loop.call_soon(self._end_turn)
            if self._is_alone():
                return self._append_alone(kind, body, reserve=reserve)
        seq = self._log.append_buffered(kind, body, reserve=reserve)
        if durability is Durability.MEMORY:
            if not self._grouped and self._flush_timer is None:
                self._flush_timer = self._loop.call_later(SYNC_INTERVAL_SECONDS, self._flush_late)
            return Appending(seq)
        self._grouped += 1
        return Appending(seq, self._waiters.until(seq))

    def _is_alone(self) -> bool:
        """Whether the first of a turn has nobody to share a sync with, as it seems."""
        if self._crowded or self._waiters:
            return False
        if self._not_alone_for:
            self._not_alone_for -= 1
            return False
        return True

    def _append_alone(self, kind: int, body: bytes, *, reserve: bool) -> Appending:
        seq = self.append_nowait(kind, body, reserve=reserve)
        reached = self._waiters.until(seq)
        self._watching = True
        self._log.sync_watched(STANDSTILL_SECONDS)

        def stand_still() -> None:
            if not self._watching:
                return
            self._watching = False
            if not self._log.watch(STANDSTILL_SECONDS):
                self._not_alone_for = APPENDS_AFTER_SLOW_SYNC

        return Appending(seq, reached, stand_still)

    def _end_turn(self) -> None:
        if self._watching:
            self._watching = False
            self._log.look_away()
        grouped, self._grouped = self._grouped, 0
        self._turn_began = False
        self._crowded = grouped > 1
        if grouped:
            self._log.flush_and_sync()

    async def sync(self) -> None:
        position = self._log.begin_sync()
        if position is not None:
            await self._waiters.until(*position)

    async def aclose(self) -> None:
        async with self._closing:  # who comes second returns when it is closed, too
            if self._closed:
                return
            try:
                # What fails here was told to `on_fault` and to those who wait.
                with contextlib.suppress(JournalError):
                    await self.sync()
            finally:
                self._closed = True
                self._log.stop()
                if self._flush_timer is not None:
                    self._flush_timer.cancel()
                await self._wait_until_ended()

    async def _wait_until_ended(self) -> None:
        """Wait for the sync thread, then release everything; a cancellation is raised after that.

        A device that hangs does not hang the loop, but its thread is waited for: until it
        has ended it may write to files that the next opening reads.
        """
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not self._waiters.ended.done():
                try:
                    await asyncio.wait((self._waiters.ended,))
                except asyncio.CancelledError as error:  # of the task, which no shield stops
                    cancelled = error
        self._log.close()
        os.close(self._lock_fd)
        if cancelled is not None:
            raise cancelled

    def _flush_late(self) -> None:
        """Write what only records of level `memory` have waited for."""
        self._flush_timer = None
        with contextlib.suppress(JournalError):  # told to `on_fault` and to those who wait
            self._log.flush()

    def _announce(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed; nobody waits any more
            self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._log.collect()
