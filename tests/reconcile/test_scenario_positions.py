"""Scenarios: positions that are not the book's, one-way and hedged; restarts on the way back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from scenario_rig import ENTRY, FOREIGN, RESTING, Stage, scenario, wire_scenario

from holdfast.model import Order, Position, PositionSide

KINDS = {
    "larger": ("size_mismatch", "0.010", "0.030"),
    "smaller": ("size_mismatch", "0.030", "0.010"),
    "flat": ("phantom_position", "0.010", "0"),
    "new": ("orphan_position", "0", "0.030"),
    "flipped": ("side_flip", "0.010", "-0.030"),
}
"""Kind, what the book holds, what the venue holds; of the first side."""
MODES: dict[str, tuple[PositionSide, int]] = {
    "long": ("BOTH", 1),
    "short": ("BOTH", -1),
    "hedged-long": ("LONG", 1),
    "hedged-short": ("SHORT", -1),
}
SETTLED_BY = ("owner", "venue", "adopt", "flatten")
ALLOWED = {"flatten": ("orphan_position", "side_flip")}


def cases() -> list[Any]:
    return [
        pytest.param(what, mode, by, id=f"{what}-{mode}-{by}")
        for what, (kind, _, _) in KINDS.items()
        for mode in MODES
        for by in SETTLED_BY
        if kind in ALLOWED.get(by, (kind,)) and not (what == "flipped" and "hedged" in mode)
    ]


def move(stage: Stage, by: Decimal, side: PositionSide, number: int = 1) -> None:
    """Somebody trades at the venue by hand."""
    stage.order(
        "buy" if by > 0 else "sell",
        f"{abs(by):f}",
        client_order_id=f"{FOREIGN}{number}",
        position_side=side,
    )


@pytest.mark.parametrize(("what", "mode", "by"), cases())
@scenario
async def test_a_position_that_is_not_the_books(
    stage: Stage, what: str, mode: str, by: str
) -> None:
    side, sign = MODES[mode]
    kind, *quantities = KINDS[what]
    here, there = (sign * Decimal(q) for q in quantities)
    stage.venue.hedge_mode = side != "BOTH"
    rules = {kind: by} if by in ("adopt", "flatten") else {}
    async with stage.healthy_life(rules=rules) as engine:
        if here:
            opening = Order(
                BTC, "buy" if here > 0 else "sell", f"{abs(here):f}", position_side=side
            )
            await engine.submit(opening)
            await stage.until(lambda: engine.positions(), "the fill is told")
        async with stage.outage():
            move(stage, there - here, side)
        sent = []
        if by in ("owner", "venue"):
            await stage.held(kind)
            assert [p.quantity for p in engine.positions()] == ([here] if here else [])
        if by == "owner":
            await engine.adopt(by="owner")
        elif by == "venue":
            move(stage, here - there, side, 2)
            there = here
        elif by == "flatten":
            sent = [f"{'sell' if there > 0 else 'buy'} {abs(there):f}"]
            there = Decimal(0)
        await stage.settled(
            told=[f"{by} {kind}"] if rules else [],
            position={(BTC, side): f"{there:f}"},
            sent=sent,
        )


@wire_scenario
async def test_both_sides_of_a_hedged_position_differ(stage: Stage) -> None:
    """Each is a position of its own: one is gone, the other is new."""
    stage.venue.hedge_mode = True
    rules = {"phantom_position": "adopt", "orphan_position": "flatten"}
    async with stage.healthy_life(rules=rules) as engine:
        await engine.submit(Order(BTC, "buy", "0.010", position_side="LONG"))
        await stage.until(lambda: engine.positions(), "the fill is told")
        async with stage.outage():
            move(stage, Decimal("-0.010"), "LONG", 1)
            move(stage, Decimal("-0.030"), "SHORT", 2)
        await stage.settled(
            told=["flatten orphan_position", "adopt phantom_position"],
            position={},
            sent=["buy 0.030"],
        )


@pytest.mark.parametrize("mode", ["long", "hedged-short"])
@pytest.mark.parametrize("what", ["larger", "smaller", "flat"])
@wire_scenario
async def test_a_position_that_is_not_the_books_over_the_wire(
    stage: Stage, what: str, mode: str
) -> None:
    side, sign = MODES[mode]
    kind, *quantities = KINDS[what]
    here, there = (sign * Decimal(q) for q in quantities)
    stage.venue.hedge_mode = side != "BOTH"
    async with stage.healthy_life() as engine:
        order_side: Any = "buy" if here > 0 else "sell"
        await engine.submit(Order(BTC, order_side, f"{abs(here):f}", position_side=side))
        await stage.until(lambda: engine.positions(), "the fill is told")
        async with stage.outage():
            move(stage, there - here, side)
        await stage.held(kind)
        await engine.adopt(by="owner")
        await stage.settled(position={(BTC, side): f"{there:f}"})


@pytest.mark.parametrize("said", ["0.010", "0.01000000", "1E-2"])
@wire_scenario
async def test_nothing_differs_but_the_digits(stage: Stage, said: str) -> None:
    """Equal is equal as numbers; what is flat is flat however it is written."""
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        client: Any = engine._core.exchange

        async def positions(**_: Any) -> list[Position]:
            await anyio.sleep(0.01)
            return [
                Position(BTC, Decimal(said), Decimal("64000.00000001")),
                Position(BTC, Decimal("-0E-8"), position_side="LONG"),
                Position("ETH/USDT:USDT", Decimal(5)),
            ]

        client.positions = positions
        async with stage.outage():
            pass
        await stage.settled(position="0.010")


# --- restarts ----------------------------------------------------------------------------


@pytest.mark.parametrize("records", range(1, 17))
@scenario
async def test_killed_on_the_way_back(stage: Stage, records: int) -> None:
    """At each record that the way up writes: fills counted, orders ended, a position adopted."""
    rules = {"size_mismatch": "adopt", "orphan_order": "cancel"}
    async with stage.healthy_life(kill=True, rules=rules) as engine:
        await engine.submit(ENTRY)
        await engine.submit(RESTING)
        await engine.submit(Order(BTC, "buy", "0.010", price="59000"))
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            stage.price("60000")
            stage.price("59000", "0.004")
            stage.order("buy", "0.005", client_order_id=f"{FOREIGN}1")
            stage.order("buy", "0.010", price="50000", client_order_id="hf-alpha-0-0-1")
            stage.kill_at_record(records)
        await anyio.sleep(5)
    async with stage.life(rules=rules):
        await stage.settled(told=None, position="0.029", resting=1)
    events = [e.body["trade_id"] for e in stage.world.events() if e.type == "execution.fill"]
    own = [t.trade_id for t in stage.venue.trades(BTC) if not t.order.foreign]
    assert sorted(events) == sorted(own), "each fill is told once, whichever life counted it"


@wire_scenario
async def test_a_restart_in_the_middle_of_a_comparison(stage: Stage) -> None:
    async with stage.healthy_life(kill=True) as engine:
        await engine.submit(RESTING)
        client: Any = engine._core.exchange
        asked = anyio.Event()
        listed = client.positions

        async def never(**more: Any) -> Any:
            asked.set()
            await anyio.sleep_forever()
            return await listed(**more)

        client.positions = never
        async with stage.outage():
            stage.price("60000")
        await asked.wait()
        assert not stage.openings
    stage.begin()
    async with stage.life():
        await stage.settled(told=["adopt missed_fill", "adopt missing_order"], position="0.010")
