"""Virtual environments for clients that can not share one: two own the package `binance`.

One is made per list of requirements and interpreter, and kept: its folder is named by the hash
of both. A lock file lets workers that want the same one wait for the first. The lists name every
package with its version, so that what passes today passes tomorrow.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

INSTALL_SECONDS = 500


def environment(requirements: Path, cache: Path) -> Path:
    """The interpreter of the environment in which these are installed; the test fails if they
    can not be.
    """
    wanted = requirements.read_text() + sys.version + sys.base_prefix
    folder = cache / f"{requirements.stem}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, symlinks=True, with_pip=False)
            install(requirements, python)
            complete.touch()
    return python


def install(requirements: Path, python: Path) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--no-compile", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--requirement", str(requirements)],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        pytest.fail(
            f"pip can not install {requirements.name} for Python {sys.version.split()[0]}"
            f" (no network, or no wheel for this platform?):\n{done.stderr[-3000:]}",
            pytrace=False,
        )
