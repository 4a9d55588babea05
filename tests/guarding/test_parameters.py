"""ccxt's arguments read into an order: nothing dropped, nothing larger than what was asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import pytest
from guard_rigs import BTC
from hypothesis import given
from hypothesis import strategies as st

from holdfast import InvalidOrder
from holdfast.guarding.parameters import Rounding, named, order_of
from holdfast.guarding.replies import answer_of, snapshot_of
from holdfast.model import Order, OrderReport, OrderSnapshot, OrderStatus

D = Decimal
STEP, TICK = D("0.001"), D("0.1")


def _exchange() -> Any:
    """One market, as the venue's exchangeInfo describes it."""
    exchange = ccxt.binanceusdm()
    market = exchange.parse_market(
        {
            "symbol": "BTCUSDT",
            "contractType": "PERPETUAL",
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "orderTypes": ["LIMIT", "MARKET"],
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": str(TICK)},
                {"filterType": "LOT_SIZE", "stepSize": str(STEP)},
            ],
        }
    )
    exchange.set_markets([market])
    return exchange


EXCHANGE = _exchange()
ROUNDING = Rounding(
    lambda amount: str(EXCHANGE.amount_to_precision(BTC, amount)),
    lambda price: str(EXCHANGE.price_to_precision(BTC, price)),
)


def order(
    type_: Any = "limit",
    side: Any = "buy",
    amount: Any = "0.010",
    price: Any = 50_000,
    **params: Any,
) -> Order:
    return order_of(BTC, type_, side, amount, price, params, rounding=ROUNDING)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0.1 + 0.2, "0.3"),  # 0.30000000000000004
        ("0.0019999", "0.001"),
        (D("1.9999"), "1.999"),
        (3, "3"),
        (1e2, "100"),
        ("1e-3", "0.001"),
    ],
)
def test_amounts_are_rounded_down(amount: Any, expected: str) -> None:
    assert order(amount=amount).quantity == D(expected)


@pytest.mark.parametrize(("price", "expected"), [(50_000.07, "50000.1"), ("50000.04", "50000")])
def test_prices_are_rounded_to_the_nearest_tick(price: Any, expected: str) -> None:
    assert order(price=price).price == D(expected)


@pytest.mark.parametrize(
    "amount",
    [
        *(0, -1, D("-0"), None, True, [1], {}, float("nan"), float("inf")),
        *("much", "", "1,5", "0.0009", "1e999999999", "1e-999999999", D("1e30")),
    ],
)
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises((InvalidOrder, ccxt.InvalidOrder)) as refused:
        order(amount=amount)
    assert "amount" in str(refused.value)


@pytest.mark.parametrize("price", [None, 0, -5, "0.01", float("nan"), "cheap"])
def test_what_is_no_price_is_refused(price: Any) -> None:
    with pytest.raises((InvalidOrder, ccxt.InvalidOrder)) as refused:
        order(price=price)
    assert "price" in str(refused.value)


def test_a_market_order_has_no_price() -> None:
    assert order("market", price=50_000).price is None
    assert order("MARKET", "BUY", price="nonsense").side == "buy"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"reduceOnly": True}, {"reduce_only": True}),
        ({"reduceOnly": "true"}, {"reduce_only": True}),
        ({"reduceOnly": "false"}, {}),
        ({"reduceOnly": None, "test": False, "positionSide": None}, {}),
        ({"postOnly": True}, {"time_in_force": "GTX"}),
        ({"timeInForce": "PO"}, {"time_in_force": "GTX"}),
        ({"timeInForce": "gtc", "postOnly": True}, {"time_in_force": "GTX"}),
        ({"timeInForce": "IOC"}, {"time_in_force": "IOC"}),
        ({"positionSide": "SHORT"}, {"position_side": "SHORT"}),
        ({"hedged": True}, {"position_side": "LONG"}),
        # ccxt: a reducing order of hedge mode closes the other side.
        ({"hedged": True, "reduceOnly": True}, {"position_side": "SHORT"}),
        ({"positionSide": "SHORT", "reduceOnly": True}, {"position_side": "SHORT"}),
        ({"clientOrderId": "a"}, {"key": "a"}),
        ({"newClientOrderId": 17}, {"key": "17"}),
        ({"clientOrderId": "a", "newClientOrderId": "a"}, {"key": "a"}),
    ],
)
def test_parameters_are_carried(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert order(**params) == Order(BTC, "buy", "0.010", "50000", **expected)


STOP_AT_49 = {"trigger": "stop", "trigger_price": "49000"}
TAKE_AT_49 = {"trigger": "take_profit", "trigger_price": "49000"}


@pytest.mark.parametrize(
    ("type_", "params", "price", "expected"),
    [
        ("market", {"stopLossPrice": 49_000}, None, STOP_AT_49),
        ("market", {"triggerPrice": "49000.04"}, None, STOP_AT_49),
        ("market", {"stopPrice": D(49_000)}, None, STOP_AT_49),
        ("stop_market", {"stopPrice": 49_000}, None, STOP_AT_49),
        ("STOP", {"stopPrice": 49_000}, "48999", STOP_AT_49),
        ("limit", {"stopLossPrice": 49_000}, "48999", STOP_AT_49),
        ("market", {"takeProfitPrice": 49_000}, None, TAKE_AT_49),
        ("take_profit_market", {"stopPrice": 49_000}, None, TAKE_AT_49),
        ("TAKE_PROFIT", {"triggerPrice": 49_000}, "48999", TAKE_AT_49),
        (
            "market",
            {"stopPrice": 49_000, "workingType": "MARK_PRICE"},
            None,
            {**STOP_AT_49, "trigger_by": "mark"},
        ),
        ("market", {"stopPrice": 49_000, "workingType": "CONTRACT_PRICE"}, None, STOP_AT_49),
    ],
)
def test_conditional_orders_are_carried(
    type_: str, params: dict[str, Any], price: str | None, expected: dict[str, Any]
) -> None:
    meant = order(type_, "sell", price=price, reduceOnly=True, **params)
    assert meant == Order(BTC, "sell", "0.010", price, reduce_only=True, **expected)


@pytest.mark.parametrize(
    ("named", "arguments"),
    [
        ("type", {"type_": "trailing_stop_market"}),
        ("triggerPrice", {"type_": "stop_market"}),
        ("stopLossPrice", {"type_": "take_profit", "stopLossPrice": 1}),
        ("takeProfitPrice", {"type_": "stop", "takeProfitPrice": 1}),
        ("two orders", {"stopLossPrice": 1, "takeProfitPrice": 2}),
        ("stopPrice", {"stopPrice": 0}),
        ("stopPrice", {"stopPrice": "soon"}),
        ("type", {"type_": None}),
        ("side", {"side": "hold"}),
        ("test", {"test": True}),
        ("workingType", {"workingType": "MARK_PRICE"}),
        ("workingType", {"workingType": "INDEX", "stopPrice": 1}),
        ("trailing", {"trailingPercent": 1}),
        ("an order of its own", {"stopLoss": {"triggerPrice": 1}}),
        ("closePosition", {"closePosition": True}),
        ("reduceOnly", {"reduceOnly": "yes"}),
        ("reduceOnly", {"reduceOnly": True, "positionSide": "LONG"}),
        ("positionSide", {"positionSide": "UP"}),
        ("positionSide", {"positionSide": "SHORT", "hedged": True}),
        ("timeInForce", {"timeInForce": "FOK"}),
        ("timeInForce", {"timeInForce": "IOC", "postOnly": True}),
        ("timeInForce", {"timeInForce": "GTC", "type_": "market"}),
        ("timeInForce", {"postOnly": True, "type_": "market"}),
        ("clientOrderId", {"clientOrderId": ""}),
        ("clientOrderId", {"clientOrderId": "x" * 101}),
        ("further tries", {"clientOrderId": "signal-1~2"}),
        ("both name", {"clientOrderId": "a", "newClientOrderId": "b"}),
        ("leverage", {"leverage": 5}),
        ("did you mean 'reduceOnly'", {"reduceonly": True}),
        ("priceMatch", {"priceMatch": "QUEUE"}),
    ],
)
def test_what_is_not_carried_is_named(named: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidOrder) as refused:
        order(**arguments)
    assert named in str(refused.value)


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "true",
            "MARK_PRICE",
            "CONTRACT_PRICE",
            "GTC",
            "IOC",
            "PO",
            "LONG",
            "SHORT",
            "both",
            "limit",
        ]
    ),
)
KNOWN = (
    *("clientOrderId", "newClientOrderId", "reduceOnly", "positionSide", "timeInForce"),
    *("postOnly", "hedged", "test", "stopPrice", "triggerPrice", "leverage", "recvWindow"),
    *("type", "cost", "workingType"),
)
NAMES = st.one_of(st.sampled_from(KNOWN), st.text(min_size=1, max_size=12))


@given(
    type_=st.sampled_from(["market", "limit"]),
    side=st.sampled_from(["buy", "sell"]),
    params=st.dictionaries(NAMES, VALUES, max_size=4),
)
def test_no_parameter_is_dropped(type_: str, side: str, params: dict[str, Any]) -> None:
    """Whatever changes nothing in the order says that it wants nothing."""
    try:
        meant = order(type_, side, **params)
    except InvalidOrder:
        return
    for name, value in params.items():
        less = {other: kept for other, kept in params.items() if other != name}
        try:
            without = order(type_, side, **less)
        except InvalidOrder:
            continue  # it decided between the others
        wants_nothing = value in (None, False, "false", "False", "FALSE")
        defaults = {"timeInForce": ("GTX", "PO"), "positionSide": ("BOTH", meant.position_side)}
        if name == "workingType" and value == "CONTRACT_PRICE":
            continue  # the default
        says_again = str(value).upper() in defaults.get(name, ()) or name in (
            "postOnly",
            "hedged",
            "clientOrderId",
            "newClientOrderId",
            "reduceOnly",
        )
        if without == meant and not wants_nothing and not says_again:
            pytest.fail(f"{name}={value!r} was dropped from {params}")


@given(
    amount=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str),
        st.integers(),
    )
)
def test_an_amount_never_grows(amount: Any) -> None:
    try:
        meant = order(amount=amount)
    except (InvalidOrder, ccxt.InvalidOrder):
        return
    exact = D(str(amount))
    assert 0 < meant.quantity <= exact
    assert exact - meant.quantity < STEP
    assert meant.quantity % STEP == 0


def test_the_client_order_id_names_an_order_before_the_number() -> None:
    assert named("17", {}) == ("17", {})
    assert named(17, {"x": 1}) == ("17", {"x": 1})
    assert named(None, {}) == ("", {})
    assert named("", {"origClientOrderId": "a"}) == ("a", {})
    assert named("17", {"clientOrderId": "a", "trigger": True}) == ("a", {"trigger": True})


FILLED = OrderSnapshot(BTC, "hf-a-1", "17", "buy", D("0.01"), None, D("0.01"), OrderStatus.FILLED)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_has_ccxts_word(status: OrderStatus) -> None:
    words = {"open": "open", "partially_filled": "open", "filled": "closed"}
    answer = answer_of(
        OrderSnapshot(BTC, "c", "17", "buy", D("0.01"), D(5), D(0), status), market_id="BTCUSDT"
    )
    parsed = EXCHANGE.parse_order(answer, EXCHANGE.market(BTC))
    assert parsed["status"] == words.get(status.value, status.value)


@pytest.mark.parametrize("price", [None, D(48_999)])
@pytest.mark.parametrize("trigger", ["stop", "take_profit"])
def test_a_conditional_order_is_told_as_the_algo_endpoint_tells_it(
    trigger: Any, price: D | None
) -> None:
    snapshot = OrderSnapshot(
        symbol=BTC,
        client_order_id="hf-a-1",
        venue_order_id="3358",
        side="sell",
        quantity=D("0.002"),
        price=price,
        filled=D(0),
        status=OrderStatus.OPEN,
        reduce_only=True,
        trigger=trigger,
        trigger_price=D(49_000),
        updated_ms=1763458576201,
    )
    # USDⓈ-M "New Algo Order", as ccxt's own source quotes the answer.
    algo = {
        "algoId": 3358,
        "clientAlgoId": "hf-a-1",
        "algoType": "CONDITIONAL",
        "orderType": trigger.upper() + ("" if price else "_MARKET"),
        "symbol": "BTCUSDT",
        "side": "SELL",
        "positionSide": "BOTH",
        "timeInForce": "GTC",
        "quantity": "0.002",
        "algoStatus": "NEW",
        "triggerPrice": "49000.00",
        "price": "48999.00" if price else "0.00",
        "workingType": "CONTRACT_PRICE",
        "reduceOnly": True,
        "createTime": 1763458576201,
        "updateTime": 1763458576201,
    }
    market = EXCHANGE.market(BTC)
    answer = answer_of(snapshot, market_id="BTCUSDT", time_in_force="GTC")
    ours, theirs = EXCHANGE.parse_order(answer, market), EXCHANGE.parse_order(algo, market)
    # What has not begun to fill: ccxt has no word for it there, we say so.
    differing = {name for name in theirs if ours[name] != theirs[name]}
    assert differing <= {"info", "filled", "remaining", "cost", "timeInForce"}, ours
    assert (ours["filled"], ours["remaining"]) == (0, 0.002)


def test_an_unknown_average_is_not_made_up() -> None:
    answer = answer_of(FILLED, market_id="BTCUSDT")
    parsed = EXCHANGE.parse_order(answer, EXCHANGE.market(BTC))
    assert (parsed["status"], parsed["filled"], parsed["average"]) == ("closed", 0.01, None)


def test_an_order_whose_number_is_forgotten_has_its_client_id() -> None:
    report = OrderReport("hf-a-1", BTC, "buy", D("0.01"), "accepted")
    snapshot = snapshot_of(Order(BTC, "buy", "0.01"), report)
    assert snapshot.venue_order_id == "hf-a-1"
    assert answer_of(snapshot, market_id="BTCUSDT")["orderId"] == "hf-a-1"
