"""A repeated call with the same key is the same intent: never a second order, also after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, cast

import anyio
import pytest
from engine_world import World, delay_appends
from order_rig import BTC, OVERLOADED, Rig, healthy

from holdfast.errors import InvalidOrder, NotExecuted, OutcomeUnknown, Rejected, TradingHalted
from holdfast.journal import JournalFull, MemoryJournal
from holdfast.model import Order, OrderReport
from holdfast.policy import Limits, Mode, Policy
from holdfast.records import Resolved
from holdfast.settings import OrderSettings
from holdfast.simulation import run
from holdfast.states.table import State
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


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"quantity": "0.020"}, "quantity was 0.010, now it is 0.020"),
    ({"side": "sell"}, "side was buy, now it is sell"),
    ({"symbol": "ETH/USDT:USDT"}, "symbol was BTC/USDT:USDT, now it is ETH/USDT:USDT"),
    ({"price": "63000"}, "price was 64000, now it is 63000"),
    ({"price": None}, "price was 64000, now it is None"),
    ({"reduce_only": True}, "reduce_only was False, now it is True"),
    ({"position_side": "LONG"}, "position_side was BOTH, now it is LONG"),
    ({"time_in_force": "IOC"}, "time_in_force was GTC, now it is IOC"),
    (
        {"trigger": "stop", "trigger_price": "65000", "trigger_by": "mark"},
        "trigger was None, now it is stop, trigger_price was None, now it is 65000, "
        "trigger_by was last, now it is mark",
    ),
]


@pytest.mark.parametrize(("changes", "words"), OTHERS)
@pytest.mark.parametrize("ended", [True, False])
def test_the_same_key_for_another_order_is_an_error(
    changes: dict[str, Any], words: str, ended: bool
) -> None:
    async def body(rig: Rig) -> None:
        async with anyio.create_task_group() as group:
            if ended:
                await rig.engine.submit(keyed())
            else:
                rig.fail("place", OVERLOADED)
                group.start_soon(rig.engine.submit, keyed())
                await anyio.sleep(0.5)
            before = rig.core.journal.last_seq
            with pytest.raises(InvalidOrder, match=r"already stands for buy 0\.010 BTC") as error:
                await rig.engine.submit(keyed(**changes))
            assert words in str(error.value)
            assert rig.core.journal.last_seq == before
        assert len(rig.orders) == 1

    healthy(body)


@pytest.mark.parametrize("checkpointed", [True, False])
@pytest.mark.parametrize(("changes", "words"), OTHERS)
def test_the_same_key_for_another_order_is_an_error_after_a_kill(
    changes: dict[str, Any], words: str, checkpointed: bool
) -> None:
    async def main() -> None:
        world = World()
        symbols = (BTC, "ETH/USDT:USDT")
        world.venue.on_price("ETH/USDT:USDT", Decimal(64000))
        async with world.killed(symbols=symbols) as engine:
            await engine.until_healthy()
            await engine.submit(keyed())
            if checkpointed:
                engine._core.journal.wants_checkpoint = True
                await engine.publish("begin", "a new segment")
        async with world.engine(symbols=symbols) as engine:
            await engine.until_healthy()
            with pytest.raises(InvalidOrder, match=r"already stands for buy 0\.010 BTC") as error:
                await engine.submit(keyed(**changes))
            assert words in str(error.value)
            assert (await engine.submit(keyed())).status == "accepted"
        assert len(world.venue.order_log) == 1

    run(main)


def test_the_same_order_in_other_words_is_the_same() -> None:
    """How long it may be tried is no part of what is wanted; the venue's default is."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(keyed())
        for same in (
            {"deadline_seconds": 3},
            {"time_in_force": "GTC"},
            {"quantity": Decimal("0.01000")},
            {"price": 64000},
        ):
            assert (await rig.engine.submit(keyed(**same))).filled == Decimal("0.010")
        assert len(rig.orders) == 1

    healthy(body)


def test_a_forgotten_key_leaves_nothing_behind() -> None:
    async def body(rig: Rig) -> None:
        for number in range(102):
            await rig.engine.submit(keyed(f"k{number}", quantity="0.002"))
        ledger = rig.core.ledger
        assert set(ledger.terms) == set(ledger.keyed)
        assert len(ledger.keyed) == 100

    healthy(body, orders=OrderSettings(keys_kept=100))


def test_what_outgrows_a_segment_stops_trading_and_no_key_is_forgotten() -> None:
    """Open orders have no bound of their own: what is kept of them may not push keys out."""

    async def main() -> None:
        world = World()
        world.journal_options = {"segment_bytes": 1 << 14}
        async with world.engine(orders=OrderSettings(on_leaving_active="keep")) as engine:
            await engine.until_healthy()
            resting = [
                await engine.submit(keyed(f"k{number}", quantity="0.002", price="60000"))
                for number in range(30)
            ]
            journal = cast(MemoryJournal, engine._core.journal)
            journal.wants_checkpoint = True
            await engine.publish("begin", "a new segment")
            with pytest.raises(TradingHalted, match=r"no checkpoint: .*outbox\.segment_bytes"):
                await engine.submit(keyed("one more"))
            shut = engine._core.ledger.transitions
            await anyio.sleep(5)
            assert engine.state is State.DEGRADED
            assert engine._core.ledger.transitions == shut, "that smaller records go is no reason"
            assert set(engine._core.ledger.keyed) == {f"k{number}" for number in range(30)}
            for report in resting[:25]:
                await engine.cancel(BTC, report.client_order_id)
            with anyio.fail_after(30):
                await engine.until_healthy()
            assert not journal.wants_checkpoint

    run(main)


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


# --- journalled, but never sent ----------------------------------------------------------


@contextmanager
def faulty_after_journalling(rig: Rig) -> Iterator[None]:
    """Inside, the gate is shut between the record of an order and its write."""

    async def fault() -> None:
        rig.engine.fault("test", "between journal and write")

    end = delay_appends(rig.core.journal, after=fault)
    try:
        yield
    finally:
        end()


def test_what_was_never_sent_leaves_the_key_free() -> None:
    async def body(rig: Rig) -> None:
        for _ in range(2):
            with faulty_after_journalling(rig), pytest.raises(TradingHalted, match="between"):
                await rig.engine.submit(keyed())
            await rig.engine.until_healthy()
        assert rig.seconds("place") == []
        report = await rig.engine.submit(keyed())
        assert report.status == "accepted"
        again = await rig.engine.submit(keyed())
        assert again.client_order_id == report.client_order_id
        assert len(rig.orders) == 1
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize("killed_after", ["the refusal", "the second order"])
def test_after_a_kill_the_key_is_as_free_as_it_was(killed_after: str) -> None:
    async def main() -> None:
        world = World()
        cid = ""
        async with world.killed() as engine:
            await engine.until_healthy()
            with faulty_after_journalling(Rig(world, engine)), pytest.raises(TradingHalted):
                await engine.submit(keyed())
            if killed_after == "the second order":
                await engine.until_healthy()
                cid = (await engine.submit(keyed())).client_order_id
        async with world.engine() as engine:
            await engine.until_healthy()
            report = await engine.submit(keyed())
            assert report.status == "accepted"
            assert cid in ("", report.client_order_id)
        assert len(world.venue.order_log) == 1

    run(main)


def test_who_waits_on_a_call_that_never_sends_looks_again() -> None:
    async def body(rig: Rig) -> None:
        ended: list[object] = []

        async def submit() -> None:
            try:
                ended.append((await rig.engine.submit(keyed())).status)
            except Exception as error:
                ended.append(type(error))

        with faulty_after_journalling(rig):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(submit)
        assert ended == [TradingHalted] * 3, "one was refused at its write, two at the gate"
        await rig.engine.until_healthy()
        assert (await rig.engine.submit(keyed())).status == "accepted"

    healthy(body)


def test_a_key_is_not_free_if_that_could_not_be_journalled() -> None:
    """After a kill nobody could tell that the order had not been sent: so not before either."""

    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await engine.until_healthy()
            write = engine._core.recorder.write

            def full(fact: Any) -> int:
                if isinstance(fact, Resolved):
                    raise JournalFull("no room")
                return write(fact)

            engine._core.recorder.write = full  # type: ignore[method-assign]
            with faulty_after_journalling(Rig(world, engine)), pytest.raises(TradingHalted):
                await engine.submit(keyed())
            await engine.until_healthy()
            with pytest.raises(NotExecuted, match="halted before the write"):
                await engine.submit(keyed())
        async with world.engine() as engine:
            with pytest.raises(NotExecuted, match="proven absent"):
                await engine.submit(keyed())
            await engine.until_healthy()
            with pytest.raises(NotExecuted):
                await engine.submit(keyed())
        assert world.venue.order_log == []

    run(main)


@pytest.mark.parametrize("gate_at_the_second", ["permit", "write"])
def test_what_was_sent_once_uses_up_its_key_whatever_the_gate_did(gate_at_the_second: str) -> None:
    """The first attempt was refused by the venue; the second met a gate that was shut."""

    async def body(rig: Rig) -> None:
        rig.fail("place", OVERLOADED)
        async with anyio.create_task_group() as group:

            async def shut() -> None:
                await anyio.sleep(0.5)
                if gate_at_the_second == "permit":
                    rig.world.server.down("killed")
                    return
                with faulty_after_journalling(rig):
                    await anyio.sleep(1)

            group.start_soon(shut)
            with pytest.raises(NotExecuted, match=r"killed|between journal and write") as first:
                await rig.engine.submit(keyed())
        assert first.value.intent.report is not None
        assert first.value.intent.report.attempts == 1
        rig.world.server.up()
        await rig.engine.until_healthy()
        with pytest.raises(NotExecuted) as second:
            await rig.engine.submit(keyed())
        assert second.value.reason == first.value.reason
        assert len(rig.seconds("place")) == 1
        assert rig.orders == []
        rig.assert_clean()

    healthy(body)


def test_a_policy_that_changes_its_mind_at_the_write_leaves_the_key_free() -> None:
    async def body(rig: Rig) -> None:
        async def change() -> None:
            current = rig.world.server.policy
            assert current is not None
            forbidding = Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(1)))
            rig.world.server.compare_and_set(forbidding, current.policy.version)
            await rig.core.policy.reload()

        end = delay_appends(rig.core.journal, after=change)
        with pytest.raises((Rejected, TradingHalted)):
            await rig.engine.submit(keyed())
        end()
        assert rig.seconds("place") == []
        await rig.engine.set_policy(Policy(Mode.NORMAL))
        await rig.engine.until_healthy()
        assert (await rig.engine.submit(keyed())).status == "accepted"

    healthy(body)


def test_a_caller_who_left_before_the_write_may_come_back() -> None:
    async def body(rig: Rig) -> None:
        end = delay_appends(rig.core.journal, after=lambda: anyio.sleep(1))
        with anyio.move_on_after(0.5):
            await rig.engine.submit(keyed())
        end()
        assert rig.seconds("place") == []
        assert (await rig.engine.submit(keyed())).status == "accepted"
        assert len(rig.orders) == 1

    healthy(body)


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
