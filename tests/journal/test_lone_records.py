"""A record that comes alone: synced at once, without the loop, for as long as that may take."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from journal_rigs import DiskRig, until

from holdfast.journal import Durability, FileJournal, JournalFailed
from holdfast.journal import file as journal_file

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 30


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DiskRig]:
    made = DiskRig(tmp_path / "journal", random.Random(7))
    yield made
    await made.aclose()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, the wait is long enough."""
    monkeypatch.setattr(journal_file, "STANDSTILL_SECONDS", BOUND_SECONDS)


async def settled(rig: DiskRig) -> FileJournal:
    """A journal that knows of nobody who would share a sync, and whose thread has nothing to do."""
    journal = await rig.open()
    await journal.append(1, b"0")
    await until(lambda: not journal._log._supply._preparing)
    return journal


def turns_of_the_loop() -> list[None]:
    """Grows by one at each turn."""
    turns: list[None] = []
    loop = asyncio.get_running_loop()

    def turn() -> None:
        turns.append(None)
        loop.call_soon(turn)

    loop.call_soon(turn)
    return turns


def counted_stays(journal: FileJournal) -> list[float]:
    """Grows by what is granted whenever the loop stands still for a sync."""
    stays: list[float] = []
    stay = journal._log.watch

    def counted(seconds: float) -> bool:
        stays.append(seconds)
        return stay(seconds)

    journal._log.watch = counted  # type: ignore[method-assign]
    return stays


async def append(journal: FileJournal, body: bytes) -> int:
    """Awaited in the turn in which it begins."""
    return await journal.append(1, body)


@pytest.mark.usefixtures("patient")
async def test_it_is_power_safe_before_the_loop_has_turned(rig: DiskRig) -> None:
    journal = await settled(rig)
    turns = turns_of_the_loop()
    seq = await journal.append(1, b"alone")
    assert not turns
    assert journal._log._synced.seq >= seq


async def test_a_slow_disk_does_not_hold_up_the_loop(rig: DiskRig) -> None:
    journal = await settled(rig)
    stays = counted_stays(journal)
    turns = turns_of_the_loop()
    for number in range(1, journal_file.APPENDS_AFTER_SLOW_SYNC + 2):
        rig.files.gate.clear()
        waiting = asyncio.ensure_future(append(journal, b"%d" % number))
        before = len(turns)
        await until(lambda before=before: len(turns) > before + 2)  # type: ignore[misc]
        assert not waiting.done()
        rig.files.gate.set()
        async with asyncio.timeout(BOUND_SECONDS):
            assert await waiting == number + 1
    assert stays == [0.001]


@pytest.mark.usefixtures("patient")
async def test_those_that_come_together_share_a_sync(rig: DiskRig) -> None:
    journal = await settled(rig)
    stays, syncs, sync = counted_stays(journal), [], rig.files.sync

    def counted(fd: int) -> None:
        syncs.append(fd)
        sync(fd)

    rig.files.sync = counted  # type: ignore[method-assign]
    for crowd in range(2):
        await asyncio.gather(*(append(journal, b"%d" % crowd) for _ in range(200)))
        assert len(stays) == 1  # the very first could not know of the others
        assert len(syncs) < 20  # theirs, and those by the timer
        syncs.clear()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("failing_syncs", [1, 2])
async def test_a_device_that_fails_while_it_is_waited_for(rig: DiskRig, failing_syncs: int) -> None:
    journal = await settled(rig)
    rig.files.failing_syncs = failing_syncs
    async with asyncio.timeout(BOUND_SECONDS):
        if failing_syncs == 1:  # it is written to another segment
            assert await journal.append(1, b"alone") == 2
        else:
            with pytest.raises(JournalFailed, match="so did the segment before"):
                await journal.append(1, b"alone")
    assert len(rig.faults) == failing_syncs


@pytest.mark.usefixtures("patient")
async def test_what_is_buffered_after_it_is_written_soon(rig: DiskRig) -> None:
    journal = await settled(rig)
    await journal.append(1, b"alone")
    await journal.append(1, b"later", durability=Durability.MEMORY)
    await until(lambda: not journal._log._tail.is_buffering)


@pytest.mark.usefixtures("patient")
async def test_what_is_done_before_it_is_awaited_takes_none_of_its_time(rig: DiskRig) -> None:
    journal = await settled(rig)
    rig.files.gate.clear()
    appended = journal.append(1, b"alone")
    assert appended.is_under_way
    assert rig.files.syncing, "the device is at it already"
    rig.files.gate.set()
    assert await appended == 2


@pytest.mark.usefixtures("patient")
async def test_whoever_does_not_await_it_at_once_holds_up_nobody(rig: DiskRig) -> None:
    """Not those either who wait for a later one; nor does a wait that was cancelled."""
    journal = await settled(rig)
    stays = counted_stays(journal)
    rig.files.gate.clear()
    appended = journal.append(1, b"alone")
    later = asyncio.ensure_future(append(journal, b"later"))
    cancelled = asyncio.ensure_future(appended)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    rig.files.gate.set()
    async with asyncio.timeout(BOUND_SECONDS):
        assert await later == 3
        assert await appended == 2
    assert stays == []
