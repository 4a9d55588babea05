"""An engine from its start to its end: clean stops, holds, the operator, disks that fill."""

from __future__ import annotations

import threading
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from engine_world import BTC, World, healthy, in_a_world

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engine import Engine
from holdfast.errors import (
    ConfigError,
    EngineClosed,
    InvalidOrder,
    InvalidPayload,
    NotExecuted,
    TradingHalted,
)
from holdfast.journal import (
    Durability,
    JournalError,
    JournalFailed,
    JournalFull,
    MemoryDisk,
    MemoryJournal,
)
from holdfast.model import Order, OrderSnapshot, OrderStatus
from holdfast.policy import Mode, Policy
from holdfast.settings import LeaseSettings, OrderSettings, PolicySettings, Settings
from holdfast.simulation import run
from holdfast.states.table import Level, State
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue
from holdfast.transports.sim.faults import Fault

ETH = "ETH/USDT:USDT"
ENTRY = Order(BTC, "buy", "0.010", price="64000")
RESTING = Order(BTC, "buy", "0.010", price="60000")
EXIT = Order(BTC, "sell", "0.004", price="64000", reduce_only=True)


# --- the end -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "left"), [("cancel", 1), ("keep", 2)])
@in_a_world
async def test_a_clean_stop_leaves_venue_and_bus_as_a_successor_would_like_them(
    world: World, rule: Any, left: int
) -> None:
    async with world.engine(orders=OrderSettings(on_leaving_active=rule)) as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        await engine.submit(RESTING)
        await engine.submit(Order(BTC, "sell", "0.004", price="70000", reduce_only=True))
        for number in range(2000):
            await engine.publish("test", number)
    assert len(world.venue.open_orders()) == left, "the exit stays whatever the rule"
    bodies = [e.body for e in world.events() if e.type == "test"]
    assert bodies == list(range(2000))
    assert world.server._lease is None
    assert world.disk.journal is None, "the journal is closed"
    with pytest.raises(EngineClosed):
        await engine.submit(ENTRY)
    with pytest.raises(EngineClosed):
        await engine.publish("test", 1)


@in_a_world
async def test_a_stop_without_bus_and_venue_does_not_hang_and_loses_nothing(world: World) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        world.server.down("killed")
        world.line.set_down("cut", silent=True)
        await engine.publish("test", "kept")
        before = world.clock.monotonic()
    assert world.clock.monotonic() - before < 15
    world.server.up()
    world.line.set_up()
    async with world.engine() as engine:
        await healthy(engine)
    assert [e.body for e in world.events() if e.type == "test"] == ["kept"]


@in_a_world
async def test_an_error_of_the_block_passes_as_it_is(world: World) -> None:
    async def block() -> None:
        async with world.engine() as engine:
            await healthy(engine)
            raise LookupError("the bot's own")

    with pytest.raises(LookupError, match="the bot's own"):
        await block()
    assert world.disk.journal is None


@pytest.mark.parametrize("dies", ["before the block ends", "at the last sync"])
@in_a_world
async def test_a_dead_disk_does_not_hide_the_error_of_the_block(world: World, dies: str) -> None:
    async def block() -> None:
        async with world.engine() as engine:
            await healthy(engine)
            await engine.submit(RESTING)
            await engine.publish("test", 1)
            world.disk.fail_syncs(10)
            if dies == "before the block ends":
                with pytest.raises(JournalFailed):
                    await engine.publish("test", 2, durability="power")
            raise LookupError("the bot's own")

    with pytest.raises(LookupError, match="the bot's own") as raised:
        await block()
    notes = " ".join(getattr(raised.value, "__notes__", ()))
    assert "sync" in notes or dies != "at the last sync"
    assert world.disk.journal is None


@pytest.mark.parametrize("how", ["returns", "is cancelled"])
def test_a_dead_disk_at_the_end_of_a_block_is_told(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        world = World()
        with anyio.CancelScope() as scope:
            async with world.engine() as engine:
                await healthy(engine)
                await engine.publish("test", 1)
                world.disk.fail_syncs(10)
                if how == "is cancelled":
                    scope.cancel()
                    await anyio.sleep_forever()
        assert scope.cancelled_caught

    if how == "is cancelled":
        run(main)
        assert "did not end cleanly" in caplog.text
    else:
        with pytest.raises(JournalFailed):
            run(main)


@in_a_world
async def test_what_fails_while_winding_down_does_not_hide_the_error_of_the_block(
    world: World,
) -> None:
    async def block() -> None:
        async with world.engine() as engine:
            await healthy(engine)

            async def fail() -> int:
                raise RuntimeError("a mistake")

            engine._core.execution.entries.cancel = fail  # type: ignore[method-assign]
            raise LookupError("the bot's own")

    with pytest.raises(LookupError, match="the bot's own") as raised:
        await block()
    assert "a mistake" in raised.value.__notes__[0]
    assert world.disk.journal is None


@in_a_world
async def test_a_cancelled_block_stops_cleanly(world: World) -> None:
    with anyio.move_on_after(5) as scope:
        async with world.engine() as engine:
            await healthy(engine)
            await engine.submit(RESTING)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert world.venue.open_orders() == []
    assert world.disk.journal is None


@in_a_world
async def test_no_order_opens_a_position_once_the_stop_has_begun(world: World) -> None:
    outcomes: list[str] = []
    async with anyio.create_task_group() as group, world.engine() as engine:
        await healthy(engine)
        world.venue.faults.arm("place", Fault.refusal(-1008, "overloaded", status=503))

        async def submit() -> None:
            try:
                await engine.submit(ENTRY)
            except (NotExecuted, TradingHalted, JournalError) as error:
                outcomes.append(type(error).__name__)

        group.start_soon(submit)
        await anyio.sleep(0.5)
    assert outcomes == ["NotExecuted"]
    assert world.venue.order_log == []


@in_a_world
async def test_a_bot_that_asks_again_at_once_does_not_keep_the_engine_from_recovering(
    world: World,
) -> None:
    """Refusals come without waiting: a loop over them would be all that the process does."""
    async with world.engine() as engine:
        await healthy(engine)
        await engine.halt("for a moment")
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(others)
            for refused, ask in (
                (TradingHalted, partial(engine.submit, ENTRY)),
                (InvalidOrder, partial(engine.submit, Order(ETH, "buy", "1"))),
                (InvalidOrder, partial(engine.cancel, "", "")),
                (InvalidPayload, partial(engine.publish, "", {})),
            ):
                before = turns
                with pytest.raises(refused):
                    await ask()
                assert turns > before, ask
            group.cancel_scope.cancel()


# --- holds -------------------------------------------------------------------------------


@in_a_world
async def test_a_halt_holds_until_resume_also_across_restarts(world: World) -> None:
    async with world.killed() as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        await engine.halt("I do not like this", by="owner")
        assert engine.state is State.DEGRADED
        assert engine.level() is Level.HALTED
        for order in (ENTRY, EXIT):
            with pytest.raises(TradingHalted):
                await engine.submit(order)
    async with world.killed() as engine:
        await anyio.sleep(60)
        assert engine.state is State.DEGRADED
        assert engine.status()["hold"] == "I do not like this"
        assert any("I do not like this" in why for why in engine.waiting_for)
        await engine.resume(by="owner")
        await healthy(engine)
    async with world.engine() as engine:
        await healthy(engine)


@in_a_world
async def test_resuming_what_was_not_halted_changes_nothing(world: World) -> None:
    """It must not shut a gate that nothing would open again."""
    async with world.engine() as engine:
        await healthy(engine)
        await engine.resume()
        assert engine.gate.is_open
        assert (await engine.submit(ENTRY)).status == "accepted"


@in_a_world
async def test_a_gate_shut_behind_the_engines_back_is_noticed_and_recovered_from(
    world: World,
) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        assert not {"shut", "open_if", "renew"} & set(dir(engine.gate)), "not for users"
        engine._core.gate.shut("a part of the engine that told nobody")
        with pytest.raises(TradingHalted, match="told nobody"):
            await engine.submit(ENTRY)
        await anyio.sleep(60)
        assert engine.gate.is_open
        assert (await engine.submit(ENTRY)).status == "accepted"


@pytest.mark.parametrize("first", [State.HEALTHY, State.DEGRADED])
@in_a_world
async def test_a_halt_that_can_not_be_written_down_halts_all_the_same(
    world: World, first: State
) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        if first is State.DEGRADED:
            world.server.down("killed")
        world.disk.reserve_bytes = 0
        world.disk.full = True
        with pytest.raises(JournalFull):
            await engine.halt("now", by="owner")
        assert engine.level() is Level.HALTED
        with pytest.raises(TradingHalted, match="now"):
            await engine.submit(EXIT)
        world.disk.full = False


@in_a_world
async def test_a_reason_that_can_not_be_encoded_halts_all_the_same(world: World) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        await engine.halt("bad byte \udcff in a pasted text")
        assert engine.level() is Level.HALTED
        await engine.resume()
        await healthy(engine)


@in_a_world
async def test_flatten_closes_everything_and_halts(world: World) -> None:
    world.venue.on_price(ETH, Decimal(3000))
    async with world.engine(symbols=(BTC, ETH)) as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        await engine.submit(RESTING)
        await engine.submit(Order(ETH, "sell", "0.5", price="3000"))
        await anyio.sleep(1)
        world.server.down("killed: the operator's switch needs no bus")
        reports = await engine.flatten(by="owner")
        assert {r.symbol for r in reports} == {BTC, ETH}
        await anyio.sleep(1)
        assert engine.positions() == []
        assert world.venue.positions() == []
        assert engine.status()["hold"] == "flatten"
        assert world.venue.open_orders() == []
        with pytest.raises(TradingHalted):
            await engine.submit(EXIT)
        assert await engine.flatten(by="owner") == []


@in_a_world
async def test_flatten_goes_on_when_one_position_can_not_be_closed(world: World) -> None:
    world.venue.on_price(ETH, Decimal(3000))
    async with world.engine(symbols=(BTC, ETH)) as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        await engine.submit(Order(ETH, "sell", "0.5", price="3000"))
        await anyio.sleep(1)
        world.venue.faults.arm("place", Fault.refusal(-1111, "precision"))
        with pytest.raises(ExceptionGroup, match="not closed") as failed:
            await engine.flatten()
        assert len(failed.value.exceptions) == 1
        await anyio.sleep(1)
        assert len(engine.positions()) == 1, "the other one is closed"


# --- faults ------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["bad byte \udcff", "x" * 5_000_000, ""])
@in_a_world
async def test_whatever_a_fault_is_called_it_is_recovered_from(world: World, reason: str) -> None:
    """A reason out of a broken reply may be neither text nor short."""
    async with world.engine() as engine:
        await healthy(engine)
        engine.fault("feed", reason)
        assert engine.state is State.DEGRADED
        await healthy(engine)
    assert len(world.server.log.entries) == len(world.events())


@in_a_world
async def test_a_listener_that_raises_stops_nothing(world: World) -> None:
    def broken(_: object) -> None:
        raise LookupError("a broken listener")

    async with world.engine() as engine:
        engine.on_transition(broken)
        engine.on_fill(broken)
        await healthy(engine)
        await engine.submit(ENTRY)
        await anyio.sleep(1)
        assert engine.position(BTC) == Decimal("0.010")
        engine.fault("feed", "gone")
        await healthy(engine)


def engine_on_the_real_loop() -> tuple[Engine, SimulatedVenue]:
    clock = SystemClock()
    server, disk = MemoryServer(), MemoryDisk()
    venue = SimulatedVenue(time_ns=clock.time_ns)
    venue.on_price(BTC, Decimal(64000))
    store = MemoryStore(server, clock=clock)
    engine = Engine(
        settings=Settings(
            bot="alpha", symbols=(BTC,), policy=PolicySettings(initial=Policy(Mode.NORMAL))
        ),
        journal=MemoryJournal.open(
            disk,
            clock=clock,
            randbits=SystemEntropy().randbits,
            on_fault=lambda reason: engine.fault("disk", reason),
        ),
        bus=MemoryBus(server),
        policy=store,
        lease=store,
        exchange=SimExecutionClient(LocalLine(venue)),
        clock=clock,
    )
    return engine, venue


def test_a_fault_from_another_thread_shuts_the_gate_before_it_returns() -> None:
    """On the real loop, since a simulated one has no threads."""

    async def main() -> None:
        engine, venue = engine_on_the_real_loop()
        async with engine:
            with anyio.fail_after(30):
                for _ in range(20):
                    await engine.until_healthy()
                    seen: list[bool] = []

                    def report(seen: list[bool] = seen) -> None:
                        engine.fault("feed", "gone")
                        seen.append(engine.gate.is_open)

                    thread = threading.Thread(target=report)
                    thread.start()
                    thread.join()
                    assert seen == [False]
                    assert not engine.gate.is_open
                    with pytest.raises(TradingHalted, match="gone"):
                        await engine.submit(ENTRY)
                    await engine.until(State.DEGRADED)
        assert venue.order_log == []

    anyio.run(main)


@pytest.mark.parametrize("elsewhere", [True, False], ids=["another thread", "the engine's own"])
def test_a_fault_reported_when_all_is_over_raises_nothing_into_the_transport(
    elsewhere: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread of a transport calls back late, or its destructor does: nobody is left to tell."""
    engines: list[Engine] = []

    async def main() -> None:
        engine, _ = engine_on_the_real_loop()
        engines.append(engine)
        async with engine:
            await healthy(engine)

    anyio.run(main)
    (engine,) = engines
    steps, epoch = engine.history, engine.gate.epoch
    raised: list[BaseException] = []

    def late() -> None:
        try:
            engine.fault("feed", "gone")
            engine._core.bus_link.down("gone")
        except BaseException as error:
            raised.append(error)

    if elsewhere:
        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
    else:
        late()
    assert raised == []
    assert engine.history == steps, "a machine that has ended does not move"
    assert not engine.gate.is_open
    assert engine.gate.epoch > epoch
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@in_a_world
async def test_a_burst_of_faults_ends_healthy(world: World) -> None:
    async with world.engine() as engine:
        for number in range(300):
            engine.fault("feed", f"number {number}")
            await anyio.sleep(0.003 * (number % 7))
        await healthy(engine)


# --- the disk ----------------------------------------------------------------------------


@in_a_world
async def test_a_full_disk_shuts_the_gate_lets_exits_out_and_is_recovered_from(
    world: World,
) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        await engine.submit(ENTRY)
        await anyio.sleep(1)
        world.disk.full = True
        with pytest.raises(JournalFull):
            await engine.submit(ENTRY)
        assert engine.state is State.DEGRADED
        assert not engine.gate.is_open
        with pytest.raises(JournalFull):
            await engine.publish("test", "no room")
        assert (await engine.submit(EXIT)).status == "accepted"
        await anyio.sleep(30)
        assert engine.state is State.DEGRADED
        assert engine.position(BTC) == Decimal("0.006")
        world.disk.full = False
        await healthy(engine)
        assert (await engine.submit(ENTRY)).status == "accepted"
    async with world.engine() as engine:
        await healthy(engine)
        assert engine.position(BTC) == Decimal("0.016")


@pytest.mark.parametrize("durability", list(Durability))
@in_a_world
async def test_a_failing_sync_is_a_fault_and_orders_are_not_lost(
    world: World, durability: Durability
) -> None:
    async with world.engine(orders=OrderSettings(durability=durability)) as engine:
        await healthy(engine)
        world.disk.failing_syncs = 1
        await anyio.sleep(0.1)
        try:
            await engine.submit(ENTRY)
        except (TradingHalted, NotExecuted):
            assert world.venue.order_log == []
        await healthy(engine)
        await engine.submit(ENTRY)
        await anyio.sleep(1)
        held = sum((h.quantity for _, _, h in world.venue.positions()), Decimal(0))
        assert engine.position(BTC) == held


# --- policy and lease --------------------------------------------------------------------


@in_a_world
async def test_set_policy_is_served_and_survives(world: World) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        served = await engine.set_policy(Policy(Mode.DEFENSIVE, updated_by="owner"))
        assert (served.active_mode, served.version) == (Mode.DEFENSIVE, 2)
        assert engine.policy == served
        await engine.set_policy(Policy(Mode.HALT))
        with pytest.raises(TradingHalted, match="HALT"):
            await engine.submit(ENTRY)
        await engine.submit(EXIT) if engine.positions() else None
    async with world.engine() as engine:
        await healthy(engine)
        assert engine.policy is not None
        assert (engine.policy.active_mode, engine.policy.version) == (Mode.HALT, 3)
    changed = [e.body for e in world.events() if e.type == "policy.changed"]
    assert [c["version"] for c in changed] == [1, 2, 3]


@pytest.mark.parametrize("on_empty", ["hold", "restore"])
@pytest.mark.parametrize("while_connected", [True, False])
@in_a_world
async def test_a_store_that_comes_back_empty(
    world: World, on_empty: Any, while_connected: bool
) -> None:
    settings = PolicySettings(initial=Policy(Mode.NORMAL), on_empty=on_empty)
    leases = LeaseSettings(ttl_seconds=2.0)
    async with world.engine(policy=settings, lease=leases) as engine:
        await healthy(engine)
        await engine.set_policy(Policy(Mode.DEFENSIVE))
        if not while_connected:
            world.server.down("killed")
        world.server.wipe()
        world.server.up()
        await anyio.sleep(20)
        if on_empty == "hold":
            assert not engine.gate.is_open, "no policy: the gate is shut, not only the door"
            assert engine.policy is None
            assert "came back without a policy (version 2 was seen)" in str(engine.policy_problem)
            await engine.set_policy(Policy(Mode.NORMAL))
        await healthy(engine)
        assert engine.policy is not None
        assert engine.policy.version == 3, "above everything ever seen"
        if on_empty == "restore":
            assert engine.policy.active_mode is Mode.DEFENSIVE


@in_a_world
async def test_a_second_instance_takes_over_and_the_first_lets_go(world: World) -> None:
    other_disk = MemoryDisk()
    async with world.engine() as first:
        await healthy(first)
        await first.submit(ENTRY)
        own, world.disk = world.disk, other_disk
        async with world.engine() as second:
            await anyio.sleep(30)
            assert second.state is State.DEGRADED
            assert second.level() is Level.HALTED
            assert any("another instance" in why for why in second.waiting_for)
            assert first.state is State.HEALTHY
            with pytest.raises(TradingHalted):
                await second.submit(EXIT)
        world.disk = own
        assert first.state is State.HEALTHY


# --- hedge mode --------------------------------------------------------------------------


def test_an_order_that_closes_a_hedged_side_is_an_exit() -> None:
    def snapshot(side: Any, position_side: Any, *, reduce_only: bool = False) -> OrderSnapshot:
        return OrderSnapshot(
            BTC,
            "cid",
            "1",
            side,
            Decimal(1),
            Decimal(1),
            Decimal(0),
            OrderStatus.OPEN,
            reduce_only=reduce_only,
            position_side=position_side,
        )

    assert snapshot("buy", "BOTH").opening
    assert not snapshot("buy", "BOTH", reduce_only=True).opening
    assert snapshot("buy", "LONG").opening
    assert not snapshot("sell", "LONG").opening
    assert snapshot("sell", "SHORT").opening
    assert not snapshot("buy", "SHORT").opening


@in_a_world
async def test_each_side_of_a_hedged_position_is_told(world: World) -> None:
    world.venue.hedge_mode = True
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.submit(Order(BTC, "buy", "0.030", position_side="LONG"))
        assert engine.position(BTC) == Decimal("0.030"), "who does not ask for a side sees it, too"
        await engine.submit(Order(BTC, "sell", "0.030", position_side="SHORT"))
        assert engine.position(BTC, "LONG") == Decimal("0.030")
        assert engine.position(BTC, "SHORT") == Decimal("-0.030")
        assert engine.position(BTC) == engine.position(BTC, "BOTH") == 0
        assert {p.position_side: p.quantity for p in engine.positions()} == {
            "LONG": Decimal("0.030"),
            "SHORT": Decimal("-0.030"),
        }
        with pytest.raises(InvalidOrder, match="position_side: 'long' is not one of BOTH, LONG"):
            engine.position(BTC, "long")  # type: ignore[arg-type]


@in_a_world
async def test_a_position_of_one_way_mode_is_of_no_side(world: World) -> None:
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.submit(Order(BTC, "sell", "0.030"))
        assert engine.position(BTC) == engine.position(BTC, "BOTH") == Decimal("-0.030")
        assert engine.position(BTC, "SHORT") == 0


@in_a_world
async def test_leaving_active_cancels_entries_of_a_hedged_account_and_keeps_its_exits(
    world: World,
) -> None:
    world.venue.hedge_mode = True
    async with world.engine() as engine:
        await healthy(engine)
        await engine.submit(Order(BTC, "buy", "0.010", price="64000", position_side="LONG"))
        await anyio.sleep(0.1)
        exit_ = await engine.submit(
            Order(BTC, "sell", "0.010", price="70000", position_side="LONG")
        )
        await engine.submit(Order(BTC, "buy", "0.010", price="60000", position_side="LONG"))
        world.server.down("killed")
        await anyio.sleep(1)
        (left,) = world.venue.open_orders()
        assert left.client_order_id == exit_.client_order_id


@in_a_world
async def test_an_undeclared_symbol_is_refused(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(InvalidOrder, match=r"engine\.symbols"):
            await engine.submit(Order(ETH, "buy", "1", price="3000"))


@in_a_world
async def test_a_journal_of_another_bot_is_refused(world: World) -> None:
    """Under another name its confirmed events would be sent again, as another producer's."""
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.publish("trade.opened", {"n": 1})
        await anyio.sleep(1)
    sent = len(world.server.log.entries)
    with pytest.raises(ConfigError, match=r"'alpha'.*'beta'.*state_dir"):
        async with world.engine(bot="beta"):
            raise AssertionError("not reached")
    assert len(world.server.log.entries) == sent
    async with world.engine() as engine:
        await engine.until_healthy()
