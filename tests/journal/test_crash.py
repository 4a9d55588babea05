"""kill -9 at random moments: everything that was promised is read back, in order."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journal_rigs import ManualClock

from holdfast.journal import FileJournal, Record

pytestmark = pytest.mark.anyio
CHILD = Path(__file__).with_name("crash_child.py")


def run_and_kill(folder: Path, level: str, lifetime_seconds: float) -> list[str]:
    """Run publishers, kill them some time after their first append, return what they said."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), level, "20"], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    heard, deadline = b"", time.monotonic() + 30
    begun = False
    try:
        while (now := time.monotonic()) < deadline:
            if select.select([child.stdout], [], [], deadline - now)[0]:
                chunk = os.read(child.stdout.fileno(), 1 << 16)
                assert chunk, "the publishers ended by themselves"
                heard += chunk
                if not begun:
                    begun, deadline = True, time.monotonic() + lifetime_seconds
        assert begun, "the publishers never began"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        heard += child.stdout.read()
        child.stdout.close()
        child.wait()
    return heard.decode().splitlines()


class Promises:
    """What the publishers were told, over all their lives."""

    def __init__(self) -> None:
        self.records: dict[int, str] = {}
        self.acked = 0
        self.checkpoint = 0

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            sign, _, rest = line.partition(" ")
            if sign == "!" and "unsynced records were written to" in rest:
                continue  # of the level at which syncs fail
            assert sign in "+ac", line
            if sign == "+":
                seq, _, what = rest.partition(" ")
                assert int(seq) not in self.records, "a seq was given twice"
                self.records[int(seq)] = what
            elif sign == "a":
                self.acked = max(self.acked, int(rest))
            else:
                self.checkpoint = int(rest)

    def check(self, records: list[Record], first_seq: int, acked: int, checkpoint: int) -> None:
        assert acked >= self.acked
        assert checkpoint >= self.checkpoint
        assert first_seq - 1 <= acked, "a record was dropped before it was acknowledged"
        by_seq = {record.seq: record for record in records}
        assert list(by_seq) == sorted(by_seq)
        counts: dict[tuple[int, int], int] = {}
        for record in records:
            if record.kind > 239:
                continue
            incarnation, name, count, filler = record.body.decode().split(" ")
            assert int(incarnation) == record.incarnation
            assert set(filler) <= {"x"}
            publisher = (record.incarnation, int(name))
            assert counts.get(publisher, int(count) - 1) == int(count) - 1, "out of order"
            counts[publisher] = int(count)
        for seq, what in self.records.items():
            if seq < first_seq:
                continue
            record = by_seq.get(seq)
            assert record is not None, f"record {seq} was promised and is lost"
            incarnation, name, count, size = what.split(" ")
            assert record.body.startswith(f"{incarnation} {name} {count} ".encode())
            assert len(record.body) == int(size)


async def kill_and_check(folder: Path, level: str, kills: int, seed: int) -> int:
    dice, promises = random.Random(seed), Promises()
    for _ in range(kills):
        lines = run_and_kill(folder, level, dice.uniform(0.005, 0.25))
        promises.hear(lines)
        inspection = FileJournal.inspect(folder)
        report = inspection.report
        assert report.damaged == (), str(report)
        promises.check(
            list(inspection.records()), report.first_seq, report.acked, report.last_checkpoint
        )
    journal = await FileJournal.open(
        folder,
        clock=ManualClock(),
        randbits=dice.getrandbits,
        on_fault=lambda fault: pytest.fail(fault),
    )
    try:
        found: list[Record] = []
        while page := journal.read(after=found[-1].seq if found else 0, limit=333):
            found += page
        promises.check(found, journal.first_seq, journal.acked, journal.report.last_checkpoint)
        assert journal.last_seq >= max(promises.records)
    finally:
        await journal.aclose()
    return len(promises.records)


@pytest.mark.parametrize("level", ["process", "power", "mixed", "failing"])
async def test_killed_at_random_moments(tmp_path: Path, level: str) -> None:
    assert await kill_and_check(tmp_path / "journal", level, kills=5, seed=1) > 100


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("level", ["process", "power", "mixed", "failing"])
async def test_killed_two_hundred_times(tmp_path: Path, level: str) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    promised = await kill_and_check(tmp_path / "journal", level, kills=200, seed=seed)
    print(f"{level}: seed {seed}, {promised} promised records, 0 lost")  # noqa: T201
