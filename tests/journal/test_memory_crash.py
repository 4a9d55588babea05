"""A process may die while its disk is failing: the crash itself must not fail."""

from __future__ import annotations

import contextlib

import pytest

from holdfast.journal import JournalFailed, MemoryDisk, MemoryJournal


class _Clock:
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_a_crash_while_syncs_fail_leaves_what_was_synced() -> None:
    disk, clock = MemoryDisk(), _Clock()
    journal = MemoryJournal.open(
        disk, clock=clock, randbits=lambda bits: 1, on_fault=lambda reason: None
    )
    journal.append_nowait(1, b"not synced yet")
    clock.seconds = 1.0
    disk.failing_syncs = 2
    disk.crash(lose_unsynced=True)
    again = MemoryJournal.open(
        disk, clock=clock, randbits=lambda bits: 2, on_fault=lambda reason: None
    )
    assert again.read(after=0) == []


@pytest.mark.parametrize(("refused", "survives"), [(1, True), (2, False)])
def test_who_writes_a_fault_down_at_once_has_no_sync_of_his_own(
    refused: int, survives: bool
) -> None:
    """As the engine does. That record is not in the sync whose failure it tells of: two failures
    in a row end the journal all the same, and one leaves the record to the next sync.
    """
    disk, clock = MemoryDisk(), _Clock()
    told: list[str] = []

    def write_down(reason: str) -> None:
        told.append(reason)
        with contextlib.suppress(JournalFailed):
            journal.append_nowait(1, reason.encode())

    journal = MemoryJournal.open(disk, clock=clock, randbits=lambda bits: 1, on_fault=write_down)
    journal.append_nowait(1, b"due")
    clock.seconds = 1.0
    disk.failing_syncs = refused
    with contextlib.nullcontext() if survives else pytest.raises(JournalFailed):
        journal.append_nowait(1, b"finds the sync due")
    assert disk.failing_syncs == 0
    assert len(told) == 1
    disk.crash(lose_unsynced=True)
    again = MemoryJournal.open(disk, clock=clock, randbits=lambda bits: 2, on_fault=told.append)
    assert [record.body for record in again.read(after=0)] == ([b"due"] if survives else [])
