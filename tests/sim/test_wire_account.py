"""The account over the wire: margin, leverage, liquidation, income, and money that adds up."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from wire_rig import BTC, Wire, next_event, wire_test

from holdfast.transports.sim.limits import REAL

V3_RISK = "/fapi/v3/positionRisk"


def total(values: Any) -> Decimal:
    return sum(map(Decimal, values), Decimal(0))


@wire_test(
    "GET /fapi/v2/account",
    "GET /fapi/v3/account",
    "GET /fapi/v2/balance",
    "GET /fapi/v3/balance",
    "GET /fapi/v2/positionRisk",
    f"GET {V3_RISK}",
)
async def test_margin_is_what_positions_and_orders_need(wire: Wire) -> None:
    await wire.trade("BUY", "1")
    await wire.place(price="48000", quantity="1")
    for version in ("v2", "v3"):
        account = await wire.signed("GET", f"/fapi/{version}/account")
        assert account["totalWalletBalance"] == "99975.00000000"
        assert account["totalPositionInitialMargin"] == "2500.00000000"
        assert account["totalOpenOrderInitialMargin"] == "2400.00000000"
        assert account["totalMaintMargin"] == "200.00000000"
        assert account["availableBalance"] == "95075.00000000"
        (asset,) = account["assets"]
        assert asset["walletBalance"] == account["totalWalletBalance"]
        (balance,) = await wire.signed("GET", f"/fapi/{version}/balance")
        assert balance["balance"] == "99975.00000000"
        assert balance["availableBalance"] == account["availableBalance"]
    await wire.control("price", {"symbol": BTC, "price": "50100"})
    (row,) = await wire.signed("GET", V3_RISK)
    assert (row["positionAmt"], row["entryPrice"]) == ("1", "50000.00000000")
    assert row["unRealizedProfit"] == "100.00000000"
    every = await wire.signed("GET", "/fapi/v2/positionRisk")
    assert len(every) == 3
    assert (every[0]["leverage"], every[0]["marginType"]) == ("20", "cross")
    (one,) = await wire.signed("GET", "/fapi/v2/positionRisk", symbol="ETHUSDT")
    assert one["positionAmt"] == "0"


@wire_test(
    "POST /fapi/v1/leverage",
    "GET /fapi/v1/leverageBracket",
    "GET /fapi/v1/symbolConfig",
)
async def test_leverage_is_bound_by_the_brackets(wire: Wire) -> None:
    (brackets,) = await wire.signed("GET", "/fapi/v1/leverageBracket", symbol=BTC)
    first, second, *_ = brackets["brackets"]
    assert (first["bracket"], first["initialLeverage"], first["notionalFloor"]) == (1, 125, 0)
    assert second["notionalFloor"] == first["notionalCap"]
    assert len(await wire.signed("GET", "/fapi/v1/leverageBracket")) == 3
    answer = await wire.signed("POST", "/fapi/v1/leverage", symbol=BTC, leverage=125)
    assert answer["leverage"] == 125
    assert Decimal(answer["maxNotionalValue"]) == Decimal(str(first["notionalCap"]))
    (config,) = await wire.signed("GET", "/fapi/v1/symbolConfig", symbol=BTC)
    assert (config["leverage"], config["marginType"]) == (125, "CROSSED")
    assert len(await wire.signed("GET", "/fapi/v1/symbolConfig")) == 3
    for wrong, code in (("126", -4028), ("0", -4028), ("x", -1102), (None, -1102)):
        params = {} if wrong is None else {"leverage": wrong}
        assert await wire.refused("POST", "/fapi/v1/leverage", symbol=BTC, **params) == code
    await wire.signed("POST", "/fapi/v1/leverage", symbol=BTC, leverage=20)
    await wire.trade("BUY", "7")
    assert await wire.refused("POST", "/fapi/v1/leverage", symbol=BTC, leverage=125) == -2027


@wire_test("POST /fapi/v1/marginType", "POST /fapi/v1/positionMargin")
async def test_an_isolated_position_has_a_wallet_of_its_own(wire: Wire) -> None:
    kind, margin = "/fapi/v1/marginType", "/fapi/v1/positionMargin"
    assert await wire.refused("POST", kind, symbol=BTC, marginType="CROSSED") == -4046
    assert await wire.refused("POST", kind, symbol=BTC, marginType="SHARED") == -1102
    await wire.place(newClientOrderId="open")
    assert await wire.refused("POST", kind, symbol=BTC, marginType="ISOLATED") == -4047
    await wire.signed("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    assert (await wire.signed("POST", kind, symbol=BTC, marginType="ISOLATED"))["code"] == 200
    assert await wire.refused("POST", margin, symbol=BTC, amount="100", type=1) == -4054
    await wire.trade("BUY", "1")
    assert await wire.refused("POST", kind, symbol=BTC, marginType="CROSSED") == -4048
    (row,) = await wire.signed("GET", V3_RISK)
    assert (row["isolated"], row["isolatedWallet"]) == (True, "2500.00000000")
    before = Decimal(row["liquidationPrice"])
    answer = await wire.signed("POST", margin, symbol=BTC, amount="1000", type=1)
    assert (answer["amount"], answer["type"]) == (1000.0, 1)
    (row,) = await wire.signed("GET", V3_RISK)
    assert row["isolatedWallet"] == "3500.00000000"
    assert Decimal(row["liquidationPrice"]) < before
    assert await wire.refused("POST", margin, symbol=BTC, amount="9999", type=2) == -4051
    assert await wire.refused("POST", margin, symbol=BTC, amount="1", type=3) == -1102
    assert await wire.refused("POST", "/fapi/v1/leverage", symbol=BTC, leverage=10) == -4161


@wire_test(
    "GET /sapi/v1/account/apiRestrictions",
    "GET /fapi/v1/accountConfig",
    "GET /fapi/v1/commissionRate",
    "GET /fapi/v1/apiTradingStatus",
    "GET /fapi/v1/rateLimit/order",
    "GET /fapi/v1/multiAssetsMargin",
    limits=REAL,
)
async def test_what_the_account_is_allowed(wire: Wire) -> None:
    config = await wire.signed("GET", "/fapi/v1/accountConfig")
    assert (config["canTrade"], config["dualSidePosition"]) == (True, False)
    rate = await wire.signed("GET", "/fapi/v1/commissionRate", symbol=BTC)
    assert (rate["makerCommissionRate"], rate["takerCommissionRate"]) == ("0.0002", "0.0005")
    assert await wire.refused("GET", "/fapi/v1/commissionRate") == -1102
    assert (await wire.signed("GET", "/fapi/v1/apiTradingStatus"))["indicators"] == {}
    limits = await wire.signed("GET", "/fapi/v1/rateLimit/order")
    assert [row["limit"] for row in limits] == [300, 1200]
    multi = "/fapi/v1/multiAssetsMargin"
    assert await wire.signed("GET", multi) == {"multiAssetsMargin": False}
    assert await wire.refused("POST", multi, multiAssetsMargin=False) == -4171
    assert await wire.refused("POST", multi, multiAssetsMargin=True) == -1020

    key = "/sapi/v1/account/apiRestrictions"
    told = await wire.signed("GET", key)
    assert (told["enableFutures"], told["enableWithdrawals"], told["ipRestrict"]) == (
        True,
        False,
        True,
    )
    allowed = {"withdrawals": True, "bound_to_addresses": False, "can_trade": False}
    await wire.control("permissions", allowed)
    told = await wire.signed("GET", key)
    assert (told["enableWithdrawals"], told["ipRestrict"]) == (True, False)
    assert not (await wire.signed("GET", "/fapi/v1/accountConfig"))["canTrade"]
    assert await wire.not_placed() == -4088
    stop = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "triggerPrice": "40000"}
    of = {"symbol": BTC, "side": "SELL", "quantity": "0.01"}
    assert await wire.refused("POST", "/fapi/v1/algoOrder", **stop, **of) == -4088

    await wire.control("permissions", {"futures": False})
    assert await wire.refused("GET", "/fapi/v1/accountConfig") == -2015
    assert await wire.not_placed() == -2015
    assert (await wire.signed("GET", key))["enableFutures"] is False
    assert (await wire.get("/fapi/v1/time"))["serverTime"]


@wire_test("GET /fapi/v1/income", "GET /fapi/v1/forceOrders", deposit="3000")
async def test_a_liquidation_closes_the_position_and_is_told_everywhere(wire: Wire) -> None:
    await wire.trade("BUY", "1")
    await wire.place(price="40000", quantity="0.01", newClientOrderId="rests")
    (row,) = await wire.signed("GET", V3_RISK)
    price = Decimal(row["liquidationPrice"])
    assert 0 < price < 50_000
    key = await wire.listen_key()
    async with wire.connect(f"/ws/{key}") as own, wire.connect("/ws/btcusdt@forceOrder") as public:
        await wire.control("price", {"symbol": BTC, "price": str(price.quantize(1) + 1)})
        assert wire.venue.positions()
        await wire.control("price", {"symbol": BTC, "price": str(price.quantize(1) - 1)})
        while True:
            event = (await next_event(own, "ORDER_TRADE_UPDATE"))["o"]
            if event["x"] == "CALCULATED":
                break
        forced = (await next_event(public, "forceOrder"))["o"]
    assert event["c"].startswith("autoclose-")
    assert (forced["s"], forced["S"], forced["q"]) == (BTC, "SELL", "1")
    assert await wire.signed("GET", V3_RISK) == []
    assert wire.venue.open_orders() == []
    (order,) = await wire.signed("GET", "/fapi/v1/forceOrders", symbol=BTC)
    assert (order["status"], order["executedQty"]) == ("FILLED", "1")
    assert await wire.signed("GET", "/fapi/v1/forceOrders", autoCloseType="ADL") == []
    income = await wire.signed("GET", "/fapi/v1/income")
    assert {row["incomeType"] for row in income} >= {"REALIZED_PNL", "COMMISSION"}
    assert 3000 + total(row["income"] for row in income) == wire.venue.wallet_balance


@wire_test("GET /fapi/v1/income")
async def test_funding_and_deleveraging_are_income(wire: Wire) -> None:
    await wire.trade("BUY", "1")
    await wire.control("funding", {"symbol": BTC, "rate": "0.0001"})
    (fee,) = await wire.signed("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert (fee["symbol"], Decimal(fee["income"])) == (BTC, Decimal(-5))
    await wire.control("deleverage", {"symbol": BTC, "quantity": "0.4"})
    (order,) = await wire.signed("GET", "/fapi/v1/forceOrders", autoCloseType="ADL")
    assert (order["clientOrderId"], order["executedQty"]) == ("adl_autoclose", "0.4")
    page = await wire.signed("GET", "/fapi/v1/income", limit=1, page=2)
    assert len(page) == 1
    key = await wire.listen_key()
    async with wire.connect(f"/ws/{key}") as own:
        await wire.control("transfer", {"amount": "-250.5"})
        account = (await next_event(own, "ACCOUNT_UPDATE"))["a"]
    assert (account["m"], Decimal(account["B"][0]["bc"])) == ("WITHDRAW", Decimal("-250.5"))
    (out,) = await wire.signed("GET", "/fapi/v1/income", incomeType="TRANSFER")
    assert (out["symbol"], Decimal(out["income"]), out["tradeId"]) == ("", Decimal("-250.5"), "")
    with pytest.raises(AssertionError, match="insufficient"):
        await wire.control("transfer", {"amount": "-100000"})
    assert await wire.refused("GET", "/fapi/v1/income", limit=1001) == -1130


@pytest.mark.parametrize("hedge_mode", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_cash_and_positions_are_the_sum_of_the_fills(seed: int, hedge_mode: bool) -> None:
    """Whatever was done, what the endpoints tell adds up to the last digit."""

    @wire_test("GET /fapi/v1/userTrades", "GET /fapi/v1/income", hedge_mode=hedge_mode)
    async def case(wire: Wire) -> None:
        chance = random.Random(seed)
        for step in range(60):
            if chance.random() < 0.4:
                price = str(chance.randint(495_000, 505_000) / 10)
                await wire.control("price", {"symbol": BTC, "price": price})
                continue
            side = chance.choice(("BUY", "SELL"))
            changed: dict[str, Any] = {"quantity": f"0.{chance.randint(10, 300):03d}"}
            if chance.random() < 0.5:
                changed |= {"type": "MARKET", "price": None, "timeInForce": None}
            else:
                changed["price"] = str(chance.randint(495_000, 505_000) / 10)
            if hedge_mode:
                changed["positionSide"] = chance.choice(("LONG", "SHORT"))
            params = wire.order(side=side, newClientOrderId=f"o{step}", **changed)
            await wire._signed("POST", "/fapi/v1/order", (), params)  # some are refused
        trades = await wire.signed("GET", "/fapi/v1/userTrades", symbol=BTC, limit=1000)
        assert trades
        risk = await wire.signed("GET", V3_RISK)
        for side in ("LONG", "SHORT") if hedge_mode else ("BOTH",):
            own = [trade for trade in trades if trade["positionSide"] == side]
            net = total(t["qty"] if t["buyer"] else f"-{t['qty']}" for t in own)
            assert net == total(r["positionAmt"] for r in risk if r["positionSide"] == side)
        income = await wire.signed("GET", "/fapi/v1/income", limit=1000)
        commission = total(r["income"] for r in income if r["incomeType"] == "COMMISSION")
        realized = total(r["income"] for r in income if r["incomeType"] == "REALIZED_PNL")
        assert commission == -total(trade["commission"] for trade in trades)
        assert realized == total(trade["realizedPnl"] for trade in trades)
        (balance,) = await wire.signed("GET", "/fapi/v3/balance")
        assert Decimal(balance["balance"]) == 100_000 + commission + realized
        # Cash and what is held are worth what was paid and got for them.
        spent = total(t["quoteQty"] if t["buyer"] else f"-{t['quoteQty']}" for t in trades)
        held = total(r["positionAmt"] for r in risk) * wire.venue.book(BTC).last
        equity = Decimal(balance["balance"]) + Decimal(balance["crossUnPnl"])
        assert equity == 100_000 - spent + commission + held

    case()
