"""Scenarios: a repair that is interrupted, or whose own outcome is in doubt."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from scenario_rig import CASH, ENTRY, Stage, orders, scenario, wire_scenario

from holdfast.ledger import Ledger
from holdfast.model import Fill, Order, OrderSnapshot, OrderStatus, Position
from holdfast.outcomes import report_of
from holdfast.records import Filled, Intended, Resolved
from holdfast.states.table import State
from holdfast.transports.sim import Fault

NO_ANSWER = Fault(executes=False, reply="error", status=503)
FLATTEN = {"orphan_position": "flatten", "side_flip": "flatten"}


def by_hand(stage: Stage, quantity: str, **more: Any) -> None:
    stage.order(
        "buy" if Decimal(quantity) > 0 else "sell",
        quantity.lstrip("-"),
        client_order_id="web_1",
        **more,
    )


def closed_by_us(stage: Stage) -> Decimal:
    """What our orders have traded, signed."""
    ours = [o for o in stage.venue.order_log if not o.foreign]
    return sum((o.filled if o.side == "buy" else -o.filled for o in ours), Decimal(0))


@pytest.mark.parametrize("held", ["0.030", "-0.030"])
@wire_scenario
async def test_an_orphan_is_flattened_once(stage: Stage, held: str) -> None:
    async with stage.healthy_life(rules=FLATTEN):
        async with stage.outage():
            by_hand(stage, held)
        side = "sell" if Decimal(held) > 0 else "buy"
        await stage.settled(told=["flatten orphan_position"], sent=[f"{side} 0.030"])
        assert closed_by_us(stage) == -Decimal(held)


@pytest.mark.parametrize("records", range(1, 11))
@pytest.mark.parametrize("before", ["0", "0.010"])
@pytest.mark.parametrize("stream", ["told", "lost"])
@scenario
async def test_killed_while_it_flattens(
    stage: Stage, records: int, before: str, stream: str
) -> None:
    """At each record that is written on the way. What the repair has done is accounted for by
    the next life, and done once."""
    async with stage.healthy_life(kill=True, rules=FLATTEN) as engine:
        if Decimal(before):
            await engine.submit(Order(BTC, "buy", before))
            await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            by_hand(stage, f"{Decimal('-0.030') - Decimal(before):f}")
            stage.kill_at_record(records)
            if stream == "lost":
                stage.venue.faults.arm_stream("drop", count=100)
        await anyio.sleep(5)
    stage.venue.faults.clear()
    async with stage.life(rules=FLATTEN):
        await stage.settled(told=None, sent=None)
        assert closed_by_us(stage) == Decimal("0.030") + Decimal(before)
        assert sum(o.filled > 0 for o in stage.venue.order_log if not o.foreign) <= 2


@pytest.mark.parametrize("stream", ["told", "lost"])
@wire_scenario
async def test_the_line_is_lost_while_it_flattens(stage: Stage, stream: str) -> None:
    async with stage.healthy_life(rules=FLATTEN, orders=orders(timeout_seconds=0.5)) as engine:
        faults = stage.venue.faults
        async with stage.outage():
            by_hand(stage, "0.030")
            faults.arm("place", Fault(delay_after_seconds=0.3))
            if stream == "lost":
                faults.arm_stream("drop", count=100)
        await stage.until(lambda: closed_by_us(stage), "the venue has the repair")
        engine.fault("test", "another link is lost")
        await stage.until(lambda: engine.state.value != "degraded", "it is on its way up")
        faults.clear()
        await stage.settled(told=None, sent=["sell 0.030"])
        assert closed_by_us(stage) == Decimal("-0.030")


@pytest.mark.parametrize("hedged", [False, True])
@pytest.mark.parametrize("reply", ["lost_request", "lost_reply"])
@wire_scenario
async def test_no_second_repair_while_the_outcome_of_one_is_unknown(
    stage: Stage, reply: str, hedged: bool
) -> None:
    """The queries fail for long, so nobody knows; then the one repair is settled."""
    stage.venue.hedge_mode = hedged
    side: Any = "LONG" if hedged else "BOTH"
    given = orders(timeout_seconds=0.2, recv_window_ms=300, absence_margin_ms=100,
                   deadline_seconds=0.5)  # fmt: skip
    async with stage.healthy_life(rules=FLATTEN, orders=given) as engine:
        faults = stage.venue.faults
        async with stage.outage():
            by_hand(stage, "0.030", position_side=side)
            faults.arm("place", getattr(Fault, reply)())
            faults.arm_stream("drop", count=100)
        faults.decide = lambda kind, _now: NO_ANSWER if kind == "query" and stage.sent else None
        await stage.until(lambda: engine._core.ledger.unknown, "the repair is in doubt")
        (doubted,) = engine._core.ledger.unknown
        await stage.until(lambda: doubted.asked_in_vain > 4, "it is asked for in vain")
        assert len(stage.sent) == 1
        assert engine.status()["differences"] == [], "it waits for the venue, for no person"
        assert not stage.openings
        faults.clear()
        sent = ["sell 0.030"] if reply == "lost_reply" else ["sell 0.030"] * 2
        await stage.settled(told=None, sent=sent)
        assert closed_by_us(stage) == Decimal("-0.030")


@scenario
async def test_nothing_is_adopted_while_an_order_of_the_symbol_is_in_doubt(stage: Stage) -> None:
    """The position may contain its fill, which would be counted once more when it is known."""
    rules = {"size_mismatch": "adopt", "orphan_position": "adopt"}
    async with stage.healthy_life(rules=rules, orders=orders(timeout_seconds=0.3)) as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        faults = stage.venue.faults
        stage.begin()
        async with anyio.create_task_group() as group:
            client: Any = engine._core.exchange
            listed = client.fills

            async def none_yet(symbol: str, **_: Any) -> list[Any]:
                return []

            client.fills = none_yet
            async with stage.outage():
                by_hand(stage, "0.005")
            await anyio.sleep(0.05)  # the comparison has begun
            faults.arm("place", Fault.lost_reply())
            faults.arm("query", NO_ANSWER, count=20)
            faults.arm_stream("drop", count=100)
            exit_ = Order(BTC, "sell", "0.004", reduce_only=True, deadline_seconds=60)
            group.start_soon(engine.submit, exit_)
            await anyio.sleep(5)
            assert engine.position(BTC) == Decimal("0.010")
            client.fills = listed
            faults.clear()
        await stage.settled(
            told=["adopt missed_fill", "adopt size_mismatch"],
            position="0.011",
            sent=["sell 0.004"],
        )


@scenario
async def test_a_refused_repair_waits_for_a_person(stage: Stage) -> None:
    async with stage.healthy_life(rules=FLATTEN) as engine:
        async with stage.outage():
            by_hand(stage, "0.030")
            stage.venue.faults.arm("place", Fault.refusal(-1111, "precision"), count=1000)
        await stage.held("orphan_position")
        assert engine.position(BTC) == 0
        stage.sent.clear()
        stage.venue.faults.clear()
        await stage.settled(told=["flatten orphan_position"], sent=["sell 0.030"])


@pytest.mark.parametrize("filled", ["0", "0.010"])
@pytest.mark.parametrize("case", ["orphan", "short", "flipped", "hedged"])
@pytest.mark.parametrize("stream", ["told", "lost"])
@scenario
async def test_a_repair_in_a_thin_book_is_told_and_gone_on_with(
    stage: Stage, case: str, filled: str, stream: str
) -> None:
    """A market order expires with what nobody sells or buys: that rest is no position of ours,
    and is seen, told and closed as what it is."""
    sign = -1 if case == "short" else 1
    side: Any = "LONG" if case == "hedged" else "BOTH"
    stage.venue.hedge_mode = case == "hedged"
    alerts: list[str] = []
    async with stage.healthy_life(rules=FLATTEN) as engine:
        engine.on_alert(lambda alert: alerts.append(f"{alert.name} {alert.raised}"))
        if case == "flipped":
            await engine.submit(Order(BTC, "sell", "0.010"))
            await stage.until(lambda: engine.positions(), "the fill is told")
        async with stage.outage():
            by_hand(
                stage,
                "0.040" if case == "flipped" else f"{sign * Decimal('0.030'):f}",
                position_side=side,
            )
            quantity = Decimal(filled)
            stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), quantity, quantity)
            if stream == "lost":
                stage.venue.faults.arm_stream("drop", count=100)
        await stage.until(lambda: engine.status()["differences"], "the rest is told")
        (told,) = engine.status()["differences"]
        kind = "side_flip" if case == "flipped" else "orphan_position"
        assert told.startswith(kind)
        if Decimal(filled):
            assert "0.020 after a repair cut short" in told
        assert engine.state is not State.HEALTHY
        await anyio.sleep(15)
        assert alerts == ["person_needed True", "repair_cut_short True"]
        assert len([o for o in stage.sent if o.reduce_only or case == "hedged"]) == 1
        assert not stage.openings
        stage.venue.faults.clear()
        stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), Decimal(5), Decimal(5))
        opposite = "buy" if sign < 0 else "sell"
        left = f"{Decimal('0.030') - Decimal(filled):f}"
        await stage.settled(told=None, sent=[f"{opposite} 0.030", f"{opposite} {left}"])
        repairs = [what for what in await stage.told() if what.startswith("flatten")]
        first = [f"flatten {kind}"] if Decimal(filled) else []
        if not Decimal(filled) and case == "flipped":
            assert repairs == ["flatten orphan_position"]
        else:
            assert repairs == [*first, "flatten orphan_position"]
        await anyio.sleep(10)
        assert "person_needed False" in alerts


@scenario
async def test_killed_after_a_repair_was_cut_short(stage: Stage) -> None:
    """The next life closes the rest: what it left is in no book."""
    async with stage.healthy_life(kill=True, rules=FLATTEN) as engine:
        async with stage.outage():
            by_hand(stage, "0.030")
            stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), *[Decimal("0.010")] * 2)
        await stage.until(lambda: engine.status()["differences"], "the rest is told")
    stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), Decimal(5), Decimal(5))
    stage.begin()
    async with stage.life(rules=FLATTEN):
        await stage.settled(told=["flatten orphan_position"], sent=["sell 0.020"])


@pytest.mark.parametrize("reply", ["lost_request", "lost_reply"])
@scenario
async def test_the_owner_adopts_while_the_outcome_of_a_repair_is_unknown(
    stage: Stage, reply: str
) -> None:
    """What the repair was to add to the book is in what the owner has taken for true."""
    given = orders(timeout_seconds=0.2, deadline_seconds=0.5)
    async with stage.healthy_life(rules=FLATTEN, orders=given) as engine:
        async with stage.outage():
            by_hand(stage, "0.030")
            stage.venue.faults.arm("place", getattr(Fault, reply)())
            stage.venue.faults.arm_stream("drop", count=100)
        stage.venue.faults.decide = lambda kind, _now: NO_ANSWER if kind == "query" else None
        await stage.until(lambda: engine._core.ledger.unknown, "the repair is in doubt")
        await engine.adopt(by="owner")
        stage.venue.faults.clear()
        left = "0" if reply == "lost_reply" else "0.030"
        await stage.settled(told=None, position=left, sent=["sell 0.030"])


@pytest.mark.parametrize("stream", ["told", "lost"])
@scenario
async def test_an_orphan_that_is_flattened_at_the_first_start(stage: Stage, stream: str) -> None:
    """Nothing was consented to yet, so no fill is counted but those of our own orders."""
    by_hand(stage, "0.030")
    if stream == "lost":
        stage.venue.faults.arm_stream("drop", count=100)
    async with stage.life(rules=FLATTEN):
        told = ["flatten orphan_position"]
        if stream == "lost":
            told.append("adopt missed_fill")
        await stage.settled(told=told, sent=["sell 0.030"], cash=False)
        assert CASH not in await stage.told(), "cash is counted from the first comparison on"


def test_what_a_repair_adopts_is_part_of_a_checkpoint() -> None:
    order = Order(BTC, "sell", "0.030", reduce_only=True)
    before, after = Ledger(keys_kept=100), Ledger(keys_kept=100)
    adopts = Position(BTC, Decimal("0.030"))
    before.apply(Intended("hf-alpha-1-0-1", order, 0, 0, 2000, adopts=adopts))
    after.restore(before.checkpoint())
    after.begin()
    (intent,) = after.unknown
    assert after.book.position(BTC) == 0
    found = OrderSnapshot(
        BTC, intent.client_order_id, "1", "sell", Decimal("0.030"), None, Decimal(0),
        OrderStatus.OPEN, reduce_only=True,
    )  # fmt: skip
    after.apply(Resolved(report_of(intent, "accepted", "found", snapshot=found), found))
    assert after.book.position(BTC) == Decimal("0.030")


@pytest.mark.parametrize("kept", ["lived", "checkpoint"])
def test_of_a_repair_a_person_has_told_of_only_what_it_closed_is_known(kept: str) -> None:
    """It has closed a third of what it was to close, before or after that was said."""
    ledger = Ledger(keys_kept=100)
    order, cid = Order(BTC, "sell", "0.030", reduce_only=True), "hf-alpha-1-0-1"
    ledger.apply(Intended(cid, order, 0, 0, 2000, adopts=Position(BTC, Decimal("0.030"))))
    for trade_id in (1, 2, 3):
        if trade_id == 2:
            report = report_of(ledger.intents[cid], "accepted", "owner says so")
            ledger.apply(Resolved(report))
        if kept == "checkpoint":
            body, ledger = ledger.checkpoint(), Ledger(keys_kept=100)
            ledger.restore(body)
        ledger.apply(Filled(sold("0.005" if trade_id < 3 else "0.000001", trade_id, cid)))
        if trade_id > 1:
            assert ledger.book.position(BTC) == 0, "the rest is as unknown as it was"
    ledger.apply(Filled(sold("0.030", 4, cid)))
    assert ledger.book.position(BTC) == Decimal("-0.010001"), "more than it was to close"


def sold(quantity: str, trade_id: int, cid: str) -> Fill:
    return Fill(
        BTC, trade_id, cid, "1", "sell", Decimal(quantity), Decimal(64_000), Decimal(0), "USDT", 0
    )


@scenario
async def test_a_repair_the_owner_says_was_accepted_has_closed_what_its_fills_have(
    stage: Stage,
) -> None:
    """The venue forgets the repair itself; of its fills it tells. What is left is seen."""
    given = orders(timeout_seconds=0.2, deadline_seconds=0.5)
    async with stage.healthy_life(rules=FLATTEN, orders=given) as engine:
        async with stage.outage():
            by_hand(stage, "0.030")
            stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), *[Decimal("0.010")] * 2)
            stage.venue.faults.arm("place", Fault.lost_reply())
            stage.venue.faults.arm_stream("drop", count=100)
        stage.venue.faults.decide = lambda kind, _now: NO_ANSWER if kind == "query" else None
        await stage.until(lambda: engine._core.ledger.unknown, "the repair is in doubt")
        await anyio.sleep(5)
        (intent,) = engine._core.ledger.unknown
        await engine.resolve(intent.client_order_id, "accepted", reason="its page shows it")
        stage.venue.faults.clear()
        stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), Decimal(5), Decimal(5))
        await stage.settled(told=None, position="0", sent=["sell 0.030", "sell 0.020"])
