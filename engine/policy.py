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
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

from .model import Order

OnEmpty = Literal["hold", "restore"]


class Mode(StrEnum):
    AGGRESSIVE = "AGGRESSIVE"
    NORMAL = "NORMAL"
    DEFENSIVE = "DEFENSIVE"
    HALT = "HALT"  # nothing that opens or grows a position


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds on what an opening order may do; None is no bound."""

    max_order_notional: Decimal | None = None
    """Quantity times price of one order, in the quote asset."""
    max_position_notional: Decimal | None = None
    """Of one symbol after the order, unknown and open orders counted as filled."""
    max_open_orders: int | None = None
    allowed_symbols: tuple[str, ...] | None = None
    """None allows all; an empty list allows none."""

    @property
    def on_notional(self) -> bool:
        """Whether an order needs a price to be judged."""
        return self.max_order_notional is not None or self.max_position_notional is not None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy. `version` counts from 1 and is given by the store."""

    active_mode: Mode
    limits: Limits = Limits()
    version: int = 0
    updated_by: str = ""
    updated_at: str = ""
    """UTC, RFC 3339; for people. Freshness is judged by verification, never by this."""

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(_encoder.encode(self)).hexdigest()[:16]


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
    """What an order adds to: all that is held, open or unknown of its symbol."""

    position_quantity: Decimal
    pending_quantity: Decimal
    """Signed sum of open and unknown opening orders of the judged order's own side, counted
    as filled. The other side's are left out: that they fill first is a hope, not a bound."""
    reference_price: Decimal | None
    open_orders: int


def _worst_price(order: Order, reference: Decimal | None) -> Decimal | None:
    """What a unit of it may come to be worth; None: nobody knows.

    A buy is filled at its limit or below. A sell is filled at its limit or above, so its own
    price bounds nothing.
    """
    if order.price is None:
        return reference
    if order.side == "buy":
        return order.price
    return None if reference is None else max(order.price, reference)


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
        return "a notional limit is set, and nobody knows what this order would be filled at"
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
