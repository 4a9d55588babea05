"""Disks that are slow, full or broken, and the order in which files are touched."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from journal_rigs import DiskRig, FaultyFiles, ManualClock, until

from holdfast.journal import Durability, FileJournal, JournalFailed, JournalFull, Record

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DiskRig]:
    made = DiskRig(tmp_path / "journal", random.Random(7))
    yield made
    await made.aclose()
    assert made.files.closed_while_syncing == []


def bodies(journal: FileJournal) -> list[bytes]:
    return [record.body for record in everything(journal)]


def everything(journal: FileJournal) -> list[Record]:
    return journal.read(after=0, limit=1_000_000)


def append_until_full(journal: FileJournal, body: bytes, *, kind: int = 1) -> int:
    for count in range(20_000):
        try:
            journal.append_nowait(kind, body)
        except JournalFull:
            return count
    raise AssertionError("the journal never was full")


async def test_segments_fill_while_the_device_hangs(rig: DiskRig) -> None:
    """The next segment is made in place when the thread has not prepared one."""
    journal = await rig.open()
    rig.files.gate.clear()
    expected = [b"%d" % i * 300 for i in range(400)]
    for body in expected:
        journal.append_nowait(1, body)
    assert bodies(journal) == expected
    rig.files.gate.set()
    await journal.sync()
    assert bodies(journal) == expected
    await rig.crash()
    assert bodies(await rig.open()) == expected


async def test_no_file_is_prepared_twice(rig: DiskRig) -> None:
    """A spare emptied and filled again while it is the current segment loses its records."""
    journal = await rig.open(retain_acked_seconds=0)
    for i in range(600):
        journal.append_nowait(1, b"x" * 3000)
        if journal.wants_checkpoint:
            journal.checkpoint(b"")
        journal.ack(journal.last_seq)
        time.sleep(0.0005)  # noqa: ASYNC251 - results wait here, as in a busy loop
        if i % 20 == 0:
            await journal.sync()
        assert journal.read(after=journal.last_seq - 1)
    created = [name for what, name in rig.files.events if what == "create"]
    assert len(created) > 10
    assert len(created) == len(set(created))
    await rig.crash()
    journal = await rig.open()
    assert journal.report.damaged == ()
    assert journal.last_seq >= 600


async def test_a_device_that_hangs_is_not_buffered_without_bound(
    rig: DiskRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.journal.pages.RING_BYTES", 0)
    monkeypatch.setattr("holdfast.journal.log.MAX_UNSYNCED_BYTES", 1 << 17)
    journal = await rig.open(segment_bytes=1 << 20, max_bytes=1 << 24)
    rig.files.gate.clear()
    append_until_full(journal, b"x" * 1000)
    journal.append_nowait(2, b"exit", reserve=True)
    rig.files.gate.set()
    await journal.sync()
    journal.append_nowait(1, b"again")


def is_segment(fd: int) -> bool:
    """Whether it is a file of the log, and not the spare in the making."""
    return os.readlink(f"/proc/self/fd/{fd}").endswith(".seg")


class SteppedSync:
    """Lets the syncs of a journal through one at a time."""

    def __init__(self, files: FaultyFiles) -> None:
        self._sync = files.sync
        self._may_pass = threading.Semaphore(0)
        self.begun = self.done = 0
        files.sync = self  # type: ignore[method-assign, assignment]

    def __call__(self, fd: int) -> None:
        if not is_segment(fd):
            self._sync(fd)
            return
        self.begun += 1
        assert self._may_pass.acquire(timeout=5)
        self._sync(fd)
        self.done += 1

    def let_pass(self, count: int) -> None:
        self._may_pass.release(count)


@pytest.mark.parametrize("last", ["ack", "checkpoint"])
async def test_nothing_is_unlinked_before_ack_and_checkpoint_are_durable(
    rig: DiskRig, last: str
) -> None:
    """A sync that ran already when the ack was written does not cover it."""
    journal = await rig.open(retain_acked_seconds=0)
    for _ in range(200):
        journal.append_nowait(1, b"x" * 1000)
    if last == "ack":
        journal.checkpoint(b"state")
    else:
        journal.ack(200)
    await journal.sync()
    stepped = SteppedSync(rig.files)
    journal.append_nowait(1, b"more")
    await until(lambda: stepped.begun == 1)
    if last == "ack":
        journal.ack(200)
    else:
        journal.checkpoint(b"state")
    stepped.let_pass(1)
    try:
        await until(lambda: stepped.begun == 2)
        await asyncio.sleep(0.05)
        assert stepped.done == 1
        assert journal.first_seq == 1
        assert not [name for _, name in rig.files.events if name.endswith(".seg")]
    finally:
        stepped.let_pass(1000)
    await journal.sync()
    assert journal.first_seq > 1
    oldest = f"{journal.first_seq:020d}.seg"
    await until(lambda: min(rig.path.glob("*.seg")).name.endswith(oldest))
    first_seq = journal.first_seq
    await rig.crash()
    journal = await rig.open()
    assert (journal.first_seq, journal.acked) == (first_seq, 200)


async def test_background_sync_needs_no_event_loop(rig: DiskRig) -> None:
    synced = threading.Event()
    journal = await rig.open()
    await journal.sync()
    original = rig.files.sync
    rig.files.sync = lambda fd: (original(fd), synced.set())[0]  # type: ignore[method-assign]
    journal.append_nowait(1, b"event")
    assert synced.wait(10), "the loop is blocked here, and the thread must not care"


async def test_rests_when_everything_is_synced(rig: DiskRig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"event")
    await journal.sync()
    await asyncio.sleep(0.2)
    count = 0
    original = rig.files.sync

    def counting(fd: int) -> None:
        nonlocal count
        count += 1
        original(fd)

    rig.files.sync = counting  # type: ignore[method-assign]
    await asyncio.sleep(0.3)
    assert count == 0


async def test_waiting_appends_share_syncs(rig: DiskRig) -> None:
    journal = await rig.open()
    await journal.append(1, b"first")
    count = 0
    original = rig.files.sync

    def counting(fd: int) -> None:
        nonlocal count
        count += 1
        original(fd)

    rig.files.sync = counting  # type: ignore[method-assign]
    await asyncio.gather(*(journal.append(1, b"%d" % i) for i in range(200)))
    assert count < 50


async def test_memory_level_goes_out_by_itself(rig: DiskRig) -> None:
    journal = await rig.open()
    await journal.append(1, b"soon", durability=Durability.MEMORY)
    await until(lambda: list(FileJournal.inspect(rig.path).records()))


@pytest.mark.parametrize("ring_bytes", [0, 4 << 20])
async def test_failed_sync_moves_unsynced_records_of_several_segments(
    rig: DiskRig, monkeypatch: pytest.MonkeyPatch, ring_bytes: int
) -> None:
    monkeypatch.setattr("holdfast.journal.pages.RING_BYTES", ring_bytes)
    journal = await rig.open(max_bytes=1 << 22)
    for i in range(100):
        journal.append_nowait(1, b"%d" % i * 200)
        if i == 60:
            await journal.sync()
    await journal.sync()
    rig.files.gate.clear()
    for i in range(100, 700):
        journal.append_nowait(1, b"%d" % i * 200)
    journal.ack(650)
    rig.files.failing_syncs = 1
    rig.files.gate.set()
    await journal.sync()
    expected = [b"%d" % i * 200 for i in range(700)]
    assert bodies(journal) == expected
    assert len([fault for fault in rig.faults if "failed" in fault]) == 1
    journal.append_nowait(1, b"after")
    await rig.crash()
    journal = await rig.open(max_bytes=1 << 22)
    assert bodies(journal) == [*expected, b"after"]
    assert journal.acked == 650
    assert journal.report.damaged == ()


async def test_records_move_even_if_the_journal_is_full(rig: DiskRig) -> None:
    """An outage fills the journal to its bound: no time to close it over one bad sector."""
    journal = await rig.open()
    while append_until_full(journal, b"x" * 1000):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # a spare may be in the making
    last = journal.last_seq
    rig.fail_syncs(1)
    assert await journal.append(2, b"exit", reserve=True) == last + 1
    assert len(rig.faults) == 1
    append_until_full(journal, b"y" * 1000)
    await rig.crash()
    journal = await rig.open()
    assert len(journal.read(after=0, kinds={2})) == 1
    assert journal.report.damaged == ()


async def test_failed_write_moves_too(rig: DiskRig) -> None:
    journal = await rig.open()
    for i in range(10):
        journal.append_nowait(1, b"%d" % i)
    rig.files.write_faults, rig.files.write_short = 1, 9
    assert journal.append_nowait(1, b"10") == 11
    await journal.sync()
    rig.files.write_faults = 1
    assert await journal.append(1, b"11") == 12
    assert bodies(journal) == [b"%d" % i for i in range(12)]
    await rig.crash()
    journal = await rig.open()
    assert bodies(journal) == [b"%d" % i for i in range(12)]
    assert journal.report.damaged == ()


@pytest.mark.parametrize("fails", [False, True])
async def test_write_fails_while_a_sync_runs(rig: DiskRig, fails: bool) -> None:
    """The sync of the files that were left says nothing about the segment after them."""
    journal = await rig.open()
    await journal.append(1, b"0")
    rig.files.gate.clear()
    journal.append_nowait(1, b"1")
    waiting = asyncio.ensure_future(journal.append(1, b"2"))
    await until(lambda: any(map(is_segment, list(rig.files.syncing))))
    rig.files.failing_syncs = int(fails)
    rig.files.write_faults = 1
    assert journal.append_nowait(1, b"3") == 4
    assert len(rig.faults) == 1
    rig.files.gate.set()
    assert await waiting == 3
    assert await journal.append(1, b"4") == 5
    assert len(rig.faults) == 1
    assert rig.files.failing_syncs == 0
    assert bodies(journal) == [b"%d" % i for i in range(5)]
    await rig.crash()
    assert bodies(await rig.open()) == [b"%d" % i for i in range(5)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_thread_that_died(rig: DiskRig) -> None:
    journal = await rig.open()
    await journal.append(1, b"0")

    def bug(fd: int) -> None:
        raise RuntimeError("a bug")

    rig.files.sync = bug  # type: ignore[method-assign]
    with pytest.raises(JournalFailed, match="a bug"):
        await asyncio.wait_for(journal.append(1, b"1"), 20)
    with pytest.raises(JournalFailed):
        journal.append_nowait(1, b"2")


async def test_device_gone_for_good(rig: DiskRig) -> None:
    journal = await rig.open()
    await journal.append(1, b"kept")
    rig.files.gate.clear()
    waiting = asyncio.ensure_future(journal.append(1, b"unknown"))
    await asyncio.sleep(0)
    rig.files.write_faults = 1000
    with pytest.raises(JournalFailed, match="Repair or replace"):
        journal.append_nowait(1, b"lost")
    with pytest.raises(JournalFailed):
        await waiting
    with pytest.raises(JournalFailed):
        await journal.sync()
    assert len(rig.faults) == 1
    rig.files.write_faults = 0
    rig.files.gate.set()
    await journal.aclose()
    journal = await rig.open()
    assert bodies(journal)[0] == b"kept"


@pytest.mark.parametrize("short", [0, 9, 40, 90])
async def test_no_space_within_a_segment_withdraws_whole_records(rig: DiskRig, short: int) -> None:
    """Copy-on-write file systems may refuse a write into reserved blocks."""
    journal = await rig.open()
    journal.append_nowait(1, b"before")
    levels = [Durability.MEMORY, Durability.POWER, Durability.POWER]
    rig.files.write_faults, rig.files.write_errno, rig.files.write_short = 1, errno.ENOSPC, short
    results = await asyncio.gather(
        *(journal.append(1, b"%d" % i * 20, durability=level) for i, level in enumerate(levels)),
        return_exceptions=True,
    )
    whole = short // (16 + 20)
    assert [isinstance(result, JournalFull) for result in results[1:]] == [whole < 2, whole < 3]
    assert any("dropped" in fault for fault in rig.faults) == (whole < 1)
    assert journal.last_seq == 1 + whole
    rig.files.write_faults = 1
    with pytest.raises(JournalFull):
        journal.append_nowait(1, b"also refused")
    expected = [b"before", *(b"%d" % i * 20 for i in range(whole)), b"after"]
    assert journal.append_nowait(1, b"after") == len(expected)
    assert bodies(journal) == expected
    await rig.crash()
    journal = await rig.open()
    assert bodies(journal) == expected
    assert journal.report.damaged == ()


async def test_cancelled_close_leaves_nothing_behind(rig: DiskRig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"event")
    rig.files.gate.clear()
    closing = asyncio.ensure_future(journal.aclose())
    await asyncio.sleep(0.05)
    closing.cancel()
    await asyncio.sleep(0.05)
    rig.files.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    journal = await rig.open()
    assert bodies(journal) == [b"event"]
    await journal.aclose()
    assert not [t for t in threading.enumerate() if t.name == "holdfast-journal-sync"]


async def test_files_are_all_closed(rig: DiskRig) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        journal = await rig.open(retain_acked_seconds=0, max_bytes=1 << 23)
        for _ in range(300):
            journal.append_nowait(1, b"x" * 1000)
        journal.checkpoint(b"")
        journal.ack(journal.last_seq)
        await journal.sync()
        await journal.aclose()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MB, where mounting is permitted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        sys.platform == "linux"
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def exercise_full_disk(folder: Path, free: Callable[[], None]) -> None:
    faults: list[str] = []
    clock = ManualClock()

    async def opened() -> FileJournal:
        return await FileJournal.open(
            folder,
            clock=clock,
            randbits=random.getrandbits,
            on_fault=faults.append,
            segment_bytes=1 << 18,
        )

    journal = await opened()
    try:
        expected = [b"x" * 300] * append_until_full(journal, b"x" * 300)
        for i in range(20):
            journal.append_nowait(2, b"exit %d" % i, reserve=True)
            await journal.append(2, b"cancel %d" % i, reserve=True)
            expected += [b"exit %d" % i, b"cancel %d" % i]
        journal.ack(journal.last_seq - 5)
        await journal.aclose()
        journal = await opened()
        journal.append_nowait(2, b"exit", reserve=True)
        assert bodies(journal) == [*expected, b"exit"]
        free()
        clock.now += 1
        for _ in range(300):
            journal.append_nowait(1, b"y" * 1000)
        assert len(bodies(journal)) == len(expected) + 301
        assert faults == []
    finally:
        await journal.aclose()


async def test_full_file_system(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    await exercise_full_disk(small_disk / "journal", ballast.unlink)


async def test_file_size_limit(rig: DiskRig) -> None:
    """RLIMIT_FSIZE stands in for a full disk where nothing can be mounted."""
    journal = await rig.open()
    journal.append_nowait(1, b"before")
    await journal.sync()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    await asyncio.sleep(0.2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, hard))
    try:
        written = append_until_full(journal, b"x" * 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rig.clock.now += 1
    journal.append_nowait(1, b"after")
    assert len(bodies(journal)) == written + 2
    await rig.crash()
    assert len(bodies(await rig.open())) == written + 2
