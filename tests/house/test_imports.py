"""What importing costs, and which way imports point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "aiohttp",
    "ccxt",
    "click",
    "holdfast.cli",
    "holdfast.drill",
    "holdfast.transports",
    "prometheus_client",
    "pyarrow",
    "redis",
    "rich",
    "sqlite3",
    "uvloop",
)


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_holdfast_loads_nothing_heavy() -> None:
    loaded = run("import sys, holdfast; print(*sys.modules)").split()
    assert not [name for name in loaded if name.startswith(HEAVY)]


def test_every_public_name_is_there() -> None:
    run("import holdfast; [getattr(holdfast, name) for name in holdfast.__all__]")


def test_imports_point_one_way() -> None:
    pytest.importorskip("importlinter", reason="comes with `make check`")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
