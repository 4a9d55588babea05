"""ccxt's arguments of an order, read into an `Order`. Pure.

Nothing is dropped: a parameter is carried, or the order is refused by the parameter's
name before anything is written. ccxt itself drops some, and then sends the order (with
`test=True` on futures a real one).

Numbers are rounded as ccxt rounds them, amounts down and prices to the nearest tick,
because bots rely on it; what would become zero is refused. The rounding is ccxt's own
and is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, cast

from holdfast.errors import InvalidOrder
from holdfast.model import Order, PositionSide, Side, TimeInForce, Trigger, TriggerBy
from holdfast.suggestion import did_you_mean

Params = Mapping[str, Any]

CLIENT_IDS: Final = ("clientOrderId", "newClientOrderId", "clientAlgoId")
"""The bot's own name for a new order: the key of the intent."""
CONDITIONAL_WORDS: Final = ("conditional", "stop", "trigger")
"""ccxt's flags of `cancel_order` and `fetch_order` for an order that was placed with a trigger."""
TRY_MARK: Final = "~"
"""Between a name and the number of a further try. It can be in no client order id of Binance's, so
the second try of one decision is never taken for another decision."""
MAX_CLIENT_ID_LENGTH: Final = 100
"""Leaves room in the key for the number of a further try."""
MAX_MAGNITUDE: Final = 40
"""Powers of ten, either way, that a number may have."""

_TRIGGER_PRICES: Final[Mapping[str, Trigger | None]] = {
    "triggerPrice": None,  # what it is follows from the type; a stop, unless that says otherwise
    "stopPrice": None,
    "stopLossPrice": "stop",
    "takeProfitPrice": "take_profit",
}
_TYPES: Final[Mapping[str, tuple[bool, Trigger | None]]] = {
    "market": (True, None),
    "limit": (False, None),
    # Binance's own, which ccxt takes as well.
    "stop_market": (True, "stop"),
    "stop": (False, "stop"),
    "take_profit_market": (True, "take_profit"),
    "take_profit": (False, "take_profit"),
}
"""Whether it is a market order in the end, and what it waits for."""
_TRIGGERS_BY: Final[Mapping[str, TriggerBy]] = {"MARK_PRICE": "mark", "CONTRACT_PRICE": "last"}
_CARRIED: Final = (
    *CLIENT_IDS,
    *_TRIGGER_PRICES,
    "hedged",
    "positionSide",
    "postOnly",
    "post_only",
    "reduceOnly",
    "timeInForce",
    "workingType",
)
_NO_TRAILING: Final = "trailing stops are not carried; move the stop yourself"
_NOT_CARRIED: Final[Params] = {
    "test": "ccxt drops it on futures and sends a real order; leave it out, and try things "
    "against `holdfast exchange`",
    "recvWindow": "set orders.recv_window_ms of the engine, which proves absence by it",
    "newOrderRespType": "leave it out, the answer is always complete",
    "leverage": "call set_leverage before",
    "marginMode": "call set_margin_mode before",
    "cost": "give the amount in units of the base asset",
    "quoteOrderQty": "give the amount in units of the base asset",
    "maxRetriesOnFailure": "leave it out, the engine decides by evidence when to send again",
    "closePosition": "give the amount, and reduceOnly",
    "stopLoss": "place it as an order of its own, with stopLossPrice and reduceOnly",
    "takeProfit": "place it as an order of its own, with takeProfitPrice and reduceOnly",
    **dict.fromkeys(
        (
            "activationPrice",
            "callbackRate",
            "trailingAmount",
            "trailingDelta",
            "trailingPercent",
            "trailingTriggerPrice",
        ),
        _NO_TRAILING,
    ),
}
_ON: Final = (True, "true", "True", "TRUE")
_OFF: Final = (False, "false", "False", "FALSE")
_TIMES_IN_FORCE: Final[Mapping[str, TimeInForce]] = {
    "GTC": "GTC",
    "IOC": "IOC",
    "GTX": "GTX",
    "PO": "GTX",
}


class Rounding(NamedTuple):
    """ccxt's `amount_to_precision` and `price_to_precision` of one market."""

    amount: Callable[[str], str]
    price: Callable[[str], str]


def order_of(
    symbol: str,
    type_: object,
    side: object,
    amount: object,
    price: object,
    params: Params,
    *,
    rounding: Rounding,
) -> Order:
    """The order that `create_order(symbol, type, side, amount, price, params)` means.

    :param symbol: unified.
    :raises InvalidOrder: naming the argument and the remedy.
    """
    given = {name: value for name, value in params.items() if value is not None}
    _refuse_what_is_not_carried(given)
    try:
        is_market, waits_for = _TYPES[str(type_).lower()]
    except KeyError:
        raise InvalidOrder(f"type: {type_!r} is not carried; give 'market' or 'limit'") from None
    direction = str(side).lower()
    if direction not in ("buy", "sell"):
        raise InvalidOrder(f"side: {side!r} is neither 'buy' nor 'sell'")
    limit: Decimal | None = None
    if not is_market:  # ccxt ignores the price of a market order as well
        if price is None:
            raise InvalidOrder("price: a limit order needs one")
        limit = _rounded("price", price, rounding.price)
    position_side, reduce_only = _direction(cast("Side", direction), given)
    trigger, trigger_price = _trigger(waits_for, given, rounding)
    return Order(
        symbol,
        cast("Side", direction),
        _rounded("amount", amount, rounding.amount),
        limit,
        key=_key(given),
        reduce_only=reduce_only,
        time_in_force=_time_in_force(given, is_market=is_market),
        position_side=position_side,
        trigger=trigger,
        trigger_price=trigger_price,
        trigger_by=_trigger_by(trigger, given),
    )


def _refuse_what_is_not_carried(given: Params) -> None:
    for name, value in given.items():
        if name in _CARRIED or (name == "test" and value in _OFF):
            continue
        remedy = _NOT_CARRIED.get(name)
        if remedy is None:
            known = ", ".join(_CARRIED)
            remedy = f"holdfast does not know it{did_you_mean(name, _CARRIED)}; it knows {known}"
        raise InvalidOrder(f"params.{name}: {remedy}; nothing was sent")


def _rounded(name: str, value: object, rounding: Callable[[str], str]) -> Decimal:
    """`value` exactly as written (a float as Python writes it), then rounded as ccxt does."""
    exact = _exact(name, value)
    if not exact.is_finite() or exact <= 0:
        raise InvalidOrder(f"{name}: {value!r} is not a finite number above zero")
    if abs(exact.adjusted()) > MAX_MAGNITUDE:  # written out it would fill the memory
        raise InvalidOrder(f"{name}: {value!r} is out of all bounds")
    try:
        rounded = Decimal(rounding(f"{exact:f}"))
    except InvalidOperation:  # more digits than the context holds
        raise InvalidOrder(f"{name}: {value!r} has too many digits for the market") from None
    if rounded <= 0:
        raise InvalidOrder(f"{name}: {value!r} is nothing once rounded to the market's step")
    return rounded


def _exact(name: str, value: object) -> Decimal:
    if value is None or isinstance(value, bool):
        raise InvalidOrder(f"{name}: {value!r} is no number")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise InvalidOrder(f"{name}: {value!r} is no number") from None


def _flag(given: Params, name: str) -> bool:
    value = given.get(name, False)
    if value in _ON:
        return True
    if value in _OFF:
        return False
    raise InvalidOrder(f"params.{name}: {value!r} is neither True nor False")


def _direction(side: Side, given: Params) -> tuple[PositionSide, bool]:
    """Position side and `reduce_only`. In hedge mode the side closes or opens by itself."""
    reduce_only = _flag(given, "reduceOnly")
    position_side = str(given.get("positionSide", "BOTH")).upper()
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise InvalidOrder(f"params.positionSide: {position_side!r} is not BOTH, LONG or SHORT")
    if _flag(given, "hedged"):  # ccxt's word for hedge mode: it finds the position side itself
        meant = "LONG" if (side == "buy") != reduce_only else "SHORT"
        if position_side not in ("BOTH", meant):
            raise InvalidOrder(
                f"params.positionSide: {position_side} contradicts hedged, which means {meant}"
            )
        position_side = meant
    if position_side == "BOTH":
        return "BOTH", reduce_only
    closes = (position_side == "LONG") == (side == "sell")
    if reduce_only and not closes:
        raise InvalidOrder(f"params.reduceOnly: {side} {position_side} opens, it can not reduce")
    return cast("PositionSide", position_side), False


def _trigger(
    waits_for: Trigger | None, given: Params, rounding: Rounding
) -> tuple[Trigger | None, Decimal | None]:
    """What the order waits for, and its price; the words are ccxt's."""
    names = [name for name in _TRIGGER_PRICES if name in given]
    if not names:
        if waits_for is not None:
            raise InvalidOrder("params.triggerPrice: an order of this type needs one")
        return None, None
    if len(names) > 1:
        raise InvalidOrder(f"params: {' and '.join(names)} would be two orders; give one")
    (name,) = names
    meant = _TRIGGER_PRICES[name]
    if None not in (meant, waits_for) and meant != waits_for:
        raise InvalidOrder(f"params.{name}: contradicts the type, which is a {waits_for}")
    return meant or waits_for or "stop", _rounded(f"params.{name}", given[name], rounding.price)


def _trigger_by(trigger: Trigger | None, given: Params) -> TriggerBy:
    name = str(given.get("workingType", "CONTRACT_PRICE"))  # Binance's default
    if name not in _TRIGGERS_BY:
        raise InvalidOrder(f"params.workingType: {name!r} is not MARK_PRICE or CONTRACT_PRICE")
    if trigger is None and "workingType" in given:
        raise InvalidOrder("params.workingType: only a conditional order has one")
    return _TRIGGERS_BY[name]


def _key(given: Params) -> str | None:
    names = {str(given[name]) for name in CLIENT_IDS if name in given}
    if not names:
        return None
    if len(names) > 1:
        raise InvalidOrder(f"params: {' and '.join(sorted(names))} both name the order; give one")
    key = names.pop()
    if not 0 < len(key) <= MAX_CLIENT_ID_LENGTH:
        raise InvalidOrder(
            f"params.clientOrderId: {key!r} is not of 1 to {MAX_CLIENT_ID_LENGTH} characters"
        )
    if TRY_MARK in key:
        raise InvalidOrder(
            f"params.clientOrderId: {key!r} has a {TRY_MARK}, which numbers further tries of an "
            "order; Binance takes none either"
        )
    return key


def _time_in_force(given: Params, *, is_market: bool) -> TimeInForce | None:
    name = given.get("timeInForce")
    chosen = None
    if name is not None:
        chosen = _TIMES_IN_FORCE.get(str(name).upper())
        if chosen is None:
            raise InvalidOrder(f"params.timeInForce: {name!r} is not carried; GTC, IOC or PO")
    if _flag(given, "postOnly") or _flag(given, "post_only"):
        if chosen == "IOC":
            raise InvalidOrder("params.timeInForce: IOC contradicts postOnly")
        chosen = "GTX"
    if is_market and chosen is not None:
        raise InvalidOrder("params.timeInForce: a market order has none and can not be postOnly")
    return chosen


def named(id_: object, params: Params) -> tuple[str, dict[str, Any]]:
    """Which order a call such as `cancel_order(id, symbol, params)` means, and what else it says.

    The client order id counts before the id, as in ccxt.
    """
    rest = dict(params)
    clients = [rest.pop(name, None) for name in (*CLIENT_IDS, "origClientOrderId")]
    chosen = next((name for name in clients if name is not None), id_)
    return "" if chosen is None else str(chosen), rest
