"""Many seeds, on any executor.

A batch of seeds is a pure function of its numbers, so it may run anywhere and, if a
worker dies, twice: the local process pool and Dask's `Client.get_executor()` both do.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor, Future, as_completed
from itertools import islice

import msgspec

from .run import Verdict, run_seed

BATCH_SEEDS = 20
"""So many that handing them out costs nothing beside them."""
AHEAD = 64
"""Batches that wait at once; more would only take memory."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some seeds. `broken` holds the verdicts that are worth reading."""

    seeds: int = 0
    faults: int = 0
    lives: int = 0
    orders: int = 0
    events: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    broken: tuple[Verdict, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


def run_batch(first: int, count: int) -> Tally:
    """Run `count` seeds from `first` on."""
    tally = Tally()
    for seed in range(first, first + count):
        verdict = run_seed(seed)
        tally += Tally(
            seeds=1,
            faults=len(verdict.plan.faults),
            lives=verdict.lives,
            orders=verdict.orders,
            events=verdict.events,
            steps=verdict.steps,
            virtual_seconds=verdict.virtual_seconds,
            broken=() if verdict.kept else (verdict,),
        )
    return tally


def hunt(first: int, count: int, *, executor: Executor | None = None) -> Generator[Tally]:
    """Run `count` seeds from `first` on; yields each batch as it is done.

    Closed before it has ended, it leaves nothing to be run but what has begun.

    :param executor: None: in this process, where a batch is one seed.
    """
    if executor is None:
        for seed in range(first, first + count):
            yield run_batch(seed, 1)
        return
    batches = (
        (at, min(BATCH_SEEDS, first + count - at))
        for at in range(first, first + count, BATCH_SEEDS)
    )
    waiting: set[Future[Tally]] = set()
    try:
        while True:
            for at, seeds in islice(batches, AHEAD - len(waiting)):
                waiting.add(executor.submit(run_batch, at, seeds))
            if not waiting:
                return
            done = next(as_completed(waiting))
            waiting.discard(done)
            yield done.result()
    finally:
        for future in waiting:
            future.cancel()
