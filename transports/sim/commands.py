"""What an observer of a served venue may command, and with which fields: the words of `control`.

They are data, so that `GET /control` can tell what there is, and a field that is misspelt is
refused instead of passed over.

Faults of a request are armed for a kind of requests (place, cancel, query, snapshot, probe,
stream), for a number of them or for a time, by name (`point`, see `fault_points`) or spelled
out (`fault`, see `faults.Fault`). Those of the user stream are `drop` (a gap), `duplicate` and
`swap` (frames in the wrong order), of the next `count` frames; `cut_streams` ends the
connections, `expire_listen_key` the key. `clock_skew_ms` moves the venue's clock, and for
`query_lag_ms` a new order is not found by queries and snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from holdfast.model import PositionSide, Side

from .fault_points import POINTS
from .faults import Action, Fault, RequestKind


class SetPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trade of the market. `quantity` bounds what resting orders get of it."""

    symbol: str
    price: Decimal
    quantity: Decimal | None = None
    seller_took: bool | None = None


class SetQuote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best prices of the rest of the market; a quantity of none has no bound."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None


class SetMark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mark price."""

    symbol: str
    price: Decimal


class SetFunding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A funding fee now; with `interval_ms` instead at the multiples of it, until told
    otherwise."""

    symbol: str
    rate: Decimal
    interval_ms: int | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner moves money in; a negative amount, out."""

    amount: Decimal


class SetFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults to add; `clear` disarms what was armed before."""

    clear: bool = False
    kind: RequestKind | None = None
    point: str | None = None
    seconds: float | None = None
    fault: Fault | None = None
    count: int | None = None
    for_seconds: float | None = None
    stream: Action | None = None
    clock_skew_ms: int | None = None
    query_lag_ms: int | None = None
    cut_streams: bool = False
    expire_listen_key: bool = False


class ForeignOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order placed by another hand on the same account."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    reduce_only: bool = False
    client_order_id: str | None = None


class ForeignPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trade at the market, by another hand, until the position is `quantity`."""

    symbol: str
    quantity: Decimal


class Deleverage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a quantity the whole position, without a price at the mark price."""

    symbol: str
    quantity: Decimal | None = None
    price: Decimal | None = None
    position_side: PositionSide = "BOTH"


class SetPermissions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the account (`can_trade`) and its API key may do; what is left out stays."""

    can_trade: bool | None = None
    futures: bool | None = None
    withdrawals: bool | None = None
    bound_to_addresses: bool | None = None


_COMMANDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "price": SetPrice,
    "quote": SetQuote,
    "mark": SetMark,
    "funding": SetFunding,
    "transfer": Transfer,
    "faults": SetFaults,
    "order": ForeignOrder,
    "position": ForeignPosition,
    "deleverage": Deleverage,
    "permissions": SetPermissions,
}


def catalogue() -> dict[str, Any]:
    """What there is to ask for, and to command: fields with their types, `?` for optional."""
    return {
        "get": [
            *("/control", "/control/state", "/control/orders", "/control/conditional"),
            "/control/requests",
        ],
        "post": {
            f"/control/{name}": {
                "does": " ".join((kind.__doc__ or "").split()),
                "fields": {
                    field.encode_name + ("" if field.required else "?"): _readable(field.type)
                    for field in msgspec.structs.fields(kind)
                },
            }
            for name, kind in _COMMANDS.items()
        },
        "kinds": list(get_args(RequestKind)),
        "points": {
            name: {"executes": fault.executes, "reply": fault.reply, "status": fault.status}
            for name, fault in POINTS.items()
        },
        "stream": list(get_args(Action)),
    }


def _readable(kind: Any) -> str:
    name = getattr(kind, "__name__", None)
    return name if name and not get_args(kind) else str(kind).replace("typing.", "")
