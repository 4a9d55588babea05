"""A segment that was made ready beforehand has all its room: a full disk takes none of it."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.journal.files import Files


def test_what_is_filled_holds_no_holes(tmp_path: Path) -> None:
    files = Files()
    fd = files.create(tmp_path / "segment")
    try:
        for offset in range(0, 1 << 20, 1 << 19):
            files.fill(fd, offset, 1 << 19)
        files.sync(fd)
        told = os.fstat(fd)
    finally:
        files.close(fd)
    assert told.st_size == 1 << 20
    assert told.st_blocks * 512 >= told.st_size
