"""A bot: what it may react to. The same class runs live and in a backtest.

Override what you need. Every method is called by one task, one after the other: while one
awaits (an order, say) the events that come wait for it, as they do in the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .market import Bar, MarketGap, Quote, Trade
from .model import Fill

if TYPE_CHECKING:
    from holdfast.states.machine import Step

    from .engine import Engine


class Bot:
    """Base class of bots; each method does nothing until it is overridden.

    :ivar engine: set before `on_start` is called.
    """

    engine: Engine

    async def on_start(self) -> None:
        """Once, before anything else. The gate is still shut; do not wait for it here."""

    async def on_bar(self, bar: Bar) -> None:
        """A bar has ended."""

    async def on_trade(self, trade: Trade) -> None:
        """Somebody traded."""

    async def on_quote(self, quote: Quote) -> None:
        """The best bid or ask changed."""

    async def on_gap(self, gap: MarketGap) -> None:
        """Something of the market is missing; see `MarketGap`."""

    async def on_fill(self, fill: Fill) -> None:
        """An order of ours was filled, in whole or in part. Once for each fill."""

    async def on_state(self, step: Step) -> None:
        """The engine entered a state. What is not allowed there is refused in any case."""

    async def on_stop(self) -> None:
        """Once, at the end, also after an error of the bot's own or when it is cancelled. For a
        few seconds only."""
