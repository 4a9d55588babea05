"""A connected execution client, and what every check does with it.

The bench asks the client and checks, at each call, what holds for all of them: that it
answers in time and does not raise, asks its permit once, and names the order it means.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from itertools import count
from typing import Any, Final, Literal, TypeVar

import anyio

from holdfast.model import (
    ExecutionReport,
    Fill,
    Order,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    QueryOutcome,
)
from holdfast.ports import ExecutionClient

from .venue import Call, Mishap, VenueControl
from .watching import PATIENCE_SECONDS, Recorder, expect, watched

CALL_SECONDS: Final = 5.0
"""Timeout of calls that nothing is done to."""
RECV_WINDOW_MS: Final = 5000
"""Of orders that do not test it; Binance's default."""

MakeClient = Callable[[], ExecutionClient]
Check = Callable[[MakeClient, VenueControl], Awaitable[None]]
_T = TypeVar("_T")
_numbers = count(1)


READS: Final[tuple[Call, ...]] = (
    "open_orders",
    "positions",
    "fills",
    "newest_trade_id",
    "instruments",
    "last_price",
    "venue_time_ms",
)


class ExecutionRecorder(Recorder):
    """Writes down what an execution client tells, in order.

    :ivar heard: the names of the calls, reports apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.stream_is_up = False
        self.reports: list[ExecutionReport] = []

    def up(self) -> None:
        self.heard.append("up")
        super().up()

    def down(self, reason: str) -> None:
        self.heard.append("down")
        super().down(reason)

    def stream_up(self) -> None:
        self.heard.append("stream_up")
        self.stream_is_up = True
        self.tell()

    def stream_down(self, reason: str) -> None:
        self.heard.append("stream_down")
        self.stream_is_up = False
        self.reasons.append(reason)
        self.tell()

    def report(self, report: ExecutionReport) -> None:
        self.reports.append(report)
        self.tell()

    def of(self, client_order_id: str) -> list[ExecutionReport]:
        return [r for r in self.reports if r.order.client_order_id == client_order_id]


class Bench:
    """A connected client and what a check does with it; each call's own promises are checked.

    :ivar permits: how often a client asked for leave to write.
    """

    def __init__(
        self,
        make: MakeClient,
        control: VenueControl,
        client: ExecutionClient,
        watch: ExecutionRecorder,
    ) -> None:
        self.make = make
        self.control = control
        self.client = client
        self.watch = watch
        self.permits = 0

    def permit(self) -> None:
        self.permits += 1

    def new_id(self) -> str:
        """Never used before, also not by an earlier run at the same venue."""
        return f"hf-{self.control.clock.time_ns() // 1000:x}-{next(_numbers)}"

    def request(
        self, client_order_id: str, *, recv_window_ms: int = RECV_WINDOW_MS, **order: Any
    ) -> PlaceRequest:
        """An order to buy at the market, unless `order` says otherwise."""
        values = {"symbol": self.control.symbol, "side": "buy", "quantity": self.control.quantity}
        return PlaceRequest(
            client_order_id=client_order_id,
            order=Order(**{**values, **order}),
            timestamp_ms=self.control.clock.time_ns() // 1_000_000,
            recv_window_ms=recv_window_ms,
        )

    async def place(
        self, client_order_id: str, *, timeout_seconds: float = CALL_SECONDS, **request: Any
    ) -> PlaceOutcome:
        attempt = self.request(client_order_id, **request)
        permits = self.permits
        outcome = await self.answer(
            "place",
            self.client.place(attempt, permit=self.permit, timeout_seconds=timeout_seconds),
            timeout_seconds,
        )
        asked = self.permits - permits
        accepted = outcome.kind is OutcomeKind.ACCEPTED
        assert asked <= 1, f"a transport never repeats an attempt: `permit` was asked {asked} times"
        assert asked or not accepted, "nothing is written without asking `permit`"
        assert (outcome.order is not None) == accepted, (
            f"an outcome has its order exactly when it is ACCEPTED: {outcome}"
        )
        if outcome.order is not None:
            order = outcome.order
            expect(
                "the order accepted is ours",
                (order.client_order_id, order.symbol, order.side, order.quantity),
                (client_order_id, attempt.order.symbol, attempt.order.side, attempt.order.quantity),
            )
        return outcome

    async def place_accepted(self, **request: Any) -> str:
        client_order_id = self.new_id()
        outcome = await self.place(client_order_id, **request)
        expect(f"a good order is accepted ({outcome.reason})", outcome.kind, OutcomeKind.ACCEPTED)
        return client_order_id

    async def rest(self) -> str:
        """Place a buy that rests."""
        return await self.place_accepted(price=await self.control.resting_price())

    async def waiting(self) -> dict[str, Any]:
        """A buy that waits for a lower price: what makes an order of it a conditional one."""
        return {"trigger": "take_profit", "trigger_price": await self.control.trigger_price()}

    async def spoiled(self, mishap: Mishap, **order: Any) -> tuple[str, PlaceOutcome]:
        """Place an order that meets `mishap`; its id and outcome."""
        client_order_id = self.new_id()
        await self.control.spoil("place", mishap)
        outcome = await self.place(
            client_order_id, timeout_seconds=self.control.timeout_seconds, **order
        )
        await self.control.mend()
        return client_order_id, outcome

    async def look(
        self,
        call: Literal["query", "cancel"],
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float = CALL_SECONDS,
    ) -> QueryOutcome:
        method = self.client.query if call == "query" else self.client.cancel
        outcome = await self.answer(
            call,
            method(
                self.control.symbol,
                client_order_id,
                conditional=conditional,
                timeout_seconds=timeout_seconds,
            ),
            timeout_seconds,
        )
        assert (outcome.order is not None) == (outcome.kind is QueryKind.FOUND), (
            f"an outcome has its order exactly when it is FOUND: {outcome}"
        )
        return outcome

    async def answer(self, call: Call, asked: Awaitable[_T], timeout_seconds: float) -> _T:
        """:raises AssertionError: it raised, or took much longer than its timeout."""
        with anyio.move_on_after(timeout_seconds + PATIENCE_SECONDS):
            try:
                return await asked
            except Exception as error:  # whatever it is, it should have been an outcome
                raise AssertionError(
                    f"`{call}` never raises for what the network or the venue did; it raised"
                    f" {error!r}"
                ) from error
        raise AssertionError(f"`{call}` answers within `timeout_seconds`")

    async def taken(self, client_order_id: str) -> int:
        """How often the venue took the order: never or once."""
        times = await self.control.times_taken(client_order_id)
        assert times <= 1, f"a transport never repeats an attempt: it was taken {times} times"
        return times

    def read(self, call: Call) -> Awaitable[Any]:
        """Ask one of `READS`, with the shorter timeout."""
        client, symbol = self.client, self.control.symbol
        reads: dict[Call, Callable[[float], Awaitable[Any]]] = {
            "open_orders": lambda s: client.open_orders(timeout_seconds=s),
            "positions": lambda s: client.positions(timeout_seconds=s),
            "fills": lambda s: client.fills(symbol, after_trade_id=0, timeout_seconds=s),
            "newest_trade_id": lambda s: client.newest_trade_id(symbol, timeout_seconds=s),
            "instruments": lambda s: client.instruments(timeout_seconds=s),
            "last_price": lambda s: client.last_price(symbol, timeout_seconds=s),
            "venue_time_ms": lambda s: client.venue_time_ms(timeout_seconds=s),
        }
        return reads[call](self.control.timeout_seconds)

    async def fills(self, after_trade_id: int) -> list[Fill]:
        return await self.client.fills(
            self.control.symbol, after_trade_id=after_trade_id, timeout_seconds=CALL_SECONDS
        )

    async def last_trade_id(self) -> int:
        return max((fill.trade_id for fill in await self.fills(0)), default=0)

    async def until_final(self, client_order_id: str) -> None:
        watch = self.watch
        await watch.until(
            "the stream reports an order to its end",
            lambda: any(report.order.status.final for report in watch.of(client_order_id)),
        )

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Bench]:
        """A second client of the same account, which knows nothing of the first."""
        async with _connected(self.make, self.control) as bench:
            yield bench


def on_a_bench(case: Callable[[Bench], Awaitable[None]]) -> Check:
    """The check that resets the venue, connects a client of its own and runs `case` on it."""

    @wraps(case)
    async def check(make: MakeClient, control: VenueControl) -> None:
        await control.reset()
        async with _connected(make, control) as bench:
            await case(bench)

    return check


@asynccontextmanager
async def _connected(make: MakeClient, control: VenueControl) -> AsyncIterator[Bench]:
    client = make()
    async with watched(client, ExecutionRecorder()) as watch:
        await watch.until(
            "`stream_up` is called when the user stream is connected", lambda: watch.stream_is_up
        )
        yield Bench(make, control, client, watch)
