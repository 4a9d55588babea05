"""Mishaps that a campaign of seeds found to break a promise; each stays found."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from engine_world import BTC, Delayed, World

from holdfast.errors import NotExecuted, Rejected, TradingHalted
from holdfast.journal import JournalFailed, MemoryJournal
from holdfast.model import Order
from holdfast.policy import Limits, Mode, Policy
from holdfast.settings import GateSettings, OrderSettings
from holdfast.simulation import SimLoop, run
from holdfast.states.table import Level, State
from holdfast.transports.sim.faults import Fault


def test_a_fault_reported_inside_an_append_takes_no_sequence_of_the_event_being_written() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await anyio.sleep(1)
            await engine.publish("first", {})
            world.disk.failing_syncs = 1
            await anyio.sleep(1)  # the sync of `first` is due, and is made by the next append
            published = await engine.publish("second", {})
            assert engine.state is State.DEGRADED
            await engine.until_healthy()
        on_bus = {(e.producer, e.sequence): e.type for e in world.events()}
        assert on_bus[published.producer, published.sequence] == "second"
        assert "engine.transition" in on_bus.values()

    run(main)


def test_a_policy_that_can_not_be_journalled_ends_no_task_of_the_engine() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.halt("so that the failing disk finds it DEGRADED already")
            await anyio.sleep(1)
            await engine.publish("event", {})
            world.disk.failing_syncs = 2
            await anyio.sleep(1)
            stored = world.server.policy
            assert stored is not None
            world.server.compare_and_set(Policy(Mode.HALT), stored.policy.version)
            await anyio.sleep(10)
            assert engine.state is State.DEGRADED
            assert engine.policy is None
            with pytest.raises(JournalFailed):
                await engine.publish("event", {})
            with pytest.raises(TradingHalted):
                await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            world.disk.crash(lose_unsynced=False)

    run(main)


@pytest.mark.parametrize("while_in", [State.RECOVERING, State.RECONCILING])
def test_a_loop_that_stood_still_on_the_way_up_begins_anew(while_in: State) -> None:
    async def main() -> None:
        world = World(latency_seconds=0.1)
        async with world.engine(gate=GateSettings(loop_lease_seconds=0.25)) as engine:
            await engine.until(while_in)
            steps = len(engine.history)
            SimLoop.current().stall(5)
            await engine.until_healthy()
            entered = [step.dest for step in engine.history[steps:] if step.entered]
            assert State.DEGRADED in entered

    run(main)


def test_an_attempt_is_judged_by_the_policy_of_its_own_moment() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.refusal(-1008, "overloaded", status=503))
            async with anyio.create_task_group() as group:

                async def submit() -> None:
                    with pytest.raises(NotExecuted, match="HALT"):
                        await engine.submit(Order(BTC, "buy", "0.010", price="64000"))

                group.start_soon(submit)
                await anyio.sleep(0.5)  # refused once; the next attempt is due after a second
                stored = world.server.policy
                assert stored is not None
                world.server.compare_and_set(Policy(Mode.HALT), stored.policy.version)
            assert not world.venue.order_log

    run(main)


def test_orders_made_at_once_are_judged_together(monkeypatch: pytest.MonkeyPatch) -> None:
    append = MemoryJournal.append

    def as_on_a_disk(self: MemoryJournal, *args: Any, **options: Any) -> Delayed:
        return Delayed(append(self, *args, **options), before=lambda: anyio.sleep(0.001))

    monkeypatch.setattr(MemoryJournal, "append", as_on_a_disk)

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.set_policy(Policy(Mode.NORMAL, Limits(max_open_orders=1)))
            outcomes: list[str] = []

            async def submit() -> None:
                try:
                    await engine.submit(Order(BTC, "buy", "0.010", price="60000"))
                except Rejected:
                    outcomes.append("rejected")
                else:
                    outcomes.append("accepted")

            async with anyio.create_task_group() as group:
                group.start_soon(submit)
                group.start_soon(submit)
            assert sorted(outcomes) == ["accepted", "rejected"]
            assert len(world.venue.order_log) == 1

    run(main)


def test_an_order_too_new_to_be_listed_is_not_taken_for_cancelled() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=OrderSettings(on_leaving_active="keep")) as engine:
            await engine.until_healthy()
            world.venue.faults.query_lag_ms = 450
            report = await engine.submit(Order(BTC, "sell", "0.010", price="70000"))
            engine.fault("test", "the books are compared while the order is invisible")
            await engine.until_healthy()
            at_venue = [o.client_order_id for o in world.venue.open_orders()]
            assert len(at_venue) == 1
            assert [o.client_order_id for o in engine.open_orders()] == at_venue
            assert report.status == "accepted"

    run(main)


def test_the_first_order_of_a_life_bears_the_stamp_of_the_venue() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
        world.venue.faults.clock_skew_ms = -3_600_000
        async with world.engine() as engine:
            await anyio.sleep(0.005)  # the first probe is still on its way
            assert engine.level() is Level.REDUCING
            exit_ = Order(BTC, "sell", "0.010", price="64000", reduce_only=True)
            assert (await engine.submit(exit_)).attempts == 1

    run(main)


def test_while_the_operator_closes_positions_the_bot_stays_halted() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            await anyio.sleep(1)
            world.venue.faults.arm("place", Fault.refusal(-1008, "overloaded", status=503))
            async with anyio.create_task_group() as group:
                group.start_soon(engine.flatten)
                await anyio.sleep(0.5)  # refused once; the next attempt is due after a second
                with pytest.raises(TradingHalted):
                    await engine.submit(
                        Order(BTC, "sell", "0.004", price="64000", reduce_only=True)
                    )
            assert engine.position(BTC) == 0

    run(main)


def test_no_order_is_written_once_the_lease_has_run_out_by_the_clock() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(gate=GateSettings(loop_lease_seconds=None)) as engine:
            await engine.until_healthy()
            keeper = engine._core.lease
            keeper._expires_at = world.clock.monotonic() + 5  # as a store with terms grants it
            world.clock.suspend(6)
            with pytest.raises(TradingHalted, match="lease"):
                await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            assert not world.venue.order_log
            keeper.renew_now()
            await anyio.sleep(0.1)
            assert State.DEGRADED in [step.dest for step in engine.history[3:]]
            await engine.until_healthy()

    run(main)


def test_what_is_journalled_of_a_cancelled_call_names_no_memory_address() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.lost_request())
            with anyio.move_on_after(1):
                await engine.submit(Order(BTC, "buy", "0.010", price="64000"))
            await anyio.sleep(10)
            doubts = [e.body["doubt"] for e in world.events() if "doubt" in (e.body or {})]
        assert doubts == ["interrupted while it was being sent: the caller was cancelled"]

    run(main)


def test_a_disk_that_fails_does_not_make_the_engine_flood_the_venue_with_cancels() -> None:
    async def main() -> None:
        world = World()
        asked: list[str] = []
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "sell", "0.010", price="70000"))
            await anyio.sleep(1)

            def count(kind: str, now_ms: int) -> None:
                asked.append(kind)

            world.venue.faults.decide = count
            await engine.publish("event", {})
            world.disk.failing_syncs = 99
            await anyio.sleep(1)
            engine.fault("test", "trading stops")
            await anyio.sleep(10)
            world.disk.crash(lose_unsynced=False)
        assert 1 <= asked.count("cancel") <= 15

    run(main)
