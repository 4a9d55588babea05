"""The execution client of a served venue: Binance's USDⓈ-M protocol over aiohttp.

What an answer proves is decided by pure functions (`usdm.errors`, `usdm.wire`), and
whether a request left is known for each attempt (`usdm.session`). The order link is
`down` the moment a connection breaks or cannot be made. A request that merely got no
answer in time, or a lost user stream, makes the client ask at once whether the venue
still answers; only if it does not is the link down.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec

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
from holdfast.ports import Clock, Entropy, ExecutionWatch
from holdfast.transports.usdm.algo import AlgoOrderJson, algo_order, conditional_params
from holdfast.transports.usdm.backoff import delay_seconds
from holdfast.transports.usdm.conditional import (
    ALGO_ORDER,
    OPEN_ALGO_ORDERS,
    ConditionalCalls,
)
from holdfast.transports.usdm.errors import DOES_NOT_EXIST, UNKNOWN_ORDER
from holdfast.transports.usdm.fills import PAGE, OrderNames, newest_id, trades_after
from holdfast.transports.usdm.parameters import order_params, venue_name
from holdfast.transports.usdm.session import NoReply, NotSent, Reply, open_session, send
from holdfast.transports.usdm.signing import sign
from holdfast.transports.usdm.stream import UserStream
from holdfast.transports.usdm.wire import (
    ExchangeInfoJson,
    ListenKeyJson,
    NamedOrder,
    OrderJson,
    PositionJson,
    PriceJson,
    Read,
    TimeJson,
    TradeJson,
    order_json,
    place_outcome,
    query_outcome,
    read_error,
)

if TYPE_CHECKING:
    from aiohttp import ClientSession

_T = TypeVar("_T")

PROBE_SECONDS: Final = 2.0
QUERY_LAG_MS: Final = 10_000
"""A trade may be listed before its order can be queried; once it is older than this, an
order that the venue does not know is one that it has forgotten."""
MAX_CONNECTIONS: Final = 100
READ_WINDOW_MS: Final = 5000
"""recvWindow of requests that change nothing, or may be repeated."""


class SimHttpExecutionClient:
    """Trades at a server that speaks Binance's USDⓈ-M protocol.

    :param base_url: `http://host:port`.
    :param stream_ping_seconds: interval of the pings on the user stream.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str,
        secret: str,
        clock: Clock,
        entropy: Entropy,
        name: str = "exchange",
        venue: str = "sim",
        stream_ping_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.venue = venue
        self.clock_offset_ms = 0
        """Venue's clock minus ours, as last measured."""
        self._base_url = base_url
        self._key = key
        self._secret = secret.encode()
        self._clock = clock
        self._entropy = entropy.child(name)
        self._open_session: ClientSession | None = None
        self._names: dict[str, str] = {}
        self._instruments: dict[str, Instrument] = {}
        self._order_names = OrderNames()
        self._conditional = ConditionalCalls(self._ask_signed, clock=clock)
        self._watch: ExecutionWatch | None = None
        self._is_up = False
        self._doubt = anyio.Event()
        self._stream = UserStream(
            session=self._session,
            url=lambda key: f"ws{base_url.removeprefix('http')}/ws/{key}",
            new_key=self._new_listen_key,
            extend_key=self._extend_listen_key,
            unified=self._unified,
            entropy=self._entropy.child("stream"),
            on_report=self._on_report,
            on_up=self._on_stream_up,
            on_down=self._on_stream_down,
            ping_seconds=stream_ping_seconds,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._base_url}>"

    # --- the link ------------------------------------------------------------------

    async def run(self, watch: ExecutionWatch) -> None:
        self._watch = watch
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stream.run)
                await self._keep_up()
        finally:
            self._watch = None
            self._is_up = False
            with anyio.CancelScope(shield=True):
                await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; `run` does it when it ends."""
        session, self._open_session = self._open_session, None
        if session is not None:
            await session.close()

    async def _keep_up(self) -> None:
        failures = 0
        while True:
            self._doubt = anyio.Event()
            try:
                await self.probe()
            except LinkDown as error:
                self._down(str(error))
                failures += 1
                await anyio.sleep(delay_seconds(failures, self._entropy.random()))
                continue
            failures = 0
            if not self._is_up:
                if self._doubt.is_set():
                    continue  # something failed while we asked: the answer may be from before
                self._is_up = True
                if self._watch is not None:
                    self._watch.up()
            await self._doubt.wait()

    async def probe(self) -> None:
        """Ask the time, then something signed: proves key, secret, clock and account service."""
        await self.venue_time_ms(timeout_seconds=PROBE_SECONDS)
        if not self._instruments:
            await self.instruments(timeout_seconds=PROBE_SECONDS)
        await self._read("GET", "/fapi/v3/balance", [], list[Any], PROBE_SECONDS)

    def _down(self, reason: str) -> None:
        self._is_up = False
        if self._watch is not None:
            self._watch.down(reason)
        self._doubt.set()

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
        self._doubt.set()

    # --- orders --------------------------------------------------------------------

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        path, params = "/fapi/v1/order", order_params(request)
        read: Read = order_json.decode
        if request.order.conditional:
            name = venue_name(request.order.symbol)
            path, params = ALGO_ORDER, conditional_params(request, name)
            read = algo_order.decode
        query = sign(params, self._secret)
        try:
            reply = await self._send("POST", path, query, timeout_seconds, permit=permit)
        except NotSent as error:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason=f"not sent: {error}")
        except NoReply as error:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason=f"no answer: {error}")
        outcome = place_outcome(
            status=reply.status,
            body=reply.body,
            request=request,
            retry_after_seconds=reply.retry_after_seconds,
            now_ms=self._now_ms(),
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
        if conditional:
            return await self._conditional.cancel(symbol, client_order_id, timeout_seconds)
        deadline = self._clock.monotonic() + timeout_seconds
        outcome, code = await self._look("DELETE", symbol, client_order_id, timeout_seconds)
        if code != UNKNOWN_ORDER:
            return outcome
        # "Unknown order" to a cancel: filled, cancelled before, or never there.
        return await self.query(symbol, client_order_id, timeout_seconds=self._left(deadline))

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        if conditional:
            return await self._conditional.query(symbol, client_order_id, timeout_seconds)
        outcome, _ = await self._look("GET", symbol, client_order_id, timeout_seconds)
        return outcome

    async def _look(
        self, method: str, symbol: str, client_order_id: str, timeout_seconds: float
    ) -> tuple[QueryOutcome, int | None]:
        params = [("symbol", venue_name(symbol)), ("origClientOrderId", client_order_id)]
        try:
            reply = await self._send(
                method, "/fapi/v1/order", self._signed(params), timeout_seconds
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

    def _left(self, deadline: float) -> float:
        """For the second of two requests; a little even when the first took all the time."""
        return max(0.05, deadline - self._clock.monotonic())

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """Binance's dead-man switch; 0 stops it. :raises LinkDown:"""
        params = [
            ("symbol", venue_name(symbol)),
            ("countdownTime", str(round(countdown_seconds * 1000))),
        ]
        await self._read("POST", "/fapi/v1/countdownCancelAll", params, Any, timeout_seconds)

    # --- snapshots -----------------------------------------------------------------

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        deadline = self._clock.monotonic() + timeout_seconds
        # First those that wait: one that is triggered in between is told twice, never not at all.
        waiting = await self._read(
            "GET", OPEN_ALGO_ORDERS, [], list[AlgoOrderJson], timeout_seconds
        )
        resting = await self._read(
            "GET", "/fapi/v1/openOrders", [], list[OrderJson], self._left(deadline)
        )
        snapshots: dict[str, OrderSnapshot] = {}
        rows: list[NamedOrder] = [*waiting, *resting]
        for row in rows:
            snapshot = self._readable(partial(row.snapshot, self._unified))
            snapshots[snapshot.client_order_id] = self._remember(snapshot)
        return list(snapshots.values())

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        rows = await self._read(
            "GET", "/fapi/v3/positionRisk", [], list[PositionJson], timeout_seconds
        )
        return [row.position(self._unified) for row in rows if row.positionAmt]

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        ask = _Questions(self, timeout_seconds)
        rows = await trades_after(ask, venue_name(symbol), after_trade_id)
        return [
            self._readable(partial(trade.fill, self._unified, client_order_id))
            for trade, client_order_id in await self._order_names.named(ask, rows)
        ]

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        return await newest_id(_Questions(self, timeout_seconds), venue_name(symbol))

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        before_ms = self._clock.time_ns() // 1_000_000
        answer = await self._read("GET", "/fapi/v1/time", None, TimeJson, timeout_seconds)
        after_ms = self._clock.time_ns() // 1_000_000
        self.clock_offset_ms = answer.serverTime - (before_ms + after_ms) // 2
        return answer.serverTime

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        answer = await self._read(
            "GET", "/fapi/v1/exchangeInfo", None, ExchangeInfoJson, timeout_seconds
        )
        markets = [market for market in answer.symbols if market.contractType == "PERPETUAL"]
        self._names = {market.symbol: market.unified for market in markets}
        self._instruments = {
            market.unified: self._readable(market.instrument) for market in markets
        }
        return dict(self._instruments)

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        path = f"/fapi/v2/ticker/price?symbol={venue_name(symbol)}"
        answer = await self._read("GET", path, None, PriceJson, timeout_seconds)
        return answer.price

    # --- one request ---------------------------------------------------------------

    def _session(self) -> ClientSession:
        if self._open_session is None:
            self._open_session = open_session(key=self._key, max_connections=MAX_CONNECTIONS)
        return self._open_session

    async def _send(
        self,
        method: str,
        path: str,
        query: str,
        timeout_seconds: float,
        *,
        permit: Callable[[], object] | None = None,
    ) -> Reply:
        """:raises NotSent, NoReply: after the link's health was told."""
        url = f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"
        try:
            return await send(
                self._session(), method, url, timeout_seconds=timeout_seconds, permit=permit
            )
        except NotSent as error:
            self._down(f"the venue cannot be reached: {error}")
            raise
        except NoReply as error:
            if error.timed_out:
                self._doubt.set()
            else:
                self._down(f"the connection broke: {error}")
            raise

    async def _read(
        self,
        method: str,
        path: str,
        params: list[tuple[str, str]] | None,
        kind: type[_T],
        timeout_seconds: float,
    ) -> _T:
        """:param params: signed; None: neither parameters nor signature. :raises LinkDown:"""
        query = "" if params is None else self._signed(params)
        reply = await self._ask(path, query, timeout_seconds, method=method)
        return self._decoded(path, reply, kind)

    async def _ask(
        self, path: str, query: str, timeout_seconds: float, *, method: str = "GET"
    ) -> Reply:
        """A reply of whatever status. :raises LinkDown: there was none."""
        try:
            return await self._send(method, path, query, timeout_seconds)
        except (NotSent, NoReply) as error:
            raise LinkDown(f"{self.name}: {path}: {error}") from None

    async def _ask_signed(
        self, method: str, path: str, params: list[tuple[str, str]], timeout_seconds: float
    ) -> Reply:
        """:raises NotSent, NoReply:"""
        return await self._send(method, path, self._signed(params), timeout_seconds)

    def _decoded(self, path: str, reply: Reply, kind: type[_T]) -> _T:
        """:raises LinkDown: it is a refusal, or unreadable."""
        if reply.status != 200:
            code, message = read_error(reply.body)
            raise LinkDown(f"{self.name}: {path}: HTTP {reply.status}, {code}: {message}")
        return self._readable(lambda: msgspec.json.decode(reply.body, type=kind))

    def _readable(self, read: Callable[[], _T]) -> _T:
        """:raises LinkDown: the answer could not be read, so nothing was learnt."""
        try:
            return read()
        except msgspec.DecodeError as error:
            raise LinkDown(f"{self.name}: unreadable answer: {error}") from None

    def _signed(self, params: list[tuple[str, str]]) -> str:
        return sign(
            [
                *params,
                ("recvWindow", str(READ_WINDOW_MS)),
                ("timestamp", str(self._now_ms())),
            ],
            self._secret,
        )

    def _now_ms(self) -> int:
        """The venue's clock, as far as known."""
        return self._clock.time_ns() // 1_000_000 + self.clock_offset_ms

    # --- names ---------------------------------------------------------------------

    def _unified(self, name: str) -> str:
        return self._names.get(name, name)

    def _remember(self, order: OrderSnapshot) -> OrderSnapshot:
        """The order, with the trigger that it once waited for."""
        if order.trigger is None:
            self._order_names.remember(int(order.venue_order_id), order.client_order_id)
        return self._conditional.triggers.marked(order)

    # --- listen key ----------------------------------------------------------------

    async def _new_listen_key(self) -> str:
        if not self._names:
            await self.instruments(timeout_seconds=PROBE_SECONDS)
        answer = await self._read("POST", "/fapi/v1/listenKey", None, ListenKeyJson, PROBE_SECONDS)
        return answer.listenKey

    async def _extend_listen_key(self) -> None:
        await self._read("PUT", "/fapi/v1/listenKey", None, Any, PROBE_SECONDS)


class _Questions:
    """`usdm.fills.Questions`, which share one deadline."""

    def __init__(self, client: SimHttpExecutionClient, timeout_seconds: float) -> None:
        self._client = client
        self._deadline = client._clock.monotonic() + timeout_seconds

    async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
        begin = [] if from_id is None else [("fromId", str(from_id))]
        params = [("symbol", symbol), *begin, ("limit", str(PAGE))]
        return await self._read("/fapi/v1/userTrades", params, list[TradeJson])

    async def orders(self, symbol: str, from_number: int) -> list[OrderJson]:
        params = [("symbol", symbol), ("orderId", str(from_number)), ("limit", str(PAGE))]
        return await self._read("/fapi/v1/allOrders", params, list[OrderJson])

    async def order_of(self, trade: TradeJson) -> OrderJson | None:
        """Binance keeps filled orders ninety days ("Query Order") and trades longer, so an
        account may have trades of which nobody can say whose they were.
        """
        client, path = self._client, "/fapi/v1/order"
        params = [("symbol", trade.symbol), ("orderId", str(trade.orderId))]
        reply = await client._ask(path, client._signed(params), self._seconds_left())
        if (
            reply.status != 200
            and read_error(reply.body)[0] == DOES_NOT_EXIST
            and client._now_ms() - trade.time >= QUERY_LAG_MS
        ):
            return None
        return client._decoded(path, reply, OrderJson)

    async def _read(self, path: str, params: list[tuple[str, str]], kind: type[_T]) -> _T:
        return await self._client._read("GET", path, params, kind, self._seconds_left())

    def _seconds_left(self) -> float:
        """:raises LinkDown: the time is up."""
        seconds = self._deadline - self._client._clock.monotonic()
        if seconds <= 0:
            raise LinkDown(f"{self._client.name}: no complete answer within the timeout")
        return seconds
