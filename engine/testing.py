"""A test kit for bots: the real engine in virtual time, planned faults, and the promises checked.

    from holdfast.testing import ExchangeOutage, Kill, check, play, walk

    def test_my_bot_survives_a_bad_hour():
        faults = [ExchangeOutage(at_seconds=3600, seconds=900), Kill(at_seconds=9000, seconds=30)]
        result = play(MyBot, walk(300), faults=faults)
        check(result)                          # no promise broken, and the bot did not raise
        assert result.counts.doubled == 0

Nothing waits, nothing is written to disk, and the same arguments give the same run, to the
byte (`result.digest`). With pytest, `pytest_plugins = ["holdfast.testing_fixtures"]` in a
conftest.py offers the same as fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from holdfast.backtest import Account, Run
from holdfast.backtest.candle_recording import of_candles
from holdfast.backtest.funding import fixed, no_fees
from holdfast.backtest.recording import span
from holdfast.backtest.result import RunName
from holdfast.backtest.run import Scene, run
from holdfast.bot import Bot
from holdfast.campaign.plan import (
    AnyFault,
    Conditions,
    DiskError,
    DiskFull,
    ExchangeOutage,
    FaultPlan,
    Flap,
    ForeignTrade,
    Funding,
    Hold,
    Kill,
    LaggingReads,
    LostAcks,
    Noise,
    OrderFault,
    PolicyChange,
    QuestionFault,
    RefusedAppend,
    Restart,
    SecondCopy,
    ServerOutage,
    SnapshotFault,
    Stall,
    StreamFault,
    Suspend,
    VenueClockSkew,
    WallClockJump,
)
from holdfast.campaign.planfile import conditions_for
from holdfast.market import INTERVALS
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import Candle
from holdfast.simulation import SeededEntropy
from holdfast.transports.sim import Market
from holdfast.transports.sim.rules import DEFAULT_MARKETS

__all__ = [
    "Account",
    "AnyFault",
    "Candle",
    "Conditions",
    "DiskError",
    "DiskFull",
    "ExchangeOutage",
    "FaultPlan",
    "Flap",
    "ForeignTrade",
    "Funding",
    "Hold",
    "Kill",
    "LaggingReads",
    "LostAcks",
    "Market",
    "Noise",
    "OrderFault",
    "PolicyChange",
    "PromiseBroken",
    "QuestionFault",
    "RefusedAppend",
    "Restart",
    "Run",
    "SecondCopy",
    "ServerOutage",
    "SnapshotFault",
    "Stall",
    "StreamFault",
    "Suspend",
    "VenueClockSkew",
    "WallClockJump",
    "check",
    "from_closes",
    "play",
    "walk",
]

START: Final = "2026-01-01T00:00:00Z"
BTC: Final = DEFAULT_MARKETS[0]


class PromiseBroken(AssertionError):
    """A run in which a promise was broken, or whose bot raised; the message names each."""


def from_closes(
    closes: Iterable[float], *, start: str = START, interval: str = "1m"
) -> list[Candle]:
    """Candles that close at these prices, each opening at the close before.

    :param start: of the first one: ISO 8601 with an offset.
    :param interval: one of `market.INTERVALS`.
    """
    time_ms = round(datetime.fromisoformat(start).timestamp() * 1000)
    made: list[Candle] = []
    before: float | None = None
    for close in closes:
        opened = close if before is None else before
        high, low = (opened, close) if opened > close else (close, opened)
        made.append(Candle(time_ms, opened, high, low, close, 1.0))
        before, time_ms = close, time_ms + INTERVALS[interval]
    return made


def walk(
    count: int,
    *,
    seed: int = 0,
    price: float = 60_000.0,
    start: str = START,
    interval: str = "1m",
) -> list[Candle]:
    """A random walk of closes around `price`, in steps of a tenth, the same for the same seed."""
    random, tenths = SeededEntropy(seed, "walk").random, round(price * 10)
    reach = max(1, tenths // 1000)
    closes: list[float] = []
    for _ in range(count):
        tenths = max(1, tenths + int((2 * random() - 1) * reach))
        closes.append(tenths / 10)
    return from_closes(closes, start=start, interval=interval)


def play(
    make_bot: Callable[[], Bot],
    candles: Sequence[Candle],
    *,
    faults: Iterable[AnyFault] = (),
    noise: Noise | None = None,
    seed: int = 0,
    market: Market = BTC,
    account: Account | None = None,
    conditions: Conditions | None = None,
    bars: Sequence[str] = (),
    funding_rate: Decimal | None = None,
    run_name: RunName = "guarded",
) -> Run:
    """Let a bot trade on candles while these faults strike, and watch the promises.

    :param make_bot: the bot's class, or what makes one; called for each of its lives.
    :param faults: `at_seconds` counts from the opening of the first candle.
    :param noise: chances of small mishaps on each port.
    :param seed: of everything that is drawn by chance.
    :param account: None: 100,000 USDT in one-way mode, cross margin at 20x, regular fees.
    :param conditions: None: those that the faults ask for.
    :param bars: lengths of the bars that the bot hears of (`5m`), made of the candles; none: as
        they are.
    :param funding_rate: of the fees that come due every eight hours; None: there are none.
    :param run_name: `bare` to see the same bot without holdfast.
    :raises DataError: the candles are no series.
    :raises ConfigError: bars that can not be made of them, a fault that does not lie within them, a
        leverage that the market does not allow.
    """
    recording = of_candles(
        market.symbol,
        enumerate(candles, 1),
        source=Files([Path("candles")]),
        bars=bars,
        fees=no_fees if funding_rate is None else partial(fixed, funding_rate),
    )
    planned = tuple(sorted(faults, key=lambda fault: fault.at_seconds))
    plan = FaultPlan(
        seed=seed,
        horizon_seconds=span([recording]).seconds,
        faults=planned,
        noise=Noise() if noise is None else noise,
        conditions=conditions_for(planned) if conditions is None else conditions,
    )
    return run(Scene(make_bot, [market], [recording], account or Account(), plan), run_name)


def check(result: Run) -> None:
    """:raises PromiseBroken: a promise was broken, or the bot raised."""
    failure = result.failure
    said = [*result.breaches]
    if failure is not None:
        said.append(f"the bot raised {failure.error} in {failure.where}")
    if said:
        raise PromiseBroken("\n".join(said))
