"""How much virtual time costs: operations per second of CPU, against asyncio's own loop.

    python benchmarks/virtual_time.py [--json] [--rounds 5]

CPU seconds (`time.process_time`), because a simulation never waits and the stock loop's
waiting is not its fault. The runtimes take turns within each round, so that a busy
neighbour slows them alike; the figure is the median over the rounds. The stock loop sleeps
really: it is given delays of a microsecond (as short as its clock allows to wait for),
the simulation the same ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib import metadata

import anyio

from holdfast.simulation import Simulation

Case = Callable[[int], Awaitable[None]]

DELAY_SECONDS = 1e-6


async def raw_timers(count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def fire() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_later(DELAY_SECONDS, fire)
        else:
            done.set_result(None)

    loop.call_later(DELAY_SECONDS, fire)
    await done


async def anyio_sleep(count: int) -> None:
    for _ in range(count):
        await anyio.sleep(DELAY_SECONDS)


async def hundred_sleepers(count: int) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(anyio_sleep, count // 100)


async def sleep_under_timeout(count: int) -> None:
    for _ in range(count):
        with anyio.move_on_after(1):
            await anyio.sleep(DELAY_SECONDS)


async def switch(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def checkpoint(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def cancelled_group(count: int) -> None:
    for _ in range(count // 100):
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(anyio.sleep, 3600)
            await anyio.sleep(DELAY_SECONDS)
            group.cancel_scope.cancel()


CASES: dict[str, tuple[Case, int]] = {
    "raw timers": (raw_timers, 100_000),
    "anyio.sleep": (anyio_sleep, 40_000),
    "anyio.sleep, 100 tasks": (hundred_sleepers, 40_000),
    "move_on_after + sleep": (sleep_under_timeout, 20_000),
    "sleep(0)": (switch, 200_000),
    "anyio checkpoint": (checkpoint, 100_000),
    "task started and cancelled": (cancelled_group, 10_000),
}

RUNTIMES: dict[str, Callable[[Case, int], None]] = {
    "SimLoop": lambda case, count: Simulation(seed=1).run(case, count),
    "SimLoop, ties unseeded": lambda case, count: Simulation(seed=None).run(case, count),
    "asyncio": lambda case, count: anyio.run(case, count),
}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Operations per CPU second: case, then runtime."""
    rates: dict[str, dict[str, list[float]]] = {
        name: {runtime: [] for runtime in RUNTIMES} for name in CASES
    }
    for _ in range(rounds):
        for name, (case, count) in CASES.items():
            for runtime, run in RUNTIMES.items():
                begun = time.process_time()
                run(case, count)
                rates[name][runtime].append(count / (time.process_time() - begun))
    return {
        name: {runtime: statistics.median(samples) for runtime, samples in by_runtime.items()}
        for name, by_runtime in rates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    rates = measure(options.rounds)
    setting = {
        "python": platform.python_version(),
        "anyio": metadata.version("anyio"),
        "rounds": options.rounds,
    }
    if options.json:
        print(json.dumps({"unit": "operations per CPU second", **setting, "rates": rates}))
        return
    print(f"operations per CPU second, median of {options.rounds}; {setting}")
    print(f"{'':28}" + "".join(f"{runtime:>24}" for runtime in RUNTIMES))
    for name, by_runtime in rates.items():
        print(f"{name:28}" + "".join(f"{by_runtime[runtime]:>24,.0f}" for runtime in RUNTIMES))


if __name__ == "__main__":
    main()
