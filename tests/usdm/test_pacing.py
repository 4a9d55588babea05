"""Who waits while a limit is used up, in which order they go, and who is turned away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from scripted_venue import Says, ScriptedVenue, with_client
from sim_rigs import BTC, WIRE_CLIENTS

from holdfast import simulation
from holdfast.clock import SystemClock
from holdfast.errors import LinkDown
from holdfast.model import Order, OutcomeKind, PlaceRequest, QueryKind
from holdfast.simulation import VirtualClock
from holdfast.transports.usdm import pacing
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.limits import Budget, Cost, Limit, Priority
from holdfast.transports.usdm.pacing import NotAdmitted, Pacer

USED = "X-MBX-USED-WEIGHT-1M"
ONE = Cost(weight=1)


class Desk:
    """A pacer in virtual time, with a limit of ten a minute that is used up."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        budget = Budget([Limit("weight", 60_000, 1, 10), Limit("orders", 60_000, 1, 10)])
        self.pacer = Pacer(budget, self.clock, now_ms=lambda: self.clock.time_ns() // 1_000_000)
        self.gone: list[str] = []
        self.tell(10)

    def tell(self, used: int) -> None:
        now_ms = self.clock.time_ns() // 1_000_000
        ticket = self.pacer.budget.let_go(Cost(), now_ms)
        self.pacer.budget.settle(ticket, now_ms, headers={USED: str(used)})
        self.pacer.look_again()

    async def ask(
        self, name: str, priority: Priority, cost: Cost = ONE, *, patience_seconds: float = 600
    ) -> None:
        try:
            await self.pacer.admit(cost, priority, patience_seconds=patience_seconds)
        except NotAdmitted as error:
            self.gone.append(f"{name}: {error}")
            return
        now_ms = self.clock.time_ns() // 1_000_000
        ticket = self.pacer.budget.let_go(cost, now_ms)
        self.pacer.budget.settle(ticket, now_ms, headers={})
        self.pacer.look_again()
        self.gone.append(name)


def run(case: Callable[[Desk], Awaitable[None]]) -> Desk:
    desks: list[Desk] = []

    async def main() -> None:
        desks.append(Desk())
        await case(desks[0])

    simulation.run(main)
    return desks[0]


def test_exits_go_before_questions_and_those_before_entries() -> None:
    async def case(desk: Desk) -> None:
        async with anyio.create_task_group() as tasks:
            for name, priority in (
                ("entry", Priority.ENTRY),
                ("question 1", Priority.QUESTION),
                ("exit 1", Priority.EXIT),
                ("question 2", Priority.QUESTION),
                ("exit 2", Priority.EXIT),
            ):
                tasks.start_soon(desk.ask, name, priority)
                await anyio.sleep(0.001)
            assert desk.gone == []

    desk = run(case)
    assert desk.gone == ["exit 1", "exit 2", "question 1", "question 2", "entry"]


def test_a_cheap_one_does_not_overtake_a_dear_one_of_its_kind() -> None:
    async def case(desk: Desk) -> None:
        desk.tell(7)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.ask, "dear", Priority.EXIT, Cost(weight=5))
            await anyio.sleep(0.001)
            tasks.start_soon(desk.ask, "cheap", Priority.EXIT)

    assert run(case).gone == ["dear", "cheap"]


def test_who_needs_another_budget_does_not_wait_in_that_queue() -> None:
    async def case(desk: Desk) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.ask, "question", Priority.QUESTION)
            await anyio.sleep(0.001)
            tasks.start_soon(desk.ask, "order", Priority.ENTRY, Cost(orders=1))
            await anyio.sleep(0.001)
            assert desk.gone == ["order"]

    assert run(case).gone == ["order", "question"]


def test_patience_ends_without_anything_having_been_sent() -> None:
    async def case(desk: Desk) -> None:
        began = desk.clock.monotonic()
        await desk.ask("entry", Priority.ENTRY, patience_seconds=2)
        assert desk.clock.monotonic() - began == pytest.approx(2)
        assert desk.gone == ["entry: the venue's request limit is used up"]

    run(case)


def test_the_queue_has_a_bound_and_the_least_urgent_leaves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "MAX_WAITING", 2)

    async def case(desk: Desk) -> None:
        async with anyio.create_task_group() as tasks:
            for name, priority in (
                ("entry 1", Priority.ENTRY),
                ("entry 2", Priority.ENTRY),
                ("entry 3", Priority.ENTRY),
                ("exit", Priority.EXIT),
            ):
                tasks.start_soon(desk.ask, name, priority)
                await anyio.sleep(0.001)
            assert len(desk.gone) == 2, "they are told at once, not when their time would come"

    full = "the queue of waiting requests is full"
    assert run(case).gone == [f"entry 3: {full}", f"entry 2: {full}", "exit", "entry 1"]


def test_those_behind_one_that_gives_up_look_again_at_once() -> None:
    async def case(desk: Desk) -> None:
        desk.tell(7)
        began = desk.clock.monotonic()
        async with anyio.create_task_group() as tasks:
            dear = Cost(weight=5)
            tasks.start_soon(lambda: desk.ask("dear", Priority.EXIT, dear, patience_seconds=2))
            await anyio.sleep(0.001)
            tasks.start_soon(desk.ask, "cheap", Priority.EXIT)
        assert desk.gone == ["dear: the venue's request limit is used up", "cheap"]
        assert desk.clock.monotonic() - began == pytest.approx(2), "not at the window's end"

    run(case)


def test_one_that_gives_up_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(desk: Desk) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.ask, "exit", Priority.EXIT)
            with anyio.move_on_after(1):
                await desk.ask("cancelled", Priority.EXIT, Cost(weight=9))
        assert desk.gone == ["exit"]

    run(case)


def test_while_the_venue_wants_silence_nothing_waits() -> None:
    async def case(desk: Desk) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.ask, "waiting", Priority.EXIT)
            await anyio.sleep(0.001)
            desk.pacer.silence.keep(30)
            desk.pacer.look_again()
            await anyio.sleep(0.001)
        await desk.ask("later", Priority.EXIT)
        assert [line.partition(":")[0] for line in desk.gone] == ["waiting", "later"]
        with pytest.raises(NotAdmitted) as raised:
            await desk.pacer.admit(ONE, Priority.EXIT, patience_seconds=1)
        assert raised.value.retry_after_seconds == pytest.approx(30, abs=0.01)

    run(case)


# --- the same over a socket --------------------------------------------------------------


@pytest.fixture(params=WIRE_CLIENTS)
def make(request: pytest.FixtureRequest) -> Callable[[str], UsdmExecutionClient]:
    return WIRE_CLIENTS[request.param]


def order(**values: object) -> PlaceRequest:
    terms = {"symbol": BTC, "side": "buy", "quantity": "0.010", "price": "50000", **values}
    return PlaceRequest(
        client_order_id="h1",
        order=Order(**terms),  # type: ignore[arg-type]
        timestamp_ms=SystemClock().time_ns() // 1_000_000,
        recv_window_ms=400,
    )


TAKEN = Says(
    {
        "orderId": 7,
        "clientOrderId": "h1",
        "symbol": "BTCUSDT",
        "status": "NEW",
        "side": "BUY",
        "price": "50000",
        "origQty": "0.010",
        "executedQty": "0",
        "updateTime": 1,
    },
    headers={"X-MBX-ORDER-COUNT-10S": "250", "X-MBX-ORDER-COUNT-1M": "1000"},
)


def test_near_the_limit_only_exits_and_cancels_are_sent(
    make: Callable[[str], UsdmExecutionClient],
) -> None:
    venue = ScriptedVenue(
        {
            "POST /fapi/v1/order": TAKEN,
            "DELETE /fapi/v1/order": TAKEN._replace(headers={}),
            "GET /fapi/v1/openAlgoOrders": Says([]),
            "GET /fapi/v1/openOrders": Says([], headers={USED: "2399"}),
        }
    )

    async def act(client: UsdmExecutionClient) -> None:
        sent = len(venue.asked)

        async def placed(**values: object) -> OutcomeKind:
            request = order(**values)
            outcome = await client.place(request, permit=lambda: None, timeout_seconds=5)
            return outcome.kind

        await anyio.sleep(10 - SystemClock().time_ns() % 10**10 / 1e9 if _ends_soon() else 0)
        assert await placed() is OutcomeKind.ACCEPTED
        # 250 of 300 orders: entries would leave less than a fifth.
        assert await placed() is OutcomeKind.NOT_EXECUTED
        assert await placed(reduce_only=True) is OutcomeKind.ACCEPTED
        await client.open_orders(timeout_seconds=5)
        with pytest.raises(LinkDown, match="limit is used up"):
            await client.open_orders(timeout_seconds=0.05)
        told = await client.cancel(BTC, "h1", timeout_seconds=5)
        assert told.kind is QueryKind.FOUND
        assert len(venue.asked) - sent == 5

    with_client(make, venue, act)


def _ends_soon() -> bool:
    """Whether a window of ten seconds ends within the next two."""
    return SystemClock().time_ns() % 10**10 > 8 * 10**9
