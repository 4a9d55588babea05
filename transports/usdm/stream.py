"""The user stream: keeps a listen key and a WebSocket alive, and tells of every change.

The key is extended while the socket stands (it would die after 60 minutes), a new
one is asked for at each connection and after `listenKeyExpired`, and the client's own
pings notice a peer that is gone without a word. A socket whose key has died stays open and
says nothing, so a key that the venue does not know any more, or that could not be extended in
time, ends the connection as well. What happened between two connections is not made up for
here: `on_up` says that it has to be asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import anyio
import msgspec
from aiohttp import WSMsgType

from holdfast.errors import LinkDown
from holdfast.model import ExecutionReport
from holdfast.ports import Entropy

from .backoff import connect_socket, keep_connected
from .frames import read_frame
from .wire import Unified

EXTEND_SECONDS: Final = 1800.0
"""Binance recommends a keepalive about every 60 minutes, when it is too late if it slips."""
EXTEND_AGAIN_SECONDS: Final = 60.0
"""After a keepalive that got no answer."""
KEY_SECONDS: Final = 3600.0
"""How long a key lives after it was made or extended ("Start User Data Stream")."""


class UserStream:
    """One account's user stream.

    :param session: gives the HTTP session to connect with.
    :param url: where the stream of a listen key is.
    :param new_key, extend_key: ask the venue; raise `LinkDown`. To extend one answers False if
        the venue does not know it any more.
    :param on_report, on_up, on_down: called synchronously, as it happens.
    :param ping_seconds: interval of our pings; silence is noticed within one and a half.
    """

    def __init__(
        self,
        *,
        session: Callable[[], aiohttp.ClientSession],
        url: Callable[[str], str],
        new_key: Callable[[], Awaitable[str]],
        extend_key: Callable[[], Awaitable[bool]],
        unified: Unified,
        entropy: Entropy,
        on_report: Callable[[ExecutionReport], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        ping_seconds: float,
    ) -> None:
        self._session = session
        self._url = url
        self._new_key = new_key
        self._extend_key = extend_key
        self._unified = unified
        self._entropy = entropy
        self._on_report = on_report
        self._on_up = on_up
        self._on_down = on_down
        self._ping_seconds = ping_seconds

    async def run(self) -> None:
        """Stay connected until cancelled."""
        await keep_connected(
            self._connect, on_up=self._on_up, on_down=self._on_down, entropy=self._entropy
        )

    async def _connect(self, up: Callable[[], None]) -> str:
        """One connection, from its key to its end; returns why it ended."""
        made_at = anyio.current_time()
        key = await self._new_key()
        async with await connect_socket(
            self._session(), self._url(key), ping_seconds=self._ping_seconds
        ) as socket:
            up()
            lost: list[str] = []
            with anyio.CancelScope() as reading:

                def lose(reason: str) -> None:
                    lost.append(reason)
                    reading.cancel()

                extender = asyncio.create_task(self._extend(made_at, lose), name="listen key")
                try:
                    return await self._read(socket)
                finally:
                    extender.cancel()
            return lost[0]

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        while True:
            message = await socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                try:
                    read = read_frame(message.data, self._unified)
                except msgspec.DecodeError as error:
                    return f"a frame could not be read: {error}"
                if isinstance(read, ExecutionReport):
                    self._on_report(read)
                elif read == "listenKeyExpired":
                    return "the listen key expired"
            elif message.type is WSMsgType.ERROR:
                return f"the connection broke: {type(message.data).__name__}"
            else:
                return f"the venue closed the stream ({socket.close_code})"

    async def _extend(self, extended_at: float, lose: Callable[[str], None]) -> None:
        """Keep the key alive; `lose` is told once it is not."""
        pause_seconds = EXTEND_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            asked_at = anyio.current_time()
            try:
                if not await self._extend_key():
                    return lose("the venue does not know the listen key any more")
            except LinkDown as error:
                if anyio.current_time() - extended_at >= KEY_SECONDS:
                    return lose(f"the listen key could not be extended: {error}")
                pause_seconds = EXTEND_AGAIN_SECONDS
            else:
                extended_at, pause_seconds = asked_at, EXTEND_SECONDS
