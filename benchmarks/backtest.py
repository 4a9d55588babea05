"""How fast a backtest is: candles and orders per second of CPU, beside two peers.

    python benchmarks/backtest.py [--json] [--candles 500000] [--orders 20000] [--rounds 3]

The same seeded candles and the same rule for all: nothing; a cross of moving averages (10/20,
exponential) at the close; one market order per candle. CPU seconds (`time.process_time`),
the engines taking turns within each round, medians. Every engine has to make as many orders
as a plain loop over the closes, and holdfast has to end with exactly that loop's profit, fees
included. What is prepared from the candles (objects, tables) is not counted for anybody.

What is compared is not the same work: nautilus_trader keeps accounts, margin and risk for every
order, holdfast gate, permit, journal, venue and book, backtesting.py a list of trades. Its logging
is switched off, and no report is made of its run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from holdfast import Bar, Bot, Order
from holdfast.backtest.candle_recording import of_candles
from holdfast.backtest.run import Scene, run
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import Candle
from holdfast.transports.sim import Market

SYMBOL: Final = "BTC/USDT:USDT"
BTC: Final = Market.perpetual("BTC", min_notional="100")
FIRST_MS: Final = 1_577_836_800_000  # 2020-01-01T00:00:00Z
MINUTE_MS: Final = 60_000
FAST, SLOW = 10, 20
QUANTITY: Final = Decimal("0.010")
GOALS: Final = {
    ("noop", "nautilus_trader"): 8,
    ("noop", "backtesting.py"): 3,
    ("cross", "nautilus_trader"): 20,
    ("cross", "backtesting.py"): 3,
    ("each", "nautilus_trader"): 25,
    ("each", "backtesting.py"): 1,
}
"""So many times as fast as that peer."""


def walk(count: int, *, seed: int = 7) -> Iterator[Candle]:
    """A random walk on ticks of 0.1 that is drawn back to 60,000."""
    generator, close = random.Random(seed), 600_000
    for number in range(count):
        opened = close
        close += generator.randint(-300, 300) + (600_000 - close) // 500
        high = max(opened, close) + generator.randint(0, 80)
        low = min(opened, close) - generator.randint(0, 80)
        yield Candle(
            FIRST_MS + number * MINUTE_MS, opened / 10, high / 10, low / 10, close / 10, 10.0
        )


class Averages:
    """Exponential averages of the closes; whether the fast one is above, once both are warm."""

    def __init__(self) -> None:
        self._fast = self._slow = 0.0
        self._count = 0

    def long(self, close: float) -> bool | None:
        if not self._count:
            self._fast = self._slow = close
        self._fast += (close - self._fast) * (2 / (FAST + 1))
        self._slow += (close - self._slow) * (2 / (SLOW + 1))
        self._count += 1
        return None if self._count < SLOW else self._fast > self._slow


class Plain(NamedTuple):
    """What a loop over the closes says."""

    orders: int
    profit: Decimal


def plain(name: str, candles: list[Candle]) -> Plain:
    """The reference: trades at the close, at holdfast's fees for takers."""
    averages, held, cash, orders = Averages(), Decimal(0), Decimal(0), 0
    for number, candle in enumerate(candles, 1):
        if name == "cross":
            long = averages.long(candle.close)
            wanted = held if long is None else QUANTITY if long else -QUANTITY
        elif name == "each":
            wanted = QUANTITY if number % 2 else Decimal(0)
        else:
            return Plain(0, Decimal(0))
        change = wanted - held
        if change:
            price = Decimal(repr(candle.close))
            cash -= change * price + abs(change) * price * Decimal("0.0005")
            held, orders = wanted, orders + 1
    return Plain(orders, cash + held * Decimal(repr(candles[-1].close)))


# --- holdfast ------------------------------------------------------------------------------


class Nothing(Bot):
    async def on_bar(self, bar: Bar) -> None:
        pass


class Cross(Bot):
    def __init__(self) -> None:
        self.averages = Averages()
        self.held: bool | None = None

    async def on_bar(self, bar: Bar) -> None:
        long = self.averages.long(bar.close)
        if long is None or long is self.held:
            return
        quantity = QUANTITY if self.held is None else 2 * QUANTITY
        self.held = long
        await self.engine.submit(Order(SYMBOL, "buy" if long else "sell", quantity))


class Each(Bot):
    def __init__(self) -> None:
        self.count = 0

    async def on_bar(self, bar: Bar) -> None:
        self.count += 1
        await self.engine.submit(Order(SYMBOL, "buy" if self.count % 2 else "sell", QUANTITY))


BOTS: Final[dict[str, type[Bot]]] = {"noop": Nothing, "cross": Cross, "each": Each}


def holdfast(name: str, candles: list[Candle]) -> Callable[[], int]:
    recording = of_candles(SYMBOL, enumerate(candles, 1), source=Files([Path("walk")]))
    scene = Scene(BOTS[name], [BTC], [recording])
    expected = plain(name, candles)

    def go() -> int:
        result = run(scene, "clean")
        assert result.failure is None, result.failure
        assert result.profit == expected.profit, (result.profit, expected)
        return result.counts.orders

    return go


# --- peers ---------------------------------------------------------------------------------


def backtesting_py(name: str, candles: list[Candle]) -> Callable[[], int]:
    import pandas
    from backtesting import Backtest, Strategy

    frame = pandas.DataFrame(
        [candle[1:] for candle in candles],
        columns=["Open", "High", "Low", "Close", "Volume"],
        index=pandas.to_datetime([candle.time_ms for candle in candles], unit="ms"),
    )
    sent = 0

    class Rule(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.averages = Averages()
            self.held: bool | None = None
            self.count = 1  # it calls `next` from the second bar on
            self.averages.long(float(self.data.Close[0]))

        def next(self) -> None:
            nonlocal sent
            if name == "noop":
                return
            self.count += 1
            if name == "each":
                sent += 1
                if self.count % 2:
                    self.buy(size=1)
                else:
                    self.position.close()
                return
            long = self.averages.long(float(self.data.Close[-1]))
            if long is None or long is self.held:
                return
            self.held = long
            sent += 1
            self.buy(size=1) if long else self.sell(size=1)

    def go() -> int:
        nonlocal sent
        sent = 0
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            Backtest(
                frame, Rule, cash=1e9, commission=0.0005, trade_on_close=True, exclusive_orders=True
            ).run()
        return sent + (name == "each")  # its first bar is not traded

    return go


def nautilus(name: str, candles: list[Candle]) -> Callable[[], int]:
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import Bar as NautilusBar
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    bars = []
    for candle in candles:
        end_ns = (candle.time_ms + MINUTE_MS) * 1_000_000
        prices = (Price(value, 1) for value in candle[1:5])
        bars.append(NautilusBar(bar_type, *prices, Quantity(candle.volume, 3), end_ns, end_ns))

    class Rule(Strategy):  # type: ignore[misc]
        def on_start(self) -> None:
            self.averages = Averages()
            self.held: bool | None = None
            self.count = 0
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: NautilusBar) -> None:
            if name == "noop":
                return
            self.count += 1
            if name == "each":
                self._trade(bool(self.count % 2), QUANTITY)
                return
            long = self.averages.long(bar.close.as_double())
            if long is None or long is self.held:
                return
            quantity = QUANTITY if self.held is None else 2 * QUANTITY
            self.held = long
            self._trade(long, quantity)

        def _trade(self, buys: bool, quantity: Decimal) -> None:
            side = OrderSide.BUY if buys else OrderSide.SELL
            size = Quantity(float(quantity), 3)
            self.submit_order(self.order_factory.market(instrument.id, side, size))

    def go() -> int:
        config = BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True), run_analysis=False
        )
        engine = BacktestEngine(config=config)
        engine.add_venue(
            Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)]
        )
        engine.add_instrument(instrument)
        engine.add_data(bars)
        engine.add_strategy(Rule(StrategyConfig()))
        engine.run()
        orders = len(engine.cache.orders())
        engine.dispose()
        return orders

    return go


PEERS: Final = {
    "holdfast": holdfast,
    "nautilus_trader": nautilus,
    "backtesting.py": backtesting_py,
}


# --- measuring -----------------------------------------------------------------------------


def measured(name: str, candles: list[Candle], rounds: int) -> dict[str, float]:
    """Candles per CPU second of each engine."""
    orders = plain(name, candles).orders
    engines = {peer: make(name, candles) for peer, make in PEERS.items()}
    seconds: dict[str, list[float]] = {peer: [] for peer in engines}
    for _ in range(rounds):
        for peer, go in engines.items():
            began = time.process_time()
            made = go()
            seconds[peer].append(time.process_time() - began)
            assert made == orders, f"{peer} made {made} orders of {orders}"
    return {peer: len(candles) / statistics.median(taken) for peer, taken in seconds.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--candles", type=int, default=500_000)
    arguments.add_argument("--orders", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    candles = list(walk(options.candles))
    rows = {
        "noop": measured("noop", candles, options.rounds),
        "cross": measured("cross", candles, options.rounds),
        "each": measured("each", candles[: options.orders], options.rounds),
    }
    versions = {peer: metadata.version(peer) for peer in ("nautilus_trader", "backtesting")}
    if options.json:
        print(json.dumps({"rows": rows, "versions": versions}))
        return
    print(f"Python {platform.python_version()}, {options.candles:,} candles, {versions}")
    units = {"noop": "candles/s", "cross": "candles/s", "each": "orders/s"}
    for name, rates in rows.items():
        print(f"{name}: {rates['holdfast']:,.0f} {units[name]}")
        for peer in list(PEERS)[1:]:
            factor, goal = rates["holdfast"] / rates[peer], GOALS[name, peer]
            verdict = "reached" if factor >= goal else "missed"
            print(f"    {factor:6.2f} x {peer} ({rates[peer]:,.0f}); goal {goal} x: {verdict}")


if __name__ == "__main__":
    main()
