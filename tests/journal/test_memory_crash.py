"""A process may die while its disk is failing: the crash itself must not fail."""

from __future__ import annotations

from holdfast.journal import MemoryDisk, MemoryJournal


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
