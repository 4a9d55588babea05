"""What the venue keeps: orders, trades, and the events it tells about them.

Nothing here refers back to what refers to it, so the cyclic garbage collector is
told to leave these alone: a long backtest keeps millions of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from holdfast.model import Fill, OrderSnapshot, OrderStatus, PositionSide, Side

from .rules import Market

OrderType = Literal["LIMIT", "MARKET"]
VenueTimeInForce = Literal["GTC", "IOC", "FOK", "GTX"]
Execution = Literal["NEW", "TRADE", "CANCELED", "EXPIRED"]
"""Binance's execution type (`x` of ORDER_TRADE_UPDATE)."""


class VenueOrder(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """An order the venue accepted. Only the core changes it.

    :ivar accepted_ns: UTC, on the clock of the machine the venue runs on (never skewed).
    :ivar accepted_ms, updated_ms: on the venue's own, perhaps skewed, clock.
    :ivar cost: sum of price times quantity over its fills.
    :ivar foreign: placed by somebody else's hand on the same account.
    """

    market: Market
    order_id: int
    client_order_id: str
    side: Side
    type: OrderType
    time_in_force: VenueTimeInForce
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool
    position_side: PositionSide
    accepted_ns: int
    accepted_ms: int
    updated_ms: int
    foreign: bool = False
    status: OrderStatus = OrderStatus.OPEN
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    fill_count: int = 0

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        return self.cost / self.filled if self.filled else None

    @property
    def closing(self) -> bool:
        """Whether it may only shrink its position (reduce-only, or hedge mode's closing side)."""
        if self.position_side == "BOTH":
            return self.reduce_only
        return (self.position_side == "LONG") != (self.side == "buy")

    def snapshot(self) -> OrderSnapshot:
        return OrderSnapshot(
            symbol=self.market.symbol,
            client_order_id=self.client_order_id,
            venue_order_id=str(self.order_id),
            side=self.side,
            quantity=self.quantity,
            price=self.price,
            filled=self.filled,
            status=self.status,
            average_price=self.average_price,
            reduce_only=self.reduce_only,
            position_side=self.position_side,
            updated_ms=self.updated_ms,
        )


class Trade(msgspec.Struct, eq=False, gc=False):
    """One execution of our account. `trade_id` ascends per symbol without holes."""

    trade_id: int
    order: VenueOrder
    quantity: Decimal
    price: Decimal
    fee: Decimal
    realized: Decimal
    maker: bool
    time_ms: int

    def fill(self) -> Fill:
        order = self.order
        return Fill(
            symbol=order.market.symbol,
            trade_id=self.trade_id,
            client_order_id=order.client_order_id,
            venue_order_id=str(order.order_id),
            side=order.side,
            quantity=self.quantity,
            price=self.price,
            fee=self.fee,
            fee_asset=order.market.quote,
            time_ms=self.time_ms,
            position_side=order.position_side,
        )


class VenueEvent(msgspec.Struct, eq=False, gc=False):
    """One step of one order. Values are those of the moment: the order itself moves on."""

    order: VenueOrder
    execution: Execution
    status: OrderStatus
    filled: Decimal
    average_price: Decimal | None
    trade: Trade | None
    time_ms: int

    def snapshot(self) -> OrderSnapshot:
        order = self.order
        return OrderSnapshot(
            symbol=order.market.symbol,
            client_order_id=order.client_order_id,
            venue_order_id=str(order.order_id),
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            filled=self.filled,
            status=self.status,
            average_price=self.average_price,
            reduce_only=order.reduce_only,
            position_side=order.position_side,
            updated_ms=self.time_ms,
        )


class OrderTicket(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """What a client asks for, before the venue has agreed.

    :ivar price: None for a market order.
    """

    symbol: str
    client_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: VenueTimeInForce = "GTC"
    reduce_only: bool = False
    position_side: PositionSide = "BOTH"
    foreign: bool = False
