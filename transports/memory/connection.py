"""One connection to a server in memory: what the bus and the store have in common.

It is driven by events alone, without timer or polling where there is no latency: an
outage of a virtual day is two callbacks.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.ports import LinkWatch, ServerFacts

from .server import MemoryServer

MAX_IN_FLIGHT: Final = 1024

_T = TypeVar("_T")


class _Answer(NamedTuple):
    future: Future[Any]
    value: object
    fault: str


def _nothing() -> None:
    """What a probe does."""


def _no_fault(answer: object) -> str:
    return ""


def _fail(future: Future[Any], why: str) -> None:
    future.set_exception(LinkDown(why))
    # Nobody may ever await it: whoever was cancelled has no use for the outcome.
    future.exception()


class Client:
    """
    :ivar name: of the link, in statuses and reasons.
    """

    def __init__(self, server: MemoryServer, *, name: str) -> None:
        self.name = name
        self.server = server
        self._watch: LinkWatch | None = None
        self._connected = False
        self._connections = 0
        self._reason = "not connected yet"
        # In call order; timers of one instant may fire in any order, so each takes the head.
        self._in_flight: deque[_Answer] = deque()

    async def _run(self, watch: LinkWatch) -> None:
        self._watch = watch
        self.server.attach(self)
        try:
            await anyio.sleep_forever()
        finally:
            self.server.detach(self)
            self._watch = None
            self._lose("closed")

    async def probe(self) -> None:
        """:raises LinkDown:"""
        await self._ask(_nothing)

    async def server_facts(self) -> ServerFacts:
        """See `ports.ServerReader`."""
        return ServerFacts("memory", forgets=True)

    def connected(self) -> None:
        self._connected = True
        self._connections += 1
        if self._watch is not None:
            self._watch.up()

    def disconnected(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.down(reason)
        self._lose(reason)

    def flap(self, reason: str) -> None:
        """Lose the connection, and find it again as soon as the loop comes round."""
        self.disconnected(reason)
        asyncio.get_running_loop().call_soon(self._reconnect, self._connections)

    def policy_changed(self) -> None:
        """Only a store cares."""

    def _reconnect(self, connections: int) -> None:
        # A fault or a start in between has already said how the link stands.
        if self.server.is_up and self._watch is not None and self._connections == connections:
            self.connected()

    def _lose(self, reason: str) -> None:
        self._connected = False
        self._reason = reason
        while self._in_flight:
            answer = self._in_flight.popleft().future
            if not answer.done():
                _fail(answer, f"{self.name}: {reason}")

    def _ask(self, act: Callable[[], _T], fault: Callable[[_T], str] = _no_fault) -> Future[_T]:
        """Do `act` on the server now; its answer takes a while, and is lost with the connection.

        :param fault: why the connection breaks after this answer, if it does.
        """
        loop = asyncio.get_running_loop()
        future: Future[_T] = loop.create_future()
        if not self._connected:
            _fail(future, f"{self.name}: {self._reason}")
        elif len(self._in_flight) >= MAX_IN_FLIGHT:
            _fail(future, f"{self.name}: {MAX_IN_FLIGHT} requests unanswered")
        else:
            answer = act()
            self._in_flight.append(_Answer(future, answer, fault(answer)))
            if self.server.latency_seconds:
                loop.call_later(self.server.latency_seconds, self._answer_next, self._connections)
            else:
                loop.call_soon(self._answer_next, self._connections)
        return future

    def _answer_next(self, connection: int) -> None:
        if connection != self._connections or not self._in_flight:
            return  # lost with its connection
        future, answer, fault = self._in_flight.popleft()
        if not future.done():
            future.set_result(answer)
        if fault:
            self.flap(fault)
