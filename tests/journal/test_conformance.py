"""What every journal promises, on disk and in memory."""

from __future__ import annotations

import asyncio

import pytest
from journal_rigs import Rig

from holdfast.journal import (
    CHECKPOINT,
    MAX_BODY_BYTES,
    MAX_KIND,
    Durability,
    Journal,
    JournalFailed,
    JournalFull,
    JournalLocked,
    RecordTooLarge,
)

pytestmark = pytest.mark.anyio


def all_records(journal: Journal, *, page: int = 7) -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    after = 0
    while records := journal.read(after=after, limit=page):
        found += [(record.seq, record.kind, record.body) for record in records]
        after = records[-1].seq
    return found


async def fill_up(journal: Journal, *, body: bytes = b"x" * 1000, at_most: int = 5000) -> int:
    """Append until the journal is full; return how many records found room."""
    for count in range(at_most):
        try:
            journal.append_nowait(1, body)
        except JournalFull:
            return count
        if count % 16 == 0:
            await journal.sync()
    raise AssertionError("the journal did not fill up")


async def test_new_journal_is_empty(rig: Rig) -> None:
    journal = await rig.open()
    assert (journal.first_seq, journal.last_seq, journal.acked) == (1, 0, 0)
    assert journal.read(after=0) == []
    assert journal.wants_checkpoint
    assert 1 << 46 <= journal.incarnation < 1 << 53


async def test_appends_are_read_back_in_order_with_every_level(rig: Rig) -> None:
    journal = await rig.open()
    expected = []
    for i in range(200):
        body, kind = b"%d" % i * (i % 9), 1 + i % MAX_KIND
        level = list(Durability)[i % 3]
        seq = (
            journal.append_nowait(kind, body)
            if i % 2
            else await journal.append(kind, body, durability=level)
        )
        expected.append((seq, kind, body))
    assert [seq for seq, _, _ in expected] == list(range(1, 201))
    assert all_records(journal) == expected


async def test_what_has_only_a_seq_is_read_too(rig: Rig) -> None:
    journal = await rig.open()
    await journal.append(1, b"memory", durability=Durability.MEMORY)
    waiting = asyncio.ensure_future(journal.append(2, b"power"))
    await asyncio.sleep(0)
    assert [record.body for record in journal.read(after=0)] == [b"memory", b"power"]
    assert await waiting == 2


async def test_read_filters_by_kind_and_limit(rig: Rig) -> None:
    journal = await rig.open()
    for i in range(100):
        journal.append_nowait(1 + i % 3, b"%d" % i)
    page = journal.read(after=10, limit=5, kinds={2})
    assert [record.seq for record in page] == [11, 14, 17, 20, 23]
    assert journal.read(after=100) == []


async def test_survives_close_with_a_new_incarnation(rig: Rig) -> None:
    journal = await rig.open()
    first = journal.incarnation
    for i in range(50):
        journal.append_nowait(1, b"%d" % i)
    journal.ack(20)
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalFailed, match="Open it again"):
        journal.append_nowait(1, b"late")
    journal = await rig.open()
    assert journal.incarnation != first
    assert (journal.last_seq, journal.acked) == (50, 20)
    assert journal.append_nowait(1, b"next") == 51
    records = journal.read(after=48)
    assert [record.incarnation for record in records] == [first, first, journal.incarnation]
    assert journal.report.records == 50
    assert "50 records" in str(journal.report)


async def test_kill_loses_nothing_that_was_written(rig: Rig) -> None:
    journal = await rig.open()
    for i in range(300):
        journal.append_nowait(1, b"%d" % i * 50)
    journal.ack(123)
    checkpoint = journal.checkpoint(b"state")
    await rig.crash()
    journal = await rig.open()
    assert journal.last_seq == 301
    assert journal.acked == 123
    assert journal.report.last_checkpoint == checkpoint
    assert all_records(journal)[:300] == [(i + 1, 1, b"%d" % i * 50) for i in range(300)]
    assert journal.report.damaged == ()


async def test_openings_without_a_record_lose_nothing(rig: Rig) -> None:
    journal = await rig.open()
    for i in range(10):
        journal.append_nowait(1, b"%d" % i)
    journal.ack(4)
    for _ in range(3):
        await rig.crash()
        journal = await rig.open()
        assert (journal.first_seq, journal.last_seq, journal.acked) == (1, 10, 4)
    journal.ack(7)
    for _ in range(3):
        await journal.aclose()
        journal = await rig.open()
        assert (journal.last_seq, journal.acked) == (10, 7)
    assert len(all_records(journal)) == 10


async def test_ack_is_monotonic_and_bounded(rig: Rig) -> None:
    journal = await rig.open()
    for _ in range(5):
        journal.append_nowait(1, b"")
    journal.ack(3)
    journal.ack(2)
    assert journal.acked == 3
    with pytest.raises(ValueError, match="last record is 5"):
        journal.ack(6)


@pytest.mark.parametrize("kind", [0, -1, MAX_KIND + 1, CHECKPOINT, 255, 256])
async def test_foreign_kinds_are_refused(rig: Rig, kind: int) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"")
    with pytest.raises(ValueError, match="kind"):
        journal.append_nowait(kind, b"")
    with pytest.raises(ValueError, match="kind"):
        await journal.append(kind, b"")
    assert journal.last_seq == 1


async def test_oversized_bodies_are_refused(rig: Rig) -> None:
    journal = await rig.open()
    for size in (MAX_BODY_BYTES + 1, 1 << 16):
        with pytest.raises(RecordTooLarge, match=f"{size} bytes: "):
            journal.append_nowait(1, bytes(size))
        with pytest.raises(RecordTooLarge):
            await journal.append(1, bytes(size))
        with pytest.raises(RecordTooLarge):
            journal.checkpoint(bytes(size))
    assert journal.append_nowait(1, bytes(30_000)) == 1


async def test_a_checkpoint_may_be_larger_than_any_other_record(rig: Rig) -> None:
    state = bytes(range(256)) * (1 << 13)
    room = {"segment_bytes": 1 << 22, "max_bytes": 1 << 24}
    journal = await rig.open(**room)
    journal.append_nowait(1, b"before")
    journal.checkpoint(state)
    journal.append_nowait(1, b"after")
    for _ in range(2):
        assert [body for *_, body in all_records(journal)] == [b"before", state, b"after"]
        await rig.crash()
        journal = await rig.open(**room)
    with pytest.raises(RecordTooLarge):
        journal.checkpoint(bytes((1 << 21) + 1))
    with pytest.raises(RecordTooLarge):
        journal.append_nowait(1, state)


async def test_second_opening_is_refused(rig: Rig) -> None:
    await rig.open()
    with pytest.raises(JournalLocked):
        await rig.open()


async def test_records_over_many_segments(rig: Rig) -> None:
    journal = await rig.open()
    expected = []
    for i in range(700):
        body = b"%d" % i * (i % 97)
        expected.append((journal.append_nowait(1 + i % 5, body), 1 + i % 5, body))
        if i % 50 == 0:
            await journal.sync()
    assert all_records(journal, page=13) == expected
    await rig.crash()
    journal = await rig.open()
    assert all_records(journal, page=500) == expected


async def test_wants_checkpoint_once_per_segment(rig: Rig) -> None:
    journal = await rig.open()
    checkpoint = journal.checkpoint(b"zero")
    assert not journal.wants_checkpoint
    assert journal.read(after=0, kinds={CHECKPOINT})[0].seq == checkpoint
    while not journal.wants_checkpoint:
        journal.append_nowait(1, b"x" * 1000)
    journal.checkpoint(b"one")
    assert not journal.wants_checkpoint


async def test_nothing_is_dropped_before_ack_checkpoint_and_window(rig: Rig) -> None:
    journal = await rig.open(retain_acked_bytes=1 << 18)
    for _ in range(150):
        journal.append_nowait(1, b"x" * 1000)
        await journal.sync()
    journal.ack(150)
    await journal.sync()
    rig.clock.now += 10_000
    await journal.sync()
    assert journal.first_seq == 1  # no checkpoint yet
    journal.checkpoint(b"state")
    await journal.sync()
    assert journal.first_seq > 1
    assert journal.read(after=0)[0].seq == journal.first_seq
    kept = journal.first_seq
    await rig.crash()
    journal = await rig.open()
    assert journal.first_seq <= kept  # the thread may not have unlinked all of it


async def test_acked_records_stay_for_the_window(rig: Rig) -> None:
    journal = await rig.open(retain_acked_bytes=1 << 18, retain_acked_seconds=600)
    for _ in range(150):
        journal.append_nowait(1, b"x" * 1000)
    journal.checkpoint(b"state")
    journal.ack(150)
    await journal.sync()
    assert journal.first_seq == 1
    rig.clock.now += 601
    journal.ack(151)
    await journal.sync()
    assert journal.first_seq > 1


async def test_bytes_of_acked_records_are_bounded(rig: Rig) -> None:
    journal = await rig.open(retain_acked_bytes=1 << 17)
    for _ in range(10):
        for _ in range(60):
            journal.append_nowait(1, b"x" * 1000)
            await journal.sync()
        journal.checkpoint(b"state")
        journal.ack(journal.last_seq)
        await journal.sync()
    assert journal.last_seq - journal.first_seq < 300


async def test_full_of_unacknowledged_records(rig: Rig) -> None:
    journal = await rig.open()
    count = await fill_up(journal)
    assert count > 700
    last = journal.last_seq
    with pytest.raises(JournalFull):
        await journal.append(1, b"x" * 1000)
    assert journal.last_seq == last
    for _ in range(5):
        journal.append_nowait(2, b"exit", reserve=True)
    await journal.append(2, b"cancel", reserve=True)
    assert len(all_records(journal, page=500)) == count + 6
    # The bus is back.
    journal.checkpoint(b"state")
    journal.ack(journal.last_seq)
    await journal.sync()
    rig.clock.now += 10_000
    for _ in range(100):
        await journal.sync()
        try:
            journal.append_nowait(1, b"x" * 1000)
            break
        except JournalFull:
            journal.append_nowait(2, b"", reserve=True)
            await asyncio.sleep(0.02)
    else:
        raise AssertionError("still full after everything was acknowledged")


async def test_full_disk_keeps_room_for_exits_and_recovers(rig: Rig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"before")
    await journal.sync()
    await asyncio.sleep(0.1)  # a spare may be in the making
    await rig.fill()
    written = await fill_up(journal, body=b"y" * 500)
    for i in range(8):
        journal.append_nowait(2, b"exit %d" % i, reserve=True)
    journal.ack(journal.last_seq)
    await rig.free()
    rig.clock.now += 1
    assert journal.append_nowait(1, b"after") == 1 + written + 8 + 1
    assert len(all_records(journal, page=500)) == written + 10


async def test_full_disk_survives_a_restart(rig: Rig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"before")
    await journal.sync()
    await asyncio.sleep(0.1)
    await rig.fill()
    written = await fill_up(journal)
    for _ in range(10):
        await rig.crash()
        journal = await rig.open()
    journal.append_nowait(2, b"exit", reserve=True)
    assert len(all_records(journal)) == written + 2


async def test_one_failed_sync_costs_nothing(rig: Rig) -> None:
    journal = await rig.open()
    for i in range(20):
        journal.append_nowait(1, b"%d" % i)
    await journal.sync()
    for i in range(20, 40):
        journal.append_nowait(1, b"%d" % i)
    rig.fail_syncs(1)
    assert await journal.append(1, b"40") == 41
    assert rig.faults
    assert all_records(journal) == [(i + 1, 1, b"%d" % i) for i in range(41)]
    await rig.crash(lose_unsynced=True)
    journal = await rig.open()
    assert all_records(journal) == [(i + 1, 1, b"%d" % i) for i in range(41)]
    assert journal.report.damaged == ()


async def test_two_failed_syncs_close_the_journal(rig: Rig) -> None:
    journal = await rig.open()
    journal.append_nowait(1, b"0")
    await journal.sync()
    rig.fail_syncs(2)
    with pytest.raises(JournalFailed):
        await journal.append(1, b"1")
    with pytest.raises(JournalFailed):
        journal.append_nowait(1, b"2")
    assert any("in a row" in fault or "segment before" in fault for fault in rig.faults)
    await journal.aclose()
    journal = await rig.open()
    assert all_records(journal)[0] == (1, 1, b"0")
    assert journal.append_nowait(1, b"again") == journal.last_seq


async def test_cancelled_appends_corrupt_nothing(rig: Rig) -> None:
    journal = await rig.open()
    for i in range(50):
        task = asyncio.ensure_future(journal.append(1, b"%d" % i))
        for _ in range(i % 4):
            await asyncio.sleep(0)
        task.cancel()
        journal.append_nowait(2, b"after %d" % i)
    await journal.sync()
    records = all_records(journal)
    assert [seq for seq, _, _ in records] == list(range(1, len(records) + 1))
    assert [body for _, kind, body in records if kind == 2] == [b"after %d" % i for i in range(50)]
    await rig.crash()
    assert all_records(await rig.open()) == records


async def test_concurrent_publishers_keep_their_order(rig: Rig) -> None:
    journal = await rig.open()

    async def publish(name: int) -> None:
        for i in range(40):
            level = list(Durability)[(i + name) % 3]
            await journal.append(1 + name, b"%d" % i, durability=level)
            if i % 5 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(*(publish(name) for name in range(10)))
    await journal.sync()
    for name in range(10):
        bodies = [record.body for record in journal.read(after=0, limit=1000, kinds={1 + name})]
        assert bodies == [b"%d" % i for i in range(40)]
