"""A bot that people know: a bid and an ask around the price, moved after each bar.

holdfast backtest examples/market_maker.py:MarketMaker --data BTCUSDT-1m.csv
python examples/market_maker.py examples/holdfast.toml 3
"""

import sys
from decimal import Decimal

import anyio

from holdfast import Bar, Bot, Engine, LinkDown, Order, OrderError


class MarketMaker(Bot):
    """Quotes both sides, further away on the side of which it already has too much."""

    def __init__(
        self,
        symbol: str = "BTC/USDT:USDT",
        quantity: str = "0.010",
        spread: float = 0.001,
        most: str = "0.050",
    ) -> None:
        self.symbol = symbol
        self.quantity = Decimal(quantity)
        self.spread = spread
        self.most = Decimal(most)

    async def on_bar(self, bar: Bar) -> None:
        for order in self.engine.open_orders():
            try:
                await self.engine.cancel(order.symbol, order.client_order_id)
            except LinkDown:
                return  # one that may still rest is not quoted again beside
        held = self.engine.position(self.symbol)
        lean = float(held / self.most)
        if held < self.most:
            await self._quote("buy", bar.close * (1 - self.spread * (1 + max(lean, 0.0))))
        if held > -self.most:
            await self._quote("sell", bar.close * (1 + self.spread * (1 - min(lean, 0.0))))

    async def _quote(self, side: str, price: float) -> None:
        buying = side == "buy"
        try:
            instrument = await self.engine.instrument(self.symbol)
            await self.engine.submit(
                Order(
                    self.symbol,
                    "buy" if buying else "sell",
                    self.quantity,
                    price=instrument.price(price, side="buy" if buying else "sell"),
                    time_in_force="GTX",  # post-only: it never takes
                )
            )
        except (OrderError, LinkDown):
            return  # not now: the next bar quotes anew


async def main(config: str, seconds: float) -> None:
    async with Engine.open(config) as engine:
        engine.on_transition(lambda step: print(f"{step.dest}: {step.cause}"))
        with anyio.move_on_after(seconds):
            await engine.run(MarketMaker(engine.settings.symbols[0]))


if __name__ == "__main__":
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml", limit)
