"""Looks at the machine: versions, the state folder, the disk below it. Nothing is left there."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Final

from holdfast import __version__
from holdfast.clock import SystemClock
from holdfast.control_address import control_address
from holdfast.errors import ConfigError
from holdfast.journal.files import Files
from holdfast.opening import JOURNAL_FOLDER

from .machine_checks import DiskSeen, FolderSeen, MachineSeen, PackageSeen

SYNCS: Final = 11
RECORD_BYTES: Final = 512
CONNECT_SECONDS: Final = 2.0
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^]]*\])?\s*([^;]*)")


def look_at_machine(state_dir: Path) -> MachineSeen:
    """Blocks for as long as some fdatasyncs take."""
    folder = _folder(state_dir)
    return MachineSeen(
        python=sys.version_info[:3],
        holdfast=__version__,
        packages=_packages(),
        folder=folder,
        disk=None if folder.problem else _disk(state_dir),
    )


def _packages() -> list[PackageSeen]:
    """What holdfast can not do without."""
    try:
        wanted = metadata.requires("holdfast") or []
    except metadata.PackageNotFoundError:  # it runs without having been installed
        return []
    return [
        PackageSeen(found[1], found[3].strip(), _version(found[1]))
        for requirement in wanted
        if "extra ==" not in requirement and (found := _REQUIREMENT.match(requirement))
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above that exists."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _folder(state_dir: Path) -> FolderSeen:
    path, place = str(state_dir), _existing(state_dir)
    if not place.is_dir():
        return FolderSeen(path, f"{place} is no folder" if place != state_dir else "is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        return FolderSeen(path, f"this user may not write into {place}")
    if place != state_dir:
        return FolderSeen(path)
    return FolderSeen(
        path,
        mode=stat.S_IMODE(state_dir.stat().st_mode),
        engine_listens=_listens(state_dir),
        holder=_holder(state_dir / JOURNAL_FOLDER / "LOCK"),
    )


def _listens(state_dir: Path) -> bool:
    """Whether an engine takes connections on the control socket."""
    try:
        address = control_address(state_dir)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(address)
    except (OSError, ConfigError):
        return False
    return True


def _holder(lock: Path) -> int | None:
    """The process that has locked the file, as the kernel tells (Linux).

    The lock itself is not tried: for that moment a bot that starts would find it taken.
    """
    try:
        found, table = lock.stat(), Path("/proc/locks").read_text()
    except OSError:
        return None
    where = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in table.splitlines():
        words = line.split()
        # proc(5): number, kind, how, access, pid, device and inode, range.
        if "FLOCK" in words and where in words:
            return int(words[words.index(where) - 1])
    return None


def _disk(state_dir: Path) -> DiskSeen:
    place = _existing(state_dir)
    room = os.statvfs(place)
    seen = DiskSeen(
        free_bytes=room.f_bavail * room.f_frsize,
        journal_bytes=sum(
            segment.stat().st_size for segment in (state_dir / JOURNAL_FOLDER).glob("*.seg")
        ),
        kind=_kind(place),
    )
    try:
        return seen._replace(sync_seconds=_sync_seconds(place))
    except OSError as error:
        return seen._replace(sync_problem=f"{place}: {error.strerror}")


def _sync_seconds(place: Path) -> float:
    """One record written and synced, as the journal does it."""
    files, monotonic = Files(), SystemClock().monotonic
    took_seconds = []
    with tempfile.TemporaryFile(dir=place) as file:
        files.fill(file.fileno(), 0, SYNCS * RECORD_BYTES)
        files.sync(file.fileno())
        for number in range(SYNCS):
            began = monotonic()
            files.write_at(file.fileno(), b"\1" * RECORD_BYTES, number * RECORD_BYTES)
            files.sync(file.fileno())
            took_seconds.append(monotonic() - began)
    return median(took_seconds)


def _kind(place: Path) -> str:
    """Of the file system (Linux); "" where the system does not say."""
    device = place.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return ""
    for line in mounts.splitlines():
        # proc(5): the third word is the device; behind the dash stands the kind.
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == wanted:
            return rest.split()[0]
    return ""
