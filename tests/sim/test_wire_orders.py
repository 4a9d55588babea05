"""Orders over the wire: filters, batches, questions, hedge mode, the dead-man switch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import anyio
import pytest
from wire_rig import BTC, HandClock, Wire, next_event, wire_test

from holdfast.transports.sim.order_api import FORGET_ALL_MS, FORGET_UNFILLED_MS
from holdfast.transports.sim.parameters import WEEK_MS

ORDER, BATCH = "/fapi/v1/order", "/fapi/v1/batchOrders"


@wire_test(f"POST {ORDER}", f"GET {ORDER}", "GET /fapi/v1/openOrder", f"DELETE {ORDER}")
async def test_an_order_is_placed_asked_after_and_cancelled(wire: Wire) -> None:
    placed = await wire.place(newClientOrderId="mine", newOrderRespType="RESULT")
    assert (placed["status"], placed["executedQty"], placed["origType"]) == ("NEW", "0", "LIMIT")
    for name in ({"origClientOrderId": "mine"}, {"orderId": placed["orderId"]}):
        assert await wire.signed("GET", ORDER, symbol=BTC, **name) == placed
        assert await wire.signed("GET", "/fapi/v1/openOrder", symbol=BTC, **name) == placed
    cancelled = await wire.signed("DELETE", ORDER, symbol=BTC, origClientOrderId="mine")
    assert cancelled["status"] == "CANCELED"
    for method, code in (("DELETE", -2011), ("GET", -1102)):
        name = {} if method == "GET" else {"origClientOrderId": "mine"}
        assert await wire.refused(method, ORDER, symbol=BTC, **name) == code
    assert await wire.refused("GET", ORDER, symbol=BTC, origClientOrderId="other") == -2013
    gone = await wire.refused("GET", "/fapi/v1/openOrder", symbol=BTC, origClientOrderId="mine")
    assert gone == -2013


@wire_test(f"PUT {ORDER}")
async def test_an_order_is_amended(wire: Wire) -> None:
    placed = await wire.place(newClientOrderId="mine")
    key = await wire.listen_key()
    terms = {"symbol": BTC, "side": "BUY", "origClientOrderId": "mine"}
    async with wire.connect(f"/ws/{key}") as stream:
        changed = {"quantity": "0.020", "price": "48000", "modifyId": 7}
        amended = await wire.signed("PUT", ORDER, **terms, **changed)
        event = (await next_event(stream, "ORDER_TRADE_UPDATE"))["o"]
    assert amended.pop("modifyId") == 7
    assert (amended["orderId"], amended["status"]) == (placed["orderId"], "NEW")
    assert (amended["origQty"], amended["price"]) == ("0.020", "48000")
    assert await wire.signed("GET", ORDER, symbol=BTC, origClientOrderId="mine") == amended
    assert [event[name] for name in "cxXqp"] == ["mine", "AMENDMENT", "NEW", "0.020", "48000"]
    for changed, code in (
        ({"quantity": "0.020", "price": "48000"}, -5027),
        ({"quantity": "0.001", "price": "48000"}, -5029),
        ({"quantity": "0.020", "price": "48000.05"}, -1111),
        ({"quantity": "900", "price": "48000"}, -2019),
        ({"quantity": "0.020"}, -1102),
        ({"price": "48000"}, -1102),
        ({"quantity": "0.020", "price": "47000", "side": "HOLD"}, -1117),
        ({"quantity": "0.020", "price": "47000", "side": "SELL"}, -2013),
        ({"quantity": "0.020", "price": "47000", "priceMatch": "QUEUE"}, -5037),
        ({"quantity": "0.020", "price": "47000", "origClientOrderId": "no"}, -2013),
    ):
        assert await wire.refused("PUT", ORDER, **{**terms, **changed}) == code
    assert (await wire.signed("GET", ORDER, symbol=BTC, origClientOrderId="mine")) == amended


@wire_test(f"POST {ORDER}")
async def test_what_became_of_a_market_order_is_in_the_answer_if_asked_for(wire: Wire) -> None:
    filled = await wire.trade("BUY", "0.010")
    assert (filled["status"], filled["executedQty"]) == ("FILLED", "0.010")
    assert (filled["avgPrice"], filled["cumQuote"]) == ("50000.00000000", "500.000")
    acknowledged = await wire.trade("BUY", "0.010", newOrderRespType=None)
    assert (acknowledged["status"], acknowledged["executedQty"]) == ("NEW", "0")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"price": "49000.05"}, -1111),
        ({"price": "0"}, -4001),
        ({"quantity": "0.0105"}, -1111),
        ({"quantity": "0"}, -4003),
        ({"quantity": "1000001"}, -4005),
        ({"quantity": "0.001"}, -4164),
        ({"quantity": "900"}, -2019),
        ({"quantity": "1000", "price": "51000"}, -2019),
        ({"reduceOnly": True}, -2022),
        ({"timeInForce": "GTX", "price": "51000"}, -5022),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newClientOrderId": "a b"}, -4015),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"type": "FANCY"}, -1116),
        ({"side": "HOLD"}, -1117),
        ({"timeInForce": "GTT"}, -1115),
        ({"closePosition": True}, -4136),
        ({"priceMatch": "QUEUE"}, -5037),
        ({"selfTradePreventionMode": "SOME"}, -5039),
        ({"newOrderRespType": "FULL"}, -1136),
        ({"recvWindow": "60001"}, -1131),
    ],
    ids=str,
)
def test_a_filter_has_binances_code(changed: dict[str, Any], code: int) -> None:
    @wire_test()
    async def case(wire: Wire) -> None:
        assert await wire.not_placed(**changed) == code
        assert wire.venue.order_log == []

    case()


@wire_test(f"POST {ORDER}")
async def test_a_fill_or_kill_that_can_not_be_filled_leaves_nothing(wire: Wire) -> None:
    await wire.control(
        "quote",
        {"symbol": BTC, "bid": "49999", "ask": "50000", "ask_quantity": "1", "bid_quantity": "1"},
    )
    assert await wire.not_placed(price="50000", quantity="2", timeInForce="FOK") == -5021
    taken = await wire.place(
        price="50000", quantity="2", timeInForce="IOC", newOrderRespType="RESULT"
    )
    assert (taken["status"], taken["executedQty"]) == ("EXPIRED", "1")


@wire_test(f"POST {ORDER}")
async def test_a_client_id_is_unique_among_open_orders_only(wire: Wire) -> None:
    await wire.place(newClientOrderId="same")
    assert await wire.not_placed(newClientOrderId="same") == -4116
    await wire.signed("DELETE", ORDER, symbol=BTC, origClientOrderId="same")
    await wire.place(newClientOrderId="same")
    assert wire.venue.executions("same") == 2


@wire_test("POST /fapi/v1/order/test")
async def test_a_test_order_is_judged_and_not_placed(wire: Wire) -> None:
    path = "/fapi/v1/order/test"
    assert await wire.signed("POST", path, **wire.order()) == {}
    assert await wire.refused("POST", path, **wire.order(price="49000.05")) == -1111
    assert wire.venue.order_log == []


@wire_test(f"POST {BATCH}", f"DELETE {BATCH}")
async def test_a_batch_is_answered_one_by_one(wire: Wire) -> None:
    orders = [
        wire.order(newClientOrderId="b1"),
        wire.order(newClientOrderId="b2", quantity="0.0001"),
        wire.order(newClientOrderId="b3", price="48000", reduceOnly="false"),
    ]
    first, second, third = await wire.signed("POST", BATCH, batchOrders=json.dumps(orders))
    assert (first["clientOrderId"], third["price"]) == ("b1", "48000")
    assert second["code"] == -4004
    numbers = [{**orders[0], "newClientOrderId": "n", "quantity": 0.01, "price": 47000}]
    (taken,) = await wire.signed("POST", BATCH, batchOrders=json.dumps(numbers))
    assert (taken["origQty"], taken["price"]) == ("0.01", "47000")
    names = json.dumps(["b1", "nobody", "b3"])
    gone = await wire.signed("DELETE", BATCH, symbol=BTC, origClientOrderIdList=names)
    assert [row.get("status", row.get("code")) for row in gone] == ["CANCELED", -2011, "CANCELED"]
    by_number = json.dumps([taken["orderId"]])
    (gone,) = await wire.signed("DELETE", BATCH, symbol=BTC, orderIdList=by_number)
    assert gone["status"] == "CANCELED"
    for batch, code in (
        (json.dumps([orders[0]] * 6), -4082),
        ("[]", -4082),
        ("nonsense", -1102),
        ('[{"symbol":', -1102),
        ("[1]", -1102),
    ):
        assert await wire.refused("POST", BATCH, batchOrders=batch) == code
    too_many = json.dumps(list(range(1, 12)))
    assert await wire.refused("DELETE", BATCH, symbol=BTC, orderIdList=too_many) == -4083
    assert await wire.refused("DELETE", BATCH, symbol=BTC) == -1102


@wire_test("GET /fapi/v1/openOrders", "DELETE /fapi/v1/allOpenOrders")
async def test_all_open_orders_are_listed_and_cancelled(wire: Wire) -> None:
    await wire.control("price", {"symbol": "ETHUSDT", "price": "3000"})
    one = await wire.place(newOrderRespType="RESULT")
    await wire.place(symbol="ETHUSDT", price="2900", quantity="1")
    assert len(await wire.signed("GET", "/fapi/v1/openOrders")) == 2
    assert await wire.signed("GET", "/fapi/v1/openOrders", symbol=BTC) == [one]
    answer = await wire.signed("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    assert answer["code"] == 200
    assert [order.market.name for order in wire.venue.open_orders()] == ["ETHUSDT"]


@wire_test("GET /fapi/v1/allOrders", "GET /fapi/v1/userTrades", clock=HandClock)
async def test_orders_and_trades_are_paged_and_forgotten(wire: Wire) -> None:
    async def orders(**params: Any) -> list[str]:
        rows = await wire.signed("GET", "/fapi/v1/allOrders", symbol=BTC, **params)
        return [row["clientOrderId"] for row in rows]

    async def trades(**params: Any) -> list[int]:
        rows = await wire.signed("GET", "/fapi/v1/userTrades", symbol=BTC, **params)
        return [row["id"] for row in rows]

    start = wire.venue.now_ms()
    for number in range(4):
        filled = await wire.trade("BUY", "0.010", newClientOrderId=f"f{number}")
        wire.clock.ms += 1000
    await wire.place(newClientOrderId="rests")
    await wire.place(newClientOrderId="gone")
    await wire.signed("DELETE", ORDER, symbol=BTC, origClientOrderId="gone")
    assert await orders(limit=2) == ["rests", "gone"]
    first = filled["orderId"] - 3
    assert await orders(orderId=first + 1, limit=2) == ["f1", "f2"]
    assert await orders(startTime=start, endTime=start + 1500) == ["f0", "f1"]
    ids = await trades()
    assert ids == sorted(ids)
    assert len(ids) == 4
    assert await trades(fromId=ids[1], limit=2) == ids[1:3]
    assert await trades(startTime=start + 1000, limit=1) == ids[1:2]
    assert await trades(orderId=filled["orderId"]) == ids[3:]
    paths = ("/fapi/v1/allOrders", "/fapi/v1/userTrades")
    for path in paths:
        long = {"startTime": start, "endTime": start + WEEK_MS + 1}
        assert await wire.refused("GET", path, symbol=BTC, **long) == -4165
        assert await wire.refused("GET", path, symbol=BTC, startTime=2, endTime=1) == -1023
        assert await wire.refused("GET", path, symbol=BTC, limit=1001) == -1130
    both = {"fromId": ids[0], "startTime": start}
    assert await wire.refused("GET", paths[1], symbol=BTC, **both) == -1128
    wire.clock.ms += FORGET_UNFILLED_MS
    assert await orders(orderId=first) == ["f0", "f1", "f2", "f3", "rests"]
    assert await wire.refused("GET", ORDER, symbol=BTC, origClientOrderId="gone") == -2013
    wire.clock.ms += WEEK_MS
    assert await trades() == []
    assert await trades(fromId=ids[0]) == ids
    wire.clock.ms += FORGET_ALL_MS
    assert await orders(orderId=first) == ["rests"]


@wire_test("POST /fapi/v1/countdownCancelAll")
async def test_a_countdown_cancels_what_rests_and_nothing_that_waits(wire: Wire) -> None:
    path = "/fapi/v1/countdownCancelAll"
    await wire.place()
    await wire.signed(
        "POST",
        "/fapi/v1/algoOrder",
        algoType="CONDITIONAL",
        symbol=BTC,
        side="SELL",
        type="STOP_MARKET",
        quantity="0.010",
        triggerPrice="40000",
    )
    answer = await wire.signed("POST", path, symbol=BTC, countdownTime=60_000)
    assert answer == {"symbol": BTC, "countdownTime": "60000"}
    await wire.signed("POST", path, symbol=BTC, countdownTime=0)
    await anyio.sleep(0.05)
    assert len(wire.venue.open_orders()) == 1
    await wire.signed("POST", path, symbol=BTC, countdownTime=30)
    while wire.venue.open_orders():  # noqa: ASYNC110  the venue's own clock strikes
        await anyio.sleep(0.01)
    assert len(wire.venue.open_conditional()) == 1
    assert await wire.refused("POST", path, symbol=BTC, countdownTime=-1) == -1102
    assert await wire.refused("POST", path, symbol="NOPE", countdownTime=1) == -1121


@wire_test(
    "GET /fapi/v1/positionSide/dual", "POST /fapi/v1/positionSide/dual", "GET /fapi/v3/positionRisk"
)
async def test_hedge_mode_holds_both_sides_apart(wire: Wire) -> None:
    dual = "/fapi/v1/positionSide/dual"
    assert await wire.signed("GET", dual) == {"dualSidePosition": False}
    assert await wire.refused("POST", dual, dualSidePosition=False) == -4059
    await wire.place(newClientOrderId="open")
    assert await wire.refused("POST", dual, dualSidePosition=True) == -4067
    await wire.signed("DELETE", ORDER, symbol=BTC, origClientOrderId="open")
    await wire.trade("BUY", "0.010")
    assert await wire.refused("POST", dual, dualSidePosition=True) == -4068
    await wire.trade("SELL", "0.010", reduceOnly=True)
    assert (await wire.signed("POST", dual, dualSidePosition=True))["code"] == 200
    assert await wire.not_placed() == -4061
    assert await wire.not_placed(positionSide="LONG", reduceOnly=True) == -1106
    await wire.trade("BUY", "0.030", positionSide="LONG")
    await wire.trade("SELL", "0.020", positionSide="SHORT")
    closing = wire.market_order("SELL", "0.040", positionSide="LONG")
    assert await wire.refused("POST", ORDER, **closing) == -2022
    await wire.trade("SELL", "0.010", positionSide="LONG")
    held = await wire.signed("GET", "/fapi/v3/positionRisk")
    amounts = {row["positionSide"]: Decimal(row["positionAmt"]) for row in held}
    assert amounts == {"LONG": Decimal("0.020"), "SHORT": Decimal("-0.020")}
