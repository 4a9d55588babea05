"""A whole backtest from its parts: read, check, run, gather. The command is a face of this.

from holdfast.backtest import backtest
result = backtest("bots.py:Mine", ["BTCUSDT-1m.csv"], faults="outages.toml")
result.run("guarded").profit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.campaign.plan import FaultPlan
from holdfast.campaign.planfile import check_plan, load_plan
from holdfast.transports.sim import Market

from .account import Account
from .loading import MakeBot, find_data, load_bot, load_markets, read_data
from .recording import Recording, span
from .result import Backtest, PlannedFault, RunName
from .run import Scene, run

Progress = Callable[[str, int | None, int], object]
"""Told what is done, how many rows it has (None: not known) and how many are done."""


class Recorded(NamedTuple):
    """What is traded on; read once, for as many backtests as are wanted."""

    markets: Sequence[Market]
    recordings: Sequence[Recording]


def record(
    data: Sequence[str],
    *,
    markets: Path | None = None,
    bars: Sequence[str] = (),
    funding: Sequence[str] = (),
    progress: Progress = lambda what, total, done: None,
) -> Recorded:
    """Read and check the data; parameters and errors are those of `backtest`."""
    known = load_markets(markets)
    return Recorded(
        *read_data(
            find_data(data, known),
            bars=bars,
            funding=funding,
            told=lambda path: progress(f"reading {path.name}", None, 0),
        )
    )


def backtest(
    bot: str | MakeBot,
    data: Sequence[str] | Recorded,
    *,
    faults: str | Path | FaultPlan | None = None,
    arguments: Mapping[str, Any] | None = None,
    markets: Path | None = None,
    account: Account | None = None,
    bare: bool = True,
    bars: Sequence[str] = (),
    funding: Sequence[str] = (),
    progress: Progress = lambda what, total, done: None,
) -> Backtest:
    """Run a bot on what is recorded; with a fault plan, with and without it and holdfast.

    :param bot: `module:Class`, `path/to/file.py:Class`, or what makes one for each of its lives.
    :param data: `[SYMBOL=]FILE` each, a file's name or a pattern for several: of each symbol
        candles, or trades and quotes, or raw feeds; or what `record` has read, with its markets,
        bars and funding.
    :param faults: a plan's file, or a plan.
    :param arguments: for the bot's class.
    :param markets: a file with the filters of symbols that holdfast does not know.
    :param account: deposit, position mode, leverage, margin and fees; None: 100,000 USDT in one-way
        mode, cross margin at 20x, Binance's regular fees.
    :param bare: whether to run it without holdfast, too.
    :param bars: names of the lengths (`1m`, `1h`) that the bot is to hear of, made of shorter
        candles or of trades; none: those that are recorded, of trades `1m`.
    :param funding: `[SYMBOL=]RATE` (every eight hours) or `[SYMBOL=]FILE` each.
    :raises DataError: a file can not be used; names the line.
    :raises ConfigError: of bot, markets, account, plan; names file and key.
    """
    make_bot, name = load_bot(bot, arguments)
    if isinstance(faults, str | Path):
        check_plan(faults)  # long data is not read for a slip in a plan
    if not isinstance(data, Recorded):
        data = record(data, markets=markets, bars=bars, funding=funding, progress=progress)
    between = span(data.recordings)
    plan = (
        load_plan(faults, first_ms=between.first_ms, last_ms=between.last_ms)
        if isinstance(faults, str | Path)
        else faults
    )
    account = account or Account()
    scene = Scene(make_bot, data.markets, data.recordings, account, plan)
    names: list[RunName] = ["clean"]
    if plan is not None:
        names += ["guarded", "bare"] if bare else ["guarded"]
    total = sum(recording.count for recording in data.recordings)

    def told(which: RunName) -> Callable[[int], object]:
        return lambda done: progress(which, total, done)

    return Backtest(
        bot=name,
        data=tuple(recording.summary for recording in data.recordings),
        account=account.settled(data.markets, data.recordings),
        runs=tuple(run(scene, which, told=told(which)) for which in names),
        faults=() if plan is None else _planned(plan, between.first_ms),
        seed=0 if plan is None else plan.seed,
    )


def _planned(plan: FaultPlan, first_ms: int) -> tuple[PlannedFault, ...]:
    return tuple(
        PlannedFault(
            at_ms=first_ms + round(fault.at_seconds * 1000),
            seconds=getattr(fault, "seconds", 0.0),
            text=str(fault).partition(" s  ")[2],
        )
        for fault in plan.faults
    )
