"""What the machine has to offer: versions, a folder, a disk; decided from what was seen, pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .finding import Finding, fail, ok, skipped, warn

TESTED_PYTHON: Final = ((3, 11), (3, 13))
SLOW_SYNC_SECONDS: Final = 0.02
"""A disk that takes longer delays every order by as much; SSDs take a tenth of it."""
FORGETFUL: Final = ("tmpfs", "ramfs")
ACROSS_THE_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")
_CLAUSE: Final = re.compile(r"(<=|>=|==|!=|~=|<|>)\s*([0-9][0-9.]*)")


class PackageSeen(NamedTuple):
    """
    :ivar wanted: what holdfast asks for: `>=4.5,<5`.
    :ivar installed: None: it is not.
    """

    name: str
    wanted: str
    installed: str | None


class FolderSeen(NamedTuple):
    """The state folder.

    :ivar problem: why it can not be used, or made.
    :ivar mode: its permissions; None: it does not exist yet.
    :ivar engine_listens: an engine answers there.
    :ivar holder: the process that has the journal open; None: none, or it is not known.
    """

    path: str
    problem: str = ""
    mode: int | None = None
    engine_listens: bool = False
    holder: int | None = None


class DiskSeen(NamedTuple):
    """Where the state folder is, or would be.

    :ivar kind: of the file system; "": not known.
    :ivar journal_bytes: what the journal holds already.
    :ivar sync_seconds: the median of some writes with fdatasync; None: `sync_problem` says why.
    """

    free_bytes: int
    journal_bytes: int = 0
    kind: str = ""
    sync_seconds: float | None = None
    sync_problem: str = ""


class MachineSeen(NamedTuple):
    """
    :ivar disk: None: there is no folder to look at.
    """

    python: tuple[int, int, int]
    holdfast: str
    packages: list[PackageSeen]
    folder: FolderSeen
    disk: DiskSeen | None


class JournalNeeds(NamedTuple):
    """What the configuration makes of the disk.

    :ivar max_bytes, segment_bytes: of all its files, and of one.
    :ivar orders_wait: every order waits for an fdatasync.
    """

    max_bytes: int
    segment_bytes: int
    orders_wait: bool


def check_machine(seen: MachineSeen, needs: JournalNeeds) -> list[Finding]:
    findings = [_python(seen.python), _packages(seen)]
    findings += _folder(seen.folder)
    if seen.disk is None:
        why = "the state folder can not be used"
        return [*findings, *(skipped(f"disk.{name}", why) for name in ("kind", "room", "sync"))]
    return [
        *findings,
        _kind(seen.disk),
        _room(seen.disk, needs),
        _sync(seen.disk, needs),
    ]


def _python(version: tuple[int, int, int]) -> Finding:
    oldest, newest = TESTED_PYTHON
    found = ".".join(map(str, version))
    if oldest <= version[:2] <= newest:
        return ok("machine.python", found)
    return warn(
        "machine.python",
        f"{found}, which is not among those holdfast is meant for",
        f"use Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}",
    )


def _packages(seen: MachineSeen) -> Finding:
    check = "machine.packages"
    missing = [package for package in seen.packages if package.installed is None]
    if missing:
        names = " ".join(f"'{package.name}{package.wanted}'" for package in missing)
        return fail(
            check,
            f"not installed: {', '.join(package.name for package in missing)}",
            f"pip install {names}",
        )
    other = [p for p in seen.packages if p.installed and not satisfies(p.installed, p.wanted)]
    if other:
        names = " ".join(f"'{package.name}{package.wanted}'" for package in other)
        return warn(
            check,
            "not as holdfast asks for: "
            + ", ".join(f"{p.name} {p.installed} ({p.wanted})" for p in other),
            f"pip install {names}",
        )
    listed = ", ".join(f"{package.name} {package.installed}" for package in seen.packages)
    return ok(check, f"holdfast {seen.holdfast}; {listed}")


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version is within bounds such as `>=4.5,<5` (PEP 440, numbers only)."""
    have = _numbers(version)
    for sign, text in _CLAUSE.findall(wanted):
        bound = _numbers(text)
        width = max(len(have), len(bound))
        left = have + (0,) * (width - len(have))
        right = bound + (0,) * (width - len(bound))
        holds = {
            ">=": left >= right,
            "<=": left <= right,
            ">": left > right,
            "<": left < right,
            "==": left == right,
            "!=": left != right,
            "~=": left >= right and left[: len(bound) - 1] == right[: len(bound) - 1],
        }
        if not holds[sign]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return () if release is None else tuple(map(int, release[0].split(".")))


def _folder(folder: FolderSeen) -> list[Finding]:
    check, lock = "state_dir.access", "state_dir.lock"
    if folder.problem:
        remedy = "correct engine.state_dir, or its owner and permissions"
        return [
            fail(check, f"{folder.path}: {folder.problem}", remedy),
            skipped(lock, "the folder can not be used"),
        ]
    if folder.mode is None:
        return [
            ok(check, f"{folder.path}: will be made at the first start"),
            ok(lock, "free: no engine ever ran here"),
        ]
    if folder.mode & 0o022:
        access = warn(
            check,
            f"{folder.path}: others may write there (mode {folder.mode:04o})",
            f"chmod go-w {folder.path}",
        )
    else:
        access = ok(check, f"{folder.path}, mode {folder.mode:04o}")
    return [access, _lock(folder)]


def _lock(folder: FolderSeen) -> Finding:
    who = "" if folder.holder is None else f" (process {folder.holder})"
    if folder.engine_listens:
        return ok("state_dir.lock", f"an engine runs here{who}")
    if folder.holder is not None:
        return fail(
            "state_dir.lock",
            f"process {folder.holder} has the journal open, but no engine listens",
            "see what it is: an engine that hangs is ended by its pid; a forked child must not "
            "outlive it",
        )
    return ok("state_dir.lock", "free: no engine runs here")


def _kind(disk: DiskSeen) -> Finding:
    check = "disk.kind"
    if disk.kind in FORGETFUL:
        return warn(
            check,
            f"{disk.kind}: it is memory, and gone with the machine's power",
            "put engine.state_dir on a disk: the journal is what no crash may take",
        )
    if disk.kind in ACROSS_THE_NETWORK:
        return warn(
            check,
            f"{disk.kind}: across a network locks and fdatasync may promise less",
            "put engine.state_dir on a local disk",
        )
    return ok(check, disk.kind or "a file system whose kind the system does not tell")


def _room(disk: DiskSeen, needs: JournalNeeds) -> Finding:
    check = "disk.room"
    free, least = disk.free_bytes, 3 * needs.segment_bytes
    found = f"{_size(free)} free"
    if free < least and not disk.journal_bytes:
        return fail(check, f"{found}; the journal begins with {_size(least)}", "make room")
    if free < needs.segment_bytes:
        return fail(
            check, f"{found}; the next segment has {_size(needs.segment_bytes)}", "make room"
        )
    if free + disk.journal_bytes < needs.max_bytes:
        return warn(
            check,
            f"{found}; in a long outage the journal may grow to {_size(needs.max_bytes)}",
            "make room, or lower outbox.max_bytes",
        )
    return ok(check, found)


def _sync(disk: DiskSeen, needs: JournalNeeds) -> Finding:
    check = "disk.sync"
    if disk.sync_seconds is None:
        return fail(check, disk.sync_problem, "see the disk: without fdatasync nothing is kept")
    found = f"fdatasync takes {disk.sync_seconds * 1000:.2f} ms"
    if disk.sync_seconds > SLOW_SYNC_SECONDS and needs.orders_wait:
        return warn(
            check,
            f"{found}, and every order waits for one",
            'use a faster disk, or give up power cuts: orders.durability = "process"',
        )
    return ok(check, found)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
