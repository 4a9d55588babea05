"""A bot on an engine: it is told everything, in order, and a silent market stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World

from holdfast import Bar, Bot, ConfigError, EngineClosed, Fill, MarketGap, Order, State, Trade
from holdfast import bot_runner as runner_module
from holdfast.bot_runner import BotFellBehind
from holdfast.model import Instrument
from holdfast.ports import MarketWatch, Subscription
from holdfast.settings import MarketSettings
from holdfast.simulation import run
from holdfast.states.machine import Step


class HandMarket:
    """Market data by hand: what a test says is what the market says."""

    name = "market"

    def __init__(self) -> None:
        self.watch: MarketWatch | None = None
        self.subscription: Subscription | None = None

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None:
        self.watch, self.subscription = watch, subscription
        watch.up()
        await anyio.sleep_forever()

    async def probe(self) -> None: ...

    async def bars(
        self, symbol: str, *, interval: str, limit: int, timeout_seconds: float
    ) -> list[Bar]:
        return [bar(n) for n in range(limit)]

    def say(self, event: Any) -> None:
        assert self.watch is not None
        self.watch.event(event)


@asynccontextmanager
async def beside(act: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do something a moment after the block began."""

    async def later() -> None:
        await anyio.sleep(0.1)
        await act()

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        yield


def bar(minute: int) -> Bar:
    return Bar(BTC, minute * 60_000, 60_000, 1.0, 2.0, 0.5, 1.5, 10.0)


class Diary(Bot):
    """Writes down what it is told."""

    def __init__(self, *, slow_seconds: float = 0.0) -> None:
        self.told: list[Any] = []
        self.slow_seconds = slow_seconds
        self.stopped = False

    async def on_bar(self, bar: Bar) -> None:
        self.told.append(bar)
        if self.slow_seconds:
            await anyio.sleep(self.slow_seconds)

    async def on_trade(self, trade: Trade) -> None:
        self.told.append(trade)

    async def on_gap(self, gap: MarketGap) -> None:
        self.told.append(gap)

    async def on_fill(self, fill: Fill) -> None:
        self.told.append(fill)

    async def on_state(self, step: Step) -> None:
        self.told.append(step.dest)

    async def on_stop(self) -> None:
        self.stopped = True


def test_a_bot_hears_of_market_fills_and_states_in_their_order() -> None:
    async def main() -> None:
        world, market, bot = World(), HandMarket(), Diary()
        async with world.engine(market_data=market) as engine, anyio.create_task_group() as group:
            group.start_soon(engine.run, bot)
            await engine.until_healthy()
            assert market.subscription == Subscription((BTC,), ("1m",))
            market.say(bar(1))
            await anyio.sleep(0.1)
            await engine.submit(Order(BTC, "buy", "0.010"))
            await anyio.sleep(0.1)
            market.say(bar(2))
            await anyio.sleep(0.1)
            assert [t for t in bot.told if isinstance(t, State)] == [
                State.RECOVERING,
                State.RECONCILING,
                State.HEALTHY,
            ]
            assert [type(t) for t in bot.told][-3:] == [Bar, Fill, Bar]
            assert await engine.bars(BTC, limit=3) == [bar(0), bar(1), bar(2)]
            group.cancel_scope.cancel()
        assert bot.stopped

    run(main)


def test_a_silent_symbol_shuts_the_gate_and_its_next_word_opens_it() -> None:
    async def main() -> None:
        world, market = World(), HandMarket()
        settings = MarketSettings(stale_seconds=5.0)
        async with world.engine(market_data=market, market=settings) as engine:
            await engine.until_healthy()
            for _ in range(4):
                await anyio.sleep(3)
                assert market.watch is not None
                market.watch.alive(BTC)
            assert engine.state is State.HEALTHY, "a sign of life is enough"
            await anyio.sleep(5.1)
            assert engine.state is State.DEGRADED
            assert "nothing of BTC/USDT:USDT" in engine.gate.reason
            await anyio.sleep(60)
            assert engine.state is State.DEGRADED
            market.say(bar(1))
            with anyio.fail_after(5):
                await engine.until_healthy()

    run(main)


def test_what_a_slow_bot_misses_is_told_as_a_gap_and_its_fills_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner_module, "MAX_MARKET_EVENTS", 5)

    async def main() -> None:
        world, market, bot = World(), HandMarket(), Diary(slow_seconds=10.0)
        still = MarketSettings(stale_seconds=None)
        async with (
            world.engine(market_data=market, market=still) as engine,
            anyio.create_task_group() as group,
        ):
            await engine.until_healthy()
            group.start_soon(engine.run, bot)
            await anyio.sleep(0.1)
            market.say(bar(0))
            await anyio.sleep(0.1)
            for minute in range(1, 21):
                market.say(bar(minute))
            await engine.submit(Order(BTC, "buy", "0.010"))
            await anyio.sleep(100)
            kinds = [type(t) for t in bot.told]
            assert kinds == [Bar, Fill, MarketGap, *[Bar] * 5]
            gap = bot.told[2]
            assert (gap.symbol, gap.time_ms) == (BTC, 60_000)
            assert "15 events" in gap.reason
            assert [b.time_ms for b in bot.told[3:]] == [m * 60_000 for m in range(16, 21)]
            group.cancel_scope.cancel()

    run(main)


def test_a_bot_that_takes_no_fills_is_stopped_not_kept_ignorant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner_module, "MAX_OWN_EVENTS", 3)

    async def main() -> None:
        world, market, bot = World(), HandMarket(), Diary(slow_seconds=60.0)
        async with world.engine(market_data=market) as engine:
            await engine.until_healthy()

            async def trade() -> None:
                market.say(bar(0))
                await anyio.sleep(0.1)
                for _ in range(5):
                    await engine.submit(Order(BTC, "buy", "0.010"))

            async with beside(trade):
                with pytest.raises(BotFellBehind):
                    await engine.run(bot)
        assert bot.stopped

    run(main)


def test_an_error_of_the_bots_own_reaches_who_runs_it() -> None:
    class Broken(Diary):
        async def on_bar(self, bar: Bar) -> None:
            raise ZeroDivisionError("the strategy")

    async def main() -> None:
        world, market, bot = World(), HandMarket(), Broken()
        async with world.engine(market_data=market) as engine:
            await engine.until_healthy()

            async def say() -> None:
                market.say(bar(1))

            async with beside(say):
                with pytest.raises(ZeroDivisionError):
                    await engine.run(bot)
            assert engine.state is State.HEALTHY, "the engine itself goes on"
        assert bot.stopped

    run(main)


def test_a_listener_that_fails_does_not_end_the_market() -> None:
    async def main() -> None:
        world, market, heard = World(), HandMarket(), []

        def broken(_event: Any) -> None:
            raise ZeroDivisionError

        async with world.engine(market_data=market) as engine:
            await engine.until_healthy()
            engine.on_market(broken)
            end = engine.on_market(heard.append)
            market.say(bar(1))
            end()
            market.say(bar(2))
            assert heard == [bar(1)]
            assert engine.state is State.HEALTHY
            with pytest.raises(ConfigError, match=r"^interval: '7m'"):
                await engine.bars(BTC, interval="7m")

    run(main)


def test_a_cancelled_bot_may_still_say_goodbye() -> None:
    class Polite(Diary):
        async def on_stop(self) -> None:
            await anyio.sleep(1)
            self.stopped = True

    async def main() -> None:
        world, market, bot = World(), HandMarket(), Polite()
        async with world.engine(market_data=market) as engine, anyio.create_task_group() as group:
            group.start_soon(engine.run, bot)
            await engine.until_healthy()
            group.cancel_scope.cancel()
        assert bot.stopped

    run(main)


def test_a_bot_outside_the_block_is_told_that_the_engine_ended() -> None:
    async def main() -> None:
        world, market, bot = World(), HandMarket(), Diary()
        ended: list[BaseException] = []

        async def live(engine: Any) -> None:
            try:
                await engine.run(bot)
            except EngineClosed as error:
                ended.append(error)

        async with anyio.create_task_group() as group, world.engine(market_data=market) as engine:
            group.start_soon(live, engine)
            await engine.until_healthy()
        assert len(ended) == 1

    run(main)


def test_without_market_data_it_says_what_to_configure() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            with pytest.raises(ConfigError, match=r"^market: .*\[market\]"):
                await engine.run(Diary())

    run(main)


@pytest.mark.parametrize(
    ("value", "side", "expected"),
    [(64000.07, "buy", "64000.0"), (64000.07, "sell", "64000.1"), ("64000.1", "sell", "64000.1")],
)
def test_a_price_is_brought_to_the_tick_never_on_the_worse_side(
    value: Any, side: Any, expected: str
) -> None:
    step = Instrument(BTC, Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(5))
    assert step.price(value, side=side) == Decimal(expected)
    assert step.quantity(0.0019999) == Decimal("0.001")
    assert step.quantity(0.3) == Decimal("0.300")
