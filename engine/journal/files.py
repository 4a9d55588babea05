"""The system calls of the journal, in one replaceable object.

Tests put a device that fills up or fails in its place; nothing else in the journal
touches the file system. It also holds what differs between Linux and macOS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import JournalLocked

#: Errors that say "no space": of the device, of a quota, of a file size limit.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_ZEROS = bytes(1 << 18)


class Files:
    """The real ones. Every method raises `OSError` as the call does."""

    def __init__(self) -> None:
        # The builtin itself: a Python frame would cost a tenth of an append.
        self.write: Callable[[int, bytes], int] = os.write

    def write_at(self, fd: int, data: bytes, offset: int) -> None:
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written

    def seek(self, fd: int, offset: int) -> None:
        os.lseek(fd, offset, os.SEEK_SET)

    def sync(self, fd: int) -> None:
        """Make written bytes survive a power cut."""
        if sys.platform == "darwin":
            # fsync(2) of macOS stops at the drive's cache; the manual names F_FULLFSYNC.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Make creations and renames in the directory survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def create(self, path: Path) -> int:
        """:raises FileExistsError: nothing that exists is ever emptied."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def allocate(self, fd: int, size: int) -> None:
        """Reserve the blocks at once, so that a full disk shows now and not at a record."""
        if sys.platform == "linux":
            try:
                os.posix_fallocate(fd, 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
            else:
                return
        self.fill(fd, 0, size)

    def fill(self, fd: int, offset: int, size: int) -> None:
        """Write zeros: unlike reserved blocks, later syncs of them change no metadata.

        All of them: a hole would ask for room when the disk has none left, and what the
        segment keeps for exits would not be there.
        """
        end = offset + size
        for at in range(offset, end, len(_ZEROS)):
            self.write_at(fd, _ZEROS[: end - at], at)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """:raises FileExistsError: a segment is never replaced by another."""
        if target.exists():
            raise FileExistsError(errno.EEXIST, "segment exists", str(target))
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def names(self, path: Path) -> list[str]:
        return os.listdir(path)  # noqa: PTH208 - names only, a tenth of the cost of iterdir

    def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size) if size >= 0 else file.readall()


def lock(path: Path) -> int:
    """Take the single-writer lock; it ends with the process, however that dies.

    :raises JournalLocked: names the process that holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise JournalLocked(
            f"{path} is locked: process {holder}, or one it forked, has this journal open. Stop "
            "it, or give this bot a journal folder of its own."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
