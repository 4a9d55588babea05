"""Many seeds, on any executor.

A batch of seeds is a pure function of its numbers, so it may run anywhere and, if a
worker dies, twice: the local process pool and Dask's `Client.get_executor()` both do.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Executor
from threading import Lock

import msgspec

from holdfast.sweep import sweep

from .run import Verdict, run_seed

BATCH_SEEDS = 20
"""So many that handing them out costs nothing beside them."""
_one_at_a_time = Lock()
"""A worker of a cluster may have several threads; a simulation has its process to itself."""


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
        with _one_at_a_time:
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


def hunt(
    first: int, count: int, *, executor: Executor | None = None, batch_seeds: int = BATCH_SEEDS
) -> Generator[Tally]:
    """Run `count` seeds from `first` on; yields each batch as it is done.

    Closed before it has ended, it leaves nothing to be run but what has begun.

    :param executor: None: in this process, where a batch is one seed.
    """
    size, end = 1 if executor is None else batch_seeds, first + count
    batches = ((at, min(size, end - at)) for at in range(first, end, size))
    for _, tally in sweep(_batch, batches, executor=executor):
        yield tally


def _batch(seeds: tuple[int, int]) -> Tally:
    return run_batch(*seeds)
