"""The journal against a list: any sequence of appends, acks, crashes and faults."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from journal_rigs import DiskRig, MemoryRig, Rig

from holdfast.journal import CHECKPOINT, Durability, Journal, JournalFull

BODIES = st.builds(
    lambda seed, size: random.Random(seed).randbytes(size),
    st.integers(0, 1000),
    st.sampled_from([0, 1, 7, 200, 3000, 20_000]),
)
KINDS = st.integers(1, 5)


class JournalModel(RuleBasedStateMachine):
    """`records` is what the log holds from seq 1 on; `safe_seq` what a crash must not take.

    No rule has a precondition: how much finds room depends on the thread, so a second run
    of the same steps could be offered other rules, which hypothesis takes for flaky.
    """

    rig: Rig
    journal: Journal

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-model-"))
        self.records: list[tuple[int, bytes, int]] = []
        self.killsafe_seq = self.powersafe_seq = 0
        self.acked = self.safe_acked = 0
        self.full = False

    def make_rig(self) -> Rig:
        raise NotImplementedError

    def run(self, coroutine: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await coroutine

        return self.runner.run(bounded())

    @initialize()
    def open(self) -> None:
        self.rig = self.make_rig()
        self.reopen_journal()

    def reopen_journal(self) -> None:
        try:
            self.journal = self.run(self.rig.open())
        except JournalFull:
            assert self.full
            self.free_disk()
            self.journal = self.run(self.rig.open())
        assert all(self.journal.incarnation != record[2] for record in self.records)
        assert self.journal.report.damaged == (), str(self.journal.report)

    def appended(self, seq: int, kind: int, body: bytes) -> None:
        self.records.append((kind, body, self.journal.incarnation))
        assert seq == len(self.records)

    @rule(kind=KINDS, body=BODIES, reserve=st.booleans(), count=st.integers(1, 30))
    def append_nowait(self, kind: int, body: bytes, reserve: bool, count: int) -> None:
        async def act() -> None:
            for _ in range(count):
                try:
                    seq = self.journal.append_nowait(kind, body, reserve=reserve)
                except JournalFull:
                    break
                self.appended(seq, kind, body)
                self.killsafe_seq = seq

        self.run(act())

    @rule(kind=KINDS, body=BODIES, levels=st.lists(st.sampled_from(Durability), max_size=6))
    def append_together(self, kind: int, body: bytes, levels: list[Durability]) -> None:
        async def one(level: Durability) -> tuple[int, Durability] | None:
            try:
                return await self.journal.append(kind, body, durability=level), level
            except JournalFull:
                return None

        async def act() -> None:
            done = await asyncio.gather(*(one(level) for level in levels))
            for seq, level in sorted(pair for pair in done if pair is not None):
                self.appended(seq, kind, body)
                if level is not Durability.MEMORY:
                    self.killsafe_seq = seq
                if level is Durability.POWER:
                    self.powersafe_seq = seq

        self.run(act())

    @rule(fraction=st.floats(0, 1))
    def ack(self, fraction: float) -> None:
        upto = int(fraction * self.journal.last_seq)

        async def act() -> None:
            self.journal.ack(upto)

        self.run(act())
        self.acked = max(self.acked, upto)

    @rule(body=BODIES)
    def checkpoint(self, body: bytes) -> None:
        async def act() -> None:
            try:
                seq = self.journal.checkpoint(body)
            except JournalFull:
                return
            self.appended(seq, CHECKPOINT, body)
            self.killsafe_seq = seq
            assert not self.journal.wants_checkpoint

        self.run(act())

    @rule()
    def sync(self) -> None:
        self.run(self.journal.sync())
        self.powersafe_seq = self.killsafe_seq = len(self.records)
        if not self.full:
            self.safe_acked = self.acked

    @rule(seconds=st.sampled_from([0.01, 1, 700]))
    def wait(self, seconds: float) -> None:
        self.rig.clock.now += seconds
        self.run(asyncio.sleep(0.001))

    @rule(lose_unsynced=st.booleans())
    def crash(self, lose_unsynced: bool) -> None:
        self.run(self.rig.crash(lose_unsynced=lose_unsynced))
        self.reopen_journal()
        floor = self.powersafe_seq if lose_unsynced else self.killsafe_seq
        assert floor <= self.journal.last_seq <= len(self.records)
        assert self.safe_acked <= self.journal.acked <= self.acked
        del self.records[self.journal.last_seq :]
        self.acked = self.safe_acked = self.journal.acked
        self.killsafe_seq = self.powersafe_seq = len(self.records)

    @rule()
    def close_and_reopen(self) -> None:
        self.run(self.journal.aclose())
        self.reopen_journal()
        assert self.journal.last_seq == len(self.records)
        self.acked = self.safe_acked = self.journal.acked
        self.killsafe_seq = self.powersafe_seq = len(self.records)

    @rule()
    def fill_disk(self) -> None:
        self.run(self.rig.fill())
        self.full = True

    @rule()
    def free_disk(self) -> None:
        self.run(self.rig.free())
        self.rig.clock.now += 1
        self.full = False

    @rule(body=BODIES)
    def fail_a_sync(self, body: bytes) -> None:
        if self.full:
            return  # a sync that fails on a full disk leaves nowhere to write to
        self.run(self.journal.sync())
        self.rig.fail_syncs(1)
        self.append_together(1, body, [Durability.POWER])
        self.rig.fail_syncs(0)
        self.sync()

    @rule(after=st.floats(0, 1), limit=st.integers(1, 40), kinds=st.sets(KINDS, max_size=3))
    def read_page(self, after: float, limit: int, kinds: set[int]) -> None:
        start = max(int(after * len(self.records)), self.journal.first_seq - 1)
        page = self.journal.read(after=start, limit=limit, kinds=kinds or None)
        expected = [
            (seq, *record)
            for seq, record in enumerate(self.records[start:], start + 1)
            if not kinds or record[0] in kinds
        ][:limit]
        assert [(r.seq, r.kind, r.body, r.incarnation) for r in page] == expected

    @invariant()
    def holds_everything_unacknowledged(self) -> None:
        if not hasattr(self, "journal"):
            return
        assert self.journal.last_seq == len(self.records)
        assert self.journal.acked == self.acked
        assert self.journal.first_seq - 1 <= self.acked
        page = self.journal.read(after=0, limit=1_000_000)
        first = self.journal.first_seq
        assert [record.seq for record in page] == list(range(first, len(self.records) + 1))

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.run(self.rig.free())
            self.run(self.rig.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


class DiskModel(JournalModel):
    def make_rig(self) -> Rig:
        return DiskRig(self.folder / "journal", random.Random(1))


class MemoryModel(JournalModel):
    def make_rig(self) -> Rig:
        return MemoryRig(random.Random(1))


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TestDiskModel = DiskModel.TestCase
TestDiskModel.settings = settings(max_examples=25, stateful_step_count=25, **COMMON)
TestMemoryModel = MemoryModel.TestCase
TestMemoryModel.settings = settings(max_examples=60, stateful_step_count=40, **COMMON)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", [DiskModel, MemoryModel])
def test_model_at_length(model: type[JournalModel]) -> None:
    stateful.run_state_machine_as_test(
        model, settings=settings(max_examples=1000, stateful_step_count=60, **COMMON)
    )
