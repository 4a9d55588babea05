"""`conformance.VenueControl` of the simulated venue, in this process and behind HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal

import anyio
from sim_rigs import BTC, MakeWireClient, signs_itself

from holdfast import simulation
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.model import Side
from holdfast.ports import Clock
from holdfast.simulation import VirtualClock
from holdfast.transports.conformance import Call, Check, Mishap, VenueControl
from holdfast.transports.sim import (
    Fault,
    LocalLine,
    OrderTicket,
    SimExecutionClient,
    SimulatedVenue,
)
from holdfast.transports.sim.faults import RequestKind
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.fills import PAGE

MARKET_PRICE, RESTING_PRICE = Decimal(50_000), Decimal(49_000)
KINDS: dict[Call, RequestKind] = {
    "place": "place",
    "cancel": "cancel",
    "query": "query",
    "venue_time_ms": "probe",
}
EVERY = 1_000_000


class SimControl(VenueControl):
    symbol = BTC
    quantity = Decimal("0.010")

    def __init__(self, venue: SimulatedVenue, clock: Clock) -> None:
        self.venue = venue
        self.clock = clock
        late = 2 * self.timeout_seconds
        self._faults = {
            Mishap.LOST_REQUEST: Fault.lost_request(),
            Mishap.LOST_REPLY: Fault.lost_reply(),
            Mishap.CUT_BEFORE: Fault(executes=False, reply="reset"),
            Mishap.CUT_AFTER: Fault(reply="reset"),
            Mishap.TRUNCATED: Fault(reply="truncated"),
            Mishap.LATE_REPLY: Fault(delay_after_seconds=late),
            Mishap.HELD_UP: Fault(delay_before_seconds=late),
            Mishap.SERVER_ERROR: Fault.refusal(-1000, "An unknown error occurred.", status=500),
            Mishap.THROTTLED: Fault.refusal(-1003, "Too many requests.", status=429),
        }

    async def reset(self) -> None:
        await self.line_up()
        self.venue.faults.clear()
        self.venue.cancel_all(BTC)
        self.venue.cancel_all_conditional(BTC)
        for _, _, holding in self.venue.positions():
            side: Side = "sell" if holding.quantity > 0 else "buy"
            self._trade(side, abs(holding.quantity), reduce_only=True)
        await self.set_price(MARKET_PRICE)

    async def resting_price(self) -> Decimal:
        return RESTING_PRICE

    async def times_taken(self, client_order_id: str) -> int:
        waiting = sum(
            order.client_id == client_order_id and order.actual is None
            for order in self.venue.conditional_log
        )
        return self.venue.executions(client_order_id) + waiting

    async def trigger_price(self) -> Decimal:
        return RESTING_PRICE

    async def set_price(self, price: Decimal) -> None:
        self.venue.on_price(BTC, price)

    async def foreign_order(self, side: Side) -> str:
        return self._trade(side, self.quantity)

    async def spoil(self, call: Call, mishap: Mishap) -> None:
        self.venue.faults.arm(KINDS.get(call, "snapshot"), self._faults[mishap], count=EVERY)

    async def mend(self) -> None:
        self.venue.faults.clear()

    async def skew_clock(self, milliseconds: int) -> None:
        self.venue.faults.clock_skew_ms = milliseconds

    def _trade(self, side: Side, quantity: Decimal, *, reduce_only: bool = False) -> str:
        ticket = OrderTicket(
            symbol=BTC,
            client_order_id=f"web_{len(self.venue.order_log)}",
            side=side,
            quantity=quantity,
            reduce_only=reduce_only,
            foreign=True,
        )
        return self.venue.place(ticket).client_order_id


class LocalControl(SimControl):
    """In virtual time, where waiting costs nothing."""

    page_of_fills = PAGE

    def __init__(self, venue: SimulatedVenue, clock: Clock) -> None:
        super().__init__(venue, clock)
        self.line = LocalLine(venue)

    async def line_down(self) -> None:
        self.line.set_down("cut by the test")

    async def line_up(self) -> None:
        if self.line.rest_down is not None:
            self.line.set_up()

    async def cut_stream(self) -> None:
        self.line.set_down("cut by the test", rest=False)
        self.line.set_up()


class HttpControl(SimControl):
    page_of_fills = PAGE

    def __init__(self, venue: SimulatedVenue, clock: Clock) -> None:
        super().__init__(venue, clock)
        self.server = VenueServer(venue, key="k", secret="s", entropy=SystemEntropy())
        self.port = 0
        self._serving: AsyncExitStack | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        await self.line_up()
        try:
            yield
        finally:
            await self.line_down()

    async def line_up(self) -> None:
        """On the same port each time."""
        if self._serving is None:
            self._serving = AsyncExitStack()
            self.port = await self._serving.enter_async_context(self.server.serve(port=self.port))

    async def line_down(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.aclose()

    async def cut_stream(self) -> None:
        self.server.cut_streams()


def on_local(
    check: Check,
    *,
    latency_seconds: float = 0.0,
    make: Callable[[LocalLine], SimExecutionClient] | None = None,
) -> None:
    """:param make: the client to check, in place of the built-in one."""

    async def main() -> None:
        clock = VirtualClock()
        control = LocalControl(SimulatedVenue(time_ns=clock.time_ns), clock)

        def built_in() -> SimExecutionClient:
            return SimExecutionClient(control.line, latency_seconds=latency_seconds)

        await check(built_in if make is None else lambda: make(control.line), control)

    simulation.run(main)


def on_http(check: Check, make: MakeWireClient = signs_itself) -> None:
    async def main() -> None:
        clock = SystemClock()
        control = HttpControl(SimulatedVenue(time_ns=clock.time_ns), clock)
        async with control.serving():

            def made() -> UsdmExecutionClient:
                return make(f"http://127.0.0.1:{control.port}")

            with anyio.fail_after(60):
                await check(made, control)

    anyio.run(main)
