"""A venue that knows of no position where the book has one: the books are compared at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC
from order_rig import ENTRY, EXIT, Rig, healthy

from holdfast.errors import Rejected
from holdfast.evidence import contradicts_the_book
from holdfast.model import Order, OutcomeKind, PlaceOutcome
from holdfast.states.table import State
from holdfast.transports.sim.faults import Fault
from holdfast.transports.sim.records import OrderTicket

NOTHING = PlaceOutcome(kind=OutcomeKind.REJECTED, code=-2022, nothing_to_reduce=True)


@pytest.mark.parametrize(
    ("side", "position_side", "held", "contradicts"),
    [
        ("sell", "BOTH", "1", True),
        ("buy", "BOTH", "-1", True),
        ("sell", "BOTH", "-1", False),
        ("buy", "BOTH", "1", False),
        ("sell", "BOTH", "0", False),
        ("sell", "LONG", "1", True),
        ("sell", "LONG", "0", False),
        ("buy", "SHORT", "-1", True),
    ],
)
def test_only_a_position_that_the_order_would_reduce_contradicts(
    side: Any, position_side: Any, held: str, contradicts: bool
) -> None:
    order = Order(BTC, side, 1, position_side=position_side)
    assert contradicts_the_book(NOTHING, order, held=Decimal(held)) is contradicts
    other = PlaceOutcome(kind=OutcomeKind.REJECTED, code=-2019)
    assert not contradicts_the_book(other, order, held=Decimal(held))


def causes(rig: Rig) -> list[str]:
    return [step.cause for step in rig.engine.history if step.trigger == "diverged"]


@pytest.mark.parametrize("code", [-2022, -4118])
def test_the_order_is_rejected_and_the_books_are_compared(code: int) -> None:
    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.fail("place", Fault.refusal(code, "no"))
        with pytest.raises(Rejected) as raised:
            await rig.engine.submit(EXIT)
        assert raised.value.code == code
        assert rig.engine.state is State.RECONCILING, "the gate is shut at once"
        with anyio.fail_after(60):
            await rig.engine.until_healthy()
        (cause,) = causes(rig)
        assert str(code) in cause
        assert len(rig.seconds("place")) == 2, "a refusal is final: it is not sent again"
        await rig.engine.submit(EXIT)
        rig.assert_clean()

    healthy(body)


def test_a_position_that_was_closed_unheard_is_found() -> None:
    """The venue's own refusal, and a difference that the comparison then finds."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.venue.faults.arm_stream("drop", count=2)  # "new" and "filled"
        rig.venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id="web_1",
                side="sell",
                quantity=Decimal("0.010"),
                reduce_only=True,
                foreign=True,
            )
        )
        await anyio.sleep(1)
        assert rig.engine.position(BTC) == Decimal("0.010"), "nobody has told the engine"
        with pytest.raises(Rejected) as raised:
            await rig.engine.submit(EXIT)
        assert raised.value.code == -2022
        assert rig.engine.state is State.RECONCILING
        await anyio.sleep(60)
        assert rig.engine.state is State.RECONCILING, "whose hand it was, a person has to say"
        assert any("operator" in why for why in rig.engine.waiting_for)

    healthy(body)


def test_a_bot_that_goes_on_trying_does_not_keep_the_gate_shut() -> None:
    """-4118: other orders reduce all of it already. The books were compared, and are equal."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.fail("place", *[Fault.refusal(-4118, "no")] * 20)
        for _ in range(20):
            with pytest.raises(Rejected):
                await rig.engine.submit(EXIT)
            with anyio.fail_after(60):
                await rig.engine.until_healthy()
        assert len(causes(rig)) == 1
        await rig.engine.submit(ENTRY)  # the position is another now
        rig.fail("place", Fault.refusal(-4118, "no"))
        with pytest.raises(Rejected):
            await rig.engine.submit(EXIT)
        assert len(causes(rig)) == 2

    healthy(body)


def test_outside_healthy_it_does_not_hold_up_the_recovery() -> None:
    """The way up compares the books anyway; an exit may be tried again and again meanwhile."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.engine.fault("bus", "a test")
        epoch = rig.core.gate.epoch
        rig.fail("place", Fault.refusal(-2022, "no"))
        with pytest.raises(Rejected):
            await rig.engine.submit(EXIT)
        assert rig.core.gate.epoch == epoch
        assert causes(rig) == []
        with anyio.fail_after(60):
            await rig.engine.until_healthy()

    healthy(body)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (None, -2022),  # nothing is held here either: the bot was wrong, not the book
        (ENTRY, -2019),
    ],
)
def test_a_refusal_that_says_nothing_new_shuts_no_gate(first: Order | None, code: int) -> None:
    async def body(rig: Rig) -> None:
        if first is not None:
            await rig.engine.submit(first)
            rig.fail("place", Fault.refusal(code, "no"))
        with pytest.raises(Rejected) as raised:
            await rig.engine.submit(EXIT)
        assert raised.value.code == code
        assert rig.engine.state is State.HEALTHY
        assert causes(rig) == []

    healthy(body)
