"""One market of the venue: its price, the orders that wait, the positions in it."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from holdfast.model import PositionSide, Side

from .ledger import ZERO, Holding
from .records import Trade, VenueOrder
from .rules import Market

DEFAULT_LEVERAGE: Final = 20
"""Binance's, for a symbol nobody has set."""

POSITION_SIDES: Final[tuple[PositionSide, ...]] = ("BOTH", "LONG", "SHORT")


@dataclass(slots=True, eq=False)
class Book:
    """Everything the venue knows of one market. `last` is None until a first price came."""

    market: Market
    last: Decimal | None = None
    leverage: int = DEFAULT_LEVERAGE
    liquidity_left: Decimal | None = None
    bids: list[tuple[Decimal, int, VenueOrder]] = field(default_factory=list)
    asks: list[tuple[Decimal, int, VenueOrder]] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    holdings: dict[PositionSide, Holding] = field(
        default_factory=lambda: {side: Holding() for side in POSITION_SIDES}
    )
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    """Latest order of each client id."""
    countdown_ms: int | None = None
    """Venue time at which `countdownCancelAll` strikes."""

    def resting(self) -> list[VenueOrder]:
        """All orders that wait, a copy."""
        return [entry[2] for entry in self.bids] + [entry[2] for entry in self.asks]

    def rest(self, order: VenueOrder) -> None:
        """Queue a limit order: best price first, then oldest."""
        insort(self._queue(order), (_rank(order), order.order_id, order))

    def remove(self, order: VenueOrder) -> None:
        """Take an order out of its queue, if it is there."""
        if order.price is None:
            return
        queue = self._queue(order)
        index = bisect_left(queue, (_rank(order), order.order_id))
        if index < len(queue) and queue[index][2] is order:
            del queue[index]

    def reducible(self, position_side: PositionSide, side: Side) -> Decimal:
        """How much an order of that side could take off the position."""
        held = self.holdings[position_side].quantity
        return max(ZERO, -held if side == "buy" else held)

    def spent(self, order: VenueOrder) -> bool:
        """Whether it may only reduce, and nothing is left to reduce."""
        return order.closing and not self.reducible(order.position_side, order.side)

    def _queue(self, order: VenueOrder) -> list[tuple[Decimal, int, VenueOrder]]:
        return self.bids if order.side == "buy" else self.asks


def _rank(order: VenueOrder) -> Decimal:
    """What queues are sorted by: ascending is best first on both sides."""
    assert order.price is not None
    return -order.price if order.side == "buy" else order.price


def crosses(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Whether an order with that limit trades at that price."""
    return price <= limit if side == "buy" else price >= limit
