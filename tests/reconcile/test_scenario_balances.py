"""Scenarios: cash that our fills have made, and cash that they have not."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scenario_rig import CASH, DRIFT, ENTRY, FOREIGN, RESTING, Stage, scenario, wire_scenario

from holdfast.cash_flows import that_explain
from holdfast.errors import LinkDown
from holdfast.ledger import Ledger
from holdfast.model import Balance, CashFlow, Fill, Order
from holdfast.reconcile import ALLOWED_RULES, Kind, Snapshot, View, differences
from holdfast.records import Balanced, Filled
from holdfast.transports.sim import SimulatedVenue
from holdfast.transports.sim.records import OrderTicket
from holdfast.transports.sim.wire import rounded
from holdfast.wallets import SHOWN_STEP, Wallets, settled_in, watched

RATE = Decimal("0.0001")


def transfer(stage: Stage, amount: str) -> None:
    stage.venue.transfer(Decimal(amount))


def expected(stage: Stage) -> Decimal:
    return stage.engine._core.ledger.wallets.expected["USDT"]


@wire_scenario
async def test_profits_and_fees_of_our_own_fills_are_no_drift(stage: Stage) -> None:
    """Counted as they happened, missed in an outage, and told out of turn, all the same."""
    async with stage.healthy_life() as engine:
        for side, price in (("buy", "64001.3"), ("sell", "63333.7"), ("sell", "64999.9")):
            stage.price(price)
            order: Any = side
            await engine.submit(Order(BTC, order, "0.013"))
        await engine.submit(Order(BTC, "buy", "0.017", price="60000.1"))
        async with stage.outage():
            stage.price("60000.1", "0.003")
            stage.price("59999.7")
        told = ["adopt missed_fill"] * 2 + ["adopt missing_order"]
        await stage.settled(told=told, position="0.004")
        assert CASH not in await stage.told()
        assert stage.venue.wallet_balance != 100_000


@wire_scenario
async def test_a_funding_fee_is_told_and_counted_on_from(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            stage.venue.on_funding(BTC, RATE)
        await stage.settled(told=[], position="0.010")
        (told,) = [
            event.body["actions"]
            for event in stage.world.events()
            if event.type == "execution.positions_reconciled" and event.body["actions"]
        ]
        paid = Decimal("0.010") * 64000 * RATE
        here = Decimal(100_000) - Decimal("0.010") * 64000 * Decimal("0.0005")
        assert told == [
            f"adopt: cash_flow USDT: here {here:.8f}, at the venue {here - paid:.8f} "
            "(FUNDING_FEE -0.064)"
        ]
        async with stage.outage():
            pass
        await stage.settled(told=[], position="0.010")
        assert CASH not in await stage.told(), "it is told once"


@scenario
async def test_a_funding_fee_is_explained_though_nobody_tells_whose_the_trades_beside_it_were(
    stage: Stage,
) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        client: Any = engine._core.exchange
        history, fills, unheard = client.cash_flows, client.fills, list[str]()

        async def cash_flows(**between: Any) -> Any:
            client.fills = no_answer
            return await history(**between)

        async def no_answer(symbol: str, **_: Any) -> Any:
            client.fills = fills
            unheard.append(symbol)
            raise LinkDown("no answer")

        client.cash_flows = cash_flows
        async with stage.outage():
            stage.venue.on_funding(BTC, RATE)
        await stage.settled(told=[], position="0.010")
        assert unheard == [BTC]
        (told,) = [
            event.body["actions"]
            for event in stage.world.events()
            if event.type == "execution.positions_reconciled" and event.body["actions"]
        ]
        assert ["FUNDING_FEE -0.064" in action for action in told] == [True]


@pytest.mark.parametrize("amount", ["250.5", "-250.5", "0.00000003"])
@pytest.mark.parametrize("rule", ["adopt", "hold"])
@wire_scenario
async def test_a_transfer(stage: Stage, amount: str, rule: Any) -> None:
    async with stage.healthy_life(rules={"cash_flow": rule}) as engine:
        async with stage.outage():
            transfer(stage, amount)
        if rule == "hold":
            await stage.held("cash_flow")
            assert expected(stage) == 100_000
            await engine.adopt(by="owner")
        await stage.settled(told=[], cash=rule == "adopt")
        assert expected(stage) == 100_000 + Decimal(amount)


@scenario
async def test_a_balance_that_is_held_may_come_back_by_itself(stage: Stage) -> None:
    async with stage.healthy_life(rules={"cash_flow": "hold"}):
        async with stage.outage():
            transfer(stage, "-250")
        await stage.held("cash_flow")
        transfer(stage, "250")
        await stage.settled(told=[])


@wire_scenario
async def test_a_round_trip_of_another_hand_leaves_its_cost(stage: Stage) -> None:
    """The position is what it was: only the cash tells that somebody traded here."""
    async with stage.healthy_life():
        async with stage.outage():
            stage.order("buy", "0.010", client_order_id=f"{FOREIGN}1")
            stage.price("63000")
            stage.order("sell", "0.010", client_order_id=f"{FOREIGN}2")
        await stage.settled(told=[])
        assert CASH in await stage.told()


def venue_hides(stage: Stage, *kinds: str) -> None:
    """Its history does not tell of these."""
    client: Any = stage.engine._core.exchange
    told = client.cash_flows

    async def some(**asked: Any) -> list[CashFlow]:
        return [flow for flow in await told(**asked) if flow.kind not in kinds]

    client.cash_flows = some


@pytest.mark.parametrize("rule", ["adopt", "hold"])
@wire_scenario
async def test_only_what_the_history_does_not_explain_is_drift(stage: Stage, rule: Any) -> None:
    """Funding, and a trade of another hand, and the rest; whatever the rule for that is."""
    async with stage.healthy_life(rules={"balance_drift": rule}) as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        venue_hides(stage, "TRANSFER")
        async with stage.outage():
            before = stage.venue.wallet_balance
            stage.venue.on_funding(BTC, RATE)
            stage.order("buy", "0.010", client_order_id=f"{FOREIGN}1")
            stage.price("63000")
            stage.order("sell", "0.010", client_order_id=f"{FOREIGN}2")
            explained = stage.venue.wallet_balance - before
            transfer(stage, "-7.5")
        if rule == "hold":
            await stage.held("balance_drift")
            assert expected(stage) == before + explained
            (told,) = engine.status()["differences"]
            assert told.endswith(
                f"here {before + explained:f}, at the venue {before + explained - Decimal('7.5'):f}"
            )
            await engine.adopt(by="owner")
        await stage.settled(told=None, position="0.010")
        told = await stage.told()
        assert told == [CASH] if rule == "hold" else told == [CASH, DRIFT]


@pytest.mark.parametrize("failure", [LinkDown("no answer"), ValueError("too long ago")])
@scenario
async def test_a_history_that_can_not_be_read_explains_nothing(
    stage: Stage, failure: Exception
) -> None:
    """It keeps nothing shut; what is not explained is told as that."""
    async with stage.healthy_life() as engine:
        client: Any = engine._core.exchange

        async def fails(**_: Any) -> Any:
            raise failure

        client.cash_flows = fails
        async with stage.outage():
            transfer(stage, "-7.5")
        await stage.settled(told=None)
        assert await stage.told() == [DRIFT]


@pytest.mark.parametrize("rule", ["adopt", "hold"])
@pytest.mark.parametrize("in_the_answer", [True, False])
@scenario
async def test_cash_that_moves_while_the_venue_is_asked(
    stage: Stage, in_the_answer: bool, rule: Any
) -> None:
    """It may be in the answer or not; when it was told alone does not say which."""

    def moves_once(client: Any, amount: str) -> None:
        ask = client.balances

        async def moving(**asked: Any) -> Any:
            client.balances = ask
            if in_the_answer:
                await anyio.sleep(0.02)
                transfer(stage, amount)
            answer = await ask(**asked)
            if not in_the_answer:
                transfer(stage, amount)
            await anyio.sleep(0.02)
            return answer

        client.balances = moving

    async with stage.life(rules={"balance_drift": rule}) as engine:
        moves_once(engine._core.exchange, "10")
        await stage.healthy()
        async with stage.outage():
            transfer(stage, "200")
            moves_once(engine._core.exchange, "3000")
        await stage.settled(told=None, cash=False)
        assert set(await stage.told()) == {CASH}
        async with stage.outage():
            transfer(stage, "40000")
        await stage.settled(told=[])
        assert expected(stage) == stage.venue.wallet_balance == 143_210


@pytest.mark.parametrize("funded", [False, True])
@pytest.mark.parametrize("kill", [False, True])
@scenario
async def test_cash_is_counted_across_lives(stage: Stage, funded: bool, kill: bool) -> None:
    async with stage.healthy_life(kill=kill) as engine:
        await engine.submit(ENTRY)
        await engine.submit(RESTING)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        stage.begin()
    stage.price("60000")
    if funded:
        stage.venue.on_funding(BTC, RATE)
    async with stage.life():
        await stage.settled(told=["adopt missed_fill", "adopt missing_order"], position="0.020")
        assert (CASH in await stage.told()) is funded


@scenario
async def test_a_repair_that_realizes_a_profit_is_no_drift_of_its_own(stage: Stage) -> None:
    """What it closed was another hand's, but its own fill tells what the venue booked."""
    async with stage.healthy_life(rules={"orphan_position": "flatten"}):
        async with stage.outage():
            stage.order("buy", "0.030", client_order_id=f"{FOREIGN}1")
            stage.price("66000")
        await stage.settled(told=["flatten orphan_position"], sent=["sell 0.030"])
        assert (await stage.told()).count(CASH) == 1, "of the other hand's fee"
        assert expected(stage) == stage.venue.wallet_balance > 100_000


# --- the arithmetic ----------------------------------------------------------------------


@given(st.integers(0, 1 << 32))
def test_the_venues_rounding_is_all_that_is_tolerated(seed: int) -> None:
    """A venue that books exactly and shows eight decimals, as the wire has it."""
    chance = random.Random(seed)
    venue = SimulatedVenue(
        time_ns=lambda: 1_700_000_000_000_000_000, taker_fee=Decimal("0.000363637")
    )
    venue.on_price(BTC, Decimal("64000.1"))
    wallets = Wallets()
    wallets.believe({"USDT": Decimal(rounded(venue.wallet_balance))})
    for number in range(40):
        venue.on_price(BTC, Decimal(chance.randint(600_000, 660_000)) / 10)
        venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id=str(number),
                side=chance.choice(("buy", "sell")),
                quantity=Decimal(chance.randint(2, 30)) / 1000,
            )
        )
        shown = venue.trades(BTC)[-1].fill()
        assert shown.realized is not None
        realized, fee = Decimal(rounded(shown.realized)), Decimal(rounded(shown.fee))
        wallets.count(replace(shown, realized=realized, fee=fee))
        said = Decimal(rounded(venue.wallet_balance))
        assert abs(said - wallets.expected["USDT"]) <= wallets.tolerance
    assert wallets.tolerance == 41 * SHOWN_STEP


def flow(amount: str, time_ms: int) -> CashFlow:
    return CashFlow("USDT", Decimal(amount), "TRANSFER", time_ms)


FLOWS = [flow("1", 10), flow("20", 90), flow("300", 100), flow("4000", 110), flow("50000", 110)]


@pytest.mark.parametrize(
    ("drift", "chosen", "since_ms"),
    [
        ("54321", 5, 110),
        ("321", 3, 100),  # asked at 95
        ("21", 2, 95),
        ("4321", 4, 110),  # of one moment, and in the next answer the other one is left
        ("54320", 4, 110),  # the first was part of what was believed before
        ("320", 2, 100),
        ("1", 5, 110),  # nothing fits, for the second one is no doubt in both
        ("7", 5, 110),
    ],
)
def test_which_flows_are_in_an_answer_their_sum_tells(
    drift: str, chosen: int, since_ms: int
) -> None:
    told = that_explain(
        FLOWS[2:] + FLOWS[:2],
        Decimal(drift),
        tolerance=SHOWN_STEP,
        known_until_ms=10,
        sure_until_ms=95,
    )
    assert (len(told[0]), told[1]) == (chosen, since_ms)
    if chosen < 5:
        assert sum(f.amount for f in told[0]) == Decimal(drift)


def view(wallets: Wallets) -> View:
    return View(
        symbols=frozenset({BTC}),
        prefix="hf-alpha-",
        positions={},
        orders={},
        in_flight=frozenset(),
        fill_ids=frozenset(),
        known_foreign=frozenset(),
        consented=True,
        wallets=wallets.expected,
        wallet_tolerance=wallets.tolerance,
    )


def fill(**changes: Any) -> Fill:
    base = Fill(
        symbol=BTC,
        trade_id=1,
        client_order_id="hf-alpha-0-0-1",
        venue_order_id="7",
        side="buy",
        quantity=Decimal(1),
        price=Decimal(64000),
        fee=Decimal("0.5"),
        fee_asset="USDT",
        time_ms=0,
        realized=Decimal(3),
    )
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("off", "told"), [("0", 0), ("1e-8", 0), ("-1e-8", 0), ("2e-8", 1), ("-2e-8", 1)]
)
def test_a_drift_begins_above_the_tolerance(off: str, told: int) -> None:
    wallets = Wallets({"USDT": Decimal(100)})
    at_venue = {"USDT": Decimal(100) + Decimal(off)}
    found = differences(view(wallets), Snapshot((), (), (), {}, at_venue))
    assert [d.kind for d in found] == [Kind.BALANCE_DRIFT] * told
    assert [d.drift for d in found] == [Decimal(off)] * told


def test_what_was_not_observed_or_is_not_known_is_not_compared() -> None:
    known = Wallets({"USDT": Decimal(100)})
    assert differences(view(known), Snapshot((), (), ())) == []
    assert differences(view(Wallets()), Snapshot((), (), (), {}, {"USDT": Decimal(5)})) == []


def test_an_asset_that_is_not_listed_is_empty() -> None:
    other = Balance("BTC", Decimal(1), Decimal(1), Decimal(0))
    assert watched([other], [BTC]) == {"USDT": 0}
    assert settled_in("BTC/USD:BTC") == "BTC"
    assert settled_in("BTC/USDT") == "USDT"


def test_a_fill_whose_profit_nobody_told_makes_the_balance_unknown() -> None:
    """Until the venue is believed anew; `None` is not zero."""
    wallets = Wallets({"USDT": Decimal(100)})
    wallets.count(fill(realized=None))
    assert wallets.expected == {}
    wallets.believe({"USDT": Decimal(90)})
    wallets.count(fill())
    assert wallets.expected == {"USDT": Decimal("92.5")}


def test_a_fee_in_another_asset_is_not_taken_from_this_one() -> None:
    wallets = Wallets({"USDT": Decimal(100)})
    wallets.count(fill(fee_asset="BNB"))
    assert wallets.expected == {"USDT": Decimal(103)}


def test_a_fill_counts_once_and_a_checkpoint_remembers() -> None:
    before, after = Ledger(keys_kept=100), Ledger(keys_kept=100)
    before.apply(Balanced({"USDT": Decimal(100)}, "test", since_ms=7))
    before.apply(Balanced({"USDT": Decimal(100)}, "a venue whose clock went back", since_ms=5))
    for _ in range(2):
        before.apply(Filled(fill()))
    after.restore(before.checkpoint())
    for ledger in (before, after):
        assert ledger.wallets.expected == {"USDT": Decimal("102.5")}
        assert ledger.wallets.fills == 1
        assert ledger.wallets.since_ms == {"USDT": 7}


def test_a_drift_can_not_be_acted_on_but_by_taking_it_for_true() -> None:
    assert ALLOWED_RULES[Kind.BALANCE_DRIFT] == {"adopt", "hold"}
