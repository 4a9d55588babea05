"""Binance's USDⓈ-M endpoints for conditional orders (`algoOrder`).

"New Algo Order", "Cancel Algo Order", "Cancel All Algo Open
Orders", "Query Algo Order", "Current All Algo Open Orders", "Query All Algo Orders".
`priceMatch`, `goodTillDate` and self-trade prevention are read by nobody here; old orders are
never forgotten (Binance forgets cancelled ones after three days, all after 90).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, cast

from holdfast.model import PositionSide, TriggerBy

from .algo_wire import algo_json, canceled_json, new_algo_json
from .api import Account
from .parameters import (
    Params,
    decimal,
    flag,
    integer,
    malformed,
    page_size,
    period,
    recv_window,
    required,
)
from .records import (
    ConditionalTicket,
    ConditionalTimeInForce,
    ConditionalType,
)
from .rules import VenueError

_TYPES: Final = (
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
)
_WATCHED: Final[dict[str, TriggerBy]] = {"CONTRACT_PRICE": "last", "MARK_PRICE": "mark"}


def new_algo_order(account: Account, params: Params) -> Any:
    account.permissions.check_order()
    venue = account.venue
    order = venue.place_conditional(
        conditional_ticket(params, default_id=f"algo-{len(venue.conditional_log) + 1}"),
        timestamp_ms=integer(params, "timestamp"),
        recv_window_ms=recv_window(params),
    )
    return new_algo_json(order)


def cancel_algo_order(account: Account, params: Params) -> Any:
    client_id, algo_id = algo_name(params)
    return canceled_json(account.venue.cancel_conditional(client_id=client_id, algo_id=algo_id))


def cancel_all_algo_orders(account: Account, params: Params) -> Any:
    account.venue.cancel_all_conditional(required(params, "symbol"))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def query_algo_order(account: Account, params: Params) -> Any:
    client_id, algo_id = algo_name(params)
    return algo_json(account.venue.query_conditional(client_id=client_id, algo_id=algo_id))


def open_algo_orders(account: Account, params: Params) -> Any:
    if params.get("algoType", "CONDITIONAL") != "CONDITIONAL":
        return []
    orders = account.venue.open_conditional(params.get("symbol"))
    algo_id = integer(params, "algoId", 0)
    return [algo_json(order) for order in orders if not algo_id or order.algo_id == algo_id]


def all_algo_orders(account: Account, params: Params) -> Any:
    """Waiting or not, by ascending number: from `algoId` on; else of a time of at most seven
    days, the first ones if it says when it starts, or the latest.
    """
    venue, limit = account.venue, page_size(params)
    market = venue.book(required(params, "symbol")).market
    of_symbol = [order for order in venue.conditional_log if order.market is market]
    if first := integer(params, "algoId", 0):
        chosen = [order for order in of_symbol if order.algo_id >= first]
        return [algo_json(order) for order in chosen[:limit]]
    start, end = period(params, venue.now_ms())
    chosen = [
        order
        for order in of_symbol
        if start <= order.created_ms and (end is None or order.created_ms <= end)
    ]
    page = chosen[:limit] if "startTime" in params else chosen[-limit:]
    return [algo_json(order) for order in page]


# --- parameters --------------------------------------------------------------------


def algo_name(params: Params) -> tuple[str, int]:
    """Client id and number, one of which must be given; the number decides."""
    algo_id = integer(params, "algoId", 0)
    client_id = params.get("clientAlgoId", "")
    if not algo_id and not client_id:
        raise VenueError(
            -1102, "Param 'clientAlgoId' or 'algoId' must be sent, but both were empty/null!"
        )
    return client_id, algo_id


def conditional_ticket(params: Params, *, default_id: str) -> ConditionalTicket:
    """The order that the parameters of POST algoOrder describe.

    :param default_id: its client id if the client gave none.
    :raises VenueError: what is missing or wrong.
    """
    if required(params, "algoType") != "CONDITIONAL":
        raise malformed("algoType")
    symbol, side, kind = (required(params, name) for name in ("symbol", "side", "type"))
    if side not in ("BUY", "SELL"):
        raise VenueError(-1117, "Invalid side.")
    if kind not in _TYPES:
        raise VenueError(-1116, "Invalid orderType.")
    time_in_force = params.get("timeInForce", "GTC")
    if time_in_force not in ("GTC", "IOC", "FOK", "GTX", "GTE_GTC"):
        raise VenueError(-1115, "Invalid timeInForce.")
    position_side = params.get("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060, "Invalid position side.")
    working_type = params.get("workingType", "CONTRACT_PRICE")
    if working_type not in _WATCHED:
        raise VenueError(-4031, f"Invalid parameter working type: {working_type}")
    if kind == "TRAILING_STOP_MARKET":
        if "triggerPrice" in params:  # as reported of Binance: nautilus_trader#4192
            raise VenueError(-2021, "Order would immediately trigger.")
    else:
        for name in ("activatePrice", "callbackRate"):
            if name in params:
                raise VenueError(-1106, f"Parameter '{name}' sent when not required.")
    return ConditionalTicket(
        symbol=symbol,
        client_id=params.get("clientAlgoId") or default_id,
        type=cast("ConditionalType", kind),
        side="buy" if side == "BUY" else "sell",
        quantity=_number(params, "quantity"),
        price=_number(params, "price"),
        trigger_price=_number(params, "triggerPrice"),
        trigger_by=_WATCHED[working_type],
        time_in_force=cast("ConditionalTimeInForce", time_in_force),
        reduce_only=flag(params, "reduceOnly"),
        close_position=flag(params, "closePosition"),
        position_side=cast("PositionSide", position_side),
        activate_price=_number(params, "activatePrice"),
        callback_rate=_number(params, "callbackRate"),
        price_protect=flag(params, "priceProtect"),
    )


def _number(params: Params, name: str) -> Decimal | None:
    return decimal(params, name) if name in params else None
