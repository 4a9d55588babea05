"""Where the control socket of a state folder is: the same answer for both its ends.

A unix socket's path holds 108 bytes on Linux and 104 on macOS (unix(7), sys/un.h),
and state folders of tests, containers and thorough people are longer. For those the
socket is reached through a short symbolic link in the folder for temporary files.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from .errors import ConfigError

SOCKET_NAME: Final = "control.sock"
LONGEST_BYTES: Final = 100


def control_address(state_dir: Path) -> str:
    """A path to `<state_dir>/control.sock` that fits into a socket address.

    :raises ConfigError: there is no place for the short link.
    """
    folder = state_dir.resolve()
    direct = str(folder / SOCKET_NAME)
    if len(os.fsencode(direct)) <= LONGEST_BYTES:
        return direct
    # One link per user, and only one's own is followed: the folder is writable by others.
    name = f"holdfast-{os.geteuid()}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    for place in dict.fromkeys((tempfile.gettempdir(), "/tmp")):
        link = Path(place) / name
        if len(os.fsencode(link / SOCKET_NAME)) <= LONGEST_BYTES:
            _point(link, folder)
            return str(link / SOCKET_NAME)
    raise ConfigError(f"engine.state_dir: {folder} is too long for a socket; choose a shorter one")


def _point(link: Path, folder: Path) -> None:
    try:
        link.symlink_to(folder, target_is_directory=True)
    except FileExistsError:
        # What stands under the name must be the very link that would have been made.
        mine = link.is_symlink() and link.lstat().st_uid == os.geteuid()
        if not mine or link.readlink() != folder:
            raise ConfigError(
                f"{link} is in the way; remove it, or choose a shorter engine.state_dir"
            ) from None
    except OSError as error:
        raise ConfigError(f"{link}: {error.strerror}; choose a shorter engine.state_dir") from error
