"""Conditional orders over the wire: the algoOrder endpoints and the orders made of them."""

from __future__ import annotations

from typing import Any

import pytest
from wire_rig import BTC, Wire, next_event, wire_test

from holdfast.transports.sim.conditional import MAX_WAITING

ALGO, OPEN, ALL = "/fapi/v1/algoOrder", "/fapi/v1/openAlgoOrders", "/fapi/v1/allAlgoOrders"


def stop(**changed: Any) -> dict[str, Any]:
    """A stop that closes a long position."""
    params = {
        "algoType": "CONDITIONAL",
        "symbol": BTC,
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "0.010",
        "triggerPrice": "49000",
        "clientAlgoId": "stop",
        **changed,
    }
    return {name: value for name, value in params.items() if value is not None}


@wire_test(f"POST {ALGO}", f"GET {ALGO}", f"DELETE {ALGO}", f"GET {OPEN}")
async def test_a_conditional_order_waits_until_it_is_cancelled(wire: Wire) -> None:
    placed = await wire.signed("POST", ALGO, **stop(reduceOnly=True))
    assert (placed["algoStatus"], placed["orderType"]) == ("NEW", "STOP_MARKET")
    assert (placed["triggerPrice"], placed["workingType"]) == ("49000", "CONTRACT_PRICE")
    found = await wire.signed("GET", ALGO, clientAlgoId="stop")
    assert found.items() >= placed.items()
    assert found["actualOrderId"] == ""
    assert await wire.signed("GET", ALGO, algoId=placed["algoId"]) == found
    assert await wire.signed("GET", OPEN) == [found]
    assert await wire.signed("GET", OPEN, symbol="ETHUSDT") == []
    assert await wire.signed("GET", "/fapi/v1/openOrders") == []
    gone = await wire.signed("DELETE", ALGO, clientAlgoId="stop")
    assert gone == {
        "algoId": placed["algoId"],
        "clientAlgoId": "stop",
        "code": "200",
        "msg": "success",
    }
    assert (await wire.signed("GET", ALGO, clientAlgoId="stop"))["algoStatus"] == "CANCELED"
    assert await wire.refused("DELETE", ALGO, clientAlgoId="stop") == -2011
    assert await wire.refused("GET", ALGO, clientAlgoId="never") == -2013
    assert await wire.refused("GET", ALGO) == -1102


@wire_test(f"POST {ALGO}")
async def test_an_observer_reads_the_log_of_those_that_wait_and_those_that_do_not(
    wire: Wire,
) -> None:
    await wire.trade("BUY", "0.010")
    for name, price in (("kept", "48000"), ("met", "49000")):
        await wire.signed("POST", ALGO, **stop(clientAlgoId=name, triggerPrice=price))
    await wire.control("price", {"symbol": BTC, "price": "48900"})
    _, log = await wire.ask("GET", "/control/conditional")
    made = wire.venue.order_log[-1].order_id
    seen = [(entry["clientAlgoId"], entry["status"], entry["orderId"]) for entry in log]
    assert seen == [("kept", "open", None), ("met", "filled", made)]
    assert (await wire.ask("GET", "/control/conditional", "after=1"))[1] == log[1:]


@wire_test(f"POST {ALGO}", f"GET {ALGO}", "GET /fapi/v1/order")
async def test_its_trigger_makes_an_order_of_it(wire: Wire) -> None:
    await wire.trade("BUY", "0.010")
    await wire.signed("POST", ALGO, **stop(reduceOnly=True))
    key = await wire.listen_key()
    async with wire.connect(f"/ws/{key}") as stream:
        await wire.control("price", {"symbol": BTC, "price": "48900"})
        steps = []
        while len(steps) < 5:
            event = await next_event(stream, "ALGO_UPDATE", "ORDER_TRADE_UPDATE")
            steps.append((event["e"][:4], event["o"]["X"]))
    assert steps == [
        ("ALGO", "TRIGGERING"),
        ("ORDE", "NEW"),
        ("ORDE", "FILLED"),
        ("ALGO", "TRIGGERED"),
        ("ALGO", "FINISHED"),
    ]
    found = await wire.signed("GET", ALGO, clientAlgoId="stop")
    assert (found["algoStatus"], found["actualPrice"]) == ("FINISHED", "48900.00000000")
    made = await wire.signed("GET", "/fapi/v1/order", symbol=BTC, orderId=found["actualOrderId"])
    assert (made["clientOrderId"], made["status"], made["reduceOnly"]) == ("stop", "FILLED", True)
    assert await wire.signed("GET", "/fapi/v3/positionRisk") == []


@wire_test(f"POST {ALGO}", "DELETE /fapi/v1/algoOpenOrders", f"GET {ALL}")
async def test_all_of_a_symbol_are_cancelled_and_stay_listed(wire: Wire) -> None:
    numbers = []
    for number in range(3):
        placed = await wire.signed("POST", ALGO, **stop(clientAlgoId=f"s{number}"))
        numbers.append(placed["algoId"])
    assert (await wire.signed("DELETE", "/fapi/v1/algoOpenOrders", symbol=BTC))["code"] == 200
    assert await wire.signed("GET", OPEN, symbol=BTC) == []
    rows = await wire.signed("GET", ALL, symbol=BTC, limit=2)
    assert [(row["algoId"], row["algoStatus"]) for row in rows] == [
        (number, "CANCELED") for number in numbers[1:]
    ]
    rows = await wire.signed("GET", ALL, symbol=BTC, algoId=numbers[0], limit=2)
    assert [row["clientAlgoId"] for row in rows] == ["s0", "s1"]
    assert await wire.refused("GET", ALL, symbol=BTC, limit=0) == -1130


@wire_test(f"POST {ALGO}")
async def test_every_kind_is_taken(wire: Wire) -> None:
    await wire.trade("BUY", "0.010")
    kinds = (
        {"type": "STOP", "price": "48990"},
        {"type": "TAKE_PROFIT", "triggerPrice": "51000", "price": "51010"},
        {"type": "TAKE_PROFIT_MARKET", "triggerPrice": "51000", "workingType": "MARK_PRICE"},
        {"type": "TRAILING_STOP_MARKET", "triggerPrice": None, "callbackRate": "1.5"},
        {"closePosition": True, "quantity": None},
        {"timeInForce": "GTE_GTC", "priceProtect": True},
    )
    for number, kind in enumerate(kinds):
        placed = await wire.signed("POST", ALGO, **stop(clientAlgoId=f"k{number}", **kind))
        assert placed["algoStatus"] == "NEW"
    assert placed["timeInForce"] == "GTE_GTC"
    await wire.trade("SELL", "0.010", reduceOnly=True)
    left = [row["clientAlgoId"] for row in await wire.signed("GET", OPEN)]
    assert left == ["k0", "k1", "k2", "k3"]  # the others end with their position


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"algoType": "VP"}, -1102),
        ({"algoType": None}, -1102),
        ({"type": "LIMIT"}, -1116),
        ({"side": "HOLD"}, -1117),
        ({"timeInForce": "GTT"}, -1115),
        ({"positionSide": "UP"}, -4060),
        ({"positionSide": "LONG"}, -4061),
        ({"workingType": "LAST"}, -4031),
        ({"triggerPrice": None}, -1102),
        ({"triggerPrice": "50000"}, -2021),
        ({"triggerPrice": "49000.05"}, -1111),
        ({"price": "49000"}, -1106),
        ({"type": "STOP"}, -1102),
        ({"quantity": None}, -1102),
        ({"quantity": "0"}, -4003),
        ({"callbackRate": "1"}, -1106),
        ({"type": "TRAILING_STOP_MARKET"}, -2021),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": None, "callbackRate": "11"}, -2007),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": None}, -1102),
        ({"closePosition": True}, -4137),
        ({"closePosition": True, "quantity": None}, -4509),
        ({"type": "STOP", "price": "49000", "closePosition": True, "quantity": None}, -4136),
        ({"clientAlgoId": "a b"}, -4015),
        ({"symbol": "NOPE"}, -1121),
    ],
    ids=str,
)
def test_a_refusal_has_binances_code(changed: dict[str, Any], code: int) -> None:
    @wire_test()
    async def case(wire: Wire) -> None:
        assert await wire.refused("POST", ALGO, **stop(**changed)) == code
        assert wire.venue.conditional_log == []

    case()


@wire_test(f"POST {ALGO}")
async def test_an_id_is_unique_among_those_that_wait_and_they_are_bounded(wire: Wire) -> None:
    await wire.signed("POST", ALGO, **stop())
    assert await wire.refused("POST", ALGO, **stop()) == -4116
    for number in range(MAX_WAITING - 1):
        await wire.signed("POST", ALGO, **stop(clientAlgoId=f"s{number}"))
    assert await wire.refused("POST", ALGO, **stop(clientAlgoId="more")) == -4045


@wire_test(f"POST {ALGO}")
async def test_what_can_not_be_placed_when_it_triggers_is_rejected_with_a_reason(
    wire: Wire,
) -> None:
    await wire.signed("POST", ALGO, **stop(reduceOnly=True))
    key = await wire.listen_key()
    async with wire.connect(f"/ws/{key}") as stream:
        await wire.control("price", {"symbol": BTC, "price": "48900"})
        while True:
            event = await next_event(stream, "ALGO_UPDATE")
            if event["o"]["X"] == "REJECTED":
                break
    assert event["o"]["rm"] == "Reduce Only reject"
    assert wire.venue.order_log == []
