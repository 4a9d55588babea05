"""Scenarios: a past that does not fit into one answer of the venue's."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from engine_world import BTC
from scenario_rig import DRIFT, FOREIGN, Stage, WireWorld, only_wire_scenario, orders

from holdfast.model import Order
from holdfast.transports.usdm.fills import DAY_MS, PAGE

BIG = Order(BTC, "buy", "2.400", price="60000")
"""Filled bit by bit."""


def asked(stage: Stage) -> Counter[str]:
    """How often each path was asked for."""
    world = stage.world
    assert isinstance(world, WireWorld)
    return Counter(seen.path.rpartition("/")[2] for seen in world.served.requests.after(0))


@only_wire_scenario
async def test_more_missed_fills_and_more_orders_than_a_page_holds(stage: Stage) -> None:
    """Own fills among those of another hand, whose orders fill pages of their own."""
    bits, foreign = 1200, 1300
    assert bits > PAGE
    assert foreign > PAGE
    async with stage.healthy_life(orders=orders(dead_man_seconds=None)) as engine:
        await engine.submit(BIG)
        async with stage.outage():
            for number in range(foreign):
                side = "sell" if number % 2 else "buy"
                stage.order(side, "0.010", client_order_id=f"{FOREIGN}{number}")
                if number < bits:
                    stage.price("60000", "0.002")
            before = asked(stage)
        await stage.settled(
            told=["adopt missed_fill"] * bits + ["adopt missing_order"], position="2.400"
        )
        now = asked(stage) - before
        assert now["userTrades"] >= 3, "2500 rows are three pages"
        assert now["allOrders"] >= 2, "1301 orders are two"
        assert now["order"] <= 2, "no order is asked for singly but the one that has ended"


@only_wire_scenario
async def test_fills_of_weeks_ago(stage: Stage) -> None:
    """Longer ago than any span of time that may be asked for at once."""
    ages_days = (40, 20, 8, 6, 0)
    async with stage.healthy_life(orders=orders(dead_man_seconds=None)) as engine:
        await engine.submit(BIG)
        async with stage.outage():
            for number, days in enumerate(ages_days):
                stage.venue.faults.clock_skew_ms = -days * DAY_MS
                stage.order("buy", "0.010", client_order_id=f"{FOREIGN}{2 * number}")
                stage.order("sell", "0.010", client_order_id=f"{FOREIGN}{2 * number + 1}")
                stage.price("60000", "0.100")
        await stage.settled(
            told=[*["adopt missed_fill"] * len(ages_days), "adopt stale_order", DRIFT],
            position=f"{Decimal('0.100') * len(ages_days):f}",
            resting=1,
            cash=False,  # of another hand, and older than what the history is asked for
        )


@only_wire_scenario
async def test_more_open_orders_than_a_page_holds(stage: Stage) -> None:
    """The list of open orders is told whole; one of ours stands at its end."""
    async with stage.healthy_life(orders=orders(dead_man_seconds=None)) as engine:
        for number in range(600):
            stage.order("buy", "0.010", price="50000", client_order_id=f"{FOREIGN}{number}")
        await engine.submit(Order(BTC, "buy", "0.010", price="49000"))
        async with stage.outage():
            pass
        await stage.settled(resting=1)


@only_wire_scenario
async def test_a_restart_on_an_account_with_a_long_past(stage: Stage) -> None:
    """What was counted before is not asked for again, however much of it there is."""
    async with stage.healthy_life(kill=True, orders=orders(dead_man_seconds=None)) as engine:
        await engine.submit(BIG)
        async with stage.outage():
            for _ in range(PAGE + 100):
                stage.price("60000", "0.002")
        await stage.healthy()
    before = asked(stage)
    stage.price("60000", "0.100")
    stage.begin()
    async with stage.life():
        await stage.settled(
            told=["adopt missed_fill", "adopt stale_order"], position="2.300", resting=1
        )
        assert (asked(stage) - before)["userTrades"] <= 3
