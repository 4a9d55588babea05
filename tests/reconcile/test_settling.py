"""Reconciliation end to end: what each rule does, and what waits for a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from engine_world import BTC, World

from holdfast.engine import Engine
from holdfast.errors import InvalidOrder, LinkDown, TradingHalted
from holdfast.journal import JournalError
from holdfast.model import Order, OrderStatus, Position
from holdfast.settings import OrderSettings, ReconcileSettings
from holdfast.simulation import run
from holdfast.states.table import State, Trigger
from holdfast.transports.sim.faults import Fault
from holdfast.transports.sim.records import OrderTicket

ETH = "ETH/USDT:USDT"
ENTRY = Order(BTC, "buy", "0.010", price="64000")
RESTING = Order(BTC, "buy", "0.010", price="60000")
KEEP = OrderSettings(on_leaving_active="keep")


def ticket(symbol: str = BTC, **changes: Any) -> OrderTicket:
    given: dict[str, Any] = {
        "symbol": symbol,
        "client_order_id": "web_1",
        "side": "buy",
        "quantity": Decimal("0.030"),
        "price": Decimal(64000),
        "foreign": True,
    }
    return OrderTicket(**{**given, **changes})


def rules(**by_kind: Any) -> ReconcileSettings:
    return ReconcileSettings(rules=by_kind)


async def stays_shut(engine: Engine, world: World, *, seconds: float = 120) -> None:
    """The engine waits, without stalling, and trades nothing."""
    orders = len(world.venue.order_log)
    steps = len(engine.history)
    await anyio.sleep(seconds)
    assert engine.state is State.RECONCILING
    assert [s for s in engine.history[steps:] if s.trigger == "stalled"] == []
    with pytest.raises(TradingHalted):
        await engine.submit(ENTRY)
    assert len(world.venue.order_log) == orders
    assert any("operator" in why for why in engine.waiting_for)


async def healthy(engine: Engine, *, seconds: float = 60) -> None:
    with anyio.fail_after(seconds):
        await engine.until_healthy()


def equal(engine: Engine, world: World) -> None:
    held = {b.market.symbol: h.quantity for b, _, h in world.venue.positions()}
    assert {p.symbol: p.quantity for p in engine.positions()} == held


def last_reconciled(world: World) -> dict[str, Any]:
    events = [e for e in world.events() if e.type == "execution.positions_reconciled"]
    body: dict[str, Any] = events[-1].body
    return body


# --- the first start ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["position", "order", "both"])
def test_a_first_start_with_anything_in_the_account_trades_nothing_without_consent(
    what: str,
) -> None:
    async def main() -> None:
        world = World()
        if what != "order":
            world.venue.place(ticket())
        if what != "position":
            world.venue.place(ticket(client_order_id="web_2", price=Decimal(50000)))
        async with world.engine() as engine:
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            assert len(engine.status()["differences"]) == (2 if what == "both" else 1)
            assert len(await engine.reconcile()) == (2 if what == "both" else 1)

            settled = await engine.adopt(by="owner")
            assert len(settled) == (2 if what == "both" else 1)
            await healthy(engine)
            equal(engine, world)
            assert engine.status()["differences"] == []
            assert len(world.venue.open_orders()) == (0 if what == "position" else 1)
        # The consent lasts: the next start asks nobody.
        async with world.engine() as engine:
            await healthy(engine)

    run(main)


@pytest.mark.parametrize("told", [True, False])
def test_a_venue_whose_positions_lag_hides_no_trade_of_another_hand(told: bool) -> None:
    """It is in the list of trades already, or else the books would be found equal."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await healthy(engine)
            world.venue.faults.position_lag_ms = 200
            if not told:
                world.venue.faults.arm_stream("drop", count=2)
            world.venue.place(ticket())
            engine.fault("bus", "it hiccuped")
            with anyio.move_on_after(5):
                await engine.until_healthy()
            assert engine.state is State.RECONCILING
            assert [d.split()[0] for d in engine.status()["differences"]] == ["orphan_position"]

    run(main)


@pytest.mark.parametrize("whose", ["another hand's", "of an earlier life"])
def test_a_first_look_misses_no_trade_of_a_moment_before(whose: str) -> None:
    """Nothing was counted yet, so there is no list of trades: the latest one is asked for."""

    async def main() -> None:
        world = World()
        world.venue.faults.position_lag_ms = 200
        client_order_id = "web_1" if whose == "another hand's" else "hf-alpha-1-1-1"
        world.venue.place(ticket(client_order_id=client_order_id))
        async with world.engine() as engine:
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            assert [d.split()[0] for d in engine.status()["differences"]] == ["orphan_position"]

    run(main)


def test_an_exit_does_not_make_up_for_a_trade_of_another_hand() -> None:
    """Of the same size: the book lacks that trade, and what the venue says lacks the exit."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await healthy(engine)
            await engine.submit(Order(BTC, "buy", "0.060", price="64000"))
            world.venue.faults.position_lag_ms = 200
            world.venue.place(ticket(side="sell"))
            await anyio.sleep(2)
            assert engine.status()["differences"]
            await engine.submit(Order(BTC, "sell", "0.030", reduce_only=True))
            engine._core.reconciler.decided.notify()
            await anyio.sleep(0.1)
            assert engine.state is State.RECONCILING

    run(main)


def test_what_is_adopted_lacks_no_trade_of_a_moment_before() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await healthy(engine)
            world.venue.faults.position_lag_ms = 200
            world.venue.place(ticket())
            await anyio.sleep(2)
            assert engine.status()["differences"]
            world.venue.place(ticket(client_order_id="web_2", side="sell", quantity=Decimal(1)))
            await engine.adopt(by="owner")
            await healthy(engine)
            equal(engine, world)

    run(main)


@pytest.mark.parametrize("sides", [("buy", "sell"), ("buy", "buy")])
def test_who_asks_is_told_that_another_hand_trades_without_a_pause(sides: tuple[Any, Any]) -> None:
    """Its trades leave no moment in which positions can be compared."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await healthy(engine)
            engine.fault("bus", "it hiccuped")
            for number in range(40):
                side = sides[number % 2]
                world.venue.place(ticket(client_order_id=f"web_{number}", side=side))
                await anyio.sleep(0.2)
                if number < 5:
                    continue
                assert engine.state is State.RECONCILING
                (why,) = engine.waiting_for
                assert f"0.25 s (reconcile.settle_seconds) in which nobody trades {BTC}" in why
                assert "by another hand" in why
                assert engine.status()["differences"] == []
            await anyio.sleep(2)
            if sides[0] == sides[1]:
                assert engine.waiting_for == ("1 differences wait for the operator",)
            else:
                await healthy(engine)
                assert engine.waiting_for == ()

    run(main)


def test_the_owner_may_settle_it_at_the_venue_instead() -> None:
    async def main() -> None:
        world = World()
        world.venue.place(ticket())
        async with world.engine() as engine:
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            world.venue.place(ticket(client_order_id="web_3", side="sell"))
            await healthy(engine)
            assert engine.positions() == []

    run(main)


def test_ignoring_an_order_consents_to_nothing_else() -> None:
    """Fills of an earlier life would be counted, and its position taken over in silence."""

    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await healthy(engine)
            await engine.submit(ENTRY)
            await anyio.sleep(1)
        world.disk = type(world.disk)()  # the journal is lost
        world.venue.place(ticket(client_order_id="web_2", price=Decimal(50000)))
        async with world.engine(reconcile=rules(foreign_order="ignore")) as engine:
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            assert [d.split()[0] for d in engine.status()["differences"]] == ["orphan_position"]

    run(main)


# --- the rules ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "before", "at_venue"),
    [
        ("orphan_position", "0", "0.030"),
        ("size_mismatch", "0.010", "0.040"),
        ("side_flip", "0.010", "-0.030"),
        ("phantom_position", "0.010", "0"),
    ],
)
@pytest.mark.parametrize("rule", ["hold", "adopt", "flatten"])
def test_positions(kind: str, before: str, at_venue: str, rule: str) -> None:
    """The owner trades by hand while the engine runs; the stream tells, the rule decides."""
    if rule == "flatten" and kind in ("size_mismatch", "phantom_position"):
        pytest.skip("the rule is not possible for this kind")

    async def main() -> None:
        world = World()
        async with world.engine(reconcile=rules(**{kind: rule})) as engine:
            await healthy(engine)
            if before != "0":
                await engine.submit(Order(BTC, "buy", before, price="64000"))
                await anyio.sleep(0.1)
            moved = Decimal(at_venue) - Decimal(before)
            world.venue.place(ticket(side="buy" if moved > 0 else "sell", quantity=abs(moved)))
            assert engine.state is State.RECONCILING, "a fill of another hand is a divergence"
            if rule == "hold":
                await stays_shut(engine, world)
                (told,) = engine.status()["differences"]
                assert told.startswith(kind)
                return
            await healthy(engine)
            equal(engine, world)
            expected = Decimal(0) if rule == "flatten" else Decimal(at_venue)
            assert engine.position(BTC) == expected
            assert last_reconciled(world)["differences"] >= 1

    run(main)


def hedged(world: World) -> dict[tuple[str, str], Decimal]:
    return {(b.market.symbol, side): h.quantity for b, side, h in world.venue.positions()}


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("book_knows", ["nothing", "a part"])
def test_an_orphan_of_a_hedged_account_is_flattened_as_far_as_the_venue_showed_it(
    side: Any, book_knows: str
) -> None:
    """The book does not know it, so it can not be what bounds the closing order."""

    async def main() -> None:
        world = World()
        world.venue.hedge_mode = True
        opens: Any = "buy" if side == "LONG" else "sell"
        other: Any = "SHORT" if side == "LONG" else "LONG"
        async with world.engine(
            reconcile=rules(orphan_position="flatten", size_mismatch="adopt")
        ) as engine:
            await healthy(engine)
            if book_knows == "a part":
                kept = Order(
                    BTC,
                    "sell" if opens == "buy" else "buy",
                    "0.010",
                    price="64000",
                    position_side=other,
                )
                await engine.submit(kept)
                await anyio.sleep(0.1)
            world.venue.place(ticket(side=opens, position_side=side))
            await healthy(engine)
            assert (BTC, side) not in hedged(world)
            here = {(p.symbol, p.position_side): p.quantity for p in engine.positions()}
            assert here == hedged(world)
            ours = [o for o in world.venue.order_log if not o.foreign and o.position_side == side]
            assert [(o.filled, o.side == opens) for o in ours] == [(Decimal("0.030"), False)]

    run(main)


def test_no_more_of_a_hedged_position_is_closed_than_the_venue_showed() -> None:
    async def main() -> None:
        world = World()
        world.venue.hedge_mode = True
        async with world.engine() as engine:
            await healthy(engine)
            closing = Order(BTC, "sell", "0.030", price="64000", position_side="LONG")
            for shown in ("0", "0.029"):
                with pytest.raises(InvalidOrder, match="would close more than"):
                    await engine._core.execution.orders.submit(closing, held=Decimal(shown))
            with pytest.raises(InvalidOrder, match="would close more than the 0 held"):
                await engine.submit(closing)
            world.venue.place(ticket(position_side="LONG"))
            (report,) = await engine.flatten()
            assert report.filled == Decimal("0.030")
            assert hedged(world) == {}

    run(main)


def test_a_rule_for_one_symbol_decides_nothing_for_another() -> None:
    """BTC's size may be adopted; ETH's position nobody knows of is a person's decision."""

    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(3000))
        settings = {"symbols": (BTC, ETH), "reconcile": rules(size_mismatch="adopt")}
        async with world.engine(**settings) as engine:
            await healthy(engine)
            await engine.submit(ENTRY)
            await anyio.sleep(0.1)
            world.line.set_down("cut")
            world.venue.place(ticket())
            world.venue.place(ticket(ETH, client_order_id="web_2", price=Decimal(3000)))
            world.line.set_up()
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            assert engine.position(BTC) == Decimal("0.040")
            assert engine.position(ETH) == 0
            (told,) = engine.status()["differences"]
            assert told.startswith(f"orphan_position {ETH}")

    run(main)


@pytest.mark.parametrize("rule", ["hold", "cancel"])
def test_an_order_of_ours_that_nobody_remembers(rule: str) -> None:
    async def main() -> None:
        world = World()
        async with world.killed(orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(RESTING)
        world.disk = type(world.disk)()  # the journal is lost
        async with world.engine(reconcile=rules(orphan_order=rule)) as engine:
            await engine.until(State.RECONCILING)
            if rule == "hold":
                await stays_shut(engine, world)
                await engine.adopt(by="owner")  # which cancels it: nobody would manage it
            await healthy(engine)
            assert world.venue.open_orders() == []

    run(main)


# --- what the venue proves ---------------------------------------------------------------


def test_fills_and_ends_missed_in_an_outage_are_fetched_and_told() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            fills: list[int] = []
            engine.on_fill(lambda fill: fills.append(fill.trade_id))
            await healthy(engine)
            await engine.submit(RESTING)
            cancelled = await engine.submit(Order(BTC, "buy", "0.010", price="50000"))
            world.line.set_down("cut")
            world.venue.on_price(BTC, Decimal(59000), Decimal("0.004"))
            world.venue.cancel(BTC, client_order_id=cancelled.client_order_id)
            await anyio.sleep(10)
            world.line.set_up()
            await healthy(engine)
            assert engine.position(BTC) == Decimal("0.004")
            assert len(fills) == 1
            (open_order,) = engine.open_orders()
            assert open_order.status is OrderStatus.PARTIALLY_FILLED
            assert last_reconciled(world)["fills_counted"] == 1
            equal(engine, world)
        assert [e.body["quantity"] for e in world.events() if e.type == "execution.fill"] == [
            "0.004"
        ]

    run(main)


@pytest.mark.parametrize("rule", ["adopt", "flatten"])
def test_what_a_fill_explains_that_waits_for_a_person_is_no_position_of_nobody(rule: str) -> None:
    """Else what the bot has bought is sold again, or is adopted and never told."""

    async def main() -> None:
        world = World()
        settings = {"reconcile": rules(missed_fill="hold", orphan_position=rule), "orders": KEEP}
        async with world.engine(**settings) as engine:
            fills: list[int] = []
            engine.on_fill(lambda fill: fills.append(fill.trade_id))
            await healthy(engine)
            await engine.submit(RESTING)
            world.line.set_down("cut")
            world.venue.on_price(BTC, Decimal(59000))
            await anyio.sleep(10)
            world.line.set_up()
            await engine.until(State.RECONCILING)
            await stays_shut(engine, world)
            assert [d.split()[0] for d in engine.status()["differences"]] == ["missed_fill"]
            await engine.adopt(by="owner")
            await healthy(engine)
            assert engine.position(BTC) == Decimal("0.010")
            assert len(fills) == 1
            equal(engine, world)

    run(main)


@pytest.mark.parametrize("told", ["a part", "nothing"])
def test_what_many_missed_fills_took_is_told_in_a_record_that_has_room(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of what was done has no bound; the event that tells of it has, and fails nothing."""

    async def main() -> None:
        world = World()
        if told == "a part":
            monkeypatch.setattr("holdfast.reconciler.MAX_TOLD", 100)
        else:
            world.journal_options = {"segment_bytes": 1 << 14}
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(Order(BTC, "buy", "0.500", price="60000"))
            world.line.set_down("cut")
            for _ in range(120):
                world.venue.on_price(BTC, Decimal(60000), Decimal("0.001"))
            await anyio.sleep(10)
            world.line.set_up()
            await healthy(engine)
            assert engine.position(BTC) == Decimal("0.120")
            assert [s for s in engine.history if "could not be carried out" in s.cause] == []
        if told == "a part":
            body = last_reconciled(world)
            assert len(body["actions"]) == 101
            assert body["actions"][-1].startswith("and 2")
            assert body["fills_counted"] == 120

    run(main)


def test_many_orders_that_have_ended_are_no_stall() -> None:
    """Each is asked for by itself, and a slow venue takes its time; all of it is progress."""

    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            for _ in range(30):
                await engine.submit(RESTING)
            world.line.set_down("cut")
            for order in world.venue.open_orders():
                world.venue.cancel(BTC, client_order_id=order.client_order_id)
            await anyio.sleep(5)
            query = engine._core.exchange.query

            async def slow(*order: Any, **how: Any) -> Any:
                await anyio.sleep(2)
                return await query(*order, **how)

            engine._core.exchange.query = slow  # type: ignore[method-assign]
            world.line.set_up()
            await healthy(engine, seconds=90)
            assert [s for s in engine.history if s.trigger is Trigger.STALLED] == []
            assert engine.open_orders() == []

    run(main)


def test_a_venue_that_wants_silence_is_not_asked_for_the_rest_of_the_orders() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            for _ in range(10):
                await engine.submit(RESTING)
            world.line.set_down("cut")
            for order in world.venue.open_orders():
                world.venue.cancel(BTC, client_order_id=order.client_order_id)
            await anyio.sleep(5)
            client, silence = engine._core.exchange, engine._core.execution.silence
            query, tell_time = client.query, client.venue_time_ms
            asked_for = asked_in_silence = 0

            async def asked(*order: Any, **how: Any) -> Any:
                nonlocal asked_for
                asked_for += 1
                if asked_for == 3:
                    silence.keep(20)  # as the answer to an exit may ask
                return await query(*order, **how)

            async def time(**how: Any) -> Any:
                nonlocal asked_in_silence
                asked_in_silence += silence.seconds > 0
                return await tell_time(**how)

            client.query = asked  # type: ignore[method-assign]
            client.venue_time_ms = time  # type: ignore[method-assign]
            world.line.set_up()
            await healthy(engine)
            assert asked_for == 10
            assert asked_in_silence == 0

    run(main)


@pytest.mark.parametrize("action", ["drop", "duplicate", "swap"])
def test_a_disordered_stream_is_put_right_by_the_audit(action: Any) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await healthy(engine)
            world.venue.faults.arm_stream(action, count=6)
            for _ in range(3):
                await engine.submit(ENTRY)
            await anyio.sleep(90)
            await healthy(engine)
            assert engine.position(BTC) == Decimal("0.030")
            equal(engine, world)
        numbers = [e.body["trade_id"] for e in world.events() if e.type == "execution.fill"]
        assert sorted(numbers) == sorted(set(numbers))
        assert len(numbers) == 3

    run(main)


def test_a_venue_whose_list_lags_is_asked_again_at_leisure() -> None:
    """The stream was faster than the list: nothing to adopt, and no reason to hammer it."""

    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(RESTING)
            old = [o.snapshot() for o in world.venue.open_orders()]
            world.venue.on_price(BTC, Decimal(59000), Decimal("0.004"))
            asked = 0

            async def lagging(*, timeout_seconds: float) -> Any:
                nonlocal asked
                asked += 1
                await anyio.sleep(0.01)
                return old

            client = engine._core.exchange
            current, client.open_orders = client.open_orders, lagging  # type: ignore[method-assign]
            engine.fault("test", "look again")
            await anyio.sleep(10)
            assert engine.state is State.RECONCILING
            assert asked <= 10 / 0.25 + 5
            client.open_orders = current  # type: ignore[method-assign]
            await healthy(engine)
            equal(engine, world)

    run(main)


# --- a leg that can not be observed ------------------------------------------------------


def test_a_failed_leg_is_not_an_empty_one() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(ENTRY)
            await engine.submit(RESTING)
            await anyio.sleep(1)
            world.venue.faults.arm(
                "snapshot", Fault(executes=False, reply="error", status=503), count=8
            )
            engine.fault("test", "look again")
            with pytest.raises(LinkDown):
                await engine.reconcile()
            await anyio.sleep(0.2)
            assert engine.state is not State.HEALTHY
            assert engine.position(BTC) == Decimal("0.010")
            assert len(engine.open_orders()) == 1
            await healthy(engine)
            assert engine.position(BTC) == Decimal("0.010")
            assert len(engine.open_orders()) == 1

    run(main)


def test_not_listed_and_could_not_be_asked_for_is_not_cancelled() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(RESTING)
            await anyio.sleep(5)
            client = engine._core.exchange
            listed = client.open_orders

            async def empty(*, timeout_seconds: float) -> Any:
                await anyio.sleep(0.01)
                return []

            client.open_orders = empty  # type: ignore[method-assign]
            world.venue.faults.arm("query", Fault.lost_request(), count=1000)
            engine.fault("test", "look again")
            await anyio.sleep(20)
            assert engine.state is not State.HEALTHY
            assert len(engine.open_orders()) == 1
            client.open_orders = listed  # type: ignore[method-assign]
            world.venue.faults.clear()
            await healthy(engine)
            assert len(engine.open_orders()) == 1

    run(main)


def test_a_difference_that_changes_between_two_looks_is_not_acted_on() -> None:
    """It may be a race of the venue's own endpoints; acting on it would open a position."""

    async def main() -> None:
        world = World()
        async with world.engine(reconcile=rules(orphan_position="flatten")) as engine:
            await healthy(engine)
            client = engine._core.exchange
            positions = client.positions
            looks = [Decimal("0.030"), Decimal("0.050"), Decimal("0.030")]

            async def unsteady(*, timeout_seconds: float) -> Any:
                await anyio.sleep(0.01)
                return (
                    [Position(BTC, looks.pop(0))]
                    if looks
                    else await positions(timeout_seconds=timeout_seconds)
                )

            client.positions = unsteady  # type: ignore[method-assign]
            engine.fault("test", "look again")
            await healthy(engine)
            assert looks == []
            assert world.venue.order_log == []

    run(main)


def test_an_order_in_doubt_since_reconciling_began_is_waited_for_not_held() -> None:
    """An exit may be sent while RECONCILING; its doubt is settled by asking, not by a person."""

    async def main() -> None:
        world = World()
        async with world.engine(orders=OrderSettings(timeout_seconds=0.5)) as engine:
            await healthy(engine)
            await engine.submit(ENTRY)
            await anyio.sleep(0.1)
            exit_ = Order(BTC, "sell", "0.004", price="64000", reduce_only=True)
            world.venue.faults.arm("place", Fault.lost_request(), count=2)
            async with anyio.create_task_group() as group:
                group.start_soon(engine.submit, exit_)
                await anyio.sleep(0.1)
                engine._core.fire(Trigger.DIVERGED, "a test")
                await anyio.sleep(1.9)
                assert engine.state is State.RECONCILING
                group.start_soon(engine.submit, exit_)
                await healthy(engine, seconds=10)
            assert engine.position(BTC) == Decimal("0.002")

    run(main)


# --- killed in the middle ----------------------------------------------------------------


@pytest.mark.parametrize("after_seconds", [0.01, 0.03, 0.1, 0.3, 0.5, 1.0])
def test_killed_in_the_middle_of_a_flattening(after_seconds: float) -> None:
    async def main() -> None:
        world = World()
        settings = {"reconcile": rules(orphan_position="flatten")}
        async with world.killed(**settings) as engine:
            await healthy(engine)
            world.line.set_down("cut")
            world.venue.place(ticket())
            world.line.set_up()
            await anyio.sleep(after_seconds)
        async with world.engine(**settings) as engine:
            await healthy(engine)
            equal(engine, world)
            assert engine.positions() == []
            ours = [o for o in world.venue.order_log if not o.foreign]
            assert sum((o.filled for o in ours), Decimal(0)) == Decimal("0.030")

    run(main)


@pytest.mark.parametrize("records", [0, 1])
def test_killed_between_the_records_of_an_adoption_counts_no_fill_twice(records: int) -> None:
    """Adopting writes two facts: how far the fills are counted, and the positions."""

    async def main() -> None:
        world = World()
        async with world.killed() as engine:
            await healthy(engine)
            await engine.submit(ENTRY)
            await anyio.sleep(1)
        async with world.killed(symbols=(BTC,)) as engine:
            await healthy(engine)
            world.venue.faults.arm_stream("drop", count=4)
            await engine.submit(ENTRY)
            await anyio.sleep(0.1)
            recorder = engine._core.recorder
            write, written = recorder.write, 0

            def write_some(fact: Any) -> int:
                nonlocal written
                written += 1
                if written > records:
                    world.disk.crash(lose_unsynced=False)
                return write(fact)

            recorder.write = write_some  # type: ignore[method-assign]
            with pytest.raises(JournalError):
                await engine.adopt(by="owner")
        async with world.engine(reconcile=rules(size_mismatch="adopt")) as engine:
            await healthy(engine)
            equal(engine, world)
            assert engine.position(BTC) == Decimal("0.020")

    run(main)


def test_a_refused_closing_order_adopts_nothing() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(reconcile=rules(orphan_position="flatten")) as engine:
            await healthy(engine)
            world.venue.faults.arm("place", Fault.refusal(-1111, "precision"))
            world.line.set_down("cut")
            world.venue.place(ticket())
            world.line.set_up()
            await anyio.sleep(10)
            assert engine.state is State.RECONCILING
            assert engine.position(BTC) == 0
            assert [d.split()[0] for d in engine.status()["differences"]] == ["orphan_position"]
            await healthy(engine, seconds=120)  # tried again: it was refused but once
            equal(engine, world)
            assert engine.position(BTC) == 0

    run(main)


def test_an_order_of_a_symbol_no_longer_declared_holds_nothing_up() -> None:
    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, Decimal(3000))
        async with world.killed(symbols=(BTC, ETH), orders=KEEP) as engine:
            await healthy(engine)
            await engine.submit(Order(ETH, "buy", "0.5", price="2900"))
        async with world.engine(symbols=(BTC,), orders=KEEP) as engine:
            await healthy(engine)

    run(main)


def test_adopting_counts_a_missed_fill_of_ours_and_tells_of_it() -> None:
    async def main() -> None:
        world = World()
        told: list[str] = []
        settings = {"reconcile": rules(missed_fill="hold", missing_order="hold"), "orders": KEEP}
        async with world.engine(**settings) as engine:
            await healthy(engine)
            engine.on_fill(lambda fill: told.append(fill.client_order_id))
            report = await engine.submit(RESTING)
            world.line.set_down("cut")
            world.venue.on_price(BTC, Decimal(59000))
            world.line.set_up()
            await engine.until(State.RECONCILING)
            await anyio.sleep(5)
            assert told == []
            await engine.adopt(by="owner")
            assert told == [report.client_order_id]
            assert engine.open_orders() == []
            await healthy(engine)
            equal(engine, world)

    run(main)
