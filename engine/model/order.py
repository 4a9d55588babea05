"""What a bot wants done: an order, checked where it is made.

A wrong value raises before anything is written, with the field and the remedy: later it would
be the venue that refuses it, after the intent was journalled and perhaps in the middle of an
exit. Text that the journal could not hold and numbers that are not exact are wrong values.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec
from msgspec.structs import force_setattr

from holdfast.errors import InvalidOrder

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
        return opens_hedged(self.side, self.position_side)

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity if self.side == "buy" else -self.quantity


def opens_hedged(side: Side, position_side: PositionSide) -> bool:
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
