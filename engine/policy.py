"""The policy document and its rules, as pure functions.

A policy says how the bot may trade right now: a mode and limits. It is
versioned and lives in a store that several people or programs may write. What
is dangerous is an *old* policy, so its identity is (lineage, version, content
hash), and a value is fit to trade on only if it was read over the connection
that stands now, its store confirmed it recently, and no newer one was ever
seen. When in doubt: unfit, and the gate stays shut.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import force_setattr

from .errors import InvalidPolicy
from .model import Order
from .suggestion import did_you_mean

OnEmpty = Literal["hold", "restore"]


class Mode(StrEnum):
    AGGRESSIVE = "AGGRESSIVE"
    NORMAL = "NORMAL"
    DEFENSIVE = "DEFENSIVE"
    HALT = "HALT"  # nothing that opens or grows a position


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds on what an opening order may do; None is no bound.

    :raises InvalidPolicy: one of them is none: nothing is ever above NaN, so an order of any
        size would be within it.
    """

    max_order_notional: Decimal | None = None
    """Quantity times price of one order, in the quote asset."""
    max_position_notional: Decimal | None = None
    """Of one position after the order, unknown and open orders counted as filled. In hedge mode
    LONG and SHORT of a symbol are two positions, each bounded by itself."""
    max_open_orders: int | None = None
    """Of the bot, all symbols together; exits and unknown orders count, too."""
    allowed_symbols: tuple[str, ...] | None = None
    """None allows all; an empty list allows none."""

    def __post_init__(self) -> None:
        for name in ("max_order_notional", "max_position_notional"):
            value = getattr(self, name)
            if value is not None:
                force_setattr(self, name, _amount(name, value))
        if self.max_open_orders is not None:
            _check_count("max_open_orders", self.max_open_orders)
        allowed: Any = self.allowed_symbols
        if allowed is None:
            return
        if not isinstance(allowed, (tuple, list)):
            raise InvalidPolicy(f"allowed_symbols: {allowed!r} is no tuple of symbols")
        for symbol in allowed:
            if not isinstance(symbol, str) or not symbol.strip():
                raise InvalidPolicy(f"allowed_symbols: {symbol!r} is no symbol")
        force_setattr(self, "allowed_symbols", tuple(allowed))

    @property
    def on_notional(self) -> bool:
        """Whether an order needs a price to be judged."""
        return self.max_order_notional is not None or self.max_position_notional is not None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy. `version` counts from 1 and is given by the store.

    :raises InvalidPolicy: naming the field and what is allowed.
    """

    active_mode: Mode
    limits: Limits = Limits()
    version: int = 0
    updated_by: str = ""
    updated_at: str = ""
    """UTC, RFC 3339; for people. Freshness is judged by verification, never by this."""

    def __post_init__(self) -> None:
        try:
            # A word would be compared with the modes in vain, and trading go on under "HALT".
            force_setattr(self, "active_mode", Mode(self.active_mode))
        except ValueError:
            mode, modes = self.active_mode, [mode.value for mode in Mode]
            raise InvalidPolicy(
                f"active_mode: {mode!r} is no mode{did_you_mean(str(mode), modes)}; one of: "
                f"{', '.join(modes)}"
            ) from None
        if not isinstance(self.limits, Limits):
            raise InvalidPolicy(f"limits: {self.limits!r} is no Limits(…)")
        _check_count("version", self.version)
        for name in ("updated_by", "updated_at"):
            if not isinstance(getattr(self, name), str):
                raise InvalidPolicy(f"{name}: {getattr(self, name)!r} is no text")

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(_encoder.encode(self)).hexdigest()[:16]


def _amount(name: str, value: Any) -> Decimal:
    """`value` as an exact number from zero up; floats are refused, as in an `Order`."""
    number = value
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise InvalidPolicy(f"{name}: {value!r} is no number") from None
    if not isinstance(number, Decimal):
        raise InvalidPolicy(
            f"{name}: {value!r} is {type(value).__name__}; give text or Decimal, such as '1000'"
        )
    if not number.is_finite() or number < 0:
        raise InvalidPolicy(f"{name}: {value!r} is not a finite number from zero up")
    return number


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidPolicy(f"{name}: {value!r} is not a whole number from zero up")


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Policy)


def encode(policy: Policy) -> bytes:
    return _encoder.encode(policy)


def decode(data: bytes) -> Policy:
    """:raises msgspec.ValidationError: naming the field."""
    return _decoder.decode(data)


class Identity(NamedTuple):
    lineage: str
    version: int
    content_hash: str


class Regression(StrEnum):
    """What a newly read policy is, compared with the newest one ever seen."""

    FRESH = "fresh"
    EMPTY = "empty"  # the store has none, though there was one
    OLDER = "older"  # a lower version than one already seen
    CONFLICT = "conflict"  # the same version with another content


def regression(seen: Identity | None, read: Identity | None) -> Regression:
    """Whether what the store says now may follow what it said before.

    A new lineage with a version at least as high is accepted: the store was
    replaced by one that somebody has brought up to date.
    """
    if read is None:
        return Regression.EMPTY
    if seen is None or read.version > seen.version:
        return Regression.FRESH
    if read.version < seen.version:
        return Regression.OLDER
    return Regression.FRESH if read.content_hash == seen.content_hash else Regression.CONFLICT


class Exposure(NamedTuple):
    """What an order adds to: all that is held, open or unknown of the position that it grows.

    In hedge mode that is its own side (LONG or SHORT), gross. Netted with the other side, a short
    would make room for any long, and what is left when the short is closed, stopped or
    liquidated would be beyond the limit without an order that could have been refused. The
    venue keeps them apart too, each with its entry price, its margin and its liquidation
    (Binance, "Position Information"). Both together may so come to twice the limit.

    :ivar open_orders: of all symbols.
    """

    position_quantity: Decimal
    pending_quantity: Decimal
    """Signed sum of open and unknown opening orders of the judged order's own side, counted
    as filled. The other side's are left out: that they fill first is a hope, not a bound."""
    reference_price: Decimal | None
    open_orders: int


def _worst_price(order: Order, reference: Decimal | None) -> Decimal | None:
    """What a unit of it may come to be worth; None: nobody knows.

    A buy with a limit is filled there or below, and that is all that can be known for sure.
    Anything else is filled at the market, or above: a sell at its limit or better, a conditional
    order when the price has come to its trigger.
    """
    if order.side == "buy" and order.price is not None:
        return order.price
    if reference is None:
        return None
    return max(reference, order.price or reference, order.trigger_price or reference)


NO_PRICE: Final = "a notional limit is set, and nobody knows what this order would be filled at"
"""The one objection that says nothing of the order: it may be right once a price is known."""


def objection(policy: Policy, order: Order, exposure: Exposure) -> str | None:
    """Why this order may not be sent under this policy; None when it may.

    Orders that can only shrink a position are never objected to: getting out
    must stay possible under every policy.
    """
    if not order.opening:
        return None
    if policy.active_mode is Mode.HALT:
        return "policy mode is HALT"
    limits = policy.limits
    if limits.allowed_symbols is not None and order.symbol not in limits.allowed_symbols:
        return f"{order.symbol} is not among the allowed symbols"
    if limits.max_open_orders is not None and exposure.open_orders >= limits.max_open_orders:
        return f"{exposure.open_orders} orders are open, {limits.max_open_orders} are allowed"
    if not limits.on_notional:
        return None
    price = _worst_price(order, exposure.reference_price)
    if price is None:
        return NO_PRICE
    if limits.max_order_notional is not None:
        notional = order.quantity * price
        if notional > limits.max_order_notional:
            return f"order notional {notional:f} is above {limits.max_order_notional:f}"
    if limits.max_position_notional is not None:
        after = exposure.position_quantity + exposure.pending_quantity + order.signed_quantity
        notional = abs(after) * price
        if notional > limits.max_position_notional:
            return f"position notional {notional:f} would exceed {limits.max_position_notional:f}"
    return None
