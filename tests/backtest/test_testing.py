"""The test kit that users write tests of their bots with."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any, ClassVar

import anyio
import pytest
from backtest_rigs import SYMBOL, Cross, Raises

from holdfast import Bar, Bot, ConfigError, Order, TradingHalted
from holdfast.backtest.result import RunName
from holdfast.testing import (
    Conditions,
    ExchangeOutage,
    Hold,
    Kill,
    Noise,
    OrderFault,
    PromiseBroken,
    Run,
    SecondCopy,
    check,
    from_closes,
    play,
    walk,
)
from holdfast.testing_fixtures import holdfast_play, virtual_time
from holdfast.transports.faults import FaultRates

__all__ = ["holdfast_play", "virtual_time"]

HOUR = walk(60)

FAULTS = (
    OrderFault(at_seconds=1800, effect="lost_reply", count=2),
    ExchangeOutage(at_seconds=3600, seconds=900),
    Kill(at_seconds=9000, seconds=30, point="order"),
)


def test_a_bot_is_played_under_faults_and_the_promises_are_checked() -> None:
    result = play(Cross, walk(200), faults=FAULTS, seed=3)
    check(result)
    assert result.counts.orders > 5
    assert result.counts.doubled == 0
    assert result.lives == 2
    assert result.digest == play(Cross, walk(200), faults=FAULTS, seed=3).digest
    bare = play(Cross, walk(200), faults=FAULTS, seed=3, run_name="bare")
    assert bare.counts.doubled > 0


def test_what_went_wrong_fails_the_test() -> None:
    with pytest.raises(PromiseBroken, match=r"the bot raised ZeroDivisionError: of mine in .*Rais"):
        check(play(Raises, walk(200)))


class Ends(Bot):
    """In its first minute, in one of the ways that are no ordinary error."""

    def __init__(self, way: str) -> None:
        self.way = way

    async def on_bar(self, bar: Bar) -> None:
        if self.way == "exit":
            raise SystemExit("no more money")
        if self.way == "thread":
            await anyio.to_thread.run_sync(int)
        if self.way == "cancelled":
            raise asyncio.CancelledError
        while True:  # with no way out but time, of which none passes
            with contextlib.suppress(TradingHalted):
                await self.engine.submit(Order(SYMBOL, "buy", "0.010"))


ENDS = {
    "exit": "SystemExit: no more money",
    "thread": "SimEscape: an anyio worker thread .* leaves the simulation",
    "cancelled": "CancelledError",
    "busy": "SimLivelock: livelock at 60.0* s: more than 20000 steps while time stood still",
}


@pytest.mark.parametrize(
    ("way", "run_name"),
    [*product(("exit", "thread", "cancelled"), ("clean", "guarded", "bare")), ("busy", "guarded")],
)
def test_a_bot_that_ends_in_an_unusual_way_is_told_of(way: str, run_name: RunName) -> None:
    result = play(
        lambda: Ends(way), walk(5), faults=[Hold(at_seconds=30, seconds=600)], run_name=run_name
    )
    assert result.failure is not None
    assert re.match(ENDS[way], result.failure.error), result.failure.error
    assert result.failure.where.startswith(f"{__file__}:")
    assert "in Ends.on_bar" in result.failure.where
    cut_off = way in ("thread", "busy")
    assert result.wrong_positions == (None if cut_off else ())


class Holds(Bot):
    heard: ClassVar[set[int]] = set()

    async def on_bar(self, bar: Bar) -> None:
        self.heard.add(bar.interval_ms)
        if not self.engine.position(bar.symbol):
            await self.engine.submit(Order(bar.symbol, "buy", "0.010"))


def test_longer_bars_and_funding_are_played_too() -> None:
    result = play(Holds, walk(500), bars=["5m"], funding_rate=Decimal("0.0001"))
    check(result)
    assert Holds.heard == {300_000}
    assert Decimal("-0.07") < result.funding < Decimal("-0.05"), "eight hours are full once"


def test_noise_is_all_over_the_run() -> None:
    noise = Noise(exchange=FaultRates(lost_reply=0.3))
    loud = play(Cross, walk(200), noise=noise)
    check(loud)
    assert loud.counts.doubled == 0
    assert loud.digest != play(Cross, walk(200)).digest


def test_a_second_copy_needs_the_lease_and_gets_it() -> None:
    check(play(Cross, walk(100), faults=[SecondCopy(at_seconds=600, seconds=1200)]))


def test_who_is_down_when_the_data_ends_comes_up_and_is_judged() -> None:
    result = play(Cross, walk(60), faults=[Kill(at_seconds=3500, seconds=900)])
    check(result)
    assert result.lives == 2


def test_candles_are_made_from_closes() -> None:
    first, second = from_closes([10.0, 12.5], start="2026-01-01T00:00:00Z", interval="5m")
    assert second.time_ms - first.time_ms == 300_000
    assert (second.open, second.high, second.low, second.close) == (10.0, 12.5, 10.0, 12.5)
    assert walk(50) == walk(50)
    assert walk(50) != walk(50, seed=1)


def test_the_fixtures_do_the_same(
    holdfast_play: Callable[..., Run],
    virtual_time: Callable[..., Any],
) -> None:
    assert holdfast_play(Cross, walk(100)).counts.orders > 0
    with pytest.raises(PromiseBroken):
        holdfast_play(Raises, walk(200))

    async def sleep() -> float:
        await anyio.sleep(86_400)
        return anyio.current_time()

    assert virtual_time(sleep) == 86_400


def test_a_bot_need_not_name_its_orders() -> None:
    class Unnamed(Bot):
        async def on_bar(self, bar: Bar) -> None:
            if not self.engine.position(bar.symbol):
                await self.engine.submit(Order(bar.symbol, "buy", "0.010"))

    result = play(Unnamed, walk(5))
    check(result)
    assert result.counts.orders == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Kill(at_seconds=-1, seconds=5), "Kill.at_seconds: -1 is negative"),
        (lambda: Kill(at_seconds=1, seconds=0), "Kill.seconds: 0: the recovery is not after"),
        (lambda: Conditions(dead_man_seconds=1e6), "Conditions.dead_man_seconds: 1000000.0 is not"),
        (
            lambda: play(Cross, HOUR, faults=[Kill(at_seconds=1e6, seconds=5)]),
            "Kill.at_seconds: 1e+06 is not within the data, 0 to 3600",
        ),
    ],
)
def test_what_can_not_be_is_refused_before_the_run(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make()
    assert says in str(refused.value)
