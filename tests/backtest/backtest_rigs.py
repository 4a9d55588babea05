"""Recorded markets, bots and scenes for the tests of backtests."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from holdfast import Bar, Bot, Order, OrderError
from holdfast.backtest.candle_recording import of_candles
from holdfast.backtest.recording import Recording, span
from holdfast.backtest.run import Scene
from holdfast.campaign.plan import AnyFault, FaultPlan
from holdfast.campaign.planfile import conditions_for
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import Candle
from holdfast.transports.sim import Market

SYMBOL = "BTC/USDT:USDT"
BTC = Market.perpetual("BTC", min_notional="100")
FIRST_MS = 1_746_372_780_000
MINUTE_MS = 60_000


def walk(count: int, *, seed: int = 1, first: int = 600_000) -> list[Candle]:
    """A random walk of candles, on ticks of 0.1."""
    generator, ticks, made = random.Random(seed), first, []
    for number in range(count):
        path = [ticks]
        for _ in range(3):
            path.append(path[-1] + generator.randint(-300, 300))
        ticks = path[-1]
        made.append(
            Candle(
                FIRST_MS + number * MINUTE_MS,
                path[0] / 10,
                max(path) / 10,
                min(path) / 10,
                ticks / 10,
                generator.randint(1, 500) / 10,
            )
        )
    return made


def recording(candles: Iterable[Candle]) -> Recording:
    return of_candles(SYMBOL, enumerate(candles, 1), source=Files([Path("candles.csv")]))


class Cross(Bot):
    """Long while the average of the last 3 closes is above that of the last 8, else short."""

    quantity = Decimal("0.010")

    def __init__(self) -> None:
        self.closes: deque[float] = deque(maxlen=8)

    async def on_bar(self, bar: Bar) -> None:
        self.closes.append(bar.close)
        if len(self.closes) < 8:
            return
        wanted = wanted_position(list(self.closes))
        missing = wanted - self.engine.position(SYMBOL)
        if missing:
            await self.trade(bar, missing)

    async def trade(self, bar: Bar, missing: Decimal) -> None:
        side = "buy" if missing > 0 else "sell"
        try:
            await self.engine.submit(Order(SYMBOL, side, abs(missing), key=f"x-{bar.time_ms}"))
        except OrderError:
            return
        await self.engine.publish("trade.done", {"at": bar.time_ms})


class Raises(Cross):
    """In its hundredth minute, with an order at rest and one that waits for its price."""

    async def trade(self, bar: Bar, missing: Decimal) -> None:
        await super().trade(bar, missing)
        if bar.time_ms >= FIRST_MS + 100 * MINUTE_MS:
            await self.engine.submit(Order(SYMBOL, "buy", "0.100", price="1000"))
            stop = Order(SYMBOL, "buy", "0.100", trigger="stop", trigger_price="90000")
            await self.engine.submit(stop)
            raise ZeroDivisionError("of mine")


def wanted_position(closes: list[float]) -> Decimal:
    return Cross.quantity if sum(closes[-3:]) * 8 > sum(closes) * 3 else -Cross.quantity


def scene(
    faults: Iterable[AnyFault] | None = None,
    *,
    bot: type[Bot] = Cross,
    candles: list[Candle] | None = None,
    seed: int = 5,
) -> Scene:
    recorded = [recording(walk(600) if candles is None else candles)]
    plan = None
    if faults is not None:
        faults = tuple(faults)
        between = span(recorded)
        plan = FaultPlan(
            seed=seed,
            horizon_seconds=(between.last_ms - between.first_ms) / 1000,
            faults=faults,
            conditions=conditions_for(faults),
        )
    return Scene(bot, [BTC], recorded, plan=plan)
