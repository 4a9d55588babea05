"""WebSocket connections that streams are sent over: who listens to what, and the sockets.

All the ways that Binance's clients connect are served ("Websocket Market Streams", "User Data
Streams"): `/ws/<stream>` and `/ws/<listenKey>`, `/stream?streams=a/b`, `/private/ws?listenKey=`,
the same behind `/public`, `/market` and `/private` (which select nothing here: every stream is
served on each), and SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY on
any of them. Frames of a combined connection are wrapped: `{"stream": …, "data": …}`.

A connection has a queue with an end. Who reads too slowly is cut, as a venue does. What is
queued in one turn of the event loop leaves in one write: a system call for each frame was a
tenth of what an order costs the venue.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from .faults import StreamFilter, VenueFaults

MAX_QUEUED_FRAMES: Final = 10_000
MAX_FRAMES_PER_WRITE: Final = 256
"""Between two looks at whether the socket takes any more."""
MAX_MESSAGE_BYTES: Final = 65_536
MAX_STREAMS: Final = 1024
"""Of one connection; Binance's limit, later lowered to 200 for its own servers."""
PING_SECONDS: Final = 180.0
PONG_SECONDS: Final = 600.0
"""Binance pings every 3 minutes, and ends what did not answer for 10."""
LIFE_SECONDS: Final = 24 * 3600.0
"""Binance ends each connection after a day."""
_encode: Final = msgspec.json.Encoder().encode
_METHODS: Final = "SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY"


class Connection:
    """One client. Frames wait here until its socket takes them.

    :param request: that the socket was made of.
    :param combined: frames are wrapped with the name of their stream.
    :param events: names of the user-stream events that are wanted; None: all of the usual.
    """

    def __init__(
        self,
        faults: VenueFaults,
        socket: web.WebSocketResponse,
        request: web.BaseRequest,
        *,
        combined: bool = False,
        events: frozenset[str] | None = None,
    ) -> None:
        self.socket = socket
        self._request = request
        self.combined = combined
        self.events = events
        self.streams: dict[str, None] = {}
        self._shape: StreamFilter[bytes] = StreamFilter(faults)
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._cut = False

    @property
    def user(self) -> bool:
        """Whether a user stream is among its streams: a listen key is no market's name."""
        return any("@" not in stream and stream[0] != "!" for stream in self.streams)

    def send(self, stream: str, frame: bytes) -> None:
        self.put(_wrapped(stream, frame) if self.combined else frame)

    def send_through_faults(self, stream: str, frame: bytes) -> None:
        for delivered in self._shape(_wrapped(stream, frame) if self.combined else frame):
            self.put(delivered)

    def put(self, frame: bytes) -> None:
        """Queue it as it stands."""
        if len(self._frames) >= MAX_QUEUED_FRAMES:
            self.cut()
            return
        self._frames.append(frame)
        self._wake.set()

    def cut(self) -> None:
        """End it without a goodbye, also where a write waits for a client that does not read."""
        self._cut = True
        self._wake.set()
        if (transport := self._request.transport) is not None:
            transport.abort()

    async def write(self) -> None:
        """Until it is cut, or closed. :raises ConnectionError: the client went away."""
        frames, transport = self._frames, self._request.transport
        if transport is None:
            return
        while not (self._cut or self.socket.closed or transport.is_closing()):
            if frames:
                count = min(len(frames), MAX_FRAMES_PER_WRITE)
                transport.write(b"".join([_framed(frames.popleft()) for _ in range(count)]))
                await self._request.writer.drain()
            else:
                self._wake.clear()
                await self._wake.wait()


class Hub:
    """Which connections listen to which stream.

    :ivar on_first, on_last: told that a stream has its first listener, or none any more.
    """

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.on_first: Callable[[str], object] = lambda _stream: None
        self.on_last: Callable[[str], object] = lambda _stream: None
        self._listeners: dict[str, dict[Connection, None]] = {}

    def __contains__(self, stream: str) -> bool:
        return stream in self._listeners

    def listeners(self, stream: str) -> tuple[Connection, ...]:
        """A copy: who is cut while it is told leaves."""
        return tuple(self._listeners.get(stream, ()))

    def subscribe(self, connection: Connection, stream: str) -> None:
        connection.streams[stream] = None
        if stream not in self._listeners:
            self._listeners[stream] = {connection: None}
            self.on_first(stream)
        else:
            self._listeners[stream][connection] = None

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        connection.streams.pop(stream, None)
        listening = self._listeners.get(stream)
        if listening is None or connection not in listening:
            return
        del listening[connection]
        if not listening:
            del self._listeners[stream]
            self.on_last(stream)

    def publish(self, stream: str, frame: bytes) -> None:
        """Encoded once, wrapped once, whoever listens."""
        listening = self._listeners.get(stream)
        if listening is None:
            return
        wrapped: bytes | None = None
        for connection in tuple(listening):
            if not connection.combined:
                connection.put(frame)
                continue
            if wrapped is None:
                wrapped = _wrapped(stream, frame)
            connection.put(wrapped)

    def enter(self, connection: Connection) -> None:
        self.connections.add(connection)

    def leave(self, connection: Connection) -> None:
        self.connections.discard(connection)
        for stream in tuple(connection.streams):
            self.unsubscribe(connection, stream)


def _framed(message: bytes) -> bytes:
    """A whole text message of a server (RFC 6455, 5.2)."""
    size = len(message)
    if size < 126:
        return b"\x81%c%b" % (size, message)
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + message
    return struct.pack("!BBQ", 0x81, 127, size) + message


def _wrapped(stream: str, frame: bytes) -> bytes:
    return b'{"stream":%b,"data":%b}' % (_encode(stream), frame)


# --- what a client may say ---------------------------------------------------------


class Refused(Exception):
    """A message on a stream connection that can not be followed; with Binance's number."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Request(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[Any] = msgspec.field(default_factory=list)


_requests = msgspec.json.Decoder(_Request)


def obey(hub: Hub, connection: Connection, text: str | bytes) -> bytes:
    """Do what a message asks ("Live Subscribing/Unsubscribing to streams"); the answer to it."""
    request_id: int | str | None = None
    try:
        try:
            request = _requests.decode(text)
        except msgspec.ValidationError as wrong:
            raise Refused(2, f"Invalid request: {wrong}") from None
        except msgspec.DecodeError as wrong:
            raise Refused(3, f"Invalid JSON: {wrong}") from None
        request_id = request.id
        return _encode({"result": _follow(hub, connection, request), "id": request_id})
    except Refused as refused:
        error = {"code": refused.code, "msg": refused.message}
        return _encode({"error": error, "id": request_id})


def _follow(hub: Hub, connection: Connection, request: _Request) -> Any:
    params = request.params
    match request.method:
        case "SUBSCRIBE":
            streams = _names(params)
            if len(connection.streams.keys() | set(streams)) > MAX_STREAMS:
                raise Refused(2, f"Invalid request: at most {MAX_STREAMS} streams")
            for stream in streams:
                hub.subscribe(connection, stream)
            return None
        case "UNSUBSCRIBE":
            for stream in _names(params):
                hub.unsubscribe(connection, stream)
            return None
        case "LIST_SUBSCRIPTIONS":
            return list(connection.streams)
        case "SET_PROPERTY" | "GET_PROPERTY":
            return _property(connection, request.method, params)
        case other:
            raise Refused(
                2, f"Invalid request: unknown variant `{other}`, expected one of {_METHODS}"
            )


def _property(connection: Connection, method: str, params: list[Any]) -> bool | None:
    if not params or not isinstance(params[0], str):
        raise Refused(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise Refused(0, "Unknown property")
    if method == "GET_PROPERTY":
        return connection.combined
    if len(params) != 2 or not isinstance(params[1], bool):
        raise Refused(1, "Invalid value type: expected Boolean")
    connection.combined = params[1]
    return None


def _names(params: list[Any]) -> list[str]:
    if not params or not all(isinstance(name, str) and name for name in params):
        raise Refused(2, "Invalid request: params must be an array of stream names")
    return params


# --- the socket --------------------------------------------------------------------


async def converse(
    connection: Connection,
    answer: Callable[[str | bytes], bytes | None],
    *,
    messages_per_second: int | None,
    ping_seconds: float = PING_SECONDS,
    pong_seconds: float = PONG_SECONDS,
) -> None:
    """Serve one prepared socket until either side ends it.

    :param answer: to a message of the client; None: nothing is said now.
    :param messages_per_second: who sends more is disconnected.
    """
    socket, loop = connection.socket, asyncio.get_running_loop()
    reader = asyncio.create_task(
        _read(connection, answer, messages_per_second, pong_seconds), name="stream reader"
    )
    pinger = asyncio.create_task(_ping(socket, ping_seconds), name="stream pings")
    end = loop.call_later(LIFE_SECONDS, connection.cut)
    try:
        await connection.write()
    except (ConnectionError, RuntimeError):
        pass  # the client went away, or is going: nothing to tell it any more
    finally:
        end.cancel()
        pinger.cancel()
        reader.cancel()
        await asyncio.gather(reader, pinger, return_exceptions=True)


async def _read(
    connection: Connection,
    answer: Callable[[str | bytes], bytes | None],
    messages_per_second: int | None,
    pong_seconds: float,
) -> None:
    socket, loop = connection.socket, asyncio.get_running_loop()
    second, count = 0, 0
    try:
        while True:
            try:
                async with asyncio.timeout(pong_seconds):
                    message = await socket.receive()
            except TimeoutError:
                break
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                if int(loop.time()) != second:
                    second, count = int(loop.time()), 0
                count += 1
                if messages_per_second is not None and count > messages_per_second:
                    await socket.close(
                        code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests"
                    )
                    break
                if (said := answer(message.data)) is not None:
                    connection.put(said)
            elif message.type is not WSMsgType.PONG:
                break
    finally:
        connection.cut()


async def _ping(socket: web.WebSocketResponse, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await socket.ping()
