"""A campaign on a Dask cluster of real worker processes, one of which is killed in the middle.

The cluster itself is of the soak: its client waits without an end for a scheduler that does not
come, and a suite that guards every change must not hang on the start of somebody else's servers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from holdfast.campaign.command import campaign
from holdfast.campaign.hunt import Tally, hunt
from holdfast.sweep import sweep
from holdfast.workers import executor_of

FIRST, SEEDS = 400, 14
PATIENCE_SECONDS = 120


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The scheduler's address, and its two workers; each a process."""
    file, ended = tmp_path / "scheduler.json", ExitStack()

    def start(part: str, *options: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{part}", "--no-dashboard", *options],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ended.callback(child.wait, 20)
        ended.callback(child.kill)
        return child

    with ended:
        where = ("--scheduler-file", str(file))
        start("scheduler", "--host", "127.0.0.1", "--port", "0", *where)
        workers = [start("worker", "--nthreads", "1", "--no-nanny", *where) for _ in range(2)]
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=PATIENCE_SECONDS) as client:
            client.wait_for_workers(len(workers), timeout=PATIENCE_SECONDS)
            address = str(client.scheduler.address)
        yield address, workers


@pytest.mark.soak
def test_a_worker_that_is_killed_costs_no_seed_and_doubles_none(
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, (victim, _) = cluster
    total = Tally()
    with executor_of(address) as executor:
        for tally in hunt(FIRST, SEEDS, executor=executor, batch_seeds=1):
            if not total.seeds:
                os.kill(victim.pid, signal.SIGKILL)
            total += tally
    victim.wait(20)
    assert _exact(total) == _exact(sum(hunt(FIRST, SEEDS), start=Tally()))
    # And by the command, on what is left of it.
    ran = CliRunner().invoke(
        campaign, ["--cluster", address, "--first-seed", "1", "--seeds", "2", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["seeds"] == 2


def _exact(total: Tally) -> Tally:
    """The sum of times depends on the order in which they are added."""
    return replace(total, virtual_seconds=round(total.virtual_seconds, 6))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--cluster", "tcp://127.0.0.1:9"], "no scheduler of Dask answers at tcp://127.0.0.1:9"),
        (["--cluster", "10.0.0.7"], "give scheme, host and port, such as tcp://10.0.0.7:8786"),
        (["--cluster", "tcp://127.0.0.1:9", "--jobs", "2"], "a cluster has workers of its own"),
    ],
)
def test_a_cluster_that_can_not_be_used_is_refused(
    options: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.workers.CONNECT_SECONDS", 0.5)
    ran = CliRunner().invoke(campaign, [*options, "--seeds", "1"])
    assert ran.exit_code == 2
    assert why in " ".join(ran.output.replace("│", " ").split())


def test_without_dask_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = CliRunner().invoke(campaign, ["--cluster", "tcp://127.0.0.1:9", "--seeds", "1"])
    assert ran.exit_code == 2
    assert "pip install 'holdfast[dask]'" in " ".join(ran.output.replace("│", " ").split())


def test_a_sweep_gives_each_point_its_result_and_stops_when_it_is_closed() -> None:
    done: list[int] = []

    def square(point: int) -> int:
        done.append(point)
        return point * point

    with ThreadPoolExecutor(1) as pool:
        assert dict(sweep(square, range(200), executor=pool)) == {n: n * n for n in range(200)}
        done.clear()
        begun: Any = sweep(square, iter(range(10_000)), executor=pool)
        assert next(begun)[0] < 200
        begun.close()
    assert len(done) < 200
    assert dict(sweep(square, range(3))) == {0: 0, 1: 1, 2: 4}
