"""What a venue says of the account: orders as they stand, fills, positions.

An observation is of one moment and may be old when it arrives. What may be believed of it,
and which of two is the newer, is decided elsewhere (`book`, `outcomes`).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from .order import PositionSide, Side, Trigger, opens_hedged


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
        return opens_hedged(self.side, self.position_side)


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


class ExecutionReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of the venue's user stream: an order's state and perhaps one fill."""

    order: OrderSnapshot
    fill: Fill | None = None
