"""One rig for every scenario: an engine, the venue, an outage between them, and what came of it.

A scenario is written once. It runs in virtual time, where the engine has the venue in its own
process, and where it says so also over real sockets, with the client that signs by itself and
with the one for which ccxt signs. What is told, what is done, what the book holds, what was
sent, and whether the gate opened only after the books were equal is observed from outside and
asserted by `Stage.settled`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import anyio
import pytest
from engine_world import BTC, World
from sim_rigs import WIRE_CLIENTS, MakeWireClient

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engine import Engine
from holdfast.errors import TradingHalted
from holdfast.model import Order, OrderSnapshot, Side
from holdfast.ports import ExecutionClient, PreparesOrders
from holdfast.settings import LinkSettings, OrderSettings, ReconcileSettings
from holdfast.simulation import run
from holdfast.states.machine import Step
from holdfast.states.table import State
from holdfast.transports.sim import Fault
from holdfast.transports.sim.records import (
    ConditionalOrder,
    ConditionalTicket,
    OrderTicket,
    VenueOrder,
)
from holdfast.transports.sim.server import VenueServer

PATIENCE_SECONDS = 60.0
PREFIX = "hf-alpha-"
FOREIGN = "web_"

ENTRY = Order(BTC, "buy", "0.010", price="64000")
"""Filled at once."""
CASH = "adopt cash_flow"
DRIFT = "adopt balance_drift"
RESTING = Order(BTC, "buy", "0.010", price="60000")


class WireWorld(World):
    """The same world in real time, with the venue behind real sockets.

    :param make: a client of the venue.
    """

    def __init__(self, make: MakeWireClient) -> None:
        super().__init__(clock=SystemClock())
        self.served = VenueServer(self.venue, key="k", secret="s", entropy=SystemEntropy())
        self.port = 0
        self._make = make

    def client(self) -> ExecutionClient:
        return self._make(f"http://127.0.0.1:{self.port}")


class Opening(NamedTuple):
    """One moment at which HEALTHY was entered: the gate opens right after it."""

    gate_was_shut: bool
    mismatch: str


class Stage:
    """What a scenario has in its hands.

    :ivar sent: orders that were written, whatever became of them, since `begin`.
    :ivar openings: moments at which HEALTHY was entered since `begin`.
    """

    engine: Engine

    def __init__(self, world: World) -> None:
        self.world = world
        self.venue = world.venue
        self.sent: list[Order] = []
        self.openings: list[Opening] = []
        self._events_before = 0
        self._others_before = Decimal(0)

    # --- lives of the bot ------------------------------------------------------------

    @asynccontextmanager
    async def life(self, *, kill: bool = False, **settings: Any) -> AsyncIterator[Engine]:
        """An engine, from its start to its end.

        :param kill: it ends as kill -9 ends it.
        :param settings: sections of the settings; rules are given as `rules={kind: rule}`.
        """
        rules = settings.pop("rules", {})
        given = {
            "orders": orders(),
            "reconcile": ReconcileSettings(rules=rules, settle_seconds=0.1),
            "link_settings": LinkSettings(max_clock_skew_seconds=None),
            **settings,
        }
        if self.world.line.rest_down is not None:
            self.world.line.set_up()
        opened = self.world.killed if kill else self.world.engine
        async with opened(**given) as engine:
            self.engine = engine
            engine._core.steps.add(self._on_step)
            self._watch_what_is_sent(engine._core.exchange)
            yield engine

    @asynccontextmanager
    async def healthy_life(self, **settings: Any) -> AsyncIterator[Engine]:
        """As `life`; inside, it is HEALTHY."""
        async with self.life(**settings) as engine:
            await self.healthy()
            yield engine

    def _on_step(self, step: Step) -> None:
        if step.dest is State.HEALTHY:
            self.openings.append(Opening(not self.engine.gate.is_open, self.mismatch()))

    def _watch_what_is_sent(self, client: Any) -> None:
        def watch(place: Any) -> Any:
            async def watched(request: Any, *, permit: Callable[[], object], **more: Any) -> Any:
                def written() -> object:
                    leave = permit()
                    self.sent.append(request.order)
                    return leave

                return await place(request, permit=written, **more)

            return watched

        client.place = watch(client.place)
        if isinstance(client, PreparesOrders):
            client.place_when_ready = watch(client.place_when_ready)  # type: ignore[method-assign]

    def kill_at_record(self, number: int) -> None:
        """The machine stops before the record of that number, from now on, is written."""
        journal: Any = self.engine._core.journal
        append, written = journal.append_nowait, 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal written
            written += 1
            if written >= number:
                self.world.disk.crash(lose_unsynced=False)
                self.line_dies()
            return append(*args, **kwargs)

        journal.append_nowait = counted

    def line_dies(self) -> None:
        """A dead process sends nothing more."""
        if self.world.line.rest_down is None:
            self.world.line.set_down("the process is dead")

    # --- outages ---------------------------------------------------------------------

    def begin(self) -> None:
        """Observe from now on."""
        self.sent.clear()
        self.openings.clear()
        self._events_before = len(self.world.events())
        self._others_before = self.cash_of_others()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Inside, the engine hears nothing of the venue and can ask nothing."""
        self.begin()
        world = self.world
        if isinstance(world, WireWorld):
            self.venue.faults.decide = lambda _kind, _now: Fault(executes=False, reply="reset")
            world.served.cut_streams()
        else:
            world.line.set_down("cut")
        await self.until(lambda: self.engine.state is State.DEGRADED, "the outage is noticed")
        assert not self.engine.gate.is_open
        yield
        assert not self.engine.gate.is_open
        if isinstance(world, WireWorld):
            self.venue.faults.decide = None
        else:
            world.line.set_up()

    def look_again(self) -> None:
        """Make the engine compare its book."""
        self.begin()
        self.engine.fault("test", "look again")

    # --- the venue -------------------------------------------------------------------

    def order(
        self,
        side: Side,
        quantity: str,
        *,
        client_order_id: str,
        price: str | None = None,
        **more: Any,
    ) -> VenueOrder:
        """Somebody places an order at the venue."""
        return self.venue.place(
            OrderTicket(
                symbol=more.pop("symbol", BTC),
                client_order_id=client_order_id,
                side=side,
                quantity=Decimal(quantity),
                price=None if price is None else Decimal(price),
                foreign=not client_order_id.startswith(PREFIX),
                **more,
            )
        )

    def stop(
        self, side: Side, quantity: str, *, trigger: str, client_id: str, **more: Any
    ) -> ConditionalOrder:
        """Somebody places a stop at the venue that can only reduce."""
        return self.venue.place_conditional(
            ConditionalTicket(
                symbol=BTC,
                client_id=client_id,
                type="STOP_MARKET",
                side=side,
                quantity=Decimal(quantity),
                trigger_price=Decimal(trigger),
                reduce_only=True,
                foreign=not client_id.startswith(PREFIX),
                **more,
            )
        )

    def forget(self, order: VenueOrder) -> None:
        """The venue knows nothing of this order any more, wherever it is asked."""
        book = self.venue.book(order.market.symbol)
        book.remove(order)
        del book.orders[order.client_order_id]
        del self.venue._matching._by_id[order.order_id]

    def price(self, price: str, quantity: str | None = None) -> None:
        """The market trades there.

        :param quantity: what resting orders get of it; None: all they want.
        """
        liquidity = None if quantity is None else Decimal(quantity)
        self.venue.on_price(BTC, Decimal(price), liquidity)

    def at_venue(self) -> dict[tuple[str, str], Decimal]:
        declared = self.engine._core.settings.symbols
        return {
            (book.market.symbol, str(side)): held.quantity
            for book, side, held in self.venue.positions()
            if book.market.symbol in declared
        }

    # --- what came of it -------------------------------------------------------------

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                while not holds():  # noqa: ASYNC110  a test may look often
                    await anyio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(
                f"never: {what}; it is {self.engine.state} and waits for "
                f"{self.engine.waiting_for}: {self.engine.status()['differences']}"
            ) from None

    async def healthy(self) -> None:
        await self.until(lambda: self.engine.state is State.HEALTHY, "healthy")

    def mismatch(self) -> str:
        """How book and venue differ; empty: not at all."""
        engine, prefix = self.engine, self.engine._core.execution.orders.prefix
        held = {(p.symbol, str(p.position_side)): p.quantity for p in engine.positions()}
        at_venue = self.at_venue()
        if held != at_venue:
            return f"position: here {held}, at the venue {at_venue}"
        resting = [o.snapshot() for o in self.venue.open_orders()]
        resting += [o.snapshot() for o in self.venue.open_conditional()]
        there = _orders(o for o in resting if o.client_order_id.startswith(prefix))
        here = _orders(engine.open_orders())
        if here != there:
            return f"orders: here {here}, at the venue {there}"
        if unsettled := engine._core.ledger.book.orders.keys() - here.keys():
            return f"orders that have ended and still count as exposure: {unsettled}"
        return ""

    def cash_of_others(self) -> Decimal:
        """What has come and gone otherwise than by our fills."""
        ours = {
            t.trade_id
            for t in self.venue.trades(BTC, limit=1 << 20)
            if t.order.client_order_id.startswith(PREFIX)
        }
        flows = (flow.amount for flow in self.venue.income() if flow.trade_id not in ours)
        return sum(flows, Decimal(0))

    def assert_wallet(self) -> None:
        """The book's cash is the venue's, to the last digit but for what the venue rounds."""
        wallets = self.engine._core.ledger.wallets
        assert abs(wallets.expected["USDT"] - self.venue.wallet_balance) <= wallets.tolerance

    async def told(self) -> list[str]:
        """What `execution.positions_reconciled` has said was done: rule and kind of each."""
        outbox = self.engine._core.outbox
        await self.until(lambda: not outbox.behind(outbox.mark), "events are on the bus")
        actions = [
            action
            for event in self.world.events()[self._events_before :]
            if event.type == "execution.positions_reconciled"
            for action in event.body["actions"]
        ]
        return [" ".join(action.replace(":", "").split()[:2]) for action in actions]

    async def held(self, *kinds: str) -> None:
        """These wait for a person, nothing else does; meanwhile nothing is traded."""
        engine = self.engine

        def named() -> list[str]:
            return sorted(d.split()[0] for d in engine.status()["differences"])

        await self.until(lambda: named() == sorted(kinds), f"{kinds} are held")
        assert engine.state is State.RECONCILING
        assert not engine.gate.is_open
        assert not self.openings
        with pytest.raises(TradingHalted):
            await engine.submit(ENTRY)
        if not isinstance(self.world, WireWorld):
            await anyio.sleep(120)  # it waits for a person as long as that takes
            assert named() == sorted(kinds)
            assert engine.state is State.RECONCILING
        assert any("operator" in why for why in engine.waiting_for)
        assert not self.openings

    async def settled(
        self,
        *,
        told: Iterable[str] | None = (),
        position: str | dict[tuple[str, str], str] = "0",
        resting: int = 0,
        sent: Iterable[str] | None = (),
        cash: bool = True,
    ) -> None:
        """It is HEALTHY again, and everything is as it should be.

        :param told: rule and kind of what was done, in its order; None: the case says more.
        :param position: what the book holds, and the venue.
        :param resting: how many orders of ours rest.
        :param sent: orders that were written, as `sell 0.010`; None: the case says more.
        :param cash: whether a cash flow is told exactly if cash has moved that is not of our
            fills, and nothing remains unexplained; False: the case says more.
        """
        await self.healthy()
        assert self.openings, "HEALTHY was never left"
        for opening in self.openings:
            assert opening.gate_was_shut
            assert not opening.mismatch
        assert self.mismatch() == ""
        if told is not None:
            actions = await self.told()
            assert [a for a in actions if a != CASH] == list(told), actions
            if cash:
                assert DRIFT not in actions
                assert (CASH in actions) is (self.cash_of_others() != self._others_before)
        self.assert_wallet()
        expected = {(BTC, "BOTH"): position} if isinstance(position, str) else position
        here = {k: Decimal(q) for k, q in expected.items() if Decimal(q)}
        assert self.at_venue() == here
        assert len(self.engine.open_orders()) == resting
        if sent is not None:
            assert [f"{o.side} {o.quantity:f}" for o in self.sent] == list(sent)
        assert self.engine.status()["differences"] == []
        assert self.engine.gate.is_open


def orders(**changes: Any) -> OrderSettings:
    """Resting entries are kept in an outage: what becomes of them is what is looked at."""
    return OrderSettings(**{"on_leaving_active": "keep", **changes})


def _orders(snapshots: Iterable[OrderSnapshot]) -> dict[str, tuple[Decimal, str]]:
    return {o.client_order_id: (o.filled, str(o.status)) for o in snapshots}


Scenario = Callable[..., Awaitable[None]]


def scenario(case: Scenario) -> Callable[..., None]:
    """The test that plays `case` in virtual time; its first argument is a stage."""
    return _test(case, ["virtual"])


def wire_scenario(case: Scenario) -> Callable[..., None]:
    """As `scenario`, and also over real sockets with each client that speaks the protocol."""
    return _test(case, ["virtual", *WIRE_CLIENTS])


def only_wire_scenario(case: Scenario) -> Callable[..., None]:
    """As `wire_scenario`, of what only the protocol has."""
    return _test(case, list(WIRE_CLIENTS))


def _test(case: Scenario, places: list[str]) -> Callable[..., None]:
    @functools.wraps(case)
    def played(where: str, **given: Any) -> None:
        if where == "virtual":

            async def in_virtual_time() -> None:
                await case(Stage(World()), **given)

            run(in_virtual_time)
        else:
            anyio.run(functools.partial(_over_the_wire, case, WIRE_CLIENTS[where], given))

    others = list(inspect.signature(case).parameters.values())[1:]
    where = inspect.Parameter("where", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    played.__signature__ = inspect.Signature([where, *others])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("where", places)(played)


async def _over_the_wire(case: Scenario, make: MakeWireClient, given: dict[str, Any]) -> None:
    world = WireWorld(make)
    async with world.served.serve() as port:
        world.port = port
        with anyio.fail_after(2 * PATIENCE_SECONDS):
            await case(Stage(world), **given)
