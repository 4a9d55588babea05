"""What importing costs, and which way imports point."""

from __future__ import annotations

import ast
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


TIME_AND_CHANCE = {"random", "secrets", "time", "uuid"}
MAY_KNOW_THEM = (
    "engine/clock.py",  # the two ports, as the system has them
    "engine/simulation/",  # and as a seed has them
    "engine/marketdata/walk.py",  # a seeded walk
    "engine/cli/",
    "engine/doctor/",
    "engine/drill/",  # an observer, who must not share the engine's clock
    "engine/campaign/command.py",
    "engine/backtest/command.py",
    "engine/backtest/sweep_command.py",
    "transports/conformance/",
)


def test_nothing_but_the_ports_knows_time_or_chance() -> None:
    """Else one seed would not be one run."""
    found = set()
    for top in ("engine", "states", "transports"):
        for path in (ROOT / top).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Import(names=names):
                        modules = {alias.name for alias in names}
                    case ast.ImportFrom(module=str(module), level=0):
                        modules = {module}
                    case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=attribute):
                        modules = {"time"} if attribute in ("now", "utcnow", "today") else set()
                    case _:
                        continue
                if modules & TIME_AND_CHANCE and not name.startswith(MAY_KNOW_THEM):
                    found.add(f"{name}:{node.lineno}")
    assert found == set()


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
