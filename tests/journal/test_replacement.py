"""Killed while records move from a segment that failed: at every system call of the move."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from journal_rigs import SMALL, DiskRig, FaultyFiles, ManualClock

from holdfast.journal import Durability, FileJournal, JournalFailed, OpenReport
from holdfast.journal.frame import DATA_OFFSET

pytestmark = pytest.mark.anyio


class Moment(NamedTuple):
    """What a kill would have left: the folder, and what had been promised by then."""

    after: str
    folder: Path
    promised: list[bytes]
    acked: int


class KilledFiles(FaultyFiles):
    """Keeps a copy of the folder before each system call of the loop, and within each write.

    :ivar promised: bodies of the appends that have returned.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.moments: list[Moment] = []
        self.promised: list[bytes] = []
        self.acked = 0
        self.watching = False
        self._folder = folder
        self._loop_thread = threading.get_ident()

    def note(self, call: str) -> None:
        if not self.watching or threading.get_ident() != self._loop_thread:
            return
        copy = self._folder.with_name(f"killed-{len(self.moments)}")
        copy.mkdir()
        for name in os.listdir(self._folder):
            shutil.copyfile(self._folder / name, copy / name)
        self.moments.append(Moment(call, copy, [*self.promised], self.acked))

    def _write(self, fd: int, data: bytes) -> int:
        self.note("write")
        if self.write_faults:
            return super()._write(fd, data)
        half = super()._write(fd, data[: len(data) // 2])
        self.note("half a write")
        return half + super()._write(fd, data[half:])

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        self.note("write_at")
        super().write_at(fd, data, offset)

    def create(self, path: Path) -> int:
        self.note("create")
        return super().create(path)

    def allocate(self, fd: int, size: int) -> None:
        self.note("allocate")
        super().allocate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        self.note("rename")
        super().rename(source, target)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DiskRig]:
    made = DiskRig(tmp_path / "journal", random.Random(7))
    made.files = KilledFiles(made.path)
    yield made
    await made.aclose()


def bodies(journal: FileJournal) -> list[bytes]:
    return [record.body for record in journal.read(after=0, limit=100_000)]


async def reopen(folder: Path, then: Callable[[FileJournal], object]) -> OpenReport:
    journal = await FileJournal.open(
        folder,
        clock=ManualClock(),
        randbits=random.Random(8).getrandbits,
        on_fault=pytest.fail,
        **SMALL,
    )
    try:
        then(journal)
        return journal.report
    finally:
        await journal.aclose()


async def check(moment: Moment, appended: list[bytes]) -> None:
    found: list[bytes] = []

    def look(journal: FileJournal) -> None:
        found[:] = bodies(journal)
        kept = found[: len(moment.promised)]
        assert kept == moment.promised, f"killed before {moment.after}: {len(kept)} are left"
        assert found == appended[: len(found)], f"killed before {moment.after}: invented"
        assert moment.acked <= journal.acked <= len(found)
        journal.append_nowait(1, b"another life")

    def look_again(journal: FileJournal) -> None:
        assert bodies(journal) == [*found, b"another life"]

    first = await reopen(moment.folder, look)
    assert first.damaged == (), moment.after
    second = await reopen(moment.folder, look_again)
    assert second.damaged == (), moment.after
    assert set(second.torn) <= set(first.torn), f"{moment.after}: bytes of the move in a new file"


@pytest.mark.parametrize("what", ["sync", "write"])
@pytest.mark.parametrize("count", [30, 250])
async def test_killed_anywhere_while_records_move(rig: DiskRig, what: str, count: int) -> None:
    """The old segments hold what was promised until the new ones hold all of it."""
    files = rig.files
    assert isinstance(files, KilledFiles)
    journal = await rig.open()
    appended = [b"%d " % i + b"x" * 600 for i in range(count + 21)]
    for body in appended[:20]:
        await journal.append(1, body)
    files.gate.clear()
    for body in appended[20 : count + 20]:
        journal.append_nowait(1, body)
    journal.ack(count // 2)
    files.promised, files.acked, files.watching = appended[: count + 20], count // 2, True
    if what == "sync":
        files.failing_syncs = 1
        files.gate.set()
        await journal.append(1, appended[-1], durability=Durability.POWER)
    else:
        files.write_faults = 1
        journal.append_nowait(1, appended[-1])
        files.gate.set()
    files.promised = appended
    files.note("the end")
    files.watching = False
    assert len(rig.faults) == 1
    assert len(files.moments) > 7
    assert bodies(journal) == appended
    for moment in files.moments:
        await check(moment, appended)


@pytest.mark.parametrize("why", ["no room", "no name"])
async def test_a_move_that_fails_leaves_the_old_segments(rig: DiskRig, why: str) -> None:
    """What the old ones hold is read at the next opening, and no half of a new one."""
    files = rig.files
    journal = await rig.open()
    appended = [b"%d " % i + b"x" * 600 for i in range(250)]
    files.gate.clear()
    for body in appended:
        journal.append_nowait(1, body)
    renames: list[Path] = []

    def rename(source: Path, target: Path) -> None:
        renames.append(target)
        if len(renames) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        FaultyFiles.rename(files, source, target)

    if why == "no room":
        files.free_bytes = 1 << 17
    else:
        files.rename = rename  # type: ignore[method-assign]
    files.failing_syncs = 1
    files.gate.set()
    with pytest.raises(JournalFailed, match="could not be written elsewhere"):
        await journal.sync()
    assert len(renames) == (2 if why == "no name" else 0)
    files.free_bytes = None
    await journal.aclose()
    for spare in rig.path.glob("*.tmp"):
        assert not spare.read_bytes()[DATA_OFFSET:].strip(b"\0"), "left of the move"
    found: list[bytes] = []
    report = await reopen(rig.path, lambda journal: found.extend(bodies(journal)))
    assert found == appended
    assert report.damaged == ()
