"""A whole backtest from its parts: read, check, run, gather. The command is a face of this.

from holdfast.backtest import backtest
result = backtest("bots.py:Mine", ["BTCUSDT-1m.csv"], faults="outages.toml")
result.run("guarded").profit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.campaign.plan import FaultPlan
from holdfast.campaign.planfile import load_plan
from holdfast.errors import ConfigError

from .loading import MakeBot, load_bot, load_markets, read_data, split_data
from .recording import span
from .result import Backtest, PlannedFault, RunName
from .run import Scene, run
from .stage import Account

Progress = Callable[[str, int | None, int], object]
"""Told what is done, how many rows it has (None: not known) and how many are done."""


def backtest(
    bot: str | MakeBot,
    data: Sequence[str],
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
    :param data: `[SYMBOL=]FILE` each: one for each symbol, or its trades and its quotes.
    :param faults: a plan's file, or a plan.
    :param arguments: for the bot's class, where an address is given.
    :param markets: a file with the filters of symbols that holdfast does not know.
    :param account: deposit and fees; None: 100,000 USDT at Binance's regular fees.
    :param bare: whether to run it without holdfast, too.
    :param bars: names of the lengths (`1m`, `1h`) that the bot is to hear of, made of shorter
        candles or of trades; none: those that are recorded, of trades `1m`.
    :param funding: `[SYMBOL=]RATE` (every eight hours) or `[SYMBOL=]FILE` each.
    :raises DataError: a file can not be used; names the line.
    :raises ConfigError: of bot, markets, plan; names file and key.
    """
    if isinstance(bot, str):
        make_bot, name = load_bot(bot, arguments), bot
    elif arguments:
        raise ConfigError("arguments: only where the bot is given by its address")
    else:
        make_bot, name = bot, getattr(bot, "__qualname__", repr(bot))
    known = load_markets(markets)
    used, recordings = read_data(
        [split_data(text, known) for text in data],
        bars=bars,
        funding=funding,
        told=lambda path: progress(f"reading {path.name}", None, 0),
    )
    between = span(recordings)
    plan = (
        load_plan(faults, first_ms=between.first_ms, last_ms=between.last_ms)
        if isinstance(faults, str | Path)
        else faults
    )
    scene = Scene(make_bot, used, recordings, account or Account(), plan)
    names: list[RunName] = ["clean"]
    if plan is not None:
        names += ["guarded", "bare"] if bare else ["guarded"]
    total = sum(recording.count for recording in recordings)

    def told(which: RunName) -> Callable[[int], object]:
        return lambda done: progress(which, total, done)

    return Backtest(
        bot=name,
        data=tuple(recording.summary for recording in recordings),
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
