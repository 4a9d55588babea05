"""The execution client of a venue that speaks Binance's USDⓈ-M protocol.

One client for the real venue and for the simulated one; only who signs is another
(`signing.Signer`). What an answer proves is decided by pure functions (`errors`, `wire`),
and whether a request left is known for each attempt (`session`). Here orders are sent, cancelled
and asked for, and the links are kept; what is only looked at is in `holdings` and `account`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from holdfast.errors import LinkDown
from holdfast.model import (
    ExecutionReport,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    QueryOutcome,
)
from holdfast.ports import Clock, Entropy, ExecutionWatch

from . import endpoints
from .algo import algo_order, conditional_params
from .conditional import ConditionalCalls
from .endpoints import Endpoint
from .errors import NO_SUCH_LISTEN_KEY, UNKNOWN_ORDER
from .health import LinkKeeper
from .holdings import Holdings
from .limits import Priority
from .line import Line
from .pacing import NotAdmitted
from .parameters import order_params
from .session import NoReply, NotSent, Reply
from .signing import Params, Signer
from .stream import UserStream
from .symbols import Symbols
from .wire import (
    CountdownJson,
    ListenKeyJson,
    Read,
    TimeJson,
    order_json,
    place_outcome,
    query_outcome,
    read_error,
)

PROBE_SECONDS: Final = 2.0


class UsdmExecutionClient(Holdings):
    """Trades at a venue that speaks the protocol.

    :param signer: makes requests of endpoints and parameters.
    :param stream_url: where the user stream of a listen key is.
    :param name: of the link, in reports.
    :param venue: part of what is journalled.
    :param stream_ping_seconds: interval of the pings on the user stream.
    :param tells_rights: whether it can be asked what the key may do.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        stream_url: Callable[[str], str],
        clock: Clock,
        entropy: Entropy,
        name: str = "exchange",
        venue: str,
        stream_ping_seconds: float = 5.0,
        tells_rights: bool = True,
    ) -> None:
        self.name = name
        self.venue = venue
        self._signer = signer
        self._clock = clock
        chance = entropy.child(name)
        self._health = LinkKeeper(self.probe, chance)
        super().__init__(
            Line(signer, name=name, clock=clock, health=self._health),
            symbols=Symbols(),
            tells_rights=tells_rights,
        )
        self._conditional = ConditionalCalls(
            self._ask_conditional, clock=clock, triggers=self._triggers
        )
        self._watch: ExecutionWatch | None = None
        self._stream = UserStream(
            session=self._line.session,
            url=stream_url,
            new_key=self._new_listen_key,
            extend_key=self._extend_listen_key,
            unified=self._symbols.unified,
            entropy=chance.child("stream"),
            on_report=self._on_report,
            on_up=self._on_stream_up,
            on_down=self._on_stream_down,
            ping_seconds=stream_ping_seconds,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._signer!r}>"

    def other_account(self, *, server: str, api_key: str) -> str:
        """See `ports.AccountComparer`."""
        return self._signer.other_account(server=server, api_key=api_key)

    # --- the link ------------------------------------------------------------------

    async def run(self, watch: ExecutionWatch) -> None:
        """See `ports.ExecutionClient`."""
        self._watch = watch
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stream.run)
                await self._health.run(watch)
        finally:
            self._watch = None
            with anyio.CancelScope(shield=True):
                await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; `run` does it when it ends."""
        await self._line.aclose()

    async def probe(self) -> None:
        """Ask the time, then something signed: proves key, secret, clock and account service."""
        await self.venue_time_ms(timeout_seconds=PROBE_SECONDS)
        if not self._instruments:
            await self.instruments(timeout_seconds=PROBE_SECONDS)
        await self._line.read(
            endpoints.BALANCES,
            [],
            list[Any],
            timeout_seconds=PROBE_SECONDS,
            priority=Priority.EXIT,
        )

    def _on_report(self, report: ExecutionReport) -> None:
        report = ExecutionReport(self._remember(report.order), report.fill)
        if self._watch is not None:
            self._watch.report(report)

    def _on_stream_up(self) -> None:
        if self._watch is not None:
            self._watch.stream_up()

    def _on_stream_down(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.stream_down(reason)
        self._health.doubt()

    # --- orders --------------------------------------------------------------------

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """See `ports.ExecutionClient`."""
        return await self._place(request, None, permit, timeout_seconds)

    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """See `ports.PreparesOrders`."""
        return await self._place(request, ready, permit, timeout_seconds)

    async def _place(
        self,
        request: PlaceRequest,
        ready: Callable[[], Awaitable[object]] | None,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        order = request.order
        name = self._symbols.at_venue(order.symbol)
        endpoint, params = endpoints.NEW_ORDER, order_params(request, name)
        read: Read = order_json.decode
        if order.conditional:
            endpoint, params = endpoints.NEW_ALGO_ORDER, conditional_params(request, name)
            read = algo_order.decode
        # Half of its window is for the way: what waits longer for its turn would be refused
        # for its time stamp.
        window_ms = request.timestamp_ms + request.recv_window_ms - self._line.now_ms()
        try:
            reply = await self._line.send(
                endpoint,
                params,
                timeout_seconds=timeout_seconds,
                priority=Priority.ENTRY if order.opening else Priority.EXIT,
                permit=permit,
                ready=ready,
                patience_seconds=min(timeout_seconds, max(window_ms, 0) / 2000),
                stamped=True,
            )
        except NotAdmitted as error:
            silenced = error.retry_after_seconds is not None
            return PlaceOutcome(
                kind=OutcomeKind.THROTTLED if silenced else OutcomeKind.NOT_EXECUTED,
                reason=f"not sent: {error}",
                retry_after_seconds=error.retry_after_seconds,
            )
        except NotSent as error:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason=f"not sent: {error}")
        except NoReply as error:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason=f"no answer: {error}")
        outcome = place_outcome(
            status=reply.status,
            body=reply.body,
            request=request,
            retry_after_seconds=reply.retry_after_seconds,
            now_ms=self._line.now_ms(),
            read=read,
        )
        if outcome.order is not None:
            self._remember(outcome.order)
        return outcome

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """See `ports.ExecutionClient`."""
        if conditional:
            return await self._conditional.cancel(symbol, client_order_id, timeout_seconds)
        deadline = self._clock.monotonic() + timeout_seconds
        outcome, code = await self._look(
            endpoints.CANCEL_ORDER, symbol, client_order_id, timeout_seconds, Priority.EXIT
        )
        if code != UNKNOWN_ORDER:
            return outcome
        # "Unknown order" to a cancel: filled, cancelled before, or never there.
        remaining_seconds = max(0.05, deadline - self._clock.monotonic())
        return await self.query(symbol, client_order_id, timeout_seconds=remaining_seconds)

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """See `ports.ExecutionClient`."""
        if conditional:
            return await self._conditional.query(symbol, client_order_id, timeout_seconds)
        outcome, _ = await self._look(
            endpoints.QUERY_ORDER, symbol, client_order_id, timeout_seconds, Priority.QUESTION
        )
        return outcome

    async def _ask_conditional(
        self, endpoint: Endpoint, params: Params, timeout_seconds: float
    ) -> Reply:
        """:raises NotSent, NoReply:"""
        priority = Priority.EXIT if endpoint.method == "DELETE" else Priority.QUESTION
        return await self._line.send(
            endpoint, params, timeout_seconds=timeout_seconds, priority=priority
        )

    async def _look(
        self,
        endpoint: Endpoint,
        symbol: str,
        client_order_id: str,
        timeout_seconds: float,
        priority: Priority,
    ) -> tuple[QueryOutcome, int | None]:
        """How the order stands, and the code of a refusal."""
        name = self._symbols.at_venue(symbol)
        try:
            reply = await self._line.send(
                endpoint,
                [("symbol", name), ("origClientOrderId", client_order_id)],
                timeout_seconds=timeout_seconds,
                priority=priority,
            )
        except (NotSent, NoReply) as error:
            return QueryOutcome(kind=QueryKind.UNANSWERED, reason=str(error)), None
        outcome, code = query_outcome(
            status=reply.status,
            body=reply.body,
            client_order_id=client_order_id,
            symbol=symbol,
        )
        if outcome.order is not None:
            self._remember(outcome.order)
        return outcome, code

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """See `ports.CountsDown`."""
        name, countdown_ms = self._symbols.at_venue(symbol), round(countdown_seconds * 1000)
        runs = await self._line.read(
            endpoints.COUNTDOWN_CANCEL_ALL,
            [("symbol", name), ("countdownTime", str(countdown_ms))],
            CountdownJson,
            timeout_seconds=timeout_seconds,
            priority=Priority.EXIT,
        )
        if runs.symbol != name or runs.countdownTime != countdown_ms:
            raise LinkDown(f"{self.name}: the countdown of {name} was answered with another one")

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        """See `ports.ExecutionClient`. Each answer is a measurement of the offset, too."""
        before_ns = self._clock.monotonic_ns()
        answer = await self._line.read(
            endpoints.TIME,
            [],
            TimeJson,
            timeout_seconds=timeout_seconds,
            priority=Priority.EXIT,
        )
        self._line.offset.observe(
            before_ns=before_ns,
            after_ns=self._clock.monotonic_ns(),
            venue_ms=answer.serverTime,
        )
        return answer.serverTime

    # --- what belongs to the user stream ---------------------------------------------

    async def _new_listen_key(self) -> str:
        if not self._symbols.are_known:
            await self.instruments(timeout_seconds=PROBE_SECONDS)
        answer = await self._line.read(
            endpoints.NEW_LISTEN_KEY,
            [],
            ListenKeyJson,
            timeout_seconds=PROBE_SECONDS,
            priority=Priority.EXIT,
        )
        return answer.listenKey

    async def _extend_listen_key(self) -> bool:
        endpoint = endpoints.EXTEND_LISTEN_KEY
        reply = await self._line.ask(
            endpoint, [], timeout_seconds=PROBE_SECONDS, priority=Priority.EXIT
        )
        if reply.status != 200 and read_error(reply.body)[0] == NO_SUCH_LISTEN_KEY:
            return False
        self._line.decoded(endpoint, reply, Any)
        return True
