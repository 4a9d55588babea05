"""A repeated call with the same key is the same intent: never a second order, also after a kill."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import World
from order_rig import BTC, OVERLOADED, Rig, healthy

from holdfast.errors import InvalidOrder, NotExecuted, OutcomeUnknown, Rejected, TradingHalted
from holdfast.model import Order, OrderReport
from holdfast.settings import OrderSettings
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault


def keyed(key: str = "signal-1", **changes: Any) -> Order:
    given: dict[str, Any] = {"symbol": BTC, "side": "buy", "quantity": "0.010", "price": "64000"}
    return Order(**{**given, "key": key, **changes})


def test_a_repeated_call_is_told_the_same_and_sends_nothing() -> None:
    async def body(rig: Rig) -> None:
        first = await rig.engine.submit(keyed())
        rig.world.server.down("also while the gate is shut")
        again = await rig.engine.submit(keyed())
        assert again.client_order_id == first.client_order_id
        assert again.status == "accepted"
        assert len(rig.orders) == 1

    healthy(body)


def test_calls_at_once_are_one_order() -> None:
    async def body(rig: Rig) -> None:
        reports: list[OrderReport] = []

        async def submit() -> None:
            reports.append(await rig.engine.submit(keyed()))

        rig.fail("place", OVERLOADED)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(submit)
        assert len({r.client_order_id for r in reports}) == 1
        assert len(reports) == 5
        assert len(rig.orders) == 1
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize(
    "changes", [{"quantity": "0.020"}, {"side": "sell"}, {"symbol": "ETH/USDT:USDT"}]
)
@pytest.mark.parametrize("ended", [True, False])
def test_the_same_key_for_another_order_is_an_error(changes: dict[str, str], ended: bool) -> None:
    async def body(rig: Rig) -> None:
        async with anyio.create_task_group() as group:
            if ended:
                await rig.engine.submit(keyed())
            else:
                rig.fail("place", OVERLOADED)
                group.start_soon(rig.engine.submit, keyed())
                await anyio.sleep(0.5)
            with pytest.raises(InvalidOrder, match="already stands for buy"):
                await rig.engine.submit(keyed(**changes))
        assert len(rig.orders) == 1

    healthy(body)


def test_a_refused_call_leaves_the_key_free() -> None:
    """Nothing was journalled, so nothing was decided."""

    async def body(rig: Rig) -> None:
        rig.world.server.down("killed")
        with pytest.raises(TradingHalted):
            await rig.engine.submit(keyed())
        rig.world.server.up()
        await rig.engine.until_healthy()
        assert (await rig.engine.submit(keyed())).status == "accepted"

    healthy(body)


def test_rejected_and_not_executed_stay_so() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.refusal(-2019, "Margin is insufficient."))
        for _ in range(2):
            with pytest.raises(Rejected, match="Margin") as refused:
                await rig.engine.submit(keyed("poor"))
            assert refused.value.code == -2019
        rig.fail("place", *[OVERLOADED] * 4)
        for _ in range(2):
            with pytest.raises(NotExecuted, match="4 attempts"):
                await rig.engine.submit(keyed("unlucky"))
        assert rig.orders == []

    healthy(body)


def test_the_oldest_keys_are_forgotten_beyond_the_bound() -> None:
    async def body(rig: Rig) -> None:
        for number in range(101):
            await rig.engine.submit(keyed(f"k{number}", quantity="0.002"))
        assert len(rig.core.ledger.keyed) == 100
        assert "k0" not in rig.core.ledger.keyed

    healthy(body, orders=OrderSettings(keys_kept=100))


# --- across a kill -----------------------------------------------------------------------


def test_after_a_kill_the_key_still_stands_for_the_order() -> None:
    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await engine.until_healthy()
            first = await engine.submit(keyed())
        async with world.engine() as engine:
            again = await engine.submit(keyed())
            assert again.client_order_id == first.client_order_id
            with pytest.raises(InvalidOrder, match="already stands"):
                await engine.submit(keyed(quantity="0.020"))
            await engine.until_healthy()
            assert engine.position(BTC) == Decimal("0.010")
        assert len(world.venue.order_log) == 1

    run(main)


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("wait_seconds", [0.005, 1.0, 2.9])
def test_killed_while_the_order_was_on_its_way(executed: bool, wait_seconds: float) -> None:
    """Nobody knows, so the venue is asked; the repeated call sends nothing by itself."""

    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await engine.until_healthy()
            fault = Fault.lost_reply() if executed else Fault.lost_request()
            world.venue.faults.arm("place", fault)
            world.venue.faults.arm_stream("drop", count=10)
            async with anyio.create_task_group() as group:
                group.start_soon(engine.submit, keyed())
                await anyio.sleep(wait_seconds)
                world.disk.crash(lose_unsynced=True)  # a killed process writes no last words
                group.cancel_scope.cancel()
        async with world.engine() as engine:
            assert len(engine.status()["unknown_orders"]) == 1
            if executed and wait_seconds > 0.01:
                assert (await engine.submit(keyed())).status == "accepted"
            else:
                # The request itself was lost, or was still under way when its process died.
                try:
                    report = await engine.submit(keyed())
                except NotExecuted:
                    assert world.venue.order_log == []
                else:
                    assert report.status == "accepted"
            await engine.until_healthy()
            assert engine.status()["unknown_orders"] == []
            held = sum((h.quantity for _, _, h in world.venue.positions()), Decimal(0))
            assert engine.position(BTC) == held
        assert len(world.venue.order_log) <= 1

    run(main)


def test_two_lives_never_use_the_same_order_id() -> None:
    async def main() -> None:
        world = World()
        ids = []
        for _ in range(3):
            async with world.killed() as engine:
                await engine.until_healthy()
                ids.append((await engine.submit(keyed(f"life {len(ids)}"))).client_order_id)
        assert len(set(ids)) == 3
        assert all(len(cid) <= 36 for cid in ids)

    run(main)


def test_who_waits_on_a_key_is_told_unknown_when_it_is() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *[Fault.lost_request()] * 1000)
        ids = set()
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as unknown:
                await rig.engine.submit(keyed())
            ids.add(unknown.value.intent.client_order_id)
        assert len(ids) == 1
        rig.plan["query"].clear()
        report = await unknown.value.intent.resolved()
        assert report.status == "not_executed"
        assert len(rig.seconds("place")) == 1

    healthy(body)
