"""What the doctor says of versions, the state folder and the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from doctor_rigs import the, verdicts

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.doctor import machine
from holdfast.doctor.finding import Finding
from holdfast.doctor.machine import look_at_machine
from holdfast.doctor.machine_checks import (
    DiskSeen,
    FolderSeen,
    JournalNeeds,
    MachineSeen,
    PackageSeen,
    check_machine,
    satisfies,
)
from holdfast.journal import FileJournal
from holdfast.journal.files import Files

MB = 1_000_000
NEEDS = JournalNeeds(max_bytes=2000 * MB, segment_bytes=16 * MB, orders_wait=True)
FOLDER = FolderSeen("/var/lib/bot", mode=0o700)
DISK = DiskSeen(free_bytes=50_000 * MB, kind="ext4", sync_seconds=0.001)
PACKAGES = [PackageSeen("ccxt", ">=4.5,<5", "4.5.90")]
SOUND = MachineSeen((3, 11, 7), "0.1.0", PACKAGES, FOLDER, DISK)


def judged(*, folder: Any = FOLDER, disk: Any = DISK, needs: Any = NEEDS, **more: Any) -> Any:
    return check_machine(SOUND._replace(folder=folder, disk=disk, **more), needs)


def test_a_sound_machine_is_sound() -> None:
    assert verdicts(judged()) == dict.fromkeys(
        (
            "machine.python",
            "machine.packages",
            "state_dir.access",
            "state_dir.lock",
            "disk.kind",
            "disk.room",
            "disk.sync",
        ),
        "ok",
    )


@pytest.mark.parametrize(
    ("check", "verdict", "changed"),
    [
        ("machine.python", "warn", {"python": (3, 14, 0)}),
        ("machine.python", "ok", {"python": (3, 13, 9)}),
        ("machine.packages", "fail", {"packages": [PackageSeen("ccxt", ">=4.5", None)]}),
        ("machine.packages", "warn", {"packages": [PackageSeen("ccxt", ">=4.5,<5", "5.0")]}),
        ("machine.packages", "warn", {"packages": [PackageSeen("ccxt", ">=4.5,<5", "4.4.99")]}),
        ("state_dir.access", "warn", {"folder": FOLDER._replace(mode=0o770)}),
        ("state_dir.access", "warn", {"folder": FOLDER._replace(mode=0o702)}),
        ("state_dir.access", "ok", {"folder": FOLDER._replace(mode=0o755)}),
        ("state_dir.lock", "fail", {"folder": FOLDER._replace(holder=4711)}),
        ("state_dir.lock", "ok", {"folder": FOLDER._replace(holder=4711, engine_listens=True)}),
        ("disk.kind", "warn", {"disk": DISK._replace(kind="tmpfs")}),
        ("disk.kind", "warn", {"disk": DISK._replace(kind="nfs4")}),
        ("disk.kind", "ok", {"disk": DISK._replace(kind="")}),
        ("disk.room", "fail", {"disk": DISK._replace(free_bytes=47 * MB)}),
        ("disk.room", "warn", {"disk": DISK._replace(free_bytes=47 * MB, journal_bytes=1)}),
        ("disk.room", "fail", {"disk": DISK._replace(free_bytes=15 * MB, journal_bytes=9 * MB)}),
        ("disk.room", "warn", {"disk": DISK._replace(free_bytes=1999 * MB)}),
        ("disk.room", "ok", {"disk": DISK._replace(free_bytes=1999 * MB, journal_bytes=MB)}),
        ("disk.sync", "warn", {"disk": DISK._replace(sync_seconds=0.021)}),
        ("disk.sync", "fail", {"disk": DISK._replace(sync_seconds=None, sync_problem="I/O")}),
    ],
)
def test_each_fault_has_its_verdict_and_no_other(
    check: str, verdict: str, changed: dict[str, Any]
) -> None:
    findings = judged(**changed)
    assert the(findings, check).verdict == verdict
    assert {v for name, v in verdicts(findings).items() if name != check} == {"ok"}


def test_a_slow_disk_matters_only_to_orders_that_wait_for_it() -> None:
    slow = DISK._replace(sync_seconds=0.5)
    patient = judged(disk=slow, needs=NEEDS._replace(orders_wait=False))
    assert the(patient, "disk.sync").verdict == "ok"


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("4.5.90", ">=4.5,<5", True),
        ("4.5", ">=4.5.0", True),
        ("5.0", "<5", False),
        ("5.0rc1", "<5", False),
        ("10.2", ">=9", True),
        ("1.2.9", "~=1.2.3", True),
        ("1.3.0", "~=1.2.3", False),
        ("1.2", "==1.2.0", True),
        ("1.2", "!=1.2.0", False),
        ("1.2", ">1.2", False),
        ("1.2.1", "<=1.2", False),
        ("7", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, wanted: str, holds: bool) -> None:
    assert satisfies(version, wanted) is holds


class TestThisMachine:
    def examined(self, state_dir: Path) -> list[Finding]:
        return check_machine(look_at_machine(state_dir), NEEDS._replace(max_bytes=1))

    def test_a_folder_that_is_still_to_be_made(self, tmp_path: Path) -> None:
        state_dir = tmp_path / "deep" / "state"
        findings = self.examined(state_dir)
        for check in ("state_dir.access", "state_dir.lock", "disk.sync", "machine.packages"):
            assert the(findings, check).verdict == "ok"
        assert not state_dir.parent.exists(), "it only looks"
        assert "ccxt 4" in the(findings, "machine.packages").found

    def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("")
        for state_dir in (tmp_path / "state", tmp_path / "state" / "inside"):
            found = verdicts(self.examined(state_dir))
            assert found["state_dir.access"] == "fail"
            assert {found[f"disk.{name}"] for name in ("kind", "room", "sync")} == {"skip"}

    def test_a_folder_that_others_may_write_to(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o777)
        found = the(self.examined(tmp_path), "state_dir.access")
        assert found.verdict == "warn"
        assert "0777" in found.found

    def test_nothing_is_left_in_the_folder(self, tmp_path: Path) -> None:
        self.examined(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_does_not_sync(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken(Files):
            def sync(self, fd: int) -> None:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(machine, "Files", Broken)
        assert the(self.examined(tmp_path), "disk.sync").verdict == "fail"

    def test_a_journal_that_somebody_has_open(self, tmp_path: Path) -> None:
        if not Path("/proc/locks").exists():
            pytest.skip("this system does not tell who holds a lock")

        async def main() -> list[Finding]:
            journal = await FileJournal.open(
                tmp_path / "journal",
                clock=SystemClock(),
                randbits=SystemEntropy().randbits,
                on_fault=lambda reason: None,
            )
            try:
                return self.examined(tmp_path)
            finally:
                await journal.aclose()

        lock = the(anyio.run(main), "state_dir.lock")
        assert lock.verdict == "fail"
        assert f"process {os.getpid()} " in lock.found
        assert the(self.examined(tmp_path), "state_dir.lock").verdict == "ok"
