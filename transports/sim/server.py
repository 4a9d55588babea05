"""The simulated venue behind real HTTP and WebSocket sockets, in Binance's wire format.

One raw aiohttp handler instead of an application with a router and middlewares, raw
parsing of parameters, msgspec for JSON: the venue must not be the slow part of a
measurement. The checks and their order are Binance's: limits, key, time stamp, signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from holdfast.ports import Entropy

from .access import Access, unsigned
from .algo_wire import algo_update
from .answers import JSON, Headers, answer, limited, not_found, refusal, spoiled
from .api import Account, ListenKeys, Route
from .control import ControlApi
from .core import SimulatedVenue
from .faults import Fault
from .limits import UNLIMITED, LimitExceeded, Limits, RateLimiter
from .market import MarketData
from .market_streams import MarketStreams
from .records import AccountEvent, ConditionalEvent, VenueEvent
from .requests import RequestLog, SeenRequest
from .routes import ROUTES
from .rules import VenueError
from .stream_paths import StreamPath, read_stream_path
from .streams import MAX_MESSAGE_BYTES, PING_SECONDS, PONG_SECONDS, Connection, Hub, converse, obey
from .wire import account_update, force_order, order_update, trade_lite
from .ws_api import WsApi

_log = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode

MAX_BODY_BYTES: Final = 65_536
TICK_SECONDS: Final = 0.01
"""Binance checks its countdowns "about every 10 milliseconds"."""
WS_API_PATH: Final = "/ws-fapi/v1"
_LOOPBACK: Final = frozenset(("127.0.0.1", "::1"))


class VenueServer:
    """Serves one `SimulatedVenue` to HTTP and WebSocket clients.

    :param key, secret: the one API key that is accepted.
    :param entropy: makes listen keys.
    :param market: the public side of the venue, if something feeds it; else one is made.
    :param limits: of requests and orders; None: counted, and never refused.
    :param ping_seconds, pong_seconds: of WebSocket connections.
    :ivar requests: what was asked, answered or not.
    :ivar permissions: what account and key may do.
    """

    def __init__(
        self,
        venue: SimulatedVenue,
        *,
        key: str,
        secret: str,
        entropy: Entropy,
        market: MarketData | None = None,
        limits: Limits = UNLIMITED,
        ping_seconds: float = PING_SECONDS,
        pong_seconds: float = PONG_SECONDS,
    ) -> None:
        self.venue = venue
        self.market = market or MarketData(venue)
        self.requests = RequestLog(venue.machine_ns)
        self._keys = ListenKeys(lambda: f"{entropy.randbits(256):064x}")
        self._account = Account(venue, self._keys, market=self.market, limits=limits)
        self.permissions = self._account.permissions
        self._access = Access(venue, key=key, secret=secret, permissions=self.permissions)
        self._limiter = RateLimiter(limits)
        self._hub = Hub()
        self._market_streams = MarketStreams(self._account, self._hub)
        self._ws_api = WsApi(self._account, self._access, self._limiter, self.requests)
        self._control = ControlApi(self.market, self, self.requests, self.permissions)
        self._request_count = 0
        self._ping_seconds = ping_seconds
        self._pong_seconds = pong_seconds
        venue.subscribe(self._on_order, conditional=self._on_conditional, account=self._on_account)

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        """Listen inside the block; yields the port.

        :raises OSError: the address is taken.
        """
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, tcp_keepalive=False),
            shutdown_timeout=0.1,
            handle_signals=False,
        )
        await runner.setup()
        tasks = (
            asyncio.create_task(self._tick(), name="venue countdowns"),
            asyncio.create_task(self._market_streams.run(), name="market streams"),
        )
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            for task in tasks:
                task.cancel()
            for connection in tuple(self._hub.connections):
                connection.cut()
            await runner.cleanup()

    # --- for the control API -------------------------------------------------------

    def cut_streams(self) -> int:
        """Cut every user stream; returns how many there were."""
        users = [one for one in self._hub.connections if one.user]
        for connection in users:
            connection.cut()
        return len(users)

    def expire_listen_key(self) -> None:
        if (key := self._keys.expire()) is not None:
            frame = {"e": "listenKeyExpired", "E": self.venue.now_ms(), "listenKey": key}
            self._hub.publish(key, _encode(frame))

    def describe(self) -> dict[str, Any]:
        return {
            "streams": sum(one.user for one in self._hub.connections),
            "connections": len(self._hub.connections),
            "requests": self._request_count,
        }

    # --- requests ------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._request_count += 1
        path, _, query = request.raw_path.partition("?")
        route = ROUTES.get((request.method, path))
        if route is not None:
            return await self._answer(request, route, path, query)
        try:
            params = parse(query)
            if path.startswith("/control"):
                if request.remote not in _LOOPBACK:
                    return answer({"error": "only from this machine"}, status=403)
                return await self._control.handle(request, path, params)
            if path == WS_API_PATH:
                return await self._serve_ws_api(request)
            if (wanted := read_stream_path(path, params)) is not None:
                return await self._serve_streams(request, wanted)
            return not_found(request.method, path, self._charge(request, 1))
        except LimitExceeded as error:
            return limited(error, JSON)
        except VenueError as error:
            return refusal(error)

    async def _answer(
        self, request: web.BaseRequest, route: Route, path: str, query: str
    ) -> web.StreamResponse:
        headers = JSON
        try:
            try:
                body = await _body(request) if request.can_read_body else ""
                params = parse(query)
                if body:
                    params = {**parse(body), **params}
            except VenueError as error:
                return refusal(error, self._charge(request, 1))
            weight = route.weight if isinstance(route.weight, int) else route.weight(params)
            headers = self._charge(request, weight, route.orders)
            payload = unsigned(query) + unsigned(body)
            self._access.check(route.security, request.headers.get("X-MBX-APIKEY"), params, payload)
        except LimitExceeded as error:
            return limited(error, self._usage(request))
        except VenueError as error:
            return refusal(error, headers)
        seen = self.requests.arrived(route.kind, path, params)
        faults = self.venue.faults
        fault = None if faults.idle else faults.take(route.kind, self.venue.now_ms())
        if fault is None:
            return self._perform(route, params, seen, headers)
        return await self._answer_with_fault(request, route, params, fault, seen, headers)

    def _charge(
        self, request: web.BaseRequest, weight: int, orders: tuple[int, int] = (0, 0)
    ) -> Headers:
        """The headers of an answer. :raises LimitExceeded:"""
        now_ms = self.venue.machine_ns() // 1_000_000
        used = self._limiter.charge(request.remote or "", now_ms, weight, orders)
        if self._limiter.limits is UNLIMITED:
            return JSON
        if not orders[0]:
            return {**JSON, "X-MBX-USED-WEIGHT-1M": str(used)}
        ten_seconds, minute = self._limiter.order_counts(now_ms)
        return {
            **JSON,
            "X-MBX-USED-WEIGHT-1M": str(used),
            "X-MBX-ORDER-COUNT-10S": str(ten_seconds),
            "X-MBX-ORDER-COUNT-1M": str(minute),
        }

    def _usage(self, request: web.BaseRequest) -> Headers:
        now_ms = self.venue.machine_ns() // 1_000_000
        used = self._limiter.used_weight(request.remote or "", now_ms)
        return {**JSON, "X-MBX-USED-WEIGHT-1M": str(used)}

    def _perform(
        self, route: Route, params: dict[str, str], seen: SeenRequest, headers: Headers
    ) -> web.Response:
        """Do what is asked. The reply is noted as sent; a fault may say otherwise."""
        try:
            response = answer(route.handle(self._account, params), headers)
            seen.taken = True
            seen.status = response.status
            return response
        except VenueError as error:
            response = refusal(error, headers)
            seen.status, seen.code = response.status, error.code
            return response
        except Exception:  # whatever a request does to a handler, the venue must go on
            _log.exception("a handler of the simulated venue failed")
            text = "An unknown error occurred while processing the request."
            return answer({"code": -1000, "msg": text}, headers, status=500)

    async def _answer_with_fault(
        self,
        request: web.BaseRequest,
        route: Route,
        params: dict[str, str],
        fault: Fault,
        seen: SeenRequest,
        headers: Headers,
    ) -> web.StreamResponse:
        if fault.delay_before_seconds:
            await asyncio.sleep(fault.delay_before_seconds)
        response = self._perform(route, params, seen, headers) if fault.executes else None
        if fault.delay_after_seconds:
            await asyncio.sleep(fault.delay_after_seconds)
        if fault.reply != "normal":
            seen.status = {"error": fault.status, "garbage": 200}.get(fault.reply, 0)
            seen.code = fault.code
        return await spoiled(request, fault, response)

    # --- WebSockets ----------------------------------------------------------------

    async def _serve_streams(
        self, request: web.BaseRequest, wanted: StreamPath
    ) -> web.StreamResponse:
        """:raises VenueError: -1125, or -1100 (no WebSocket)."""
        if any(key != self._keys.current for key in wanted.listen_keys):
            raise VenueError(-1125, "This listenKey does not exist.")
        connection = await self._connect(request, wanted.combined, wanted.events)
        limits, hub = self._limiter.limits, self._hub
        hub.enter(connection)
        for name in (*wanted.names, *wanted.listen_keys):
            hub.subscribe(connection, name)
        try:
            await converse(
                connection,
                lambda message: obey(hub, connection, message),
                messages_per_second=limits.messages_per_second,
                ping_seconds=self._ping_seconds,
                pong_seconds=self._pong_seconds,
            )
        finally:
            hub.leave(connection)
            _end(request)
        return connection.socket

    async def _serve_ws_api(self, request: web.BaseRequest) -> web.StreamResponse:
        """:raises VenueError: -1100 (no WebSocket)."""
        connection = await self._connect(request, False, None)
        session = self._ws_api.session(request.remote or "", connection)
        self._hub.enter(connection)
        try:
            await converse(
                connection,
                lambda message: self._ws_api.answer(session, message),
                messages_per_second=None,
                ping_seconds=self._ping_seconds,
                pong_seconds=self._pong_seconds,
            )
        finally:
            self._hub.leave(connection)
            _end(request)
        return connection.socket

    async def _connect(
        self, request: web.BaseRequest, combined: bool, events: frozenset[str] | None
    ) -> Connection:
        socket = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES, autoping=False, compress=False
        )
        if not socket.can_prepare(request):
            raise VenueError(-1100, "A WebSocket upgrade was expected.")
        await socket.prepare(request)
        return Connection(self.venue.faults, socket, request, combined=combined, events=events)

    # --- what happens --------------------------------------------------------------

    # Stream faults hit frames of orders: a test that drops one means the order's.

    def _on_order(self, event: VenueEvent) -> None:
        if event.execution == "CALCULATED":
            self._market_streams.force_order(event.order.market.name, force_order(event))
        key, listeners = self._listening()
        if not listeners:
            return
        frame = _encode(order_update(event))
        for connection in listeners:
            wanted = connection.events
            if wanted is not None and event.trade is not None and "TRADE_LITE" in wanted:
                connection.send(key, _encode(trade_lite(event)))
            if wanted is None or "ORDER_TRADE_UPDATE" in wanted:
                connection.send_through_faults(key, frame)

    def _on_conditional(self, event: ConditionalEvent) -> None:
        key, listeners = self._listening()
        if not listeners:
            return
        frame = _encode(algo_update(event))
        for connection in listeners:
            if connection.events is None or "ALGO_UPDATE" in connection.events:
                connection.send_through_faults(key, frame)

    def _on_account(self, event: AccountEvent) -> None:
        key, listeners = self._listening()
        if not listeners:
            return
        frame = _encode(account_update(event))
        for connection in listeners:
            if connection.events is None or "ACCOUNT_UPDATE" in connection.events:
                connection.send(key, frame)

    def _listening(self) -> tuple[str, Sequence[Connection]]:
        """The listen key of the user stream, and who listens to it."""
        key = self._keys.current or ""
        return key, self._hub.listeners(key)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.market.note_fundings()
            if self.venue.counting_down:
                self.venue.advance()
            if self._keys.expired(self.venue.now_ms()):
                self.expire_listen_key()


async def _body(request: web.BaseRequest) -> str:
    """:raises VenueError: -1101 (too long) or -1100 (no text)."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise VenueError(-1101, "Too many parameters sent for this endpoint.")
    try:
        return (await request.read()).decode()
    except (
        UnicodeDecodeError,
        web.HTTPRequestEntityTooLarge,
        HttpProcessingError,
        ClientPayloadError,
        web.RequestPayloadError,
    ):
        raise illegal() from None


def parse(encoded: str) -> dict[str, str]:
    """Form-encoded parameters; the first of a name wins, what has no name is dropped.

    :raises VenueError: -1100, what can not stand in a form unescaped.
    """
    params: dict[str, str] = {}
    if not encoded:
        return params
    if not encoded.isascii():
        raise illegal()
    escaped = "%" in encoded or "+" in encoded
    for pair in encoded.split("&"):
        name, _, value = pair.partition("=")
        if escaped:
            name, value = unquote_plus(name), unquote_plus(value)
        if name:
            params.setdefault(name, value)
    return params


def illegal() -> VenueError:
    return VenueError(-1100, "Illegal characters found in a parameter.")


def _end(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
