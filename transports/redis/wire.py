"""One connection to a Redis server, as a bare asyncio Protocol.

What it is built for is noticing: the socket is always being read, so a killed server
is seen as soon as the kernel knows (about a millisecond); a server that hangs is seen
by the heartbeat, within interval + timeout. The first one to know calls `on_lost`
inside its own callback, before any waiter is woken.

Not redis-py's client or PubSub: the client retries writes by itself and so doubles
them, PubSub spins without end on a connection that dies with ETIMEDOUT, and neither
reads while nobody asks. hiredis, which redis-py parses with too, packs the commands
and parses the replies.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import hiredis

from holdfast.errors import HoldfastError, LinkDown

from .words import explain

MAX_UNANSWERED: Final = 1024

# Between the watchdog's timer and its verdict, at least: the answer may lie in the socket, and
# timers are not ordered against sockets in every loop; after this, it is read.
_GRACE_SECONDS: Final = 0.001

_NOT_YET: Final = object()

Word = str | bytes | int


class _Pending(NamedTuple):
    future: Future[Any]
    on_reply: Callable[[Any], Any] | None
    tolerant: bool


class Wire(asyncio.Protocol):
    """RESP3 over one transport. Make it, give it to `loop.create_connection`, then `request`.

    :param where: the server, in words, for reasons.
    :param on_lost: called once, synchronously, with the reason.
    :param on_push: called with each push message (such as `[b"invalidate", [key]]`).
    :ivar lost_reason: None while the connection stands.
    """

    def __init__(
        self,
        *,
        where: str,
        on_lost: Callable[[str], None],
        on_push: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.where = where
        self.lost_reason: str | None = None
        self.on_lost = on_lost
        self._on_push = on_push
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._pending: deque[_Pending] = deque()
        self._transport: asyncio.Transport | None = None
        self._gone: Future[None] = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._beat: Callable[[], Future[Any]] | None = None
        self._beat_answer: Future[Any] | None = None
        self._interval_seconds = 0.0
        self._timeout_seconds = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- asking ---------------------------------------------------------------------

    def request(
        self,
        *command: Word,
        on_reply: Callable[[Any], Any] | None = None,
        tolerant: bool = False,
    ) -> Future[Any]:
        """Write a command now; the future has its reply.

        :param on_reply: run on the reply inside the reading callback, before anything that
            the server sent after it is looked at; its result is the future's.
        :param tolerant: an error reply is the result (`hiredis.ReplyError`) and no fault.
        :raises LinkDown: from the future, when the connection is lost or answers an error.
        """
        future: Future[Any] = self._loop.create_future()
        # Whoever asked may be gone (cancelled) when the connection fails.
        future.add_done_callback(_retrieve)
        if self.lost_reason is not None or self._transport is None:
            future.set_exception(LinkDown(self.lost_reason or "not connected"))
        elif len(self._pending) >= MAX_UNANSWERED:
            future.set_exception(LinkDown(f"{MAX_UNANSWERED} requests are unanswered"))
        else:
            self._pending.append(_Pending(future, on_reply, tolerant))
            self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]
        return future

    def watch_over(
        self, beat: Callable[[], Future[Any]], *, interval_seconds: float, timeout_seconds: float
    ) -> None:
        """Begin the heartbeat.

        :param beat: sends the question.
        :param timeout_seconds: of silence after a question, then the connection is lost.
        """
        self._beat = beat
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._ask_again()

    async def until_lost(self) -> None:
        """Return once the connection is lost; `on_lost` has been called by then."""
        await asyncio.shield(self._gone)

    def lose(self, reason: str) -> None:
        """Give the connection up at once: tell `on_lost`, then every waiter."""
        if self.lost_reason is not None:
            return
        self.lost_reason = reason
        for timer in self._timers.values():
            timer.cancel()
        try:
            self.on_lost(reason)
        finally:
            if self._transport is not None:
                self._transport.abort()
            while self._pending:
                future = self._pending.popleft().future
                if not future.done():
                    future.set_exception(LinkDown(reason))
            self._gone.set_result(None)

    # --- asyncio.Protocol -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are asyncio's by shape only.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while self.lost_reason is None and (reply := reader.gets()) is not _NOT_YET:
                if isinstance(reply, hiredis.PushNotification):
                    if self._on_push is not None:
                        self._on_push(reply)
                else:
                    self._answer(reply)
        except hiredis.ProtocolError as error:
            self.lose(f"{self.where} does not speak the Redis protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        cause = f": {exc}" if exc is not None else " by the server"
        self.lose(f"{self.where}: connection closed{cause}")

    # --- inside ---------------------------------------------------------------------

    def _answer(self, reply: Any) -> None:
        if not self._pending:
            # -ERR max number of clients reached, -DENIED: said before anything was asked.
            said = explain(str(reply)) if isinstance(reply, hiredis.ReplyError) else repr(reply)
            self.lose(f"{self.where}: {said}")
            return
        future, on_reply, tolerant = self._pending.popleft()
        if isinstance(reply, hiredis.ReplyError) and not tolerant:
            reason = f"{self.where}: {explain(str(reply))}"
            self.lose(reason)
            if not future.done():
                future.set_exception(LinkDown(reason))
            return
        if on_reply is not None:
            # Also when nobody waits any more: it may keep the state of the connection.
            try:
                reply = on_reply(reply)
            except HoldfastError as error:
                if not future.done():
                    future.set_exception(error)
                return
        if not future.done():
            future.set_result(reply)

    def _ask_again(self) -> None:
        assert self._beat is not None
        if self._beat_answer is None or self._beat_answer.done():
            self._beat_answer = self._beat()
            self._suspect_in(self._timeout_seconds)
        self._later("beat", self._interval_seconds, self._ask_again)

    def _suspect_in(self, delay_seconds: float) -> None:
        self._later("watchdog", delay_seconds, self._suspect, self._loop.time() + delay_seconds)

    def _suspect(self, due: float) -> None:
        # If the loop was blocked, so was our question (uvloop writes at the end of a pass):
        # the server gets the time that the loop lost, once.
        lost_seconds = min(self._loop.time() - due, self._timeout_seconds)
        self._later("watchdog", max(_GRACE_SECONDS, lost_seconds), self._judge)

    def _judge(self) -> None:
        if self._beat_answer is None or self._beat_answer.done():
            return
        # Replies come in order: while others arrive, the server lives and ours is in the queue.
        silent_seconds = self._loop.time() - self._heard_at
        if silent_seconds < self._timeout_seconds:
            self._suspect_in(self._timeout_seconds - silent_seconds)
            return
        self.lose(f"{self.where}: no answer for {self._timeout_seconds * 1000:.0f} ms")

    def _later(
        self, name: str, delay_seconds: float, call: Callable[..., None], *arguments: float
    ) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        if self.lost_reason is None:
            self._timers[name] = self._loop.call_later(delay_seconds, call, *arguments)


def _retrieve(future: Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
