"""A journal together with the disk under it: opened, killed, filled, broken."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from holdfast.journal import FileJournal, Journal, MemoryDisk, MemoryJournal
from holdfast.journal.files import Files


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never came true")


class ManualClock:
    """Time stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FaultyFiles(Files):
    """The real system calls, of which some fail.

    :ivar free_bytes: what the disk still takes in new blocks, None for no limit.
    :ivar write_short: how much the next write takes, before the faults.
    :ivar write_errno: raised by the next record writes, `write_faults` of them.
    :ivar failing_syncs: file syncs that fail with EIO.
    :ivar hold: when set, syncs wait until it is set again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.write = self._write
        self._counting = threading.Lock()  # threads of journals that "crashed" go on, too
        self._free_bytes: int | None = None
        self.failing_syncs = 0
        self.write_errno = errno.EIO
        self.write_faults = 0
        self.write_short = 0
        self.gate = threading.Event()
        self.gate.set()
        self.synced: dict[int, int] = {}
        self.failed_fds: set[int] = set()
        self.closed_while_syncing: list[int] = []
        self.syncing: set[int] = set()
        self.events: list[tuple[str, Any]] = []

    @property
    def free_bytes(self) -> int | None:
        return self._free_bytes

    @free_bytes.setter
    def free_bytes(self, value: int | None) -> None:
        with self._counting:
            self._free_bytes = value

    def _take(self, size: int) -> None:
        with self._counting:
            if self._free_bytes is not None:
                if size > self._free_bytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._free_bytes -= size

    def _write(self, fd: int, data: bytes) -> int:
        if self.write_short:
            data, self.write_short = data[: self.write_short], 0
            return os.write(fd, data)
        if self.write_faults:
            self.write_faults -= 1
            raise OSError(self.write_errno, os.strerror(self.write_errno))
        return os.write(fd, data)

    def create(self, path: Path) -> int:
        self.events.append(("create", path.name))
        return super().create(path)

    def allocate(self, fd: int, size: int) -> None:
        self._take(size)
        super().allocate(fd, size)

    def fill(self, fd: int, offset: int, size: int) -> None:
        self._take(size)
        super().fill(fd, offset, size)

    def sync(self, fd: int) -> None:
        if fd in self.failed_fds:
            raise AssertionError("a sync that failed was repeated on the same file")
        self.syncing.add(fd)
        try:
            self.gate.wait(10)
            with self._counting:
                if self.failing_syncs and os.readlink(f"/proc/self/fd/{fd}").endswith(".seg"):
                    self.failing_syncs -= 1
                    self.failed_fds.add(fd)
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(fd)
        finally:
            self.syncing.discard(fd)

    def close(self, fd: int) -> None:
        if fd in self.syncing:
            self.closed_while_syncing.append(fd)
        self.failed_fds.discard(fd)
        super().close(fd)

    def truncate(self, path: Path, size: int) -> None:
        self._take(size - path.stat().st_size)
        super().truncate(path, size)

    def unlink(self, path: Path) -> None:
        if path.exists():
            self._take(-path.stat().st_size)
        self.events.append(("unlink", path.name))
        super().unlink(path)


class Rig(Protocol):
    clock: ManualClock
    faults: list[str]

    async def open(self, **options: Any) -> Journal: ...

    async def crash(self, *, lose_unsynced: bool = False) -> None: ...

    async def fill(self) -> None: ...

    async def free(self) -> None: ...

    def fail_syncs(self, count: int) -> None: ...

    async def aclose(self) -> None: ...


SMALL = {"segment_bytes": 1 << 16, "max_bytes": 1 << 20, "retain_acked_bytes": 1 << 17}


class DiskRig:
    """A crash is a copy of the folder at that moment; the copy is what is opened next.

    What a power cut loses can not be played on files; that is the memory disk's part,
    and that of the cut image of a real file system.
    """

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self.files = FaultyFiles()
        self.clock = ManualClock()
        self.faults: list[str] = []
        self._dice = dice
        self._journal: FileJournal | None = None
        self._abandoned: list[FileJournal] = []
        self._copies = 0

    async def open(self, **options: Any) -> FileJournal:
        self._journal = await FileJournal.open(
            self.path,
            clock=self.clock,
            randbits=self._dice.getrandbits,
            on_fault=self.faults.append,
            files=self.files,
            **(SMALL | options),
        )
        return self._journal

    async def crash(self, *, lose_unsynced: bool = False) -> None:
        assert self._journal is not None
        self._copies += 1
        copy = self.path.with_name(f"crashed-{self._copies}")
        copy.mkdir()
        for name in sorted(os.listdir(self.path)):
            if name.endswith(".tmp"):
                continue
            try:
                shutil.copyfile(self.path / name, copy / name)
            except FileNotFoundError:
                # The thread unlinks meanwhile, oldest first: what was copied before is gone too.
                for older in copy.glob("*.seg"):
                    older.unlink()
        self._abandoned.append(self._journal)
        self._journal = None
        self.path = copy

    async def fill(self) -> None:
        self.files.free_bytes = 0

    async def free(self) -> None:
        self.files.free_bytes = None

    def fail_syncs(self, count: int) -> None:
        self.files.failing_syncs = count

    async def aclose(self) -> None:
        self.files.failing_syncs = 0
        self.files.gate.set()
        for journal in [*self._abandoned, self._journal]:
            if journal is not None:
                await journal.aclose()


class MemoryRig:
    def __init__(self, dice: random.Random) -> None:
        self.disk = MemoryDisk(reserve_bytes=1 << 14)
        self.clock = ManualClock()
        self.faults: list[str] = []
        self._dice = dice
        self._journal: MemoryJournal | None = None

    async def open(self, **options: Any) -> MemoryJournal:
        self._journal = MemoryJournal.open(
            self.disk,
            clock=self.clock,
            randbits=self._dice.getrandbits,
            on_fault=self.faults.append,
            **(SMALL | options),
        )
        return self._journal

    async def crash(self, *, lose_unsynced: bool = False) -> None:
        self.disk.crash(lose_unsynced=lose_unsynced)

    async def fill(self) -> None:
        self.disk.full = True

    async def free(self) -> None:
        self.disk.full = False

    def fail_syncs(self, count: int) -> None:
        self.disk.failing_syncs = count

    async def aclose(self) -> None:
        if self._journal is not None:
            await self._journal.aclose()
