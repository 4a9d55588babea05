"""One piece of work at many points, on any executor: a campaign's seeds, a bot's parameters.

    def profit(averages: tuple[int, int]) -> Decimal:
        return play(partial(Cross, *averages), CANDLES).profit

    with ProcessPoolExecutor() as pool:
        for averages, gained in sweep(profit, product((5, 10), (20, 50)), executor=pool):
            print(averages, gained)

Whatever is a `concurrent.futures.Executor` will do: a pool of processes on this machine, or a
cluster of others (Dask's `Client.get_executor()`). The work has to be a function of its point
alone, so that an executor which has lost a worker may do it once more elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from typing import Final, TypeVar

_Point = TypeVar("_Point")
_Result = TypeVar("_Result")

AHEAD: Final = 64
"""Pieces of work that wait at once; more would only take memory."""


def sweep(
    work: Callable[[_Point], _Result],
    points: Iterable[_Point],
    *,
    executor: Executor | None = None,
) -> Generator[tuple[_Point, _Result]]:
    """Each point and what the work made of it, in the order in which they are done.

    Closed before it has ended, it leaves nothing to be done but what has begun.

    :param work: something that the workers can import, if they are other processes.
    :param points: read as far as is needed.
    :param executor: None: here, one after the other.
    :raises Exception: whatever the work has raised at one of the points.
    """
    if executor is None:
        for point in points:
            yield point, work(point)
        return
    ahead = iter(points)
    waiting: dict[Future[_Result], _Point] = {}
    try:
        while True:
            for point in islice(ahead, AHEAD - len(waiting)):
                waiting[executor.submit(work, point)] = point
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    finally:
        for future in waiting:
            future.cancel()
