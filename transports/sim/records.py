"""What the venue keeps: orders, trades, cash flows, and the events it tells about them.

Nothing here refers back to what refers to it, so the cyclic garbage collector is
told to leave these alone: a long backtest keeps millions of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, NamedTuple

import msgspec

from holdfast.model import Fill, OrderSnapshot, OrderStatus, PositionSide, Side, Trigger, TriggerBy

from .rules import Market

OrderType = Literal["LIMIT", "MARKET"]
VenueTimeInForce = Literal["GTC", "IOC", "FOK", "GTX"]
Execution = Literal["NEW", "AMENDMENT", "TRADE", "CANCELED", "EXPIRED", "CALCULATED"]
"""Binance's execution type (`x` of ORDER_TRADE_UPDATE); CALCULATED: a liquidation or ADL."""


class VenueOrder(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """An order the venue accepted. Only the core changes it.

    :ivar accepted_ns: UTC, on the clock of the machine the venue runs on (never skewed).
    :ivar accepted_ms, updated_ms: on the venue's own, perhaps skewed, clock.
    :ivar cost: sum of price times quantity over its fills.
    :ivar foreign: placed by somebody else's hand on the same account.
    :ivar trigger, trigger_price: of the conditional order that it was made of.
    :ivar forced: placed by the venue itself: a liquidation or an auto-deleveraging.
    :ivar amendments: how often quantity or price were changed.
    :ivar place_in_queue: among the resting orders of its price, the lowest is filled first.
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
    trigger: Trigger | None = None
    trigger_price: Decimal | None = None
    forced: bool = False
    amendments: int = 0
    place_in_queue: int = 0

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal | None:
        return self.cost / self.filled if self.filled else None

    @property
    def closing(self) -> bool:
        """Whether it may only shrink its position (reduce-only, or hedge mode's closing side)."""
        return closing(self.side, self.position_side, reduce_only=self.reduce_only)

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
            trigger=self.trigger,
            trigger_price=self.trigger_price,
        )


def closing(side: Side, position_side: PositionSide, *, reduce_only: bool) -> bool:
    """Whether an order may only shrink its position."""
    if position_side == "BOTH":
        return reduce_only
    return (position_side == "LONG") != (side == "buy")


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
            realized=self.realized,
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
            trigger=order.trigger,
            trigger_price=order.trigger_price,
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


# --- conditional orders --------------------------------------------------------------

ConditionalType = Literal[
    "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"
]
ConditionalTimeInForce = Literal["GTC", "IOC", "FOK", "GTX", "GTE_GTC"]
"""GTE_GTC ends with the position it would close. Binance's pages name it without listing it."""
ConditionalStatus = Literal[
    "NEW", "TRIGGERING", "TRIGGERED", "FINISHED", "CANCELED", "EXPIRED", "REJECTED"
]
"""Binance's `algoStatus` ("Event: Algo Order Update")."""

_SEEN_AS: Final[dict[str, OrderStatus]] = {
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}


def trigger_of(kind: ConditionalType) -> Trigger:
    """What an order of that type waits for."""
    return "take_profit" if kind.startswith("TAKE_PROFIT") else "stop"


class ConditionalTicket(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """What a client asks for: an order that is placed once a price is reached.

    :ivar quantity: None with `close_position`, which takes what is held when it triggers.
    :ivar trigger_price: not of a trailing stop.
    :ivar activate_price: from where a trailing stop trails; None: from the price of now.
    :ivar callback_rate: of a trailing stop, in percent.
    """

    symbol: str
    client_id: str
    type: ConditionalType
    side: Side
    quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trigger_by: TriggerBy = "last"
    time_in_force: ConditionalTimeInForce = "GTC"
    reduce_only: bool = False
    close_position: bool = False
    position_side: PositionSide = "BOTH"
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None
    price_protect: bool = False
    foreign: bool = False


class ConditionalOrder(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """A conditional order the venue keeps. Only the core changes it.

    :ivar algo_id: in a number space of its own, as at Binance.
    :ivar actual: the order made of it.
    :ivar reason: why the matching engine refused that order.
    :ivar peak: of a trailing stop, the best price since it was placed.
    """

    market: Market
    algo_id: int
    client_id: str
    type: ConditionalType
    side: Side
    quantity: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    trigger_by: TriggerBy
    time_in_force: ConditionalTimeInForce
    reduce_only: bool
    close_position: bool
    position_side: PositionSide
    activate_price: Decimal | None
    callback_rate: Decimal | None
    price_protect: bool
    foreign: bool
    created_ms: int
    updated_ms: int
    status: ConditionalStatus = "NEW"
    triggered_ms: int = 0
    actual: VenueOrder | None = None
    reason: str = ""
    peak: Decimal | None = None

    @property
    def waiting(self) -> bool:
        """Whether its price is still to be reached."""
        return self.status == "NEW"

    @property
    def trigger(self) -> Trigger:
        return trigger_of(self.type)

    @property
    def closing(self) -> bool:
        """Whether it may only shrink its position."""
        return self.close_position or closing(
            self.side, self.position_side, reduce_only=self.reduce_only
        )

    @property
    def bound(self) -> bool:
        """Whether it ends with the position that it would close."""
        return self.close_position or self.time_in_force == "GTE_GTC"

    def snapshot(self) -> OrderSnapshot:
        """Once it was triggered, that of the order made of it, which has its client id."""
        if self.actual is not None:
            return self.actual.snapshot()
        return OrderSnapshot(
            symbol=self.market.symbol,
            client_order_id=self.client_id,
            venue_order_id=str(self.algo_id),
            side=self.side,
            quantity=self.quantity or Decimal(0),
            price=self.price,
            filled=Decimal(0),
            status=_SEEN_AS.get(self.status, OrderStatus.OPEN),
            reduce_only=self.closing and self.position_side == "BOTH",
            position_side=self.position_side,
            updated_ms=self.updated_ms,
            trigger=self.trigger,
            trigger_price=self.trigger_price,
        )


class ConditionalEvent(msgspec.Struct, eq=False, gc=False):
    """One step of one conditional order, with the values of the moment."""

    order: ConditionalOrder
    status: ConditionalStatus
    actual: VenueOrder | None
    filled: Decimal
    average_price: Decimal | None
    time_ms: int


# --- the account ---------------------------------------------------------------------

FlowKind = Literal["FUNDING_FEE", "INSURANCE_CLEAR", "REALIZED_PNL", "COMMISSION", "TRANSFER"]
"""Binance's `incomeType` ("Get Income History"), as far as the venue has them."""
AccountReason = Literal[
    "ORDER",
    "FUNDING_FEE",
    "INSURANCE_CLEAR",
    "MARGIN_TRANSFER",
    "MARGIN_TYPE_CHANGE",
    "DEPOSIT",
    "WITHDRAW",
]
"""Binance's `m` of ACCOUNT_UPDATE ("Event: Balance and Position Update")."""


class CashFlow(NamedTuple):
    """Cash that came or went.

    :ivar number: ascends over the account.
    """

    number: int
    market: Market | None
    kind: FlowKind
    amount: Decimal
    time_ms: int
    trade_id: int = 0


class PositionNow(NamedTuple):
    """A position at one moment."""

    market: Market
    side: PositionSide
    quantity: Decimal
    entry_price: Decimal | None
    realized: Decimal
    unrealized: Decimal
    isolated: bool
    isolated_wallet: Decimal


class AccountEvent(NamedTuple):
    """The wallet, a position, or both have changed.

    :ivar change: of the wallet, other than profit and fees of trades.
    """

    reason: AccountReason
    asset: str
    wallet: Decimal
    cross_wallet: Decimal
    change: Decimal
    positions: tuple[PositionNow, ...]
    time_ms: int
