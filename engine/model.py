"""The values that cross the ports: orders, fills, positions, outcomes, events.

All are immutable, exact (`Decimal`, integers, text) and encode to msgpack as
they stand, because the journal keeps most of them. Times that are dates are
integer nanoseconds or milliseconds UTC, named so; durations are seconds.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec.structs import force_setattr

from .errors import InvalidOrder

Side = Literal["buy", "sell"]
PositionSide = Literal["BOTH", "LONG", "SHORT"]
"""Binance's `positionSide`: BOTH in one-way mode, LONG or SHORT in hedge mode."""
POSITION_SIDES: Final[tuple[PositionSide, ...]] = get_args(PositionSide)
TimeInForce = Literal["GTC", "IOC", "GTX"]
"""Good till cancelled; immediate or cancel; post-only (Binance's names)."""
Trigger = Literal["stop", "take_profit"]
"""What a conditional order waits for: a stop for the price to move against the position it
protects (or to break out), a take-profit for it to move in favour (Binance's order types)."""
TriggerBy = Literal["last", "mark"]
"""The price that is watched: the last trade, or the mark price (Binance `workingType`)."""

MAX_KEY_LENGTH: Final = 128
MAX_DIGITS: Final = 27
"""Of a price or a quantity, before and behind the point together: what Decimal calculates with
exactly (its context has 28), and more than any venue has."""


def is_text(value: object) -> bool:
    """Whether it is text with something in it that the journal can hold: valid as UTF-8."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a bot wants done. Wrong values raise at once, before anything is written.

    :param symbol: unified name, `BTC/USDT:USDT`.
    :param quantity: in units of the base asset; text, int or Decimal, above zero.
    :param price: limit price in the quote asset; None is a market order.
    :param key: the bot's own name for this decision. Calling `submit` again with
        the same key is the same intent: never a second order, also after a restart; with
        another order it is an error. It is
        used up as soon as the order may have left for the venue, however it ended there;
        an order that provably never left (`TradingHalted`, a policy's `Rejected`, a caller
        that was cancelled before the write) leaves its key free.
    :param reduce_only: can only shrink a position; may be sent outside HEALTHY.
    :param deadline_seconds: not accepted by then it is given up, and what is unknown by then is
        `OutcomeUnknown`. By default that of the settings for an opening order, which a plain
        order that happens to close a position is as well: nothing but `reduce_only` (or the
        closing side, in hedge mode) says that it may not open one. An exit has none: it is
        tried, and an unknown outcome waited for, also while the venue can not be reached, until
        its caller is cancelled, the engine is closed, an operator halts or the lease is lost.
    :param trigger, trigger_price: a conditional order, which the venue keeps aside until
        `trigger_by` reaches that price and then places as a market order, or, with `price`,
        as a limit order. Protect a position with `trigger="stop", reduce_only=True`. The
        venue can not be asked for a proof that such an order is absent, so one of unknown
        outcome waits until it is seen, or until the operator decides (`holdfast resolve`).
    :raises InvalidOrder: naming the field and the remedy.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    key: str | None = None
    reduce_only: bool = False
    time_in_force: TimeInForce | None = None
    position_side: PositionSide = "BOTH"
    deadline_seconds: float | None = None
    trigger: Trigger | None = None
    trigger_price: Decimal | None = None
    trigger_by: TriggerBy = "last"

    if TYPE_CHECKING:

        def __init__(
            self,
            symbol: str,
            side: Side,
            quantity: Decimal | str | int,
            price: Decimal | str | int | None = None,
            *,
            key: str | None = None,
            reduce_only: bool = False,
            time_in_force: TimeInForce | None = None,
            position_side: PositionSide = "BOTH",
            deadline_seconds: float | None = None,
            trigger: Trigger | None = None,
            trigger_price: Decimal | str | int | None = None,
            trigger_by: TriggerBy = "last",
        ) -> None: ...

    def __post_init__(self) -> None:
        # Decoding a journal runs this too; values that are right pass untouched.
        if not is_text(self.symbol):
            raise InvalidOrder(f"symbol: {self.symbol!r} is no name; give e.g. 'BTC/USDT:USDT'")
        if self.side not in ("buy", "sell"):
            raise InvalidOrder(f"side: {self.side!r} is neither 'buy' nor 'sell'")
        if self.position_side not in POSITION_SIDES:
            raise InvalidOrder(f"position_side: {self.position_side!r} is not BOTH, LONG or SHORT")
        if self.time_in_force not in (None, "GTC", "IOC", "GTX"):
            raise InvalidOrder(f"time_in_force: {self.time_in_force!r} is not GTC, IOC or GTX")
        force_setattr(self, "quantity", positive("quantity", self.quantity))
        if self.price is not None:
            force_setattr(self, "price", positive("price", self.price))
        elif self.time_in_force is not None:
            raise InvalidOrder("time_in_force: a market order has none; leave it out or set price")
        if self.key is not None and not (is_text(self.key) and len(self.key) <= MAX_KEY_LENGTH):
            raise InvalidOrder(
                f"key: {repr(self.key)[:200]} is not text of 1 to {MAX_KEY_LENGTH} characters"
            )
        if not isinstance(self.reduce_only, bool):
            raise InvalidOrder(f"reduce_only: {self.reduce_only!r} is neither True nor False")
        if self.reduce_only and self.position_side != "BOTH" and self.opening:
            raise InvalidOrder(
                f"reduce_only: a {self.side} of {self.position_side} opens; hedge mode reduces by "
                "the other side"
            )
        deadline: object = self.deadline_seconds
        if deadline is not None and (
            not isinstance(deadline, (int, float))
            or isinstance(deadline, bool)
            or not 0 < deadline <= 3600
        ):
            raise InvalidOrder(f"deadline_seconds: {deadline!r} is not a number from 0 to 3600")
        if self.trigger_by not in ("last", "mark"):
            raise InvalidOrder(f"trigger_by: {self.trigger_by!r} is neither 'last' nor 'mark'")
        if self.trigger is not None or self.trigger_price is not None:
            self._check_trigger()
        elif self.trigger_by != "last":
            raise InvalidOrder(f"trigger_by: {self.trigger_by!r}, but there is no trigger")

    def _check_trigger(self) -> None:
        if self.trigger not in ("stop", "take_profit"):
            raise InvalidOrder(f"trigger: {self.trigger!r} is neither 'stop' nor 'take_profit'")
        if self.trigger_price is None:
            raise InvalidOrder("trigger_price: a conditional order needs one")
        force_setattr(self, "trigger_price", positive("trigger_price", self.trigger_price))

    @property
    def conditional(self) -> bool:
        """Whether the venue keeps it aside until a price is reached."""
        return self.trigger is not None

    @property
    def can_rest(self) -> bool:
        """Whether the venue may keep it open: all but what is filled or ended at once."""
        return self.trigger is not None or (self.price is not None and self.time_in_force != "IOC")

    @property
    def opening(self) -> bool:
        """Whether it could open or grow a position, as far as the order itself tells."""
        if self.position_side == "BOTH":
            return not self.reduce_only
        return _opens_hedged(self.side, self.position_side)

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == "buy" else -self.quantity


def _opens_hedged(side: Side, position_side: PositionSide) -> bool:
    # Hedge mode knows no reduceOnly; the closing side says it (Binance, "New Order").
    return (position_side == "LONG") == (side == "buy")


def positive(field: str, value: object) -> Decimal:
    """`value` as an exact number above zero.

    Floats are refused: 0.1 is not 0.1, and the venue would round what is left.
    """
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise InvalidOrder(f"{field}: {value!r} is no number") from None
    else:
        raise InvalidOrder(
            f"{field}: {value!r} is {type(value).__name__}; give text or Decimal, such as '0.010'"
        )
    if not number.is_finite() or number <= 0:
        raise InvalidOrder(f"{field}: {value!r} is not a finite number above zero")
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    if len(digits) > MAX_DIGITS or not -MAX_DIGITS <= exponent <= number.adjusted() <= MAX_DIGITS:
        raise InvalidOrder(f"{field}: {value!r} has more than {MAX_DIGITS} digits")
    return number


class OrderStatus(StrEnum):
    """The venue's word on an order it has."""

    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    final: bool
    """Whether it is the last word. Kept with the value: it is asked a dozen times an order."""

    def __init__(self, value: str) -> None:
        self.final = value not in ("open", "partially_filled")


class OrderSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order as the venue describes it at one moment."""

    symbol: str
    client_order_id: str
    venue_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    filled: Decimal
    status: OrderStatus
    average_price: Decimal | None = None
    reduce_only: bool = False
    position_side: PositionSide = "BOTH"
    updated_ms: int = 0
    trigger: Trigger | None = None
    trigger_price: Decimal | None = None
    """Of a conditional order, which keeps its client order id when it is triggered: the
    order that the venue makes of it then is this one, in its further life."""

    @property
    def conditional(self) -> bool:
        return self.trigger is not None

    @property
    def protective(self) -> bool:
        """Whether it is a stop that closes: what a position is protected by."""
        return self.trigger == "stop" and not self.opening

    @property
    def opening(self) -> bool:
        """Whether what is left of it could open or grow a position."""
        if self.position_side == "BOTH":
            return not self.reduce_only
        return _opens_hedged(self.side, self.position_side)


class Fill(msgspec.Struct, frozen=True, omit_defaults=True):
    """One execution. `trade_id` is unique per symbol at the venue and is what deduplicates."""

    symbol: str
    trade_id: int
    client_order_id: str
    venue_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    time_ms: int
    position_side: PositionSide = "BOTH"
    realized: Decimal | None = None
    """The profit that the venue booked with it, before the fee, in the asset in which the
    symbol is settled; None: the venue does not tell."""

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == "buy" else -self.quantity


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Net holding of one symbol (and side, in hedge mode); negative is short."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal | None = None
    position_side: PositionSide = "BOTH"


class Balance(msgspec.Struct, frozen=True):
    """What the account has of one asset.

    :ivar wallet: what is there, without the profit or loss of open positions.
    :ivar available: what new positions may be opened with.
    :ivar unrealized: profit or loss of the open positions that are settled in this asset.
    """

    asset: str
    wallet: Decimal
    available: Decimal
    unrealized: Decimal


class CashFlow(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cash that came to a wallet, or went from it (negative), by the venue's own history.

    :ivar kind: in the venue's words; Binance's `incomeType`: FUNDING_FEE, TRANSFER, COMMISSION,
        REALIZED_PNL and others.
    :ivar symbol: unified name; "": of none.
    :ivar trade_id: of the trade that it belongs to; 0: of none.
    """

    asset: str
    amount: Decimal
    kind: str
    time_ms: int
    symbol: str = ""
    trade_id: int = 0


MarginMode = Literal["cross", "isolated"]
"""Whether a position may lose the whole account's balance or only what was set aside for it."""


class SymbolSettings(msgspec.Struct, frozen=True):
    """How the account trades a symbol."""

    symbol: str
    leverage: int
    margin_mode: MarginMode


class ExpectedAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the bot takes the account to be set up. `holdfast doctor` compares it with the venue;
    nothing is changed there. None: the bot does not care.

    :ivar hedge_mode: long and short positions of a symbol are held side by side.
    :ivar margin_mode, leverage: of every declared symbol.
    """

    hedge_mode: bool | None = None
    margin_mode: MarginMode | None = None
    leverage: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class KeyRights(msgspec.Struct, frozen=True):
    """What the venue lets an API key do; None: it does not tell.

    :ivar trade: place orders.
    :ivar withdraw: take money out of the account.
    :ivar bound_to_addresses: it is accepted from certain IP addresses only.
    """

    trade: bool | None = None
    withdraw: bool | None = None
    bound_to_addresses: bool | None = None


class Instrument(msgspec.Struct, frozen=True):
    """What the venue accepts for a symbol.

    :ivar trading: orders are accepted now; otherwise the contract is listed, and rests.

    :ivar market_quantity_step, market_min_quantity, market_max_quantity: of market orders,
        where the venue sets other bounds for them (Binance MARKET_LOT_SIZE); None: as the
        others.
    """

    symbol: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal | None = None
    market_quantity_step: Decimal | None = None
    market_min_quantity: Decimal | None = None
    market_max_quantity: Decimal | None = None
    trading: bool = True

    def price(self, value: float | Decimal | str, *, side: Side) -> Decimal:
        """`value` on the venue's ticks, never on the worse side: down to buy, up to sell."""
        rounding = ROUND_FLOOR if side == "buy" else ROUND_CEILING
        return _on_step(value, self.price_step, rounding)

    def quantity(self, value: float | Decimal | str) -> Decimal:
        """`value` in whole steps, never more than it. Zero is under one step: do not order."""
        return _on_step(value, self.quantity_step, ROUND_FLOOR)


def _on_step(value: float | Decimal | str, step: Decimal, rounding: str) -> Decimal:
    # By repr: 0.1 is meant where 0.1 is written, not the binary number beside it.
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise InvalidOrder(f"{value!r} is no finite number")
    return (number / step).to_integral_value(rounding) * step


class ExecutionReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of the venue's user stream: an order's state and perhaps one fill."""

    order: OrderSnapshot
    fill: Fill | None = None


class PlaceRequest(msgspec.Struct, frozen=True):
    """One attempt to place an intent.

    :ivar timestamp_ms: venue time that is signed; with `recv_window_ms` it bounds
        how late the venue may still accept this attempt, which is what absence is
        proven by. Both are journalled before the write.
    """

    client_order_id: str
    order: Order
    timestamp_ms: int
    recv_window_ms: int


class OutcomeKind(StrEnum):
    """What a reply to `place` proves."""

    ACCEPTED = "accepted"
    NOT_EXECUTED = "not_executed"  # provably never reached the book: may be sent again
    UNKNOWN = "unknown"  # nobody can tell: ask, never send
    REJECTED = "rejected"  # never again
    EXISTS = "exists"  # the venue has this client id already: query, adopt if it matches
    THROTTLED = "throttled"
    BANNED = "banned"
    AUTH = "auth"
    CLOCK = "clock"  # our time stamp was refused; not executed


class PlaceOutcome(msgspec.Struct, frozen=True):
    """The class of one attempt's reply and what came with it."""

    kind: OutcomeKind
    reason: str = ""
    code: int | None = None
    order: OrderSnapshot | None = None
    """Present exactly when `kind` is ACCEPTED."""
    retry_after_seconds: float | None = None
    nothing_to_reduce: bool = False
    """REJECTED because by the venue's own books there is no such position to reduce, or other
    orders reduce it already."""


class QueryKind(StrEnum):
    FOUND = "found"
    ABSENT = "absent"  # the venue answered that it has no such order: not yet a proof
    UNANSWERED = "unanswered"  # the venue could not be asked


class QueryOutcome(msgspec.Struct, frozen=True):
    """ "Not there" and "could not ask" are different answers."""

    kind: QueryKind
    order: OrderSnapshot | None = None
    reason: str = ""


EndStatus = Literal["accepted", "rejected", "not_executed"]
"""How an intent may end: the venue has it (whatever becomes of it there), refused it for
good, or provably does not have it and never will."""


class OrderReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an intent ended, or stands, with the evidence for it."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    status: EndStatus
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    venue_order_id: str | None = None
    order_status: OrderStatus | None = None
    attempts: int = 1
    """Those that may have left for the venue; 0: the order was never sent at all."""
    evidence: str = ""
    key: str | None = None
    code: int | None = None
    """The venue's error code, where there was one."""
    price: Decimal | None = None
    """The order's limit; None: a market order."""
    updated_ms: int = 0
    """The venue's time of its latest word on the order; 0: none came."""

    @property
    def sent(self) -> bool:
        """Whether it may ever have left for the venue; if not, its key is free again."""
        return self.attempts > 0


class Event(msgspec.Struct, frozen=True):
    """The envelope of everything on the bus.

    `(producer, sequence)` names an event for ever; sequences of one producer start
    at 1 and have no holes. `body` is any msgpack value, in the shape of `type`.
    """

    type: str
    producer: str
    sequence: int
    time_ns: int
    trace_id: str
    body: Any


class Gap(msgspec.Struct, frozen=True):
    """Stands on the bus in place of events that can not be sent again."""

    producer: str
    first: int
    last: int
