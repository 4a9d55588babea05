"""The wire between a venue and the clients in its process, and its outages.

A request in flight costs one timer and one future, none at all without latency and
faults. Once it has left it arrives, whether or not its caller still waits; a cut of the
line loses what is under way on either half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from holdfast.model import ExecutionReport
from holdfast.ports import ExecutionWatch

from .core import SimulatedVenue
from .faults import Fault, RequestKind, StreamFilter
from .records import ConditionalEvent, VenueEvent
from .rules import VenueError

_T = TypeVar("_T")

_NO_FAULT: Final = Fault()


class NoReply(Exception):
    """The request had left and nothing came back: nobody knows what became of it."""


class BadReply(Exception):
    """The venue answered with an error that is not the core's own (an armed fault)."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Flight(Generic[_T]):
    """One request on its way; `future` gets the answer, or `NoReply` at the deadline."""

    __slots__ = ("act", "connection", "deadline", "expiring", "fault", "future")

    def __init__(
        self,
        act: Callable[[], _T],
        fault: Fault,
        future: asyncio.Future[_T],
        *,
        deadline: float,
        connection: int,
    ) -> None:
        self.act = act
        self.fault = fault
        self.future = future
        self.deadline = deadline
        self.connection = connection
        self.expiring = False


def _expire(future: asyncio.Future[_T]) -> None:
    if not future.done():
        future.set_exception(NoReply("no answer within the timeout"))


class LocalLine:
    """The wire between one venue and the clients in this process; outages are made here.

    :ivar rest_down, stream_down: why that path is cut, or None while it stands.
    """

    def __init__(self, core: SimulatedVenue) -> None:
        self.core = core
        self.rest_down: str | None = None
        self.stream_down: str | None = None
        self._silent = False
        self._connection = 0
        """Counts resets: what was under way on an earlier connection never arrives."""
        self._watches: list[ExecutionWatch] = []

    def set_down(
        self, reason: str, *, rest: bool = True, stream: bool = True, silent: bool = False
    ) -> None:
        """Cut the line. Requests under way are lost, on whichever half they are.

        :param silent: packets vanish and nobody is told: new requests leave and are
            lost, too, and clients learn of it by their timeouts only. The connection
            survives: what would arrive after the mending does.
        """
        self._silent = silent
        if rest:
            self.rest_down = reason
        if stream:
            self.stream_down = reason
        if silent:
            return
        if rest:
            self._connection += 1
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

        def tell(report: ExecutionReport) -> None:
            if self.stream_down is None:
                for delivered in shape(report):
                    watch.report(delivered)

        def on_order(event: VenueEvent) -> None:
            trade = event.trade
            tell(ExecutionReport(event.snapshot(), None if trade is None else trade.fill()))

        def on_conditional(event: ConditionalEvent) -> None:
            # From its trigger on the order made of it tells, under the same client id.
            if event.actual is None and event.status != "TRIGGERING":
                tell(ExecutionReport(event.order.snapshot()))

        unsubscribe = self.core.subscribe(on_order, conditional=on_conditional)
        self._watches.append(watch)

        def detach() -> None:
            unsubscribe()
            self._watches.remove(watch)

        return detach

    # --- one request ---------------------------------------------------------------

    async def carry(
        self,
        kind: RequestKind,
        act: Callable[[], _T],
        *,
        latency_seconds: float,
        timeout_seconds: float,
    ) -> _T:
        """Bring one request to the venue and its answer back.

        :param act: what the venue does when the request arrives.
        :param latency_seconds: of the way there.
        :raises VenueError, BadReply: the venue's answer.
        :raises NoReply: after `timeout_seconds`, or at once when the connection is cut.
        """
        faults = self.core.faults
        fault = _NO_FAULT if faults.idle else faults.take(kind, self.core.now_ms()) or _NO_FAULT
        if fault is _NO_FAULT and not latency_seconds and self.rest_down is None:
            return act()
        loop = asyncio.get_running_loop()
        now = loop.time()
        future: asyncio.Future[_T] = loop.create_future()
        flight = _Flight(
            act, fault, future, deadline=now + timeout_seconds, connection=self._connection
        )
        if latency_seconds + fault.delay_before_seconds >= timeout_seconds:
            self._expire_later(flight)
        if latency_seconds > 0:
            loop.call_at(now + latency_seconds, self._arrive, flight)
        else:
            self._arrive(flight)
        return await future

    def _arrive(self, flight: _Flight[_T]) -> None:
        if self._lost(flight):
            self._expire_later(flight)
        elif (delay_seconds := flight.fault.delay_before_seconds) > 0:
            # The venue has it now: whatever happens to the line, it will be taken.
            flight.future.get_loop().call_later(delay_seconds, self._take, flight)
        else:
            self._take(flight)

    def _take(self, flight: _Flight[_T]) -> None:
        fault, future = flight.fault, flight.future
        error: Exception | None = None
        result: _T | None = None
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
            case "garbage":
                error = NoReply("the answer could not be read")
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
        if self._lost(flight):
            self._expire_later(flight)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if act() made it

    def _lost(self, flight: _Flight[_T]) -> bool:
        return self.rest_down is not None or flight.connection != self._connection

    @staticmethod
    def _expire_later(flight: _Flight[_T]) -> None:
        if flight.expiring or flight.future.done():
            return
        flight.expiring = True
        flight.future.get_loop().call_at(flight.deadline, _expire, flight.future)
