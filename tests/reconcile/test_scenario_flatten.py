"""Scenarios: a person closes what the venue holds, whatever the book knows of it."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from scenario_rig import FOREIGN, Stage, scenario, wire_scenario

from holdfast.errors import LinkDown
from holdfast.model import Order


def by_hand(stage: Stage, quantity: str, **more: Any) -> None:
    stage.order(
        "buy" if Decimal(quantity) > 0 else "sell",
        quantity.lstrip("-"),
        client_order_id=f"{FOREIGN}{len(stage.venue.order_log)}",
        **more,
    )


async def flattened(stage: Stage, *, told: list[str], sent: list[str]) -> None:
    """Closed, let go on, and equal: nothing stands in the book that the venue does not hold."""
    await stage.engine.flatten(by="owner")
    await stage.until(lambda: not stage.at_venue(), "it is closed")
    await stage.engine.resume(by="owner")
    await stage.settled(told=told, sent=sent)


@pytest.mark.parametrize(
    ("ours", "theirs", "sent"),
    [
        ("0", "0.030", ["sell 0.030"]),
        ("0", "-0.030", ["buy 0.030"]),
        ("0.010", "0.020", ["sell 0.030"]),
        ("0.010", "-0.004", ["sell 0.006"]),
        ("0.010", "-0.030", ["buy 0.020"]),
        ("0.010", "-0.010", []),
    ],
)
@pytest.mark.parametrize("hold", [False, True])
@scenario
async def test_a_position_that_the_book_does_not_know(
    stage: Stage, ours: str, theirs: str, sent: list[str], hold: bool
) -> None:
    async with stage.healthy_life() as engine:
        if Decimal(ours):
            await engine.submit(Order(BTC, "buy", ours))
            await stage.until(lambda: engine.positions(), "the fill is told")
        if hold:
            await engine.halt("a look first", by="owner")
        stage.begin()
        stage.venue.faults.arm_stream("drop", count=5)
        by_hand(stage, theirs)
        stage.venue.faults.clear()
        if not sent:  # flat at the venue: there is nothing to close, and the book still says so
            assert await engine.flatten(by="owner") == []
            await engine.resume(by="owner")
            await stage.held("phantom_position")
            await engine.adopt(by="owner")
            await stage.settled(told=[], sent=[])
            return
        await flattened(stage, told=[], sent=sent)


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@wire_scenario
async def test_both_hands_in_hedge_mode(stage: Stage, side: Any) -> None:
    stage.venue.hedge_mode = True
    opens = "buy" if side == "LONG" else "sell"
    async with stage.healthy_life() as engine:
        await engine.submit(Order(BTC, opens, "0.010", position_side=side))  # type: ignore[arg-type]
        await stage.until(lambda: engine.positions(), "the fill is told")
        await engine.halt("a look first", by="owner")
        stage.begin()
        by_hand(stage, "0.020" if side == "LONG" else "-0.020", position_side=side)
        closes = "sell" if side == "LONG" else "buy"
        await flattened(stage, told=[], sent=[f"{closes} 0.030"])


@pytest.mark.parametrize("theirs", ["0", "0.030"])
@wire_scenario
async def test_our_own_fill_that_was_missed_is_counted_and_not_adopted(
    stage: Stage, theirs: str
) -> None:
    """Adopted and counted afterwards, it would stand in the book twice."""
    async with stage.healthy_life() as engine:
        await engine.submit(Order(BTC, "buy", "0.010", price="60000"))
        await engine.halt("a look first", by="owner")
        stage.begin()
        stage.venue.faults.arm_stream("drop", count=5)
        stage.price("60000")
        stage.venue.faults.clear()
        if Decimal(theirs):
            by_hand(stage, theirs)
        closed = f"sell {Decimal('0.010') + Decimal(theirs):f}"
        await flattened(stage, told=[], sent=[closed])


@scenario
async def test_what_can_not_be_explained_is_not_adopted(stage: Stage) -> None:
    """The venue tells what it holds and not what was traded: it is closed all the same. That
    the book is wrong is told afterwards, and a person decides."""
    async with stage.healthy_life() as engine:
        await engine.halt("a look first", by="owner")
        stage.begin()
        by_hand(stage, "0.030")
        client: Any = engine._core.exchange
        fills = client.fills

        async def silent(*_: Any, **__: Any) -> Any:
            raise LinkDown("no answer")

        client.fills = silent
        await engine.flatten(by="owner")
        assert stage.at_venue() == {}
        client.fills = fills
        await engine.resume(by="owner")
        await stage.held("phantom_position")
        await engine.adopt(by="owner")
        await stage.settled(told=[], sent=["sell 0.030"])


@pytest.mark.parametrize("again", [True, False])
@scenario
async def test_a_thin_book_leaves_what_it_leaves(stage: Stage, again: bool) -> None:
    """The person is told, and so is the next comparison: what is left is in no book of ours."""
    async with stage.healthy_life() as engine:
        await engine.halt("a look first", by="owner")
        stage.begin()
        by_hand(stage, "0.030")
        stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), *[Decimal("0.010")] * 2)
        with pytest.raises(ExceptionGroup) as failed:
            await engine.flatten(by="owner")
        assert "0.020 BTC/USDT:USDT remain" in str(failed.value.exceptions[0])
        await anyio.sleep(1)
        assert engine.positions() == []
        stage.venue.on_quote(BTC, Decimal(64000), Decimal(64000), Decimal(5), Decimal(5))
        if again:
            await flattened(stage, told=[], sent=["sell 0.030", "sell 0.020"])
        else:
            await engine.resume(by="owner")
            await stage.held("orphan_position")
            assert engine.status()["differences"][0].endswith("here 0, at the venue 0.020")


@pytest.mark.parametrize("records", range(1, 6))
@scenario
async def test_killed_while_a_person_flattens(stage: Stage, records: int) -> None:
    """At each record that is written on the way: the next life finds no more than is there."""
    async with stage.healthy_life(kill=True) as engine:
        await engine.halt("a look first", by="owner")
        by_hand(stage, "0.030")
        stage.kill_at_record(records)
        async with anyio.create_task_group() as group:

            async def flatten() -> None:
                with contextlib.suppress(BaseExceptionGroup):  # it is dead: nobody hears of it
                    await engine.flatten(by="owner")

            group.start_soon(flatten)
            await anyio.sleep(5)
            group.cancel_scope.cancel()
    async with stage.life(rules={"orphan_position": "flatten"}) as engine:
        stage.begin()
        await engine.resume(by="owner")
        await stage.settled(told=None, sent=None, cash=False)
