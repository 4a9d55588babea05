"""One attempt to place an order, what its answer proves, and how an intent ends.

"Not there", "could not ask" and "nobody can tell" are different values and never one `None`:
whoever mixes them up sends an order twice or believes in a position that does not exist.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from .order import Order, Side
from .venue import OrderSnapshot, OrderStatus


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
