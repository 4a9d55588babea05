"""Balances, leverage, margin mode and position mode: what is asked, and what answers mean."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import anyio
import pytest
from scripted_venue import Asked, Says, ScriptedVenue, with_client
from sim_rigs import BTC, WIRE_CLIENTS, Rig, http_rig

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown, Rejected
from holdfast.evidence import mismatch
from holdfast.model import Balance, KeyRights, SymbolSettings
from holdfast.ports import (
    AccountReader,
    AccountSetter,
    CashFlowReader,
    FillHistory,
    KeyReader,
)
from holdfast.secret import Secret
from holdfast.transports.usdm import account
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.signing import HmacSigner

D = Decimal
Make = Callable[[str], UsdmExecutionClient]


@pytest.fixture(params=WIRE_CLIENTS)
def make(request: pytest.FixtureRequest) -> Make:
    return WIRE_CLIENTS[request.param]


# --- at the simulated exchange -----------------------------------------------------------


def at_exchange(make: Make, case: Callable[[Rig, UsdmExecutionClient], object]) -> None:
    async def main() -> None:
        async with http_rig(make) as rig:
            assert isinstance(rig.client, UsdmExecutionClient)
            with anyio.fail_after(20):
                await case(rig, rig.client)  # type: ignore[misc]

    anyio.run(main)


def test_what_is_offered_is_found_by_its_port(make: Make) -> None:
    client = make("http://127.0.0.1:1")
    for port in (AccountReader, AccountSetter, CashFlowReader, FillHistory):
        assert isinstance(client, port)


def test_balances_are_exact_and_follow_the_position(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        (before,) = await client.balances(timeout_seconds=5)
        assert before.asset == "USDT"
        await rig.place("a", quantity="0.010")
        rig.price("51000")
        (after,) = await client.balances(timeout_seconds=5)
        assert before.wallet - after.wallet == D("0.25")  # the fee of 0.05 %
        assert (before.unrealized, after.unrealized) == (D(0), D(10))
        assert after.available < before.available

    at_exchange(make, case)


def test_cash_flows_come_by_the_page_and_only_of_the_time_that_is_asked_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "INCOME_PAGE", 2)
    monkeypatch.setattr(account, "MAX_INCOME_PAGES", 3)

    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        begin = await client.venue_time_ms(timeout_seconds=5)
        await rig.place("a", quantity="0.010")
        await anyio.sleep(0.002)
        rig.venue.on_funding(BTC, D("0.0001"))
        for amount in ("250", "-100"):
            rig.venue.transfer(D(amount))

        async def told(since_ms: int, until_ms: int) -> list[tuple[str, str, Decimal]]:
            flows = await client.cash_flows(since_ms=since_ms, until_ms=until_ms, timeout_seconds=5)
            return [(f.kind, f.symbol, f.amount) for f in flows]

        everything = [
            ("COMMISSION", BTC, D("-0.25")),
            ("FUNDING_FEE", BTC, D("-0.05")),
            ("TRANSFER", "", D(250)),
            ("TRANSFER", "", D(-100)),
        ]
        trade = rig.venue.trades(BTC)[-1]
        assert await told(begin, begin + 60_000) == everything
        assert await told(trade.time_ms, trade.time_ms) == everything[:1]
        assert await told(trade.time_ms + 1, begin + 60_000) == everything[1:]
        (fee,) = await client.cash_flows(
            since_ms=trade.time_ms, until_ms=trade.time_ms, timeout_seconds=5
        )
        assert (fee.asset, fee.trade_id, fee.time_ms) == ("USDT", trade.trade_id, trade.time_ms)
        for _ in range(2):
            rig.venue.transfer(D(1))
        with pytest.raises(LinkDown, match="pages"):
            await told(begin, begin + 60_000)
        with pytest.raises(ValueError, match="longer ago"):
            await told(begin - 91 * 86_400_000, begin)

    at_exchange(make, case)


def test_leverage_is_set_and_told(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        for _ in range(2):  # safe to repeat
            await client.set_leverage(BTC, 7, timeout_seconds=5)
        told = await client.symbol_settings(BTC, timeout_seconds=5)
        assert told == SymbolSettings(BTC, 7, "cross")
        with pytest.raises(Rejected, match="-4028"):
            await client.set_leverage(BTC, 1000, timeout_seconds=5)
        assert await client.symbol_settings(BTC, timeout_seconds=5) == told

    at_exchange(make, case)


def test_margin_mode_is_set_and_told_and_refused_while_anything_is_open(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        for _ in range(2):  # the second is refused with -4046, which means that it is so
            await client.set_margin_mode(BTC, "isolated", timeout_seconds=5)
        told = await client.symbol_settings(BTC, timeout_seconds=5)
        assert told.margin_mode == "isolated"
        await rig.place("rests", price="40000")
        with pytest.raises(Rejected, match="-4047"):
            await client.set_margin_mode(BTC, "cross", timeout_seconds=5)
        await client.cancel(BTC, "rests", timeout_seconds=5)
        await rig.place("fills", quantity="0.010")
        with pytest.raises(Rejected, match="-4048"):
            await client.set_margin_mode(BTC, "cross", timeout_seconds=5)
        assert (await client.symbol_settings(BTC, timeout_seconds=5)) == told
        await rig.place("closes", side="sell", quantity="0.010", reduce_only=True)
        await client.set_margin_mode(BTC, "cross", timeout_seconds=5)
        assert (await client.symbol_settings(BTC, timeout_seconds=5)).margin_mode == "cross"

    at_exchange(make, case)


def test_hedge_mode_is_set_and_told_and_refused_while_anything_is_open(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        for _ in range(2):  # -4059
            await client.set_hedge_mode(True, timeout_seconds=5)
        assert await client.hedge_mode(timeout_seconds=5)
        await rig.place("rests", price="40000", position_side="LONG")
        with pytest.raises(Rejected, match="-4067"):
            await client.set_hedge_mode(False, timeout_seconds=5)
        await client.cancel(BTC, "rests", timeout_seconds=5)
        await rig.place("fills", quantity="0.010", position_side="LONG")
        with pytest.raises(Rejected, match="-4068"):
            await client.set_hedge_mode(False, timeout_seconds=5)
        assert await client.hedge_mode(timeout_seconds=5)
        await rig.place("closes", side="sell", quantity="0.010", position_side="LONG")
        await client.set_hedge_mode(False, timeout_seconds=5)
        assert not await client.hedge_mode(timeout_seconds=5)

    at_exchange(make, case)


def test_leverage_is_refused_where_margin_or_position_do_not_allow_it(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        await client.set_leverage(BTC, 20, timeout_seconds=5)
        await rig.place("large", quantity="30")  # 1,500,000 of 100,000: needs 75,000 at 20
        with pytest.raises(Rejected, match="-2028") as raised:
            await client.set_leverage(BTC, 10, timeout_seconds=5)
        assert raised.value.code == -2028
        with pytest.raises(Rejected, match="-2027"):
            await client.set_leverage(BTC, 125, timeout_seconds=5)
        assert (await client.symbol_settings(BTC, timeout_seconds=5)).leverage == 20
        with pytest.raises(Rejected, match="-1121"):
            await client.set_leverage("NIX/USDT:USDT", 5, timeout_seconds=5)

    at_exchange(make, case)


def test_in_isolated_margin_leverage_is_not_lowered_under_a_position(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        await client.set_margin_mode(BTC, "isolated", timeout_seconds=5)
        await client.set_leverage(BTC, 20, timeout_seconds=5)
        await rig.place("fills", quantity="0.010")
        with pytest.raises(Rejected, match="-4161"):
            await client.set_leverage(BTC, 10, timeout_seconds=5)
        await client.set_leverage(BTC, 25, timeout_seconds=5)

    at_exchange(make, case)


@pytest.mark.parametrize("hedge", [False, True])
def test_the_position_mode_is_told(make: Make, hedge: bool) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        rig.venue.hedge_mode = hedge
        assert await client.hedge_mode(timeout_seconds=5) is hedge

    at_exchange(make, case)


def test_in_hedge_mode_long_and_short_stand_side_by_side(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        rig.venue.hedge_mode = True
        await rig.place("long", position_side="LONG", quantity="0.030")
        await rig.place("short", side="sell", position_side="SHORT", quantity="0.020")
        await rig.place("less", side="sell", position_side="LONG", quantity="0.010")
        held = await client.positions(timeout_seconds=5)
        assert {p.position_side: p.quantity for p in held} == {
            "LONG": D("0.020"),
            "SHORT": D("-0.020"),
        }
        sides = [
            f.position_side for f in await client.fills(BTC, after_trade_id=0, timeout_seconds=5)
        ]
        assert sides == ["LONG", "SHORT", "LONG"]

    at_exchange(make, case)


def test_an_exit_in_hedge_mode_is_recognised_when_it_is_asked_for(make: Make) -> None:
    async def case(rig: Rig, client: UsdmExecutionClient) -> None:
        rig.venue.hedge_mode = True
        await rig.place("long", position_side="LONG", quantity="0.030")
        exit_terms = {"side": "sell", "position_side": "LONG", "reduce_only": True}
        await rig.place("exit", price="51000", **exit_terms)
        meant = rig.request("exit", price="51000", **exit_terms).order
        found = await client.query(BTC, "exit", timeout_seconds=5)
        assert found.order is not None
        assert mismatch(meant, found.order) is None

    at_exchange(make, case)


# --- what Binance may answer -------------------------------------------------------------

MARGIN_TYPE, MODE, LEVERAGE = (
    "POST /fapi/v1/marginType",
    "POST /fapi/v1/positionSide/dual",
    "POST /fapi/v1/leverage",
)
DONE = Says({"code": 200, "msg": "success"})


def test_margin_and_position_mode_are_set_by_their_names(make: Make) -> None:
    venue = ScriptedVenue({MARGIN_TYPE: DONE, MODE: DONE})

    async def act(client: UsdmExecutionClient) -> None:
        await client.set_margin_mode(BTC, "isolated", timeout_seconds=5)
        await client.set_margin_mode(BTC, "cross", timeout_seconds=5)
        await client.set_hedge_mode(True, timeout_seconds=5)
        await client.set_hedge_mode(False, timeout_seconds=5)

    with_client(make, venue, act)
    margin, mode = "/fapi/v1/marginType", "/fapi/v1/positionSide/dual"
    assert venue.asked == [
        Asked("POST", margin, {"symbol": "BTCUSDT", "marginType": "ISOLATED"}),
        Asked("POST", margin, {"symbol": "BTCUSDT", "marginType": "CROSSED"}),
        Asked("POST", mode, {"dualSidePosition": "true"}),
        Asked("POST", mode, {"dualSidePosition": "false"}),
    ]


@pytest.mark.parametrize(
    ("says", "raised"),
    [
        (Says.refusal(-4046, "No need to change margin type."), None),
        (Says.refusal(-4059, "No need to change position side."), None),
        (Says.refusal(-4047, "Margin type cannot be changed: open orders"), Rejected),
        (Says.refusal(-4028, "Leverage 500 is not valid"), Rejected),
        (Says.refusal(-2015, "Invalid API-key", status=401), Rejected),
        (Says.refusal(-1021, "Timestamp outside of the recvWindow."), LinkDown),
        (Says.refusal(-5028, "Timestamp outside of the ME recvWindow."), LinkDown),
        (Says.refusal(-1007, "Timeout", status=408), LinkDown),
        (Says.refusal(-1003, "Too many requests.", status=429), LinkDown),
        (Says("<html>", status=502), LinkDown),
    ],
)
def test_only_what_was_refused_for_itself_is_rejected(
    make: Make, says: Says, raised: type[Exception] | None
) -> None:
    venue = ScriptedVenue({MARGIN_TYPE: says, MODE: says, LEVERAGE: says})

    async def act(client: UsdmExecutionClient) -> None:
        for call in (
            client.set_margin_mode(BTC, "cross", timeout_seconds=5),
            client.set_hedge_mode(True, timeout_seconds=5),
            client.set_leverage(BTC, 5, timeout_seconds=5),
        ):
            if raised is None:
                await call
            else:
                with pytest.raises(raised):
                    await call

    with_client(make, venue, act)


def test_settings_that_are_not_told_are_not_made_up(make: Make) -> None:
    venue = ScriptedVenue(
        {
            "GET /fapi/v1/symbolConfig": [
                Says([]),
                Says([{"symbol": "ETHUSDT", "marginType": "CROSSED", "leverage": 5}]),
                Says([{"symbol": "BTCUSDT", "marginType": "SOMETHING", "leverage": 5}]),
            ],
            "GET /fapi/v3/account": Says({"assets": [{"asset": "USDT"}]}),
            "GET /fapi/v1/positionSide/dual": Says({}),
        }
    )

    async def act(client: UsdmExecutionClient) -> None:
        for _ in range(3):
            with pytest.raises(LinkDown):
                await client.symbol_settings(BTC, timeout_seconds=5)
        with pytest.raises(LinkDown):
            await client.balances(timeout_seconds=5)
        with pytest.raises(LinkDown):
            await client.hedge_mode(timeout_seconds=5)

    with_client(make, venue, act)


def test_every_asset_is_told_in_its_own_digits(make: Make) -> None:
    row = {
        "asset": "BNB",
        "walletBalance": "0.00000001",
        "unrealizedProfit": "-1234567890.12345678",
        "availableBalance": "23.72469206",
    }
    venue = ScriptedVenue({"GET /fapi/v3/account": Says({"assets": [row, {**row, "asset": "X"}]})})

    async def act(client: UsdmExecutionClient) -> None:
        found = await client.balances(timeout_seconds=5)
        numbers = (D("0.00000001"), D("23.72469206"), D("-1234567890.12345678"))
        assert found == [Balance("BNB", *numbers), Balance("X", *numbers)]

    with_client(make, venue, act)


# --- what the key may do -------------------------------------------------------------------

ACCOUNT_CONFIG, KEY_PERMISSIONS = (
    "GET /fapi/v1/accountConfig",
    "GET /sapi/v1/account/apiRestrictions",
)


def allowed(**changed: bool) -> dict[str, Says]:
    told = {
        "canTrade": True,
        "enableFutures": True,
        "enableWithdrawals": False,
        "ipRestrict": True,
        **changed,
    }
    return {ACCOUNT_CONFIG: Says(told), KEY_PERMISSIONS: Says(told)}


@pytest.mark.parametrize(
    ("changed", "rights"),
    [
        ({}, KeyRights(True, False, True)),
        ({"canTrade": False}, KeyRights(False, False, True)),
        ({"enableFutures": False}, KeyRights(False, False, True)),
        ({"enableWithdrawals": True}, KeyRights(True, True, True)),
        ({"ipRestrict": False}, KeyRights(True, False, False)),
    ],
)
def test_rights_are_those_of_account_and_key_together(
    make: Make, changed: dict[str, bool], rights: KeyRights
) -> None:
    venue = ScriptedVenue(allowed(**changed))

    async def act(client: UsdmExecutionClient) -> None:
        assert isinstance(client, KeyReader)
        assert await client.key_rights(timeout_seconds=5) == rights

    with_client(make, venue, act)


def test_where_nobody_knows_of_the_key_the_account_is_asked_alone() -> None:
    """As on the testnet."""
    venue = ScriptedVenue(allowed(canTrade=False))

    def make(url: str) -> UsdmExecutionClient:
        return UsdmExecutionClient(
            HmacSigner(url, key=Secret("k"), secret=Secret("s")),
            stream_url=lambda key: url,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            venue="sim",
            tells_rights=False,
        )

    async def act(client: UsdmExecutionClient) -> None:
        assert await client.key_rights(timeout_seconds=5) == KeyRights(trade=False)

    with_client(make, venue, act)
    assert [asked.path for asked in venue.asked] == ["/fapi/v1/accountConfig"]


@pytest.mark.parametrize(
    ("refused", "says", "raised"),
    [
        (ACCOUNT_CONFIG, Says.refusal(-2015, "Invalid API-key", status=401), Rejected),
        (ACCOUNT_CONFIG, Says.refusal(-1022, "Signature"), Rejected),
        (ACCOUNT_CONFIG, Says.refusal(-1021, "Timestamp"), LinkDown),
        (ACCOUNT_CONFIG, Says("<html>", status=502), LinkDown),
        (ACCOUNT_CONFIG, Says({}), LinkDown),
        (KEY_PERMISSIONS, Says.refusal(-1003, "Too many requests.", status=429), LinkDown),
        (KEY_PERMISSIONS, Says({"ipRestrict": True}), LinkDown),
    ],
)
def test_rights_that_could_not_be_read_are_not_made_up(
    make: Make, refused: str, says: Says, raised: type[Exception]
) -> None:
    venue = ScriptedVenue({**allowed(), refused: says})

    async def act(client: UsdmExecutionClient) -> None:
        with pytest.raises(raised):
            await client.key_rights(timeout_seconds=5)

    with_client(make, venue, act)
