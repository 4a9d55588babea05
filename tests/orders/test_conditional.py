"""Conditional orders: what is refused at once, and what is never guessed about them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from order_rig import ENTRY, Rig, healthy

from holdfast import Order
from holdfast.errors import InvalidOrder
from holdfast.model import ExecutionReport, OrderReport, OrderStatus
from holdfast.transports.sim.faults import Fault

BTC = "BTC/USDT:USDT"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"trigger": "stop"}, "trigger_price"),
        ({"trigger_price": "50000"}, "trigger"),
        ({"trigger": "trail", "trigger_price": "50000"}, "trigger"),
        ({"trigger": "stop", "trigger_price": "-1"}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": "nan"}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": 0.5}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": "1", "trigger_by": "index"}, "trigger_by"),
    ],
)
def test_a_wrong_trigger_is_refused_by_the_name_of_its_field(
    values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidOrder, match=rf"^{field}: "):
        Order(BTC, "sell", "0.01", reduce_only=True, **values)


@pytest.mark.parametrize("known", [False, True])
def test_the_order_that_is_made_of_it_is_the_same_order(known: bool) -> None:
    """The venue tells of it under the same id, and not what it waited for; nor can a transport
    that was started since: its order was told to be rejected, and its fill to be nobody's.
    """

    async def body(rig: Rig) -> None:
        engine, reports = rig.engine, rig.core.execution.reports
        await engine.submit(ENTRY)
        if not known:
            rig.fail("place", Fault.lost_reply())
            rig.fail("query", *[Fault.lost_reply()] * 5)
        stop = Order(BTC, "sell", "0.004", trigger="stop", trigger_price="63000", reduce_only=True)
        told: list[OrderReport] = []

        async def submit() -> None:
            told.append(await engine.submit(stop))

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await anyio.sleep(1)
            assert len(told) == known
            (waits,) = rig.venue.open_conditional()
            made = replace(
                waits.snapshot(),
                trigger=None,
                trigger_price=None,
                status=OrderStatus.PARTIALLY_FILLED,
                filled=Decimal("0.001"),
                updated_ms=rig.venue.now_ms(),
            )
            reports.report(ExecutionReport(made))
        assert told[0].status == "accepted"
        (open_order,) = engine.open_orders()
        assert open_order.filled == Decimal("0.001")
        assert (open_order.trigger, open_order.trigger_price) == ("stop", Decimal(63_000))

    healthy(body)
