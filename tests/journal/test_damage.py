"""Damaged bytes: confined to the record they hit, always reported, never served."""

from __future__ import annotations

import random
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from journal_rigs import DiskRig, ManualClock

from holdfast.journal import FileJournal, JournalLocked, JournalVersion, Record
from holdfast.journal.frame import DATA_OFFSET, FRAME_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sound(tmp_path: Path) -> tuple[Path, list[Record]]:
    """A closed journal of several segments and two openings, and what it holds."""
    rig = DiskRig(tmp_path / "sound", random.Random(3))
    for opening in range(2):
        journal = await rig.open(retain_acked_bytes=1 << 18)
        for i in range(400):
            journal.append_nowait(1 + i % 7, b"%d %d|" % (opening, i) * (i % 90))
            if i % 100 == 99:
                journal.ack(journal.last_seq - 50)
                journal.checkpoint(b"state")
        await journal.aclose()
    inspection = FileJournal.inspect(rig.path)
    assert inspection.report.damaged == inspection.report.torn == ()
    return rig.path, list(inspection.records())


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


async def reopened(folder: Path) -> FileJournal:
    return await FileJournal.open(
        folder,
        clock=ManualClock(),
        randbits=random.Random(1).getrandbits,
        on_fault=lambda _: None,
        segment_bytes=1 << 16,
        max_bytes=1 << 20,
        retain_acked_bytes=1 << 17,
    )


def everything(journal: FileJournal) -> list[Record]:
    return journal.read(after=0, limit=10_000)


async def test_every_byte_of_the_last_record(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path / "journal", random.Random(3))
    journal = await rig.open()
    for i in range(20):
        journal.append_nowait(1, b"event %d" % i)
    await rig.crash()
    await rig.aclose()
    last = segments(rig.path)[-1]
    whole = last.read_bytes()
    records = list(FileJournal.inspect(rig.path).records())
    end = whole.rindex(b"event 19") + len(b"event 19")
    start = end - FRAME_BYTES - len(b"event 19")
    for at in range(start, end):
        for name, data in {
            "truncated": whole[:at],
            "zeroed": whole[:at] + bytes(len(whole) - at),
            "garbage": whole[:at] + random.Random(at).randbytes(end - at) + whole[end:],
            "flipped": whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :],
        }.items():
            last.write_bytes(data)
            inspection = FileJournal.inspect(rig.path)
            assert list(inspection.records()) == records[:-1], (name, at)
            told = inspection.report.torn + inspection.report.damaged
            untouched_rest = not data[start:].strip(b"\0")
            assert told or untouched_rest, (name, at)
    # And the opening appends after it, in a new segment, without a gap.
    journal = await reopened(rig.path)
    assert journal.append_nowait(1, b"next") == 20
    assert [record.body for record in everything(journal)[-2:]] == [b"event 18", b"next"]
    await journal.aclose()
    assert last.read_bytes() == data, "damage must not be touched"
    assert FileJournal.inspect(rig.path).report.last_seq == 20


async def test_bit_flips_cost_one_record_and_are_reported(
    sound: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    folder, records = sound
    dice = random.Random(11)
    files = segments(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for _ in range(400):
        file = dice.choice(files)
        whole = file.read_bytes()
        at = dice.randrange(len(whole)) if dice.random() < 0.9 else dice.randrange(DATA_OFFSET)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << dice.randrange(8)
        (copy / file.name).write_bytes(flipped)
        inspection = FileJournal.inspect(copy)
        found = list(inspection.records())
        lost = [record for record in records if record not in found] if found != records else []
        assert len(lost) <= 1
        assert set(found) <= set(records), "a damaged record was served"
        report = inspection.report
        spans = report.damaged + report.torn
        assert len(spans) == 1
        assert spans[0].file.endswith(file.name)
        assert spans[0].offset <= at < spans[0].offset + spans[0].bytes
        if lost and file != files[-1]:
            assert report.missing == 1
            assert spans[0].first_missing == lost[0].seq
        (copy / file.name).write_bytes(whole)


async def test_zeroed_and_garbled_sectors(sound: tuple[Path, list[Record]], tmp_path: Path) -> None:
    folder, records = sound
    dice = random.Random(5)
    for case in range(60):
        copy = tmp_path / f"copy-{case}"
        shutil.copytree(folder, copy)
        file = dice.choice(segments(copy)[:-1])
        data = bytearray(file.read_bytes())
        used = len(bytes(data).rstrip(b"\0"))
        at = dice.randrange(DATA_OFFSET, used) // 512 * 512
        size = min(512 * dice.choice([1, 8, 16]), len(data) - at)
        data[at : at + size] = bytes(size) if case % 2 else dice.randbytes(size)
        file.write_bytes(data)
        inspection = FileJournal.inspect(copy)
        found = list(inspection.records())
        assert set(found) <= set(records)
        assert inspection.report.missing == len(records) - len(found)
        assert inspection.report.damaged
        # An opening goes on after it and keeps the report.
        journal = await reopened(copy)
        assert everything(journal) == found
        assert journal.append_nowait(1, b"next") == records[-1].seq + 1
        await journal.aclose()
        shutil.rmtree(copy)


async def test_lost_header_loses_the_segment_but_no_number(
    sound: tuple[Path, list[Record]],
) -> None:
    folder, records = sound
    for file in (segments(folder)[0], segments(folder)[-1]):
        data = bytearray(file.read_bytes())
        data[0] ^= 1
        data[512] ^= 1
        file.write_bytes(data)
    journal = await reopened(folder)
    assert journal.report.missing > 0
    assert journal.append_nowait(1, b"next") > records[-1].seq
    await journal.aclose()


async def test_missing_file_is_reported(sound: tuple[Path, list[Record]]) -> None:
    folder, records = sound
    segments(folder)[2].unlink()
    report = FileJournal.inspect(folder).report
    assert report.missing == len(records) - report.records
    assert "missing" in str(report)


async def test_damage_after_opening_is_reported_when_read(
    sound: tuple[Path, list[Record]],
) -> None:
    folder, records = sound
    faults: list[str] = []
    journal = await FileJournal.open(
        folder, clock=ManualClock(), randbits=random.getrandbits, on_fault=faults.append
    )
    victim = segments(folder)[1]
    data = bytearray(victim.read_bytes())
    data[DATA_OFFSET + 2000] ^= 4
    victim.write_bytes(data)
    assert len(everything(journal)) == len(records) - 1
    assert len(everything(journal)) == len(records) - 1
    assert len([fault for fault in faults if victim.name in fault]) == 1
    await journal.aclose()


async def test_later_page_survived_a_power_cut_the_earlier_did_not(tmp_path: Path) -> None:
    """An ack may outlive its records; their numbers must not be given out again."""
    rig = DiskRig(tmp_path / "journal", random.Random(3))
    journal = await rig.open()
    for i in range(10):
        journal.append_nowait(1, b"event %d" % i)
    journal.ack(10)
    await rig.crash()
    await rig.aclose()
    last = segments(rig.path)[-1]
    data = bytearray(last.read_bytes())
    start = data.index(b"event 7") - FRAME_BYTES
    end = data.index(b"event 9") + len(b"event 9")
    data[start:end] = bytes(end - start)
    last.write_bytes(data)
    journal = await reopened(rig.path)
    assert (journal.acked, journal.last_seq) == (10, 10)
    assert journal.append_nowait(1, b"new") == 11
    assert journal.report.missing == 3
    await journal.aclose()
    report = FileJournal.inspect(rig.path).report
    assert (report.last_seq, report.missing) == (11, 3)


async def test_newer_format_is_refused_with_a_remedy(
    sound: tuple[Path, list[Record]],
) -> None:
    folder, _ = sound
    file = segments(folder)[0]
    data = bytearray(file.read_bytes())
    for offset in (0, 512):
        struct.pack_into("<I", data, offset + 8, 2)
        struct.pack_into("<I", data, offset + 56, zlib.crc32(data[offset : offset + 56]))
    file.write_bytes(data)
    with pytest.raises(JournalVersion, match="Install"):
        await reopened(folder)
    with pytest.raises(JournalVersion):
        FileJournal.inspect(folder)


async def test_inspection_of_a_journal_in_use_changes_nothing(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path / "journal", random.Random(3))
    journal = await rig.open()
    for i in range(100):
        journal.append_nowait(1, b"%d" % i)
    before = {path.name: path.read_bytes() for path in segments(rig.path)}
    inspection = FileJournal.inspect(rig.path)
    journal.append_nowait(1, b"later")
    assert [record.seq for record in inspection.records(after=90)] == list(range(91, 101))
    assert inspection.report.torn == inspection.report.damaged == ()
    assert before.keys() == {path.name for path in segments(rig.path)}
    with pytest.raises(JournalLocked, match=r"process \d+"):
        await rig.open()
    await rig.aclose()
