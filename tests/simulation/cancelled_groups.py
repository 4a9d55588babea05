"""A program whose order hangs on every set that anyio and asyncio keep of what runs.

Run as a script it prints two digests of its event log: with the replacements of
`holdfast.simulation.ordered`, and on the same loop without them.

    python cancelled_groups.py ALLOCATION_SEED
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio

from holdfast.simulation import SeededEntropy, SimLoop, run


def event_log(*, replaced: bool) -> list[str]:
    log: list[str] = []
    if replaced:
        run(_program, log, seed=3)
    else:
        anyio.run(_program, log, backend_options={"loop_factory": _loop_with_stock_tasks})
    _kept.clear()
    return log


def digest(log: list[str]) -> str:
    return hashlib.sha256("\n".join(log).encode()).hexdigest()


def _loop_with_stock_tasks() -> SimLoop:
    def stock_task(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop, **options)

    loop = SimLoop(seed=3)
    loop.set_task_factory(stock_task)
    return loop


async def _program(log: list[str]) -> None:
    entropy = SeededEntropy(11, "program")

    def note(what: str) -> None:
        log.append(f"{SimLoop.current().elapsed_ns} {what}")

    async def worker(number: int) -> None:
        with anyio.CancelScope():
            try:
                await anyio.sleep(3600)
            except asyncio.CancelledError:
                note(f"cancelled {number}")
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(entropy.random())
                note(f"cleaned {number}")
                raise

    async def failing(number: int) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            note(f"failing {number}")

    async def waited(number: int) -> int:
        await asyncio.sleep(1)
        return number

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(worker, number)
        await anyio.sleep(1)
        group.cancel_scope.cancel()

    try:
        async with asyncio.TaskGroup() as stock_group:
            for number in range(100):
                stock_group.create_task(failing(number))
            await asyncio.sleep(1)
            raise LookupError
    except* LookupError:
        note("stock group")

    done, _ = await asyncio.wait([asyncio.create_task(waited(number)) for number in range(100)])
    note(f"waited {[task.result() for task in done]}")

    async def left_open(number: int) -> AsyncIterator[int]:
        try:
            yield number
        finally:
            note(f"generator {number}")

    # Left behind: the runner cancels the tasks, in the order in which `all_tasks` lists them,
    # and closes the generators.
    generators = [left_open(number) for number in range(50)]
    for generator in generators:
        await anext(generator)
    _kept.append(generators)
    for number in range(50):
        _kept.append(asyncio.create_task(failing(1_000 + number)))
        # Between them others that end: sparse hashes collide, and then the order in a set
        # depends on the size it had grown to.
        for other in range(number % 7 * 5):
            await asyncio.create_task(waited(other))
    await anyio.sleep(1)
    note(f"ends with {[task.name for task in anyio.get_running_tasks()]}")


_kept: list[object] = []


def _disturb_the_heap(seed: int) -> list[object]:
    generator = random.Random(seed)
    kept: list[object] = []
    for _ in range(generator.randrange(2_000, 20_000)):
        garbage = [bytearray(generator.randrange(1, 600)), set(), {}, object()]
        if generator.random() < 0.5:
            kept.append(generator.choice(garbage))
    return kept


if __name__ == "__main__":
    kept = _disturb_the_heap(int(sys.argv[1]))
    sys.stdout.write(f"{digest(event_log(replaced=True))} {digest(event_log(replaced=False))}\n")
