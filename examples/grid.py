"""A bot that people know: buy orders below the price, and above each purchase a sale.

holdfast backtest examples/grid.py:Grid --data BTCUSDT-1m.csv
python examples/grid.py examples/holdfast.toml 3
"""

import sys
from decimal import Decimal

import anyio

from holdfast import Bar, Bot, Engine, Fill, LinkDown, Order, OrderError


class Grid(Bot):
    """Levels a fixed distance apart around the first price it sees.

    What rests is cancelled by the engine when trading stops (`on_leaving_active`), so after
    each bar the grid lays out again what is missing of it.
    """

    def __init__(
        self,
        symbol: str = "BTC/USDT:USDT",
        quantity: str = "0.010",
        levels: int = 5,
        distance: float = 0.002,
    ) -> None:
        self.symbol = symbol
        self.quantity = Decimal(quantity)
        self.levels = levels
        self.distance = distance
        self.step = Decimal(0)
        self.prices: list[Decimal] = []
        self.held: set[Decimal] = set()
        self.count = 0

    async def on_bar(self, bar: Bar) -> None:
        if not self.prices:
            try:
                await self._draw(bar.close)
            except LinkDown:
                return  # the next bar will do as well
        resting = {(order.side, order.price) for order in self.engine.open_orders()}
        for price in self.prices:
            if price in self.held:
                if ("sell", price + self.step) not in resting:
                    await self._order("sell", price + self.step)
            elif price < Decimal(str(bar.close)) and ("buy", price) not in resting:
                await self._order("buy", price)

    async def _draw(self, price: float) -> None:
        instrument = await self.engine.instrument(self.symbol)
        self.step = instrument.price(price * self.distance, side="buy")
        top = instrument.price(price, side="buy")
        self.prices = [top - number * self.step for number in range(1, self.levels + 1)]
        # What an earlier life of the bot has bought is sold by this one, and not bought again.
        bought = int(self.engine.position(self.symbol) / self.quantity)
        self.held = set(self.prices[: max(bought, 0)])

    async def on_fill(self, fill: Fill) -> None:
        """A level that is bought is sold one step higher, and bought again after that."""
        order = next((p for p in self.prices if p - self.step < fill.price <= p), None)
        if fill.side == "buy" and order is not None:
            self.held.add(order)
        elif fill.side == "sell":
            self.held.discard(max((p for p in self.held if p < fill.price), default=Decimal(0)))

    async def _order(self, side: str, price: Decimal) -> None:
        self.count += 1
        try:
            await self.engine.submit(
                Order(
                    self.symbol,
                    "buy" if side == "buy" else "sell",
                    self.quantity,
                    price=price,
                    reduce_only=side == "sell",
                )
            )
        except OrderError:
            return  # not now: it is missing after the next bar, too


async def main(config: str, seconds: float) -> None:
    async with Engine.open(config) as engine:
        engine.on_transition(lambda step: print(f"{step.dest}: {step.cause}"))
        with anyio.move_on_after(seconds):
            await engine.run(Grid(engine.settings.symbols[0]))


if __name__ == "__main__":
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml", limit)
