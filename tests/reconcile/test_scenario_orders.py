"""Scenarios: orders that one side does not know, and orders that went on without us."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from engine_world import BTC
from scenario_rig import DRIFT, ENTRY, PREFIX, RESTING, Stage, orders, scenario, wire_scenario

from holdfast.journal import Durability
from holdfast.model import Order

FORGOTTEN = f"{PREFIX}0-0-1"
"""An order of ours of which no journal tells."""


# --- unknown to us -----------------------------------------------------------------------


@wire_scenario
async def test_unknown_here_and_new(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        async with stage.outage():
            stage.order("buy", "0.010", price="60000", client_order_id=FORGOTTEN)
        await stage.held("orphan_order")
        await engine.adopt(by="owner")
        await stage.settled()
        assert stage.venue.order_log[-1].status.value == "canceled"


@scenario
async def test_unknown_here_and_new_is_cancelled_by_rule(stage: Stage) -> None:
    async with stage.healthy_life(rules={"orphan_order": "cancel"}):
        async with stage.outage():
            stage.order("buy", "0.010", price="60000", client_order_id=FORGOTTEN)
        await stage.settled(told=["cancel orphan_order"])


@wire_scenario
async def test_unknown_here_and_partly_filled(stage: Stage) -> None:
    async with stage.healthy_life(rules={"orphan_order": "cancel"}):
        async with stage.outage():
            stage.order("buy", "0.010", price="60000", client_order_id=FORGOTTEN)
            stage.price("60000", "0.004")
        await stage.settled(told=["adopt unexpected_fill", "cancel orphan_order"], position="0.004")


@wire_scenario
async def test_unknown_here_and_filled(stage: Stage) -> None:
    async with stage.healthy_life():
        async with stage.outage():
            stage.order("buy", "0.010", client_order_id=FORGOTTEN)
        await stage.settled(told=["adopt unexpected_fill"], position="0.010")


@scenario
async def test_unknown_here_and_filled_while_the_venue_shows_no_trades_yet(stage: Stage) -> None:
    """The position is there, nothing explains it: a person's decision, until the trades come."""
    async with stage.healthy_life() as engine:
        client: Any = engine._core.exchange
        listed = client.fills

        async def none_yet(symbol: str, **_: Any) -> list[Any]:
            return []

        client.fills = none_yet
        async with stage.outage():
            stage.order("buy", "0.010", client_order_id=FORGOTTEN)
        await stage.held("orphan_position")
        assert engine.position(BTC) == 0
        client.fills = listed
        await stage.settled(told=None, position="0.010")
        # Whose trade the fee was of, nobody could say; when its fill came, it was counted again.
        assert await stage.told() == [DRIFT, "adopt unexpected_fill", DRIFT]


@pytest.mark.parametrize("filled", ["0", "0.004"])
@scenario
async def test_unknown_here_and_canceled(stage: Stage, filled: str) -> None:
    async with stage.healthy_life():
        async with stage.outage():
            order = stage.order("buy", "0.010", price="60000", client_order_id=FORGOTTEN)
            if Decimal(filled):
                stage.price("60000", filled)
            stage.venue.cancel(BTC, client_order_id=FORGOTTEN)
            assert order.status.value == "canceled"
        told = ["adopt unexpected_fill"] if Decimal(filled) else []
        await stage.settled(told=told, position=filled)


@scenario
async def test_unknown_here_and_expired(stage: Stage) -> None:
    async with stage.healthy_life():
        async with stage.outage():
            order = stage.order(
                "buy", "0.010", price="60000", client_order_id=FORGOTTEN, time_in_force="IOC"
            )
            assert order.status.value == "expired"
        await stage.settled()


@scenario
async def test_unknown_here_and_rejected(stage: Stage) -> None:
    """A stop of a life before, whose order the matching engine refused: nothing came of it."""
    async with stage.healthy_life():
        async with stage.outage():
            stage.order("buy", "0.010", client_order_id="web_1")
            stop = stage.stop("sell", "0.010", trigger="63000", client_id=FORGOTTEN)
            stage.order("sell", "0.010", client_order_id="web_2")
            stage.price("62000")
            assert stop.snapshot().status.final
            stage.price("64000")
        await stage.settled()


@scenario
async def test_sent_before_a_power_cut_that_took_the_record_of_it(stage: Stage) -> None:
    """Journalled without a flush (`durability = "process"`), so the next life knows nothing."""
    settings = orders(durability=Durability.PROCESS)
    async with stage.healthy_life(kill=True, orders=settings) as engine:
        await engine._core.journal.sync()
        await engine.submit(RESTING)
        stage.world.disk.crash(lose_unsynced=True)
    stage.begin()
    async with stage.life(orders=settings) as engine:
        await stage.held("orphan_order")
        await engine.adopt(by="owner")
        await stage.settled()


# --- unknown to the venue ----------------------------------------------------------------


@wire_scenario
async def test_unknown_at_the_venue_and_accepted_here(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(RESTING)
        async with stage.outage():
            stage.forget(stage.venue.order_log[-1])
        await stage.settled(told=["adopt missing_order"])


@scenario
async def test_unknown_at_the_venue_and_partly_filled_here(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(RESTING)
        stage.price("60000", "0.004")
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            stage.forget(stage.venue.order_log[-1])
        await stage.settled(told=["adopt missing_order"], position="0.004")


@scenario
async def test_unknown_at_the_venue_and_filled_here(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(ENTRY)
        await stage.until(lambda: engine.position(BTC), "the fill is told")
        async with stage.outage():
            stage.forget(stage.venue.order_log[-1])
        await stage.settled(position="0.010")


# --- known to both, and changed meanwhile ------------------------------------------------


@wire_scenario
async def test_filled_in_part_and_in_whole_meanwhile(stage: Stage) -> None:
    async with stage.healthy_life() as engine:
        await engine.submit(RESTING)
        await engine.submit(Order(BTC, "buy", "0.010", price="59000"))
        async with stage.outage():
            stage.price("60000")
            stage.price("59000", "0.004")
        await stage.settled(
            told=[
                "adopt missed_fill",
                "adopt missed_fill",
                "adopt missing_order",
                "adopt stale_order",
            ],
            position="0.014",
            resting=1,
        )


@pytest.mark.parametrize("filled", ["0", "0.004"])
@scenario
async def test_canceled_meanwhile(stage: Stage, filled: str) -> None:
    async with stage.healthy_life() as engine:
        report = await engine.submit(RESTING)
        async with stage.outage():
            if Decimal(filled):
                stage.price("60000", filled)
            stage.venue.cancel(BTC, client_order_id=report.client_order_id)
        told = ["adopt missed_fill"] if Decimal(filled) else []
        await stage.settled(told=[*told, "adopt missing_order"], position=filled)


# --- of another hand ---------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["web_1", "hf-beta-0-0-1", "x-abc123"])
@wire_scenario
async def test_resting_orders_of_another_hand_are_left_alone(stage: Stage, whose: str) -> None:
    async with stage.healthy_life():
        async with stage.outage():
            theirs = stage.order("buy", "0.010", price="50000", client_order_id=whose)
        await stage.settled()
        assert not theirs.status.final


@pytest.mark.parametrize("whose", ["web_1", "hf-beta-0-0-1", "x-abc123"])
@scenario
async def test_fills_of_another_hand_are_a_position_that_a_person_decides(
    stage: Stage, whose: str
) -> None:
    async with stage.healthy_life() as engine:
        async with stage.outage():
            stage.order("buy", "0.010", client_order_id=whose)
        await stage.held("orphan_position")
        assert engine.position(BTC) == 0
        await engine.adopt(by="owner")
        await stage.settled(position="0.010")
