"""A bot that people know: long while the fast average is above the slow one, else short.

The same class trades live and in a backtest:

holdfast backtest examples/moving_average_cross.py:MovingAverageCross --data BTCUSDT-1m.csv
python examples/moving_average_cross.py examples/holdfast.toml 3
"""

import sys
from collections import deque
from decimal import Decimal

import anyio

from holdfast import Bar, Bot, Engine, LinkDown, Order, OrderError


class MovingAverageCross(Bot):
    """Wants a position after each bar, and orders what is missing of it.

    So an order that was not allowed to leave is made good by the next bar, at the price of
    that bar, and only if it is still wanted.
    """

    def __init__(
        self,
        symbol: str = "BTC/USDT:USDT",
        quantity: str = "0.010",
        fast: int = 10,
        slow: int = 20,
    ) -> None:
        self.symbol = symbol
        self.quantity = Decimal(quantity)
        self.fast = fast
        self.closes: deque[float] = deque(maxlen=slow)

    async def on_start(self) -> None:
        try:
            for bar in await self.engine.bars(self.symbol, limit=self.closes.maxlen or 0):
                self.closes.append(bar.close)
        except LinkDown as error:
            print(f"no history to begin with: {error}")

    async def on_bar(self, bar: Bar) -> None:
        closes = self.closes
        closes.append(bar.close)
        if len(closes) != closes.maxlen:
            return
        fast = sum(list(closes)[-self.fast :]) / self.fast
        slow = sum(closes) / len(closes)
        wanted = self.quantity if fast > slow else -self.quantity
        missing = wanted - self.engine.position(self.symbol)
        if missing:
            side = "buy" if missing > 0 else "sell"
            try:
                await self.engine.submit(
                    Order(self.symbol, side, abs(missing), key=f"cross-{bar.time_ms}")
                )
            except OrderError:
                return  # not now, or nobody knows yet: the next bar looks again


async def main(config: str, seconds: float) -> None:
    async with Engine.open(config) as engine:
        engine.on_transition(lambda step: print(f"{step.dest}: {step.cause}"))
        bot = MovingAverageCross(engine.settings.symbols[0])
        with anyio.move_on_after(seconds):
            await engine.run(bot)


if __name__ == "__main__":
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml", limit)
