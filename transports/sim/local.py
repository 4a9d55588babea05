"""The execution client of a venue in the same process, for virtual time.

Without latency or an armed fault a call is a plain function call: no task, no
timer. Otherwise each request in flight costs one timer and one future. A request
that has left arrives even if its caller was cancelled or has given up, as on a
network; and `run` only waits, so that a simulation can see that nothing is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.model import (
    ExecutionReport,
    Fill,
    Instrument,
    OrderSnapshot,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    Position,
    QueryKind,
    QueryOutcome,
)
from holdfast.ports import ExecutionWatch
from holdfast.transports.usdm.errors import DOES_NOT_EXIST, UNKNOWN_ORDER, classify_refusal

from .core import SimulatedVenue
from .faults import Fault, RequestKind, StreamFilter
from .records import OrderTicket, VenueEvent
from .rules import VenueError

_T = TypeVar("_T")


class NoReply(Exception):
    """The request had left and nothing came back: nobody knows what became of it."""


class BadReply(Exception):
    """The venue answered with an error that is not the core's own (an armed fault)."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class LocalLine:
    """The wire between one venue and the clients in this process; outages are made here.

    :ivar rest_down, stream_down: why that path is cut, or None while it stands.
    """

    def __init__(self, core: SimulatedVenue) -> None:
        self.core = core
        self.rest_down: str | None = None
        self.stream_down: str | None = None
        self._silent = False
        self._watches: list[ExecutionWatch] = []

    def set_down(
        self, reason: str, *, rest: bool = True, stream: bool = True, silent: bool = False
    ) -> None:
        """Cut the line. Requests under way are lost, on whichever half they are.

        :param silent: packets vanish and nobody is told: new requests leave and are
            lost, too, and clients learn of it by their timeouts only.
        """
        self._silent = silent
        if rest:
            self.rest_down = reason
        if stream:
            self.stream_down = reason
        if silent:
            return
        for watch in tuple(self._watches):
            if stream:
                watch.stream_down(reason)
            if rest:
                watch.down(reason)

    def set_up(self) -> None:
        """Mend the line; clients that run reconnect at once."""
        was_silent, self._silent = self._silent, False
        rest, self.rest_down = self.rest_down, None
        stream, self.stream_down = self.stream_down, None
        for watch in tuple(self._watches):
            if was_silent:
                # What was lost in silence is noticed when the connection is made anew.
                if stream is not None:
                    watch.stream_down(stream)
                if rest is not None:
                    watch.down(rest)
            if rest is not None:
                watch.up()
            if stream is not None:
                watch.stream_up()

    @property
    def refused(self) -> bool:
        """Whether a new request fails before it leaves."""
        return self.rest_down is not None and not self._silent

    def attach(self, watch: ExecutionWatch) -> Callable[[], None]:
        """Report to `watch` from now on; returns what ends that."""
        shape: StreamFilter[ExecutionReport] = StreamFilter(self.core.faults)

        def listen(event: VenueEvent) -> None:
            if self.stream_down is not None:
                return
            trade = event.trade
            report = ExecutionReport(event.snapshot(), None if trade is None else trade.fill())
            for delivered in shape(report):
                watch.report(delivered)

        unsubscribe = self.core.subscribe(listen)
        self._watches.append(watch)

        def detach() -> None:
            unsubscribe()
            self._watches.remove(watch)

        return detach


class _Flight(Generic[_T]):
    """One request on its way; `future` gets the answer, or `NoReply` at the deadline."""

    __slots__ = ("act", "deadline", "expiring", "fault", "future")

    def __init__(
        self, act: Callable[[], _T], fault: Fault, future: asyncio.Future[_T], deadline: float
    ) -> None:
        self.act = act
        self.fault = fault
        self.future = future
        self.deadline = deadline
        self.expiring = False


_NO_FAULT = Fault()


class SimExecutionClient:
    """Execution client of the venue behind `line`, in this process.

    :param latency_seconds: from the permit to the venue; answers come back at once.
    :ivar line: where outages are made.
    """

    def __init__(
        self,
        line: LocalLine,
        *,
        name: str = "exchange",
        venue: str = "sim",
        latency_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.venue = venue
        self.line = line
        self._core = line.core
        self._latency_seconds = latency_seconds

    async def run(self, watch: ExecutionWatch) -> None:
        line = self.line
        detach = line.attach(watch)
        try:
            if line.rest_down is None:
                watch.up()
            else:
                watch.down(line.rest_down)
            if line.stream_down is None:
                watch.stream_up()
            else:
                watch.stream_down(line.stream_down)
            await anyio.sleep_forever()
        finally:
            detach()

    async def probe(self) -> None:
        await self.venue_time_ms(timeout_seconds=1.0)

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        if self.line.refused:
            return PlaceOutcome(
                kind=OutcomeKind.NOT_EXECUTED, reason=f"not sent: {self.line.rest_down}"
            )
        permit()
        try:
            snapshot = await self._ask("place", lambda: self._accept(request), timeout_seconds)
        except NoReply as error:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason=str(error))
        except VenueError as error:
            return classify_refusal(status=400, code=error.code, message=error.message)
        except BadReply as error:
            fault = error.fault
            return classify_refusal(
                status=fault.status,
                code=fault.code,
                message=fault.message or fault.body or "",
                retry_after_seconds=fault.retry_after_seconds,
                now_ms=self._core.now_ms(),
            )
        return PlaceOutcome(kind=OutcomeKind.ACCEPTED, order=snapshot)

    async def cancel(
        self, symbol: str, client_order_id: str, *, timeout_seconds: float
    ) -> QueryOutcome:
        def act() -> OrderSnapshot:
            return self._core.cancel(symbol, client_order_id=client_order_id).snapshot()

        outcome = await self._look("cancel", act, timeout_seconds)
        if outcome is not None:
            return outcome
        return await self.query(symbol, client_order_id, timeout_seconds=timeout_seconds)

    async def query(
        self, symbol: str, client_order_id: str, *, timeout_seconds: float
    ) -> QueryOutcome:
        def act() -> OrderSnapshot:
            return self._core.query(symbol, client_order_id=client_order_id).snapshot()

        outcome = await self._look("query", act, timeout_seconds)
        assert outcome is not None
        return outcome

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        return await self._read(
            "snapshot",
            lambda: [order.snapshot() for order in self._core.open_orders()],
            timeout_seconds,
        )

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        def act() -> list[Position]:
            return [
                Position(
                    symbol=book.market.symbol,
                    quantity=holding.quantity,
                    entry_price=holding.entry_price,
                    position_side=side,
                )
                for book, side, holding in self._core.positions()
            ]

        return await self._read("snapshot", act, timeout_seconds)

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        def act() -> list[Fill]:
            trades = self._core.book(symbol).trades
            return [
                trade.fill()
                for trade in self._core.trades(
                    symbol, from_id=after_trade_id + 1, limit=len(trades)
                )
            ]

        return await self._read("snapshot", act, timeout_seconds)

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        return await self._read("probe", self._core.now_ms, timeout_seconds)

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        return await self._read(
            "snapshot",
            lambda: {
                book.market.symbol: book.market.instrument for book in self._core.books.values()
            },
            timeout_seconds,
        )

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """Binance's dead-man switch; 0 stops it. :raises LinkDown:"""
        await self._read(
            "cancel",
            lambda: self._core.countdown_cancel_all(symbol, round(countdown_seconds * 1000)),
            timeout_seconds,
        )

    # --- one request ---------------------------------------------------------------

    def _accept(self, request: PlaceRequest) -> OrderSnapshot:
        order = request.order
        self._core.check_time(request.timestamp_ms, request.recv_window_ms)
        ticket = OrderTicket(
            symbol=order.symbol,
            client_order_id=request.client_order_id,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            time_in_force=order.time_in_force or "GTC",
            reduce_only=order.reduce_only,
            position_side=order.position_side,
        )
        return self._core.place(ticket).snapshot()

    async def _look(
        self, kind: RequestKind, act: Callable[[], OrderSnapshot], timeout_seconds: float
    ) -> QueryOutcome | None:
        """None: to a cancel, the venue said "unknown order", which says nothing of its end."""
        try:
            self._refuse_if_down()
            snapshot = await self._ask(kind, act, timeout_seconds)
        except (NoReply, LinkDown) as error:
            return QueryOutcome(kind=QueryKind.UNANSWERED, reason=str(error))
        except VenueError as error:
            code, reason = error.code, str(error)
        except BadReply as error:
            code, reason = error.fault.code or 0, f"HTTP {error.fault.status}: {error}"
        else:
            return QueryOutcome(kind=QueryKind.FOUND, order=snapshot)
        if code == DOES_NOT_EXIST:
            return QueryOutcome(kind=QueryKind.ABSENT, reason=reason)
        if code == UNKNOWN_ORDER and kind == "cancel":
            return None
        return QueryOutcome(kind=QueryKind.UNANSWERED, reason=reason)

    async def _read(self, kind: RequestKind, act: Callable[[], _T], timeout_seconds: float) -> _T:
        """:raises LinkDown:"""
        self._refuse_if_down()
        try:
            return await self._ask(kind, act, timeout_seconds)
        except (NoReply, VenueError, BadReply) as error:
            raise LinkDown(f"{self.name}: {error}") from error

    def _refuse_if_down(self) -> None:
        if self.line.refused:
            raise LinkDown(f"{self.name}: {self.line.rest_down}")

    async def _ask(self, kind: RequestKind, act: Callable[[], _T], timeout_seconds: float) -> _T:
        """Carry one request to the venue and its answer back.

        :raises VenueError, BadReply: the venue's answer.
        :raises NoReply: after `timeout_seconds`, or at once when the connection is cut.
        """
        faults = self._core.faults
        fault = _NO_FAULT if faults.idle else faults.take(kind, self._core.now_ms()) or _NO_FAULT
        latency = self._latency_seconds
        if fault is _NO_FAULT and not latency and self.line.rest_down is None:
            return act()
        loop = asyncio.get_running_loop()
        now = loop.time()
        future: asyncio.Future[_T] = loop.create_future()
        flight = _Flight(act, fault, future, now + timeout_seconds)
        arrival = now + latency + fault.delay_before_seconds
        if arrival >= flight.deadline:
            self._expire_later(flight)
        if arrival > now:
            loop.call_at(arrival, self._arrive, flight)
        else:
            self._arrive(flight)
        return await future

    def _arrive(self, flight: _Flight[_T]) -> None:
        fault, future = flight.fault, flight.future
        error: Exception | None = None
        result: _T | None = None
        if self.line.rest_down is not None:
            self._expire_later(flight)
            return
        if fault.executes:
            try:
                result = flight.act()
            except VenueError as refusal:
                error = refusal
        if future.done():
            return
        match fault.reply:
            case "lost":
                self._expire_later(flight)
                return
            case "error":
                error = BadReply(fault)
            case "reset" | "truncated":
                error = NoReply("the connection was cut after the request had left")
            case "normal":
                if not fault.executes:
                    error = NoReply("the venue dropped the request")
        loop = future.get_loop()
        at = loop.time() + fault.delay_after_seconds
        if at >= flight.deadline:
            self._expire_later(flight)
        elif fault.delay_after_seconds > 0:
            loop.call_at(at, self._reply, flight, result, error)
        else:
            self._reply(flight, result, error)

    def _reply(self, flight: _Flight[_T], result: _T | None, error: Exception | None) -> None:
        future = flight.future
        if future.done():
            return
        if self.line.rest_down is not None:
            self._expire_later(flight)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if act() made it

    @staticmethod
    def _expire_later(flight: _Flight[_T]) -> None:
        if flight.expiring or flight.future.done():
            return
        flight.expiring = True
        flight.future.get_loop().call_at(flight.deadline, _expire, flight.future)


def _expire(future: asyncio.Future[_T]) -> None:
    if not future.done():
        future.set_exception(NoReply("no answer within the timeout"))
