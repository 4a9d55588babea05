"""The values that cross the ports: orders, fills, positions, outcomes, events.

All are immutable, exact (`Decimal`, integers, text) and encode to msgpack as
they stand, because the journal keeps most of them. Times that are dates are
integer nanoseconds or milliseconds UTC, named so; durations are seconds.

What a bot wants is in `order`, what the venue says in `venue`, what is proven of an attempt in
`outcome`. They are imported from here; which module has which may change.
"""

from __future__ import annotations

from .account import Balance, CashFlow, ExpectedAccount, KeyRights, MarginMode, SymbolSettings
from .event import Event, Gap
from .instrument import Instrument
from .order import (
    MAX_DIGITS,
    MAX_KEY_LENGTH,
    POSITION_SIDES,
    Order,
    PositionSide,
    Side,
    TimeInForce,
    Trigger,
    TriggerBy,
    is_text,
    positive,
)
from .outcome import (
    EndStatus,
    OrderReport,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    QueryOutcome,
)
from .venue import ExecutionReport, Fill, OrderSnapshot, OrderStatus, Position

__all__ = [
    "MAX_DIGITS",
    "MAX_KEY_LENGTH",
    "POSITION_SIDES",
    "Balance",
    "CashFlow",
    "EndStatus",
    "Event",
    "ExecutionReport",
    "ExpectedAccount",
    "Fill",
    "Gap",
    "Instrument",
    "KeyRights",
    "MarginMode",
    "Order",
    "OrderReport",
    "OrderSnapshot",
    "OrderStatus",
    "OutcomeKind",
    "PlaceOutcome",
    "PlaceRequest",
    "Position",
    "PositionSide",
    "QueryKind",
    "QueryOutcome",
    "Side",
    "SymbolSettings",
    "TimeInForce",
    "Trigger",
    "TriggerBy",
    "is_text",
    "positive",
]
