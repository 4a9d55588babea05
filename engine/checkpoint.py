"""The folded state as a checkpoint keeps it, and how much room that needs.

A checkpoint is one record, so it has to fit into a segment whatever the bot's keys are: a key
that was left out would be forgotten, and its decision could be executed twice. So the settings
are held to `keys_with_room`, which counts with the largest entry that there can be; what else is
kept has no bound of its own (a bot may have any number of orders open), so a share of the record
is left to it. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from .book import BookState
from .model import (
    MAX_DIGITS,
    MAX_KEY_LENGTH,
    EndStatus,
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    Position,
    PositionSide,
    Side,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from .records import PolicySeen

SHARE_OF_KEYS: Final = (3, 4)
"""Of a checkpoint; the rest is for all but the keys. What either does not use, the other may."""
MAX_ID_LENGTH: Final = 36
"""Of a client order id (`intent.client_order_id`), and of what venues call an order, which is a
number at Binance and at most a UUID elsewhere."""


class IntentState(msgspec.Struct, frozen=True):
    """An intent without an outcome yet."""

    client_order_id: str
    order: Order
    created_ns: int
    attempts: tuple[tuple[int, int], ...]
    doubt: str
    adopts: Position | None = None
    attempts_made: int = 0
    """0: as many as are kept; written before more could be made."""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What else an order is, beside what its report says: the same key is the same order."""

    reduce_only: bool = False
    position_side: PositionSide = "BOTH"
    time_in_force: TimeInForce = "GTC"
    """Also of an order that names none: what the venue takes it for."""
    trigger: Trigger | None = None
    trigger_price: Decimal | None = None
    trigger_by: TriggerBy = "last"

    @classmethod
    def of(cls, order: Order) -> Terms:
        return cls(
            order.reduce_only,
            order.position_side,
            order.time_in_force or "GTC",
            order.trigger,
            order.trigger_price,
            order.trigger_by,
        )


class Keyed(msgspec.Struct, frozen=True, array_like=True):
    """An ended intent with a key, without the words: a checkpoint holds thousands."""

    key: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    status: EndStatus
    filled: Decimal
    average_price: Decimal | None
    order_status: OrderStatus | None
    code: int | None
    venue_order_id: str | None = None
    price: Decimal | None = None
    updated_ms: int = 0
    terms: Terms | None = None

    @classmethod
    def of(cls, report: OrderReport, terms: Terms | None) -> Keyed:
        assert report.key is not None
        return cls(
            report.key,
            report.client_order_id,
            report.symbol,
            report.side,
            report.quantity,
            report.status,
            report.filled,
            report.average_price,
            report.order_status,
            report.code,
            report.venue_order_id,
            report.price,
            report.updated_ms,
            terms,
        )

    def report(self) -> OrderReport:
        return OrderReport(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            status=self.status,
            filled=self.filled,
            average_price=self.average_price,
            venue_order_id=self.venue_order_id,
            order_status=self.order_status,
            evidence="remembered from an earlier call with this key",
            key=self.key,
            code=self.code,
            price=self.price,
            updated_ms=self.updated_ms,
        )


class Checkpoint(msgspec.Struct, frozen=True):
    """The whole state. Fields are only added, with a default."""

    book: BookState
    intents: tuple[IntentState, ...]
    keyed: tuple[Keyed, ...]
    hold: str | None
    policy: PolicySeen | None
    consented: bool
    foreign_orders: tuple[str, ...]
    last_transition: int
    bot: str = ""
    last_sequences: dict[int, int] = {}
    wallets: dict[str, Decimal] = {}
    wallet_fills: int = 0
    wallets_since_ms: dict[str, int] = {}
    wallets_until_ms: dict[str, int] = {}
    untold_fill: Fill | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)


def encode(state: Checkpoint) -> bytes:
    return _encoder.encode(state)


def decode(body: bytes) -> Checkpoint:
    """:raises msgspec.DecodeError: it was written by something else."""
    return _decoder.decode(body)


def largest_entry(symbols: Iterable[str]) -> int:
    """Bytes of the largest `Keyed` that an order of one of these symbols can have."""
    number = Decimal(f"0.{'9' * MAX_DIGITS}")
    return len(
        _encoder.encode(
            Keyed(
                key="\U0010ffff" * MAX_KEY_LENGTH,
                client_order_id="x" * MAX_ID_LENGTH,
                symbol=max(symbols, key=lambda symbol: len(symbol.encode())),
                side="sell",
                quantity=number,
                status="not_executed",
                filled=number,
                average_price=number,
                order_status=OrderStatus.PARTIALLY_FILLED,
                code=-(1 << 63),
                venue_order_id="x" * MAX_ID_LENGTH,
                price=number,
                updated_ms=1 << 63,
                terms=Terms(True, "SHORT", "GTX", "take_profit", number, "mark"),
            )
        )
    )


def keys_with_room(checkpoint_bytes: int, symbols: Iterable[str]) -> int:
    """So many keys have room in a checkpoint of so many bytes, whatever they are."""
    share, whole = SHARE_OF_KEYS
    return checkpoint_bytes * share // whole // largest_entry(symbols)


def room_for_keys(keys: int, symbols: Iterable[str]) -> int:
    """Bytes that a checkpoint must be able to have for so many keys."""
    share, whole = SHARE_OF_KEYS
    return -(-keys * largest_entry(symbols) * whole // share)


def room_for_policy(checkpoint_bytes: int) -> int:
    """Bytes that the newest policy may have: half of what is left to all but the keys."""
    share, whole = SHARE_OF_KEYS
    return checkpoint_bytes * (whole - share) // whole // 2
