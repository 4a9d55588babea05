"""A caller may vanish at every single await of the order path.

A driver counts the suspensions of `submit` and cancels at the n-th, for every n until the
call runs to its end. Afterwards, whatever the moment was: the venue has the order at most
once, the engine knows how it ended, both books are equal, and nothing restricts the symbol.

That it is every await is not left to belief: the places at which the stories suspend are
collected, and compared with the awaits that stand in the source.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import anyio
import pytest
from engine_world import World, delay_appends
from msgspec import structs
from order_rig import BTC, EXIT, OVERLOADED, Rig
from sim_rigs import PreparingClient

from holdfast import admission, orders, recorder, retry, sending, venue_clock
from holdfast.clock_offset import ClockOffset
from holdfast.errors import LinkDown, NotExecuted, OrderError, OutcomeUnknown
from holdfast.model import Order, OrderStatus, OutcomeKind, PlaceOutcome, PlaceRequest
from holdfast.policy import Limits, Mode, Policy
from holdfast.settings import PolicySettings
from holdfast.simulation import run
from holdfast.states.table import Level, State
from holdfast.transports.sim.faults import Fault

How = Literal["task", "scope"]


PATH: Final = (orders, sending, retry, admission, recorder, venue_clock)
"""Where an order passes between its caller and the transport."""
NEVER_SUSPEND: Final = {
    # Its outcome is known already: what is awaited is there.
    (orders, "return conclude(await intent.resolved(), intent)"),
}

suspended_at: set[tuple[str, int]] = set()
"""File and line of every await in which a call was seen to suspend."""


class Interrupted:
    """Awaits `coroutine`, calling `cancel` at its n-th suspension.

    :ivar reached: whether there was an n-th suspension.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], at: int, cancel: Callable[[], object]
    ) -> None:
        self._coroutine = coroutine
        self._at = at
        self._cancel = cancel
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        suspensions = 0
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                return end.value
            suspensions += 1
            self._note_where()
            if suspensions == self._at:
                self.reached = True
                self._cancel()
            try:
                answer = yield awaited
            except BaseException as error:
                step = lambda error=error: self._coroutine.throw(error)  # noqa: E731
            else:
                step = lambda answer=answer: self._coroutine.send(answer)  # noqa: E731

    def _note_where(self) -> None:
        waiting: Any = self._coroutine
        while inspect.iscoroutine(waiting) and waiting.cr_frame is not None:
            suspended_at.add((waiting.cr_code.co_filename, waiting.cr_frame.f_lineno))
            waiting = waiting.cr_await


def slow_journal(journal: Any) -> None:
    """A disk that takes its time, before and after the record is there."""
    delay_appends(journal, before=lambda: anyio.sleep(0.003), after=lambda: anyio.sleep(0.003))


ENTRY = Order(BTC, "buy", "0.010", price="64000", key="signal-1")
RESTING = Order(BTC, "buy", "0.010", price="60000", key="signal-1")
SCENARIOS: dict[str, tuple[Order, list[Fault | None], list[Fault | None]]] = {
    "accepted": (ENTRY, [], []),
    "resting": (RESTING, [], []),
    "exit": (EXIT, [], []),
    "overloaded twice": (ENTRY, [OVERLOADED, OVERLOADED], []),
    "request lost": (ENTRY, [Fault.lost_request()], []),
    "reply lost": (ENTRY, [Fault.lost_reply()], []),
    "nobody tells": (ENTRY, [Fault.lost_reply()], []),
    "nobody tells, could not ask": (ENTRY, [Fault.lost_reply()], [Fault.lost_request()] * 2),
    "exists": (ENTRY, [Fault(reply="error", code=-4116, message="duplicated")], []),
    "stamp refused": (ENTRY, [Fault.refusal(-1021, "outside of the recvWindow")], []),
    "rejected": (ENTRY, [Fault.refusal(-2019, "Margin is insufficient.")], []),
}


async def cut_short(call: Coroutine[Any, Any, Any], at: int, how: How) -> bool:
    """Run `call` with the cancellation at suspension `at`. Returns whether there was one."""
    reached = False

    async def run_it() -> None:
        nonlocal reached
        with anyio.CancelScope() as scope:
            task = asyncio.current_task()
            assert task is not None
            driver = Interrupted(call, at, scope.cancel if how == "scope" else task.cancel)
            try:
                await driver
            except (OrderError, LinkDown):
                pass
            finally:
                reached = driver.reached

    task = asyncio.create_task(run_it())
    done, _ = await asyncio.wait([task], timeout=120)
    assert done, "the caller hangs"
    if not task.cancelled():
        assert task.exception() is None
    return reached


async def interrupted(scenario: str, at: int, how: How) -> bool:
    """One run with the cancellation at suspension `at`. Returns whether there was one."""
    order, place_faults, query_faults = SCENARIOS[scenario]
    frames_dropped = 9 if scenario.startswith("nobody tells") else 0
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.submit(Order(BTC, "buy", "0.020", price="64000"))
        slow_journal(engine._core.journal)
        rig = Rig(world, engine)
        rig.fail("place", *place_faults)
        rig.fail("query", *query_faults)
        if frames_dropped:
            world.venue.faults.arm_stream("drop", count=frames_dropped)
        before = len(rig.orders)
        reached = await cut_short(engine.submit(order), at, how)
        await anyio.sleep(40)  # an audit finds what the stream has not told
        world.venue.faults.clear()

        assert len(rig.orders) - before <= 1
        assert engine.state is State.HEALTHY
        assert engine.level(BTC) is Level.ACTIVE
        rig.assert_clean()
        if order.key is not None:
            # Whatever the same call says now, it sends no second order.
            executed = len(rig.orders) - before
            try:
                report = await engine.submit(order)
            except OrderError:
                assert executed == 0 == len(rig.orders) - before
            else:
                assert report.status == "accepted"
                assert len(rig.orders) - before == 1
            await anyio.sleep(1)
            rig.assert_clean()
    return reached


@pytest.mark.parametrize("how", ["task", "scope"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_cancelled_at_every_await(scenario: str, how: How) -> None:
    at = 1
    while run(interrupted, scenario, at, how):
        at += 1
        assert at < 200
    assert at > 2, "the call was never interrupted: the test has tested nothing"


async def cancel_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        report = await engine.submit(RESTING)
        slow_journal(engine._core.journal)
        rig = Rig(world, engine)
        reached = await cut_short(engine.cancel(BTC, report.client_order_id), at, how)
        await anyio.sleep(1)
        left = await engine.cancel(BTC, report.client_order_id)
        assert left is not None
        assert left.status is OrderStatus.CANCELED
        await anyio.sleep(20)
        assert world.venue.open_orders() == []
        assert engine.state is State.HEALTHY
        rig.assert_clean()
    return reached


async def resolve_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        rig = Rig(world, engine)
        rig.fail("place", Fault.lost_request())
        rig.fail("query", *[Fault.lost_request()] * 1000)
        with pytest.raises(OutcomeUnknown) as unknown:
            await engine.submit(ENTRY)
        intent = unknown.value.intent
        cid = intent.client_order_id
        slow_journal(engine._core.journal)
        call = engine.resolve(cid, "not_executed", reason="a look")
        reached = await cut_short(call, at, how)
        await anyio.sleep(1)
        if not intent.has_ended():  # the word was not taken: it can be given again
            assert engine.status()["unknown_orders"] == [cid]
            await engine.resolve(cid, "not_executed", reason="a look")
        rig.plan["query"].clear()
        with anyio.fail_after(60):
            await engine.until_healthy()
        assert (await intent.resolved()).status == "not_executed"
        assert rig.orders == []
        rig.assert_clean()
    return reached


MARKET = Order(BTC, "buy", "0.010", key="signal-1")
LIMITED = PolicySettings(initial=Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(10_000))))


async def second_caller_cut_short(at: int, how: How) -> bool:
    """The same key while the first call waits; of the order the stream tells "new", no more."""
    world = World(seed=at)
    async with world.engine() as engine, anyio.create_task_group() as group:
        await engine.until_healthy()
        slow_journal(engine._core.journal)
        rig = Rig(world, engine)
        rig.fail("place", Fault(delay_before_seconds=0.5, reply="lost"))
        world.venue.faults.arm_stream("duplicate", count=1)
        world.venue.faults.arm_stream("drop", count=1)
        group.start_soon(engine.submit, MARKET)
        await anyio.sleep(0.1)
        reached = await cut_short(engine.submit(MARKET), at, how)
        await anyio.sleep(40)
        assert len(rig.orders) == 1
        assert (await engine.submit(MARKET)).filled == Decimal("0.010")
        rig.assert_clean()
    return reached


async def first_caller_cut_short(at: int, how: How) -> bool:
    """The first thing asked of a venue, under a notional limit, its end learnt by asking."""
    world = World(seed=at)
    async with world.engine(policy=LIMITED) as engine:
        await engine.until_healthy()
        slow_journal(engine._core.journal)
        engine._core.execution.venue_clock._offset = ClockOffset()
        rig = Rig(world, engine)
        rig.fail("place", Fault.lost_reply())
        world.venue.faults.arm_stream("duplicate", count=1)
        world.venue.faults.arm_stream("drop", count=1)
        reached = await cut_short(engine.submit(MARKET), at, how)
        await anyio.sleep(40)
        assert len(rig.orders) <= 1
        assert (await engine.submit(MARKET)).filled == Decimal("0.010")
        assert len(rig.orders) == 1
        await anyio.sleep(40)
        rig.assert_clean()
    return reached


async def acknowledged_only_cut_short(at: int, how: How) -> bool:
    """The venue's reply to a market order says no more than that it has it, the stream nothing."""
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        client = engine._core.exchange
        place = client.place

        async def acknowledged(*args: Any, **given: Any) -> PlaceOutcome:
            outcome = await place(*args, **given)
            assert outcome.order is not None
            new = structs.replace(outcome.order, status=OrderStatus.OPEN, filled=Decimal(0))
            return structs.replace(outcome, order=new)

        client.place = acknowledged  # type: ignore[method-assign]
        rig = Rig(world, engine)
        world.venue.faults.arm_stream("drop", count=2)
        reached = await cut_short(engine.submit(MARKET), at, how)
        await anyio.sleep(40)
        assert (await engine.submit(MARKET)).filled == Decimal("0.010")
        assert len(rig.orders) == 1
        await anyio.sleep(40)
        rig.assert_clean()
    return reached


async def cancel_of_an_order_on_its_way_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    async with world.engine() as engine, anyio.create_task_group() as group:
        await engine.until_healthy()
        rig = Rig(world, engine)
        rig.fail("place", Fault(delay_before_seconds=0.5))
        group.start_soon(engine.submit, RESTING)
        await anyio.sleep(0.1)
        (intent,) = engine.pending()
        cid = intent.client_order_id
        reached = await cut_short(engine.cancel(BTC, cid), at, how)
        await anyio.sleep(5)
        left = await engine.cancel(BTC, cid)
        assert left is not None
        assert left.status is OrderStatus.CANCELED
        await anyio.sleep(1)
        assert world.venue.open_orders() == []
        rig.assert_clean()
    return reached


async def exit_that_waits_for_the_venue_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.submit(ENTRY)
        rig = Rig(world, engine)
        rig.fail("place", OVERLOADED)
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, world.line.set_down, "cut")
        loop.call_later(5, world.line.set_up)
        reached = await cut_short(engine.submit(EXIT), at, how)
        await anyio.sleep(20)
        await engine.until_healthy()
        assert len(rig.orders) <= 2
        rig.assert_clean()
    return reached


async def exit_held_back_by_a_silence_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    async with world.engine() as engine:
        await engine.until_healthy()
        await engine.submit(ENTRY)
        rig = Rig(world, engine)
        rig.fail("place", OVERLOADED)
        silenced = False

        async def while_it_is_written_down() -> None:
            nonlocal silenced
            if len(rig.seconds("place")) == 1 and not silenced:
                silenced = True
                rig.core.execution.silence.keep(2.0)

        delay_appends(rig.core.journal, before=while_it_is_written_down)
        reached = await cut_short(engine.submit(EXIT), at, how)
        await anyio.sleep(20)
        assert len(rig.orders) <= 2
        assert len(rig.seconds("place")) <= 2
        rig.assert_clean()
    return reached


class _RefusedOnce(PreparingClient):
    """The first attempt finds no connection, before it comes to waiting."""

    refused = False

    async def place_when_ready(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        if not self.refused:
            self.refused = True
            return PlaceOutcome(OutcomeKind.NOT_EXECUTED, "not sent")
        return await super().place_when_ready(request, **more)


async def order_prepared_while_the_disk_works_cut_short(at: int, how: How) -> bool:
    world = World(seed=at)
    world.kind_of_client = _RefusedOnce
    async with world.engine() as engine:
        await engine.until_healthy()
        delay_appends(engine._core.journal, before=lambda: anyio.sleep(0.003), is_under_way=True)
        reached = await cut_short(engine.submit(MARKET), at, how)
        await anyio.sleep(40)
        try:
            assert (await engine.submit(MARKET)).filled == Decimal("0.010")
        except NotExecuted:  # given up between its attempts, for good
            assert world.venue.order_log == []
        else:
            assert len(world.venue.order_log) == 1
        await anyio.sleep(40)
        Rig(world, engine).assert_clean()
    return reached


Story = Callable[[int, How], Awaitable[bool]]
BESIDE: Final[list[Story]] = [
    cancel_cut_short,
    resolve_cut_short,
    second_caller_cut_short,
    first_caller_cut_short,
    acknowledged_only_cut_short,
    cancel_of_an_order_on_its_way_cut_short,
    exit_that_waits_for_the_venue_cut_short,
    exit_held_back_by_a_silence_cut_short,
    order_prepared_while_the_disk_works_cut_short,
]


@pytest.mark.parametrize("how", ["task", "scope"])
@pytest.mark.parametrize("story", BESIDE, ids=lambda story: story.__name__)
def test_what_else_is_asked_may_be_cut_short_too(story: Any, how: How) -> None:
    at = 1
    while run(story, at, how):
        at += 1
        assert at < 200
    assert at > 1, "the call was never interrupted: the test has tested nothing"


def test_no_await_of_the_order_path_is_left_out() -> None:
    never = 10**9  # told stories to their end; in the tests above each suspension is cut short
    suspended_at.clear()
    for scenario in SCENARIOS:
        run(interrupted, scenario, never, "task")
    for story in BESIDE:
        run(partial(story), never, "task")
    for module in PATH:
        lines = Path(inspect.getsourcefile(module) or "").read_text().splitlines()
        seen = {line for name, line in suspended_at if name == module.__file__}
        left_out = {
            (module, lines[line - 1].strip()) for line in awaits_of(module) if line not in seen
        }
        assert left_out <= NEVER_SUSPEND
        assert seen, f"{module.__name__} is no part of the path"


def awaits_of(module: ModuleType) -> set[int]:
    tree = ast.parse(inspect.getsource(module))
    return {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Await)}


def test_the_record_of_a_cancellation_holds_no_addresses() -> None:
    """They would say nothing to a person and make every run of one seed another one."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            world.venue.faults.arm("place", Fault.lost_request())
            with anyio.move_on_after(0.5):
                await engine.submit(ENTRY)
            (intent,) = engine._core.ledger.unknown
            assert intent.doubt == ("interrupted while it was being sent: the caller was cancelled")

    run(main)
