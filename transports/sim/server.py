"""The simulated venue behind real HTTP and WebSocket sockets, in Binance's wire format.

One raw aiohttp handler instead of an application with a router and middlewares, raw
parsing of parameters, msgspec for JSON: the venue must not be the slow part of a
measurement. The checks and their order are Binance's: key, time stamp, signature.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from holdfast.ports import Entropy
from holdfast.transports.usdm.signing import signature

from .api import ROUTES, Account, ListenKeys, Route, Security
from .control import ControlApi
from .core import SimulatedVenue
from .faults import Fault, StreamFilter
from .parameters import integer, malformed, recv_window
from .records import VenueEvent
from .requests import RequestLog, SeenRequest
from .rules import VenueError
from .wire import account_update, order_update

_log = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode

MAX_BODY_BYTES: Final = 65_536
MAX_QUEUED_FRAMES: Final = 10_000
"""A user stream whose reader is further behind is cut, as a venue does with slow readers."""
TICK_SECONDS: Final = 0.01
"""Binance checks its countdowns "about every 10 milliseconds"."""
_LOOPBACK: Final = frozenset(("127.0.0.1", "::1"))
_HTTP_STATUS: Final = {-2014: 401, -2015: 401, -1003: 429, -1015: 429}


class UserStream:
    """One connected user stream: frames wait here until its socket takes them."""

    def __init__(self, venue: SimulatedVenue, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._shape: StreamFilter[bytes] = StreamFilter(venue.faults)
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._cut = False

    def send(self, frame: bytes) -> None:
        """Through the armed stream faults."""
        for delivered in self._shape(frame):
            self.send_untouched(delivered)

    def send_untouched(self, frame: bytes) -> None:
        if len(self._frames) >= MAX_QUEUED_FRAMES:
            self.cut()
            return
        self._frames.append(frame)
        self._wake.set()

    def cut(self) -> None:
        """End it without a goodbye."""
        self._cut = True
        self._wake.set()

    async def write(self) -> None:
        while not self._cut:
            while self._frames and not self._cut:
                await self.socket.send_str(self._frames.popleft().decode())
            self._wake.clear()
            if not self._frames and not self._cut:
                await self._wake.wait()


class VenueServer:
    """Serves one `SimulatedVenue` to HTTP and WebSocket clients.

    :param key, secret: the one API key that is accepted.
    :param entropy: makes listen keys.
    :ivar requests: what was asked, answered or not.
    """

    def __init__(self, venue: SimulatedVenue, *, key: str, secret: str, entropy: Entropy) -> None:
        self.venue = venue
        self._key = key
        self._secret = secret.encode()
        self._account = Account(venue, ListenKeys(lambda: f"{entropy.randbits(256):064x}"))
        self._streams: set[UserStream] = set()
        self.requests = RequestLog(venue.machine_ns)
        self._control = ControlApi(venue, self, self.requests)
        self._request_count = 0
        venue.subscribe(self._on_event)

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
        ticker = asyncio.create_task(self._tick(), name="venue countdowns")
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            ticker.cancel()
            self.cut_streams()
            await runner.cleanup()

    # --- for the control API -------------------------------------------------------

    def cut_streams(self) -> int:
        """Cut every user stream; returns how many there were."""
        for stream in tuple(self._streams):
            stream.cut()
        return len(self._streams)

    def expire_listen_key(self) -> None:
        key = self._account.listen_keys.expire()
        if key is not None:
            frame = {"e": "listenKeyExpired", "E": self.venue.now_ms(), "listenKey": key}
            for stream in tuple(self._streams):
                stream.send_untouched(_encode(frame))

    def describe(self) -> dict[str, Any]:
        return {"streams": len(self._streams), "requests": self._request_count}

    # --- sockets -------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._request_count += 1
        path, _, query = request.raw_path.partition("?")
        route = ROUTES.get((request.method, path))
        if route is not None:
            return await self._answer(request, route, query)
        if path.startswith("/control/"):
            if request.remote not in _LOOPBACK:
                return _json({"error": "only from this machine"}, 403)
            return await self._control.handle(request, path, parse(query))
        if path.startswith(("/ws", "/private/ws")):
            return await self._stream(request, path, query)
        return _json(
            {"code": -5000, "msg": f"Path {path}, Method {request.method} is invalid"}, 404
        )

    async def _answer(
        self, request: web.BaseRequest, route: Route, query: str
    ) -> web.StreamResponse:
        try:
            body = await self._body(request)
            params = parse(query)
            if body:
                params = {**parse(body), **params}
            self._authorize(request, route, query, body, params)
        except VenueError as error:
            return _refusal(error)
        seen = self.requests.arrived(route.kind, request.path, params)
        faults = self.venue.faults
        fault = None if faults.idle else faults.take(route.kind, self.venue.now_ms())
        if fault is None:
            return self._perform(route, params, seen)
        return await self._answer_with_fault(request, route, params, fault, seen)

    @staticmethod
    async def _body(request: web.BaseRequest) -> str:
        if not request.can_read_body:
            return ""
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise VenueError(-1101, "Too many parameters sent for this endpoint.")
        try:
            return (await request.read()).decode()
        except (UnicodeDecodeError, web.HTTPRequestEntityTooLarge):
            raise VenueError(-1100, "Illegal characters found in a parameter.") from None

    def _authorize(
        self,
        request: web.BaseRequest,
        route: Route,
        query: str,
        body: str,
        params: dict[str, str],
    ) -> None:
        """:raises VenueError: -2014, -2015, -1102, -1021 or -1022."""
        if route.security is Security.NONE:
            return
        key = request.headers.get("X-MBX-APIKEY")
        if not key:
            raise VenueError(-2014, "API-key format invalid.")
        if key != self._key:
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.")
        if route.security is Security.KEY:
            return
        self.venue.check_time(integer(params, "timestamp"), recv_window(params))
        given = params.get("signature")
        if not given:
            raise malformed("signature")
        payload = _unsigned(query) + _unsigned(body)
        if given != signature(payload.encode(), self._secret):
            raise VenueError(-1022, "Signature for this request is not valid.")

    def _perform(self, route: Route, params: dict[str, str], seen: SeenRequest) -> web.Response:
        """Do what is asked. The reply is noted as sent; a fault may say otherwise."""
        try:
            response = _json(route.handle(self._account, params))
            seen.taken = True
            seen.status = response.status
            return response
        except VenueError as error:
            response = _refusal(error)
            seen.status, seen.code = response.status, error.code
            return response
        except Exception:  # whatever a request does to a handler, the venue must go on
            _log.exception("a handler of the simulated venue failed")
            return _json(
                {"code": -1000, "msg": "An unknown error occurred while processing the request."},
                500,
            )

    async def _answer_with_fault(
        self,
        request: web.BaseRequest,
        route: Route,
        params: dict[str, str],
        fault: Fault,
        seen: SeenRequest,
    ) -> web.StreamResponse:
        if fault.delay_before_seconds:
            await asyncio.sleep(fault.delay_before_seconds)
        response = self._perform(route, params, seen) if fault.executes else None
        if fault.delay_after_seconds:
            await asyncio.sleep(fault.delay_after_seconds)
        if fault.reply != "normal":
            seen.status = fault.status if fault.reply == "error" else 0
            seen.code = fault.code
        match fault.reply:
            case "error":
                return _fault_response(fault)
            case "normal" if response is not None:
                return response
            case "truncated":
                whole = response.body if response is not None else b'{"orderId":'
                assert isinstance(whole, bytes)
                if (transport := request.transport) is not None:
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole) + 1}\r\n"
                    transport.write(
                        head.encode()
                        + b"Content-Type: application/json\r\n\r\n"
                        + whole[: len(whole) // 2]
                    )
                    transport.close()
            case "lost":
                # The client must find out by itself; the handler ends with its connection.
                while request.transport is not None:  # noqa: ASYNC110  aiohttp has no event for it
                    await asyncio.sleep(TICK_SECONDS)
            case _:
                if request.transport is not None:
                    request.transport.abort()
        return web.Response()

    async def _stream(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        keys = self._account.listen_keys
        key = parse(query).get("listenKey") or path.rpartition("/")[2]
        if keys.current is None or key != keys.current:
            return _refusal(VenueError(-1125, "This listenKey does not exist."))
        socket = web.WebSocketResponse(max_msg_size=MAX_BODY_BYTES)
        if not socket.can_prepare(request):
            return _refusal(VenueError(-1100, "A WebSocket upgrade was expected."))
        await socket.prepare(request)
        stream = UserStream(self.venue, socket)
        self._streams.add(stream)
        reader = asyncio.create_task(_drain(socket, stream), name="user stream reader")
        try:
            await stream.write()
        except ConnectionError:
            pass  # the client went away: nothing to tell it any more
        finally:
            self._streams.discard(stream)
            reader.cancel()
            if request.transport is not None:
                request.transport.abort()
        return socket

    def _on_event(self, event: VenueEvent) -> None:
        if self._streams:
            # The order first, then what it did to the account. Faults hit frames of orders:
            # a test that drops one means the order's.
            frame = _encode(order_update(event))
            account = None
            if event.trade is not None:
                account = _encode(account_update(self.venue, event))
            for stream in tuple(self._streams):
                stream.send(frame)
                if account is not None:
                    stream.send_untouched(account)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self.venue.counting_down:
                self.venue.advance()
            if self._account.listen_keys.expired(self.venue.now_ms()):
                self.expire_listen_key()


async def _drain(socket: web.WebSocketResponse, stream: UserStream) -> None:
    """Read what the client says (pings are answered on the way) until it goes."""
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            continue
        await socket.close(
            code=WSCloseCode.UNSUPPORTED_DATA, message=b"this stream takes no requests"
        )
    stream.cut()


def parse(encoded: str) -> dict[str, str]:
    """Form-encoded parameters; the first of a name wins, what has no name is dropped."""
    params: dict[str, str] = {}
    if not encoded:
        return params
    escaped = "%" in encoded or "+" in encoded
    for pair in encoded.split("&"):
        name, _, value = pair.partition("=")
        if escaped:
            name, value = unquote_plus(name), unquote_plus(value)
        if name:
            params.setdefault(name, value)
    return params


def _unsigned(encoded: str) -> str:
    """Without the parameter `signature`, wherever it stands."""
    if "signature=" not in encoded:
        return encoded
    return "&".join([pair for pair in encoded.split("&") if not pair.startswith("signature=")])


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, content_type="application/json")


def _refusal(error: VenueError) -> web.Response:
    status = _HTTP_STATUS.get(error.code, 400)
    return _json({"code": error.code, "msg": error.message}, status)


def _fault_response(fault: Fault) -> web.Response:
    headers = (
        {"Retry-After": str(fault.retry_after_seconds)}
        if fault.retry_after_seconds is not None
        else None
    )
    if fault.body is not None:
        return web.Response(
            text=fault.body, status=fault.status, content_type="text/html", headers=headers
        )
    value: dict[str, Any] = {"msg": fault.message}
    if fault.code is not None:
        value = {"code": fault.code, **value}
    return web.Response(
        body=_encode(value),
        status=fault.status,
        content_type="application/json",
        headers=headers,
    )
