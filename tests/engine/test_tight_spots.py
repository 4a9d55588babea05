"""Two callers with one key, a journal without room for its checkpoint, an order on its way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import anyio
import pytest
from engine_world import BTC, World, healthy, in_a_world

from holdfast import (
    ConfigError,
    Engine,
    InvalidPayload,
    Limits,
    Mode,
    Order,
    OrderReport,
    OutcomeUnknown,
    Policy,
    State,
    TradingHalted,
)
from holdfast.journal import JournalError
from holdfast.settings import OrderSettings, OutboxSettings, PolicySettings
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault

ENTRY = Order(BTC, "buy", "0.010", price="64000")

LIMITED = PolicySettings(initial=Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(100_000))))


async def publish_for_ever(engine: Engine, size: int) -> None:
    while True:
        await engine.publish("tick", "x" * size)


def test_one_key_submitted_twice_at_once_is_one_order() -> None:
    async def main() -> None:
        world = World()
        reports: list[OrderReport] = []

        async def signal(engine: Engine) -> None:
            # A market order under a notional limit: a price is asked for on the way.
            reports.append(await engine.submit(Order(BTC, "buy", "0.010", key="signal-17")))

        async with world.engine(policy=LIMITED) as engine:
            await engine.until_healthy()
            async with anyio.create_task_group() as group:
                group.start_soon(signal, engine)
                group.start_soon(signal, engine)
            await anyio.sleep(1)
            assert len(world.venue.order_log) == 1
            assert reports[0].client_order_id == reports[1].client_order_id
            assert engine.position(BTC) == Decimal("0.010")

    run(main)


def test_a_bot_that_only_publishes_gets_its_room_back() -> None:
    async def main() -> None:
        world = World()
        world.disk.reserve_bytes = 1 << 14
        world.journal_options = {
            "segment_bytes": 1 << 16,
            "max_bytes": 1 << 19,
            "retain_acked_seconds": 60,
            "retain_acked_bytes": 1 << 17,
        }
        async with world.engine() as engine:
            await engine.until_healthy()
            world.server.down("a long outage")
            with pytest.raises(JournalError):
                await publish_for_ever(engine, 500)
            world.server.up()
            with anyio.fail_after(300):
                await engine.until_healthy()
            await engine.publish("tick", "again")

    run(main)


def test_an_exit_has_an_outcome_though_there_is_no_room_for_a_checkpoint() -> None:
    async def main() -> None:
        world = World()
        world.disk.reserve_bytes = 1200  # for records, not for a checkpoint
        world.journal_options = {"segment_bytes": 1 << 14, "max_bytes": 1 << 16}
        async with world.killed() as engine:
            await engine.until_healthy()
            for number in range(7):
                key = "k" * 100 + str(number)
                await engine.submit(Order(BTC, "buy", "0.002", price="64000", key=key))
            world.server.down("outage")
            for size in (400, 1):
                with pytest.raises(JournalError):
                    await publish_for_ever(engine, size)
            report = await engine.submit(
                Order(BTC, "sell", "0.005", price="64000", reduce_only=True)
            )
            assert report.status == "accepted"
            assert not engine.status()["unknown_orders"]
            assert engine.state is State.DEGRADED

    run(main)


def test_cancel_waits_for_an_order_that_is_on_its_way() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault(delay_before_seconds=1.0))
            async with anyio.create_task_group() as group:
                group.start_soon(engine.submit, Order(BTC, "buy", "0.010", price="60000"))
                await anyio.sleep(0.3)
                (intent,) = engine._core.ledger.intents.values()
                ended = await engine.cancel(BTC, intent.client_order_id)
            assert ended is not None
            assert ended.status.final
            assert not world.venue.open_orders()

    run(main)


def test_cancel_of_an_order_nobody_knows_about_says_so() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.lost_request())

            async def submit() -> None:
                with pytest.raises(OutcomeUnknown):
                    await engine.submit(
                        Order(BTC, "buy", "0.010", price="60000", deadline_seconds=0.2)
                    )

            async with anyio.create_task_group() as group:
                group.start_soon(submit)
                await anyio.sleep(0.1)
                (intent,) = engine._core.ledger.intents.values()
                with pytest.raises(OutcomeUnknown):
                    await engine.cancel(BTC, intent.client_order_id)

    run(main)


SMALL_SEGMENTS = {"segment_bytes": 1 << 14, "max_bytes": 1 << 20, "retain_acked_bytes": 1 << 16}
LARGEST = 1 << 13
SMALL: dict[str, Any] = {
    "outbox": OutboxSettings(**SMALL_SEGMENTS),
    "orders": OrderSettings(keys_kept=6),
}


@pytest.mark.parametrize("durability", ["process", "power"])
@in_a_world
async def test_an_event_that_no_segment_holds_is_refused_and_the_outbox_stays_whole(
    world: World, durability: Literal["process", "power"]
) -> None:
    world.journal_options = dict(SMALL_SEGMENTS)
    async with world.engine(
        outbox=OutboxSettings(**SMALL_SEGMENTS), orders=OrderSettings(keys_kept=6)
    ) as engine:
        await healthy(engine)
        before = engine._core.journal.last_seq
        await engine.publish("small", 1)
        with pytest.raises(InvalidPayload, match=r"^body of large: .*outbox\.segment_bytes"):
            await engine.publish("large", "x" * LARGEST, durability=durability)
        await engine.publish("small", 2, durability=durability)
        assert engine._core.journal.last_seq == before + 2, "nothing of it is in the journal"
        assert (engine.state, engine.gate.is_open) == (State.HEALTHY, True), "the disk is well"
        await anyio.sleep(1)
    told = [event for event in world.events() if event.type in ("small", "large")]
    assert [event.body for event in told] == [1, 2]
    assert told[1].sequence == told[0].sequence + 1, "no hole"


@in_a_world
async def test_a_policy_that_no_segment_holds_stops_trading_and_not_the_engine(
    world: World,
) -> None:
    world.journal_options = dict(SMALL_SEGMENTS)
    wide = Limits(allowed_symbols=(BTC, *(f"A{number}/USDT:USDT" for number in range(600))))
    async with world.engine(
        outbox=OutboxSettings(**SMALL_SEGMENTS), orders=OrderSettings(keys_kept=6)
    ) as engine:
        await healthy(engine)
        with pytest.raises(ConfigError, match="at most"):
            await engine.set_policy(Policy(Mode.NORMAL, wide))
        await engine.submit(ENTRY)
        theirs = engine._core.policy_store  # another hand writes past `set_policy`
        current = await theirs.read()
        assert current is not None
        await theirs.compare_and_set(
            Policy(Mode.NORMAL, wide, version=current.policy.version + 1),
            expected_version=current.policy.version,
        )
        await anyio.sleep(5)
        with pytest.raises(TradingHalted, match="at most"):
            await engine.submit(ENTRY)
        await engine.set_policy(Policy(Mode.NORMAL), replace=True)
        await healthy(engine)
