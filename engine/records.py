"""What the engine writes into its journal, and nothing else writes.

One struct for each kind of fact. The kind numbers and the fields are a file
format: a number is never used again for something else, fields are only added,
with a default. `Ledger` folds these records into what the engine knows.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from .model import Fill, Order, OrderReport, OrderSnapshot, Position

EVENT: Final = 1
"""A bus event, see `event_record`."""


class Intended(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order that is about to be sent, with the stamp of its first attempt.

    :ivar adopts: of a repair that closes what the book does not know: how much that is. It is
        taken for true in the moment in which it is known that the venue has the order, whoever
        learns of that, and in whichever life: never without the order, never twice. What the
        order has not closed when it has ended is unknown again, so that it is seen. Where only a
        person has told of the order, what its fills close is taken for true, with each of them.
    """

    client_order_id: str
    order: Order
    created_ns: int
    timestamp_ms: int
    recv_window_ms: int
    fencing_token: int = 0
    adopts: Position | None = None


class Attempted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A further attempt that is about to be sent.

    :ivar number: from 2; that of the attempt before: it has not left yet, and will with this stamp.
    """

    client_order_id: str
    number: int
    timestamp_ms: int
    recv_window_ms: int


class Doubted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of the latest attempt is unknown."""

    client_order_id: str
    reason: str


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of an intent, by evidence."""

    report: OrderReport
    order: OrderSnapshot | None = None


class OrderSeen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A later word of the venue on an order of ours."""

    order: OrderSnapshot


class Filled(msgspec.Struct, frozen=True, omit_defaults=True):
    """An execution that the local position counts."""

    fill: Fill


class Synced(msgspec.Struct, frozen=True, omit_defaults=True):
    """All fills of `symbol` up to `trade_id` have been asked for and counted."""

    symbol: str
    trade_id: int


class Adopted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The venue's state was taken over as true, with somebody's consent or by a rule."""

    positions: tuple[Position, ...]
    foreign_orders: tuple[str, ...]
    """Venue ids of open orders of another hand, to be left alone."""
    by: str
    time_ns: int
    consent: bool = True
    """Whether it was the whole account; False: one difference of it, by a rule."""


class Balanced(msgspec.Struct, frozen=True, omit_defaults=True):
    """So much of these assets was taken for true; from here on our fills are counted on it."""

    wallets: dict[str, Decimal]
    by: str
    since_ms: int = 0
    """Venue time from which on what comes and goes is not in them yet; 0: not known."""
    until_ms: int = 0
    """Until then it may be in them all the same."""


class Transitioned(msgspec.Struct, frozen=True, omit_defaults=True):
    number: int
    trigger: str
    cause: str
    source: str
    dest: str
    time_ns: int


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """The operator's hold; `reason` None ends it. Survives restarts."""

    reason: str | None
    by: str
    time_ns: int


class PolicySeen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest policy ever read, to notice an older one and to restore it by rule."""

    lineage: str
    version: int
    content_hash: str
    policy: bytes


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose journal this is: the bot's name is part of the names of its producers and orders."""

    bot: str


class ProtectionLifted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stop protects its position no more, by the bot's own cancel or by a decision: that it
    is gone is nothing to wonder at."""

    client_order_id: str
    why: str


class Probed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Written to learn whether the disk takes records again."""

    time_ns: int


Fact = (
    Intended
    | Attempted
    | Doubted
    | Resolved
    | OrderSeen
    | Filled
    | Synced
    | Adopted
    | Transitioned
    | Held
    | PolicySeen
    | Probed
    | Named
    | ProtectionLifted
    | Balanced
)

KINDS: Final[dict[int, type[Any]]] = {
    2: Intended,
    3: Attempted,
    4: Doubted,
    5: Resolved,
    6: OrderSeen,
    7: Filled,
    8: Synced,
    9: Adopted,
    10: Transitioned,
    11: Held,
    12: PolicySeen,
    13: Probed,
    14: Named,
    15: ProtectionLifted,
    16: Balanced,
}
KIND_OF: Final[dict[type[Any], int]] = {cls: kind for kind, cls in KINDS.items()}

_encoder = msgspec.msgpack.Encoder()
_decoders = {kind: msgspec.msgpack.Decoder(cls) for kind, cls in KINDS.items()}


def encode(fact: Fact) -> bytes:
    return _encoder.encode(fact)


def decode(kind: int, body: bytes) -> Fact | None:
    """The fact of a record; None for kinds that are not facts.

    :raises msgspec.DecodeError: the record was written by something else.
    """
    decoder = _decoders.get(kind)
    return None if decoder is None else decoder.decode(body)
