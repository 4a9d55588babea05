"""The same backtest at many points: a bot's arguments, each of several values.

    from holdfast.backtest import sweep
    for point in sweep("bots.py:Cross", ["BTCUSDT-1m.csv"], {"fast": [5, 10], "slow": [20, 50]}):
        print(point.arguments, point.backtest.run("clean").profit)

Every point is a function of what is given here and of nothing else, so it does not matter on
which machine it is worked out, or how often. The data is read once by each process, not once
for each point: that would take longer than the runs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec

from holdfast import sweep as sweeping
from holdfast.campaign.plan import FaultPlan
from holdfast.campaign.planfile import check_plan
from holdfast.errors import ConfigError

from .account import Account
from .conduct import Recorded, backtest, record
from .loading import MakeBot, find_bot, load_bot
from .result import Backtest


class Options(TypedDict, total=False):
    """What is the same at every point; each as in `backtest`."""

    faults: str | Path | FaultPlan | None
    markets: Path | None
    account: Account | None
    bare: bool
    bars: Sequence[str]
    funding: Sequence[str]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one combination of arguments."""

    arguments: dict[str, Any]
    backtest: Backtest


def sweep(
    bot: str | MakeBot,
    data: Sequence[str],
    grid: Mapping[str, Sequence[Any]],
    *,
    executor: Executor | None = None,
    **options: Unpack[Options],
) -> Generator[Point]:
    """A backtest for each combination of the values, in the order in which they are done.

    :param grid: the values of each argument of the bot's class.
    :param executor: any; its workers have to find bot and data where they are here. None: here,
        one after the other.
    :raises DataError: as of `backtest`.
    :raises ConfigError: as of `backtest`; of bot, arguments and plan before anything is run.
    """
    points = list(combinations(grid))
    make = find_bot(bot) if isinstance(bot, str) else bot  # a file is run for that, so once
    for point in points:
        load_bot(make, point)
    faults = options.get("faults")
    if isinstance(faults, str | Path):
        check_plan(faults)
    work = _Work(bot, tuple(data), options)
    with closing(sweeping.sweep(work, points, executor=executor)) as done:
        for arguments, result in done:
            yield Point(arguments=arguments, backtest=result)


def combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """
    :raises ConfigError: an argument has no value.
    """
    for name, values in grid.items():
        if not values:
            raise ConfigError(f"grid: {name} has no value")
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


class _Work(msgspec.Struct, frozen=True):
    """Sent to the workers; a function of the point alone."""

    bot: str | MakeBot
    data: tuple[str, ...]
    options: Options

    def __call__(self, arguments: dict[str, Any]) -> Backtest:
        options = self.options
        recorded = _recorded(
            self.data,
            options.get("markets"),
            tuple(options.get("bars", ())),
            tuple(options.get("funding", ())),
            tuple(_stamps(*self.data, *options.get("funding", ()))),
        )
        return backtest(
            self.bot,
            recorded,
            arguments=arguments,
            faults=options.get("faults"),
            account=options.get("account"),
            bare=options.get("bare", True),
        )


def _stamps(*given: str) -> Iterator[tuple[str, int, int]]:
    """What tells that files are others than they were; a worker of a cluster lives long."""
    for text in given:
        path = Path(text.rpartition("=")[2])
        for found in (path, *path.parent.glob(path.name or "*")):
            with suppress(OSError):  # a funding rate is no path
                stat = found.stat()
                yield str(found), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1)
def _recorded(
    data: tuple[str, ...],
    markets: Path | None,
    bars: tuple[str, ...],
    funding: tuple[str, ...],
    stamps: tuple[tuple[str, int, int], ...],
) -> Recorded:
    return record(data, markets=markets, bars=bars, funding=funding)
