"""Every class of outcome: what the caller is told, and how often the venue had the order."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from engine_world import World, delay_appends
from order_rig import BTC, ENTRY, ETH, EXIT, OVERLOADED, RESTING, Rig, healthy

from holdfast.errors import (
    EngineClosed,
    InvalidOrder,
    NotExecuted,
    OutcomeUnknown,
    Rejected,
    TradingHalted,
)
from holdfast.model import Order, OrderStatus
from holdfast.settings import LinkSettings, OrderSettings
from holdfast.simulation import run
from holdfast.states.table import Level, State
from holdfast.transports.sim.faults import Fault, RequestKind
from holdfast.transports.sim.records import OrderTicket

UNANSWERED = [Fault.lost_request()] * 1000


# --- accepted, not executed, rejected ----------------------------------------------------


def test_accepted() -> None:
    async def body(rig: Rig) -> None:
        report = await rig.engine.submit(ENTRY)
        assert (report.status, report.attempts) == ("accepted", 1)
        assert report.order_status is OrderStatus.FILLED
        assert report.filled == Decimal("0.010")
        await anyio.sleep(1)
        assert rig.engine.position(BTC) == Decimal("0.010")
        rig.assert_clean()

    healthy(body)


def test_not_executed_is_sent_again_after_one_two_and_four_seconds() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", OVERLOADED, OVERLOADED, OVERLOADED)
        report = await rig.engine.submit(ENTRY)
        assert report.attempts == 4
        assert rig.waits() == [1.0, 2.0, 4.0]
        assert len(rig.orders) == 1
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body)


def test_attempts_run_out() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", *[OVERLOADED] * 4)
        with pytest.raises(NotExecuted, match="not executed in 4 attempts"):
            await rig.engine.submit(ENTRY)
        assert rig.orders == []
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize("order", [ENTRY, EXIT])
def test_the_deadline_ends_it_before_a_wait_that_would_end_later(order: Order) -> None:
    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        before = rig.world.clock.monotonic()
        rig.asked.clear()
        rig.fail("place", *[OVERLOADED] * 4)
        short = Order(
            order.symbol,
            order.side,
            order.quantity,
            price=order.price,
            reduce_only=order.reduce_only,
            deadline_seconds=2.5,
        )
        with pytest.raises(NotExecuted, match="deadline"):
            await rig.engine.submit(short)
        assert len(rig.seconds("place")) == 2
        assert rig.world.clock.monotonic() - before < 2.5
        rig.assert_clean()

    healthy(body)


def test_an_exit_is_tried_until_the_venue_takes_it() -> None:
    """However long that takes: neither the attempts nor the deadline of an entry end it."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.asked.clear()
        rig.fail("place", *[OVERLOADED] * 50)
        report = await rig.engine.submit(EXIT)
        assert report.attempts == 51
        assert rig.waits() == [1.0, 2.0, *[4.0] * 48]
        await anyio.sleep(1)
        assert rig.engine.position(BTC) == Decimal("0.006")
        rig.assert_clean()

    healthy(body)


def test_an_exit_that_nobody_can_ask_for_is_waited_for_and_sent_again() -> None:
    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.asked.clear()
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *UNANSWERED[:20])
        report = await rig.engine.submit(EXIT)
        assert (report.status, report.attempts) == ("accepted", 2)
        assert rig.waits()[0] > 30
        assert len(rig.orders) == 2

    healthy(body)


def test_an_exit_ends_with_its_caller() -> None:
    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.fail("place", *[OVERLOADED] * 50)
        with anyio.move_on_after(30):
            await rig.engine.submit(EXIT)
        sent = len(rig.seconds("place"))
        await anyio.sleep(60)
        assert len(rig.seconds("place")) == sent
        rig.assert_clean()

    healthy(body)


def test_an_exit_that_is_tried_for_long_is_tried_on_no_more_than_once_a_second() -> None:
    """And its journal stays small: every attempt is remembered, not each one's stamp."""

    async def body(rig: Rig) -> None:
        await rig.engine.submit(ENTRY)
        rig.asked.clear()
        rig.fail("place", *[OVERLOADED] * 5000)
        with anyio.move_on_after(600):
            await rig.engine.submit(EXIT)
        assert rig.waits()[:3] == [0.0, 1.0, 1.0]
        assert 560 < len(rig.waits()) <= 600
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body, orders=OrderSettings(backoff_seconds=(0.0,)))


def test_jitter_stays_within_its_share() -> None:
    async def body(rig: Rig) -> None:
        for _ in range(20):
            rig.fail("place", OVERLOADED)
            rig.asked.clear()
            await rig.engine.submit(Order(BTC, "buy", "0.002", price="64000"))
            (wait,) = [b - a for a, b in [rig.seconds("place")]]
            assert 0.8 <= wait <= 1.25
        assert rig.engine.state is State.HEALTHY

    healthy(body, orders=OrderSettings(backoff_jitter=0.2))


@pytest.mark.parametrize("code", [-2019, -4164, -1111])
def test_rejected_is_never_sent_again(code: int) -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.refusal(code, "no"))
        with pytest.raises(Rejected) as refused:
            await rig.engine.submit(ENTRY)
        assert refused.value.code == code
        assert len(rig.seconds("place")) == 1
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize(
    "order",
    [
        Order(BTC, "buy", "0.0001", price="64000"),
        Order(BTC, "buy", "0.0105", price="64000"),
        Order(BTC, "buy", "0.010", price="64000.001"),
        Order(BTC, "buy", "1e27", price="64000"),
        Order(BTC, "buy", "1e-27", price="64000"),
        Order(BTC, "buy", "0.010", price="1e27"),
        Order("DOGE/USDT:USDT", "buy", "1"),
    ],
)
def test_what_the_venue_would_refuse_is_refused_here(order: Order) -> None:
    async def body(rig: Rig) -> None:
        before = rig.engine.status()["journal"]["records"]
        with pytest.raises(InvalidOrder):
            await rig.engine.submit(order)
        assert rig.seconds("place") == []
        assert rig.engine.status()["journal"]["records"] == before

    healthy(body)


# --- unknown ----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_seconds", [0.1, 3.0])
def test_a_request_lost_before_acceptance_is_proven_absent_then_sent_again(
    timeout_seconds: float,
) -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.lost_request())
        report = await rig.engine.submit(ENTRY)
        assert (report.status, report.attempts) == ("accepted", 2)
        assert len(rig.orders) == 1
        first, second = [a for a in rig.asked if a.kind == "place"]
        # The venue takes nothing later than stamp + recvWindow; on top of it the margin.
        assert second.venue_ms >= first.venue_ms - 20 + 2000 + 500
        denials = [a for a in rig.asked if a.kind == "query" and a.venue_ms < second.venue_ms]
        assert len([d for d in denials if d.venue_ms >= first.venue_ms - 20 + 2500]) >= 2
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body, orders=OrderSettings(timeout_seconds=timeout_seconds))


@pytest.mark.parametrize(
    "fault",
    [
        Fault.lost_reply(),
        Fault(executes=True, reply="reset"),
        Fault(executes=True, reply="truncated"),
        Fault(executes=True, reply="error", status=503, message="Unknown error"),
        Fault(executes=True, reply="error", status=500, code=-1000, message="unknown"),
        Fault(executes=True, reply="error", status=400, code=-1007, message="timeout"),
        Fault(executes=True, reply="error", status=400, code=-4116, message="duplicated"),
    ],
    ids=["lost", "reset", "truncated", "503", "-1000", "-1007", "exists"],
)
def test_a_reply_lost_after_acceptance_is_found(fault: Fault) -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", fault)
        report = await rig.engine.submit(ENTRY)
        assert (report.status, report.attempts) == ("accepted", 1)
        assert len(rig.orders) == 1
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body)


def test_a_late_arrival_is_found_and_not_sent_twice() -> None:
    """The request waits two seconds in front of the venue, longer than any reply is awaited."""

    async def body(rig: Rig) -> None:
        rig.fail("place", Fault(delay_before_seconds=1.9))
        report = await rig.engine.submit(ENTRY)
        assert report.status == "accepted"
        await anyio.sleep(10)
        assert len(rig.orders) == 1
        rig.assert_clean()

    healthy(body, orders=OrderSettings(timeout_seconds=0.5))


def test_a_lagging_query_is_no_proof_of_absence() -> None:
    """Taken, reply lost, and for two seconds the venue's queries do not show it."""

    async def body(rig: Rig) -> None:
        rig.venue.faults.query_lag_ms = 2400
        rig.fail("place", Fault.lost_reply())
        report = await rig.engine.submit(ENTRY)
        assert (report.status, report.attempts) == ("accepted", 1)
        assert len(rig.orders) == 1

    healthy(body, orders=OrderSettings(timeout_seconds=0.2))


def test_could_not_ask_is_no_answer_however_often() -> None:
    async def body(rig: Rig) -> None:
        engine = rig.engine
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *UNANSWERED[:20])
        with pytest.raises(OutcomeUnknown) as unknown:
            await engine.submit(ENTRY)
        assert rig.world.clock.monotonic() > 10
        await anyio.sleep(10)
        assert engine.status()["unknown_orders"] == [unknown.value.intent.client_order_id]
        assert len(rig.seconds("place")) == 1
        report = await unknown.value.intent.resolved()
        assert report.status == "not_executed"
        assert report == await unknown.value.resolved()
        assert rig.orders == []
        await anyio.sleep(1)
        rig.assert_clean()
        assert any(e.type == "execution.order_resolved" for e in rig.world.events())

    healthy(body)


def test_an_order_found_long_after_the_caller_was_told_unknown() -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", Fault.lost_reply())
        rig.venue.faults.arm_stream("drop", count=2)
        rig.fail("query", *UNANSWERED[:5])
        with pytest.raises(OutcomeUnknown) as unknown:
            await rig.engine.submit(ENTRY)
        report = await unknown.value.intent.resolved()
        assert report.status == "accepted"
        await anyio.sleep(60)
        assert rig.engine.position(BTC) == Decimal("0.010"), "its missed fill was fetched"
        rig.assert_clean()

    healthy(body)


def test_while_unknown_its_symbol_is_reducing_and_others_trade() -> None:
    async def body(rig: Rig) -> None:
        engine = rig.engine
        await engine.submit(ENTRY)
        rig.fail("place", Fault.lost_request())
        async with anyio.create_task_group() as group:
            group.start_soon(engine.submit, RESTING)
            await anyio.sleep(3.1)
            assert (engine.level(), engine.level(BTC), engine.level(ETH)) == (
                Level.ACTIVE,
                Level.REDUCING,
                Level.ACTIVE,
            )
            with pytest.raises(TradingHalted, match="may only be reduced"):
                await engine.submit(ENTRY)
            assert (await engine.submit(EXIT)).status == "accepted"
            other = Order(ETH, "buy", "0.010", price="64000")
            assert (await engine.submit(other)).status == "accepted"
        assert engine.level(BTC) is Level.ACTIVE
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body)


# --- the engine is closed before there is evidence ---------------------------------------


@pytest.mark.parametrize("began", ["before the end", "after it"])
def test_who_waits_for_an_outcome_is_told_that_the_engine_was_closed(began: str) -> None:
    async def main() -> None:
        world = World()
        errors: list[EngineClosed] = []
        async with anyio.create_task_group() as group:
            async with world.engine() as engine:
                await engine.until_healthy()
                rig = Rig(world, engine)
                rig.fail("place", Fault.lost_request())
                rig.fail("query", *UNANSWERED)
                with pytest.raises(OutcomeUnknown) as unknown:
                    await engine.submit(ENTRY)

                async def wait() -> None:
                    with pytest.raises(EngineClosed, match="at the next start") as closed:
                        await unknown.value.resolved()
                    errors.append(closed.value)

                if began == "before the end":
                    group.start_soon(wait)
                    await anyio.sleep(0.1)
            if began == "after it":
                group.start_soon(wait)
            await anyio.sleep(60)
            assert errors, "it waits for ever"
            assert unknown.value.intent.client_order_id in str(errors[0])
        world.venue.faults.decide = None
        async with world.engine() as engine:
            await engine.until_healthy()
            assert engine.status()["unknown_orders"] == []

    run(main)


def test_a_call_under_way_is_told_unknown_as_soon_as_the_engine_is_closed() -> None:
    async def main() -> None:
        world = World()
        told: list[tuple[str, float]] = []
        order = Order(BTC, "buy", "0.010", price="64000", key="signal-1", deadline_seconds=3000)
        async with anyio.create_task_group() as group:
            async with world.engine() as engine:
                await engine.until_healthy()
                rig = Rig(world, engine)
                rig.fail("place", Fault.lost_request())
                rig.fail("query", *UNANSWERED)

                async def submit() -> None:
                    with pytest.raises(OutcomeUnknown) as unknown:
                        await engine.submit(order)
                    told.append((str(unknown.value), world.clock.monotonic()))

                for _ in range(2):  # one drives it, the other waits on its key
                    group.start_soon(submit)
                await anyio.sleep(10)
            closed_at = world.clock.monotonic()
        assert [at <= closed_at + 1 for _, at in told] == [True, True]
        assert all("closed" in why for why, _ in told)

    run(main)


# --- it exists already -------------------------------------------------------------------


def next_id(rig: Rig) -> str:
    """The client order id that the next order will get."""
    from holdfast.intent import client_order_id

    orders = rig.core.execution.orders
    return client_order_id(
        "alpha",
        incarnation=rig.core.journal.incarnation,
        fencing_token=orders.fencing_token,
        number=orders._number + 1,
    )


@pytest.mark.parametrize(
    ("wrong", "changes"),
    [
        ("side", {"side": "sell"}),
        ("quantity", {"quantity": Decimal("0.020")}),
        ("price", {"price": Decimal(59000)}),
    ],
)
def test_an_order_under_our_id_that_is_not_ours_is_not_adopted(
    wrong: str, changes: dict[str, object]
) -> None:
    async def body(rig: Rig) -> None:
        meant = {"side": "buy", "quantity": RESTING.quantity, "price": RESTING.price}
        if wrong == "side":
            changes["price"] = Decimal(70000)
        rig.venue.place(
            OrderTicket(symbol=BTC, client_order_id=next_id(rig), **{**meant, **changes})
        )
        with pytest.raises(Rejected, match=f"the id belongs to another order: {wrong}"):
            await rig.engine.submit(RESTING)

    healthy(body)


def test_the_very_order_is_adopted() -> None:
    async def body(rig: Rig) -> None:
        cid = next_id(rig)
        rig.venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id=cid,
                side="buy",
                quantity=RESTING.quantity,
                price=RESTING.price,
            )
        )
        report = await rig.engine.submit(RESTING)
        assert (report.status, report.client_order_id) == ("accepted", cid)
        assert len(rig.orders) == 1
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body)


# --- throttled, banned, refused as such, clock -------------------------------------------


def test_throttled_waits_as_long_as_the_venue_asks() -> None:
    async def body(rig: Rig) -> None:
        rig.fail(
            "place",
            Fault(executes=False, reply="error", status=429, code=-1003, retry_after_seconds=5),
        )
        report = await rig.engine.submit(ENTRY)
        assert report.attempts == 2
        assert rig.waits() == [5.0]
        assert rig.engine.state is State.HEALTHY

    healthy(body)


def test_throttled_beyond_the_deadline_is_given_up() -> None:
    async def body(rig: Rig) -> None:
        rig.fail(
            "place",
            Fault(executes=False, reply="error", status=429, code=-1003, retry_after_seconds=60),
        )
        with pytest.raises(NotExecuted, match="deadline"):
            await rig.engine.submit(ENTRY)
        assert rig.orders == []
        rig.assert_clean()

    healthy(body)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(executes=False, reply="error", status=418, code=-1003, retry_after_seconds=30),
        Fault.refusal(-2015, "Invalid API-key, IP, or permissions for action.", status=401),
    ],
    ids=["banned", "auth"],
)
def test_a_venue_that_refuses_us_shuts_the_gate_and_is_recovered_from(fault: Fault) -> None:
    async def body(rig: Rig) -> None:
        rig.fail("place", fault)
        with pytest.raises(NotExecuted):
            await rig.engine.submit(ENTRY)
        assert rig.engine.state is State.DEGRADED
        with pytest.raises(TradingHalted):
            await rig.engine.submit(ENTRY)
        with anyio.fail_after(300):
            await rig.engine.until_healthy()
        assert (await rig.engine.submit(ENTRY)).status == "accepted"
        assert len(rig.orders) == 1

    healthy(body)


@pytest.mark.parametrize("skew_ms", [-5000, 5000])
def test_a_refused_stamp_is_made_anew_from_the_venues_clock(skew_ms: int) -> None:
    async def body(rig: Rig) -> None:
        rig.venue.faults.clock_skew_ms = skew_ms
        report = await rig.engine.submit(ENTRY)
        assert report.attempts == 2
        assert len(rig.orders) == 1
        await anyio.sleep(1)
        rig.assert_clean()

    healthy(body, link_settings=LinkSettings(max_clock_skew_seconds=None))


def test_a_clock_that_jumped_takes_no_order_before_the_books_are_compared_again() -> None:
    async def body(rig: Rig) -> None:
        rig.venue.faults.clock_skew_ms = 5000
        with pytest.raises(NotExecuted, match=r"gate shut .* clock was set by"):
            await rig.engine.submit(ENTRY)
        assert rig.orders == []
        rig.venue.faults.clock_skew_ms = 0
        await rig.engine.until_healthy()
        assert (await rig.engine.submit(ENTRY)).status == "accepted"

    healthy(body)


def test_a_silence_asked_for_by_one_reply_is_kept_by_every_order_and_question() -> None:
    throttled = Fault(executes=False, reply="error", status=429, code=-1003, retry_after_seconds=5)

    async def body(rig: Rig) -> None:
        rig.fail("place", OVERLOADED, Fault.lost_request(), throttled)
        ended: list[str] = []

        async def submit(order: Order) -> None:
            ended.append((await rig.engine.submit(order)).status)

        async with anyio.create_task_group() as group:
            group.start_soon(submit, ENTRY)  # sent again after a second
            group.start_soon(
                submit, Order(ETH, "buy", "0.020", price="64000")
            )  # asked for after half of one
            await anyio.sleep(0.4)
            group.start_soon(submit, Order(BTC, "buy", "0.010", price="60000"))
        silent_from = rig.seconds("place")[2]
        asked = [a for a in rig.asked if a.kind in ("place", "query") and a.seconds > silent_from]
        assert min(a.seconds for a in asked) >= silent_from + 5
        assert ended == ["accepted"] * 3

    healthy(body, orders=OrderSettings(timeout_seconds=0.5))


@pytest.mark.parametrize("order", [ENTRY, EXIT], ids=["entry", "exit"])
def test_an_attempt_that_another_orders_429_holds_back_counts_for_nothing(order: Order) -> None:
    """It has not left: it uses up no try, makes no wait longer, and goes when the silence ends."""

    async def body(rig: Rig) -> None:
        if not order.opening:
            await rig.engine.submit(ENTRY)
            rig.asked.clear()
        rig.fail("place", OVERLOADED)
        silent_until: list[float] = []

        async def while_it_is_written_down() -> None:
            if len(rig.seconds("place")) == 1 and not silent_until:
                rig.core.execution.silence.keep(0.7)  # as after another order's reply
                silent_until.append(anyio.current_time() + 0.7)

        delay_appends(rig.core.journal, before=while_it_is_written_down)
        report = await rig.engine.submit(order)
        assert report.attempts == len(rig.seconds("place")) == 2
        assert rig.seconds("place")[1] == pytest.approx(silent_until[0], abs=0.01)

    healthy(body)


def test_a_disk_that_takes_no_second_attempt_leaves_an_order_that_was_sent() -> None:
    """`JournalFull` says that nothing was ever sent; of this one an attempt was."""

    async def body(rig: Rig) -> None:
        rig.fail("place", OVERLOADED)
        async with anyio.create_task_group() as group:

            async def fill_the_disk() -> None:
                await anyio.sleep(0.5)
                rig.world.disk.full = True

            group.start_soon(fill_the_disk)
            with pytest.raises(NotExecuted, match="disk is full") as error:
                await rig.engine.submit(ENTRY)
        assert error.value.intent.report is not None
        assert error.value.intent.report.attempts == 1
        assert len(rig.seconds("place")) == 1

    healthy(body)


def test_a_new_order_that_lists_do_not_show_yet_is_not_written_off_by_a_slow_clock() -> None:
    """Asked for too early, and then the venue took its time to say how late it was."""

    async def body(rig: Rig) -> None:
        faults = rig.venue.faults

        def slow_after_a_question(kind: RequestKind, now_ms: int) -> None:
            if kind == "query":
                faults.arm("probe", Fault(delay_before_seconds=0.6))

        faults.query_lag_ms = 450
        report = await rig.engine.submit(RESTING)
        faults.decide = slow_after_a_question
        rig.engine.fault("test", "the books are compared at once")
        with anyio.fail_after(60):
            await rig.engine.until_healthy()
        assert [o.client_order_id for o in rig.engine.open_orders()] == [report.client_order_id]

    healthy(body, orders=OrderSettings(on_leaving_active="keep"))


# --- the gate in the middle --------------------------------------------------------------


@pytest.mark.parametrize("opened_again", [True, False])
def test_an_entry_is_not_sent_through_a_gate_that_was_shut_meanwhile(opened_again: bool) -> None:
    """At another moment it would be another trade, at another price."""

    async def body(rig: Rig) -> None:
        gate = rig.core.gate

        async def shut() -> None:
            await anyio.sleep(1.5)  # in the pause of two seconds
            if opened_again:
                assert gate.open_if(gate.shut("for a moment"))
            else:
                rig.world.server.down("killed")

        rig.fail("place", OVERLOADED, OVERLOADED)
        async with anyio.create_task_group() as group:
            group.start_soon(shut)
            if opened_again:
                with pytest.raises(NotExecuted, match="the gate was shut since"):
                    await rig.engine.submit(ENTRY)
            else:
                with pytest.raises(NotExecuted, match="killed"):
                    await rig.engine.submit(ENTRY)
        assert len(rig.seconds("place")) == 2
        assert rig.orders == []
        rig.world.server.up()
        await rig.engine.until_healthy()
        rig.assert_clean()

    healthy(body)


def test_exits_pass_while_degraded_also_between_their_attempts() -> None:
    async def body(rig: Rig) -> None:
        engine = rig.engine
        await engine.submit(ENTRY)
        rig.fail("place", OVERLOADED)
        async with anyio.create_task_group() as group:

            async def outage() -> None:
                await anyio.sleep(0.5)
                rig.world.server.down("killed")

            group.start_soon(outage)
            report = await engine.submit(EXIT)
        assert report.attempts == 2
        assert engine.state is State.DEGRADED
        assert (await engine.submit(EXIT)).status == "accepted"
        with pytest.raises(TradingHalted):
            await engine.submit(ENTRY)
        assert engine.position(BTC) == Decimal("0.002")

    healthy(body)


def test_no_write_after_the_gate_was_shut_while_the_request_was_prepared() -> None:
    """The permit is asked again at the last moment: here the shut falls into the journalling."""

    async def body(rig: Rig) -> None:
        async def fault() -> None:
            rig.engine.fault("test", "between journal and write")

        end = delay_appends(rig.core.journal, after=fault)
        with pytest.raises(TradingHalted):
            await rig.engine.submit(ENTRY)
        end()
        assert rig.orders == []
        assert rig.seconds("place") == []
        await rig.engine.until_healthy()
        rig.assert_clean()

    healthy(body)


def test_a_fill_that_the_reply_tells_of_and_the_stream_has_lost_is_looked_for_soon() -> None:
    """Until the next audit a bot would see no position, and order again."""

    async def body(rig: Rig) -> None:
        rig.venue.faults.arm_stream("drop", count=2)
        report = await rig.engine.submit(ENTRY)
        assert report.filled == Decimal("0.010")
        assert rig.engine.position(BTC) == 0
        await anyio.sleep(10)
        assert rig.engine.position(BTC) == Decimal("0.010")
        await rig.engine.until_healthy()
        asked = len(rig.seconds("snapshot"))
        await rig.engine.submit(ENTRY)
        await anyio.sleep(10)
        assert len(rig.seconds("snapshot")) == asked, "one that was told costs no question"
        rig.assert_clean()

    healthy(body)
