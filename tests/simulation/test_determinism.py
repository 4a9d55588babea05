"""One program and one seed give one order of events, whatever the process did before."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anyio
import anyio._backends._asyncio as backend
import pytest

from holdfast.simulation import SeededEntropy, SimulationError, ordered, run

SCRIPT = Path(__file__).with_name("cancelled_groups.py")
HASH_SEEDS = ("0", "1", "2", "random", "random", "3", "random", "4")


@pytest.fixture(scope="module")
def digests() -> list[tuple[str, str]]:
    """(with the replacements, without them), of processes with different histories."""
    found = []
    for number, hash_seed in enumerate(HASH_SEEDS):
        process = subprocess.run(
            [sys.executable, str(SCRIPT), str(number)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        with_them, without_them = process.stdout.split()
        found.append((with_them, without_them))
    return found


def test_every_process_logs_the_same_events(digests: list[tuple[str, str]]) -> None:
    assert len({with_them for with_them, _ in digests}) == 1


def test_without_the_replacements_they_would_differ(digests: list[tuple[str, str]]) -> None:
    """If this fails, anyio and asyncio have become deterministic: drop `ordered`."""
    assert len({without_them for _, without_them in digests}) > 1


def test_a_second_run_in_one_process_logs_the_same() -> None:
    event_log = runpy.run_path(str(SCRIPT))["event_log"]
    first = event_log(replaced=True)
    assert len(first) > 400
    run(_many_tasks)
    assert event_log(replaced=True) == first


async def _many_tasks() -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5_000):
            group.start_soon(anyio.sleep, 1)


def test_task_names_do_not_count_earlier_runs() -> None:
    async def name() -> str:
        return (await asyncio.create_task(_own_name())) or ""

    assert run(name) == run(name)


async def _own_name() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


def test_the_replacements_are_gone_after_a_run() -> None:
    before = _patched_names()

    async def program() -> None:
        assert _patched_names() != before
        raise LookupError

    with pytest.raises(LookupError):
        run(program)
    assert _patched_names() == before
    assert "set" not in vars(backend)


def _patched_names() -> list[object]:
    return [
        vars(backend).get("set"),
        backend.WorkerThread,
        asyncio.tasks.all_tasks,
    ]


def test_an_ordinary_loop_still_has_its_threads_beside_a_simulation() -> None:
    with ordered.deterministic_order():
        assert anyio.run(anyio.to_thread.run_sync, lambda: 5) == 5


def test_an_anyio_that_is_built_differently_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherScope(backend.CancelScope):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._child_scopes = frozenset()  # type: ignore[assignment]

    monkeypatch.setattr(backend, "CancelScope", OtherScope)
    with pytest.raises(SimulationError, match=r"anyio \d+\.\d+.*_child_scopes as frozenset"):
        run(anyio.sleep, 0)
    assert "set" not in vars(backend)


@pytest.mark.parametrize("version", ["4.8.0", "5.0.0rc1", "3.7.1"])
def test_an_anyio_out_of_range_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "_anyio_version", lambda: version)
    with pytest.raises(SimulationError, match=version.replace(".", r"\.")):
        run(anyio.sleep, 0)


@pytest.mark.parametrize("owner", [backend.CancelScope, backend.TaskGroup])
def test_no_unordered_collection_escaped_the_replacement(owner: type) -> None:
    """Only the name ``set`` is replaced: a set display or a WeakSet would slip through."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Set | ast.SetComp), ast.unparse(node)
        if isinstance(node, ast.Name | ast.Attribute):
            assert "WeakSet" not in ast.unparse(node)
            assert "frozenset" not in ast.unparse(node)


def test_entropy_is_a_function_of_seed_and_path() -> None:
    def draw(entropy: SeededEntropy) -> tuple[float, int]:
        return entropy.random(), entropy.randbits(64)

    root = SeededEntropy(5)
    faults = draw(root.child("faults").child("bus"))
    root.random()
    root.child("latency").random()
    assert draw(root.child("faults").child("bus")) == faults
    others = [
        root,
        root.child("faults"),
        root.child("faults").child("venue"),
        root.child("faultsbus"),
        root.child("bus").child("faults"),
        SeededEntropy(6).child("faults").child("bus"),
        SeededEntropy(-5).child("faults").child("bus"),
        SeededEntropy(5, "other").child("faults").child("bus"),
    ]
    assert len({faults, *map(draw, others)}) == len(others) + 1


def test_entropy_stays_what_it_was_when_published() -> None:
    """A seed in a bug report must find the same run in later versions."""
    entropy = SeededEntropy(42, "campaign").child("faults")
    assert [entropy.randbits(32) for _ in range(3)] == [475541638, 2184714999, 1545276099]
    assert SeededEntropy(10**40).randbits(16) < 2**16
