"""What the HTTP client knows of a conditional order whose beginning it did not see."""

from __future__ import annotations

from typing import Any

import pytest
from sim_rigs import BTC, Rig, run_http

from holdfast.model import OrderStatus, OutcomeKind, QueryKind
from holdfast.transports.sim import Fault
from holdfast.transports.usdm.client import UsdmExecutionClient

STOP_LIMIT: dict[str, Any] = {"trigger": "stop", "trigger_price": "51000", "price": "50500"}


async def triggered(rig: Rig) -> UsdmExecutionClient:
    """A stop limit that was triggered and rests; a client that comes later."""
    assert (await rig.place("stop", **STOP_LIMIT)).kind is OutcomeKind.ACCEPTED
    rig.price("51200")
    assert [order.client_order_id for order in rig.venue.open_orders()] == ["stop"]
    assert rig.another is not None
    late = rig.another()
    await late.instruments(timeout_seconds=5)
    return late


def test_a_question_teaches_what_an_order_once_waited_for() -> None:
    async def case(rig: Rig) -> None:
        late = await triggered(rig)
        try:
            (listed,) = await late.open_orders(timeout_seconds=5)
            assert listed.trigger is None  # the order made of it does not tell
            found = await late.query(BTC, "stop", conditional=True, timeout_seconds=5)
            assert found.order is not None
            (listed,) = await late.open_orders(timeout_seconds=5)
            assert listed == found.order
            assert (listed.trigger, listed.trigger_price) == ("stop", 51000)
        finally:
            await late.aclose()

    run_http(case)


def test_an_order_that_was_made_and_is_not_shown_yet_is_not_absent() -> None:
    async def case(rig: Rig) -> None:
        late = await triggered(rig)
        try:
            rig.venue.faults.arm("query", Fault())  # of the conditional order: answered
            rig.venue.faults.arm("query", Fault.refusal(-2013, "Order does not exist."))
            lagging = await late.query(BTC, "stop", conditional=True, timeout_seconds=5)
            assert (lagging.kind, lagging.order) == (QueryKind.UNANSWERED, None)
            found = await late.query(BTC, "stop", conditional=True, timeout_seconds=5)
            assert found.order is not None
            assert found.order.status is OrderStatus.OPEN
        finally:
            await late.aclose()

    run_http(case)


def test_a_cancel_reaches_the_order_made_of_it_also_for_a_client_that_comes_later() -> None:
    async def case(rig: Rig) -> None:
        late = await triggered(rig)
        try:
            gone = await late.cancel(BTC, "stop", conditional=True, timeout_seconds=5)
            assert gone.order is not None
            assert gone.order.status is OrderStatus.CANCELED
            assert rig.venue.open_orders() == []
        finally:
            await late.aclose()

    run_http(case)


@pytest.mark.parametrize("made", [False, True])
def test_a_reply_to_a_cancel_that_has_cancelled_nothing_is_no_answer(*, made: bool) -> None:
    """A gateway's 200, for instance: the order is open still."""

    async def case(rig: Rig) -> None:
        assert (await rig.place("stop", **STOP_LIMIT)).kind is OutcomeKind.ACCEPTED
        if made:
            rig.price("51200")
            rig.venue.faults.arm("cancel", Fault())  # of the conditional order: it is done with
        rig.venue.faults.arm("cancel", Fault(executes=False, reply="error", status=200, body="{}"))
        told = await rig.client.cancel(BTC, "stop", conditional=True, timeout_seconds=5)
        assert (told.kind, told.order) == (QueryKind.UNANSWERED, None)
        gone = await rig.client.cancel(BTC, "stop", conditional=True, timeout_seconds=5)
        assert gone.order is not None
        assert gone.order.status is OrderStatus.CANCELED

    run_http(case)
