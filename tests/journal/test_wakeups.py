"""Whoever waits is told: hand-overs between the event loop and the sync thread."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journal_rigs import DiskRig, FaultyFiles

from holdfast.journal import Durability, FileJournal, JournalError, JournalFailed

pytestmark = pytest.mark.anyio

#: Far beyond what a loaded machine needs; reached only where a wake-up was lost.
BOUND_SECONDS = 30


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DiskRig]:
    made = DiskRig(tmp_path / "journal", random.Random(7))
    yield made
    await made.aclose()
    assert made.files.closed_while_syncing == []


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def is_segment(fd: int) -> bool:
    return os.readlink(f"/proc/self/fd/{fd}").endswith(".seg")


def sync_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "holdfast-journal-sync"]


def block_the_loop_until(condition: Callable[[], object]) -> None:
    """Results of the thread wait meanwhile, as they do while the bot computes."""
    give_up = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "never came true"
        time.sleep(0.002)


class Hooked:
    """Calls something before each sync of a segment, and counts them."""

    def __init__(self, files: FaultyFiles) -> None:
        self._sync = files.sync
        self.count = 0
        self.before: Callable[[int], None] = lambda fd: None
        files.sync = self  # type: ignore[method-assign, assignment]

    def __call__(self, fd: int) -> None:
        if is_segment(fd):
            self.count += 1
            self.before(fd)
        self._sync(fd)


async def test_news_of_files_that_were_replaced_is_no_news(rig: DiskRig) -> None:
    """A success that the loop hears of late says nothing of the segment it writes by then."""
    journal = await rig.open()
    await journal.append(1, b"0")
    syncs = Hooked(rig.files)
    journal.append_nowait(1, b"1")
    # When the second begins, the success of the first waits for the loop.
    block_the_loop_until(lambda: syncs.count >= 2)
    left = max(rig.path.glob("*.seg")).name
    failed: list[str] = []

    def fail_the_next_segment(fd: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{fd}")).name
        if name != left and not failed:
            failed.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    syncs.before = fail_the_next_segment
    rig.files.write_faults = 1
    journal.append_nowait(1, b"2")
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(JournalFailed, match="so did the segment before"):
            await journal.sync()
    assert len(failed) == 1


async def test_sync_that_is_the_first_to_hear_of_a_failure(rig: DiskRig) -> None:
    """It must not wait for what nobody will do any more."""
    journal = await rig.open()
    await journal.append(1, b"0")
    journal.append_nowait(1, b"1")
    rig.files.write_faults = rig.files.failing_syncs = 1
    journal.append_nowait(1, b"2")
    block_the_loop_until(lambda: not rig.files.failing_syncs)
    time.sleep(0.1)  # noqa: ASYNC251 - the result follows the failure
    async with asyncio.timeout(BOUND_SECONDS):
        # If the failing sync was still of the files that were left, it says nothing.
        with contextlib.suppress(JournalFailed):
            await journal.sync()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_sync_after_the_thread_died_unheard(rig: DiskRig) -> None:
    journal = await rig.open()
    await journal.append(1, b"0")

    def bug(fd: int) -> None:
        raise RuntimeError("a bug")

    rig.files.sync = bug  # type: ignore[method-assign]
    journal.append_nowait(1, b"1")
    block_the_loop_until(lambda: not sync_threads())
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(JournalFailed, match="a bug"):
            await journal.sync()


async def test_waiters_are_told_even_if_on_fault_raises(rig: DiskRig) -> None:
    class Rude(list[str]):
        def append(self, fault: str) -> None:
            raise RuntimeError(fault)

    rig.faults = Rude()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    journal = await rig.open()
    rig.files.failing_syncs = 2
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(JournalFailed):
            await journal.append(1, b"1")


async def test_level_process_is_synced_soon_after_every_rest(rig: DiskRig) -> None:
    """Nobody syncs, acks or rotates, and the spare is made: only the timer is left."""
    journal = await rig.open()
    syncs = Hooked(rig.files)
    for _ in range(3):
        before = syncs.count
        journal.append_nowait(1, b"event")
        block_the_loop_until(lambda before=before: syncs.count > before)  # type: ignore[misc]
        async with asyncio.timeout(BOUND_SECONDS):
            await journal.sync()
        await asyncio.sleep(0.2)  # it rests, and has stopped its timer


async def test_records_that_move_over_segments_while_the_thread_would_sync(rig: DiskRig) -> None:
    """It must not close the first of the new segments before all of them are written."""
    journal = await rig.open(max_bytes=1 << 22)
    await journal.append(1, b"first")
    rig.files.gate.clear()
    expected = [b"first"]
    for i in range(300):
        expected.append(b"%d" % i * 300)
        journal.append_nowait(1, expected[-1])
    rename, begun = rig.files.rename, 0

    def slow_rename(source: Path, target: Path) -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            rig.files.gate.set()
            time.sleep(0.5)
        rename(source, target)

    rig.files.rename = slow_rename  # type: ignore[method-assign]
    rig.files.write_faults = 1
    journal.append_nowait(1, b"last")
    assert begun >= 3
    async with asyncio.timeout(BOUND_SECONDS):
        await journal.sync()
    expected.append(b"last")
    assert [record.body for record in journal.read(after=0, limit=1000)] == expected
    assert len(rig.faults) == 1


async def test_two_that_close_at_once(rig: DiskRig) -> None:
    before = set(os.listdir("/proc/self/fd"))
    journal = await rig.open()
    journal.append_nowait(1, b"event")
    async with asyncio.timeout(BOUND_SECONDS):
        await asyncio.gather(*(journal.aclose() for _ in range(3)))
    assert not sync_threads()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
    assert [r.body for r in (await rig.open()).read(after=0)] == [b"event"]


async def test_close_that_is_cancelled_again_and_again(rig: DiskRig) -> None:
    """The lock goes when the thread is gone, and not before; nobody is left waiting."""
    journal = await rig.open()
    rig.files.gate.clear()
    waiting = asyncio.ensure_future(journal.append(1, b"event"))
    await asyncio.sleep(0.05)
    closing = asyncio.ensure_future(journal.aclose())
    for _ in range(4):
        await asyncio.sleep(0.02)
        closing.cancel()
    await asyncio.sleep(0.02)
    assert not closing.done()
    rig.files.gate.set()
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await waiting == 1
    assert [r.body for r in (await rig.open()).read(after=0)] == [b"event"]


async def test_what_is_appended_while_it_closes_is_written(rig: DiskRig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"0")
    rig.files.gate.clear()
    closing = asyncio.ensure_future(journal.aclose())
    await asyncio.sleep(0.02)
    waiting = asyncio.ensure_future(journal.append(1, b"1"))
    await asyncio.sleep(0)
    await journal.append(1, b"2", durability=Durability.MEMORY)
    rig.files.gate.set()
    async with asyncio.timeout(BOUND_SECONDS):
        await closing
        assert await waiting == 2
    assert [r.body for r in (await rig.open()).read(after=0)] == [b"0", b"1", b"2"]


class Unsteady(FaultyFiles):
    """Every call takes a while, now and then a long one, and some fail."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self._dice = dice
        for name in ("sync", "sync_directory", "create", "rename", "close", "unlink", "write"):
            setattr(self, name, self._delayed(getattr(self, name)))

    def _delayed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def delayed(*arguments: Any) -> Any:
            self._pause()
            try:
                return call(*arguments)
            finally:
                self._pause()

        return delayed

    def _pause(self) -> None:
        dice = self._dice.random()
        if dice < 0.01:
            time.sleep(0.01)
        elif dice < 0.3:
            time.sleep(0)

    def misbehave(self) -> None:
        self.write_errno = self._dice.choice([errno.EIO, errno.ENOSPC])
        match self._dice.randrange(6):
            case 0:
                self.failing_syncs = self._dice.choice([1, 1, 1, 2])
            case 1 | 2:
                self.write_faults = self._dice.choice([1, 1, 1, 2])
                self.write_short = self._dice.choice([0, 5, 50])
            case 3:
                self.free_bytes = 0
            case _:
                self.free_bytes = None

    def heal(self) -> None:
        self.free_bytes, self.failing_syncs, self.write_faults = None, 0, 0


async def live_and_close(rig: DiskRig, dice: random.Random) -> None:
    """One life of a journal: everybody acts at random, and then it is closed under them."""
    assert isinstance(rig.files, Unsteady)
    rig.files.heal()
    journal: FileJournal = await rig.open(retain_acked_seconds=0)
    powersafe: dict[int, bytes] = {}

    async def act(name: int) -> None:
        while True:
            body = b"%d %d " % (name, dice.randrange(1000)) + bytes(dice.choice([0, 100, 9000]))
            try:
                match dice.randrange(10):
                    case 0 | 1:
                        journal.append_nowait(1, body)
                    case 2:
                        await journal.append(1, body, durability=Durability.MEMORY)
                    case 3:
                        await journal.sync()
                    case 4:
                        journal.ack(journal.last_seq)
                    case 5:
                        journal.checkpoint(b"")
                    case 6:
                        task = asyncio.ensure_future(journal.append(1, body))
                        await asyncio.sleep(dice.choice([0, 0, 0.001]))
                        task.cancel()
                        await asyncio.wait([task])
                        task.cancelled() or task.exception()
                    case 7:
                        rig.clock.now += 1
                        await asyncio.sleep(dice.choice([0, 0.002, 0.08]))
                    case _:
                        powersafe[await journal.append(1, body)] = body
            except JournalFailed:
                return
            except JournalError:
                await asyncio.sleep(0.001)

    async def trouble() -> None:
        for _ in range(dice.randrange(8)):
            await asyncio.sleep(dice.choice([0, 0.01, 0.03]))
            rig.files.misbehave()  # type: ignore[attr-defined]

    async with asyncio.timeout(BOUND_SECONDS), asyncio.TaskGroup() as tasks:
        for name in range(6):
            tasks.create_task(act(name))
        await tasks.create_task(trouble())
        await asyncio.gather(*(journal.aclose() for _ in range(dice.choice([1, 1, 2]))))
    assert not sync_threads()
    rig.files.heal()
    # A journal that failed, in this life or before, may have written an ack and not its record.
    failed = any("Repair or replace" in fault for fault in rig.faults)
    journal = await rig.open(retain_acked_seconds=0)
    try:
        assert failed or journal.report.damaged == (), str(journal.report)
        found = {record.seq: record.body for record in journal.read(after=0, limit=1_000_000)}
        for seq, body in powersafe.items():
            assert seq < journal.first_seq or found[seq] == body
    finally:
        await journal.aclose()


async def stress(folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    rig = DiskRig(folder / "journal", dice)
    rig.files = Unsteady(dice)
    for _ in range(3):
        await live_and_close(rig, dice)
    assert rig.files.closed_while_syncing == []


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("seed", range(4))
async def test_everybody_who_waits_is_told(tmp_path: Path, seed: int) -> None:
    await stress(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("restless")
async def test_everybody_who_waits_is_told_at_length(tmp_path: Path) -> None:
    first = random.SystemRandom().randrange(1 << 32)
    for seed in range(first, first + 300):
        try:
            await stress(tmp_path / str(seed), seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
