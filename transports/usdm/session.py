"""One HTTP request, with the truth about whether it left.

A timeout looks the same to a caller whether the connection was never made or the
answer never came; for an order these are opposites. So each attempt is marked in
`ClientRequest.send`, after DNS, connection and TLS, where the write can still be
stopped: there the permit is asked, and there, too, a second sending of the same
attempt is refused (aiohttp repeats GET, PUT and DELETE by itself when a pooled
connection turns out to be dead). Parameters travel in the query, so that aiohttp
writes head and request in that same call, without a task for a body.

What comes of an attempt is kept in it and raised where it is asked for, not where it
happened: the frames in between hold key and signature, and a traceback shows its frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection

MAX_REPLY_BYTES: Final = 16_777_216
"""exchangeInfo, the longest, has about 1.2 MB."""


class NotSent(Exception):
    """The request provably never left."""


class NoReply(Exception):
    """The request left, or may have, and no whole answer came back.

    :ivar timed_out: nothing was heard; otherwise the connection broke.
    """

    def __init__(self, reason: str, *, timed_out: bool) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class HttpRequest:
    """A request as it shall be sent. What signs it, and whose it is, is not shown.

    :ivar url: complete and encoded, since a signature covers it.
    """

    __slots__ = ("headers", "method", "url")

    def __init__(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.method = method
        self.url = url
        self.headers = headers

    def __repr__(self) -> str:
        return f"<{self.method} {self.url.partition('?')[0]}>"


class Reply(NamedTuple):
    """A whole answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_seconds(self) -> float | None:
        value = self.headers.get("Retry-After", "")
        return float(value) if value.isdecimal() else None


class _Resend(aiohttp.ClientError):
    """aiohttp was about to send an attempt again."""


class _Gone(aiohttp.ClientError):
    """There is no connection any more to write to."""


class _PastTheHook(aiohttp.ClientError):
    """This aiohttp does not come by `GuardedRequest.send`: no permit would be asked, nothing be
    known of what left. The first question after a start meets it, so no order ever does.
    """

    def __str__(self) -> str:
        return f"aiohttp {aiohttp.__version__} sends past the hook that asks for leave"


class Attempt:
    """One request on its way, and what came of it.

    :param ready: awaited when everything is, before `permit`.
    :param permit: asked at the last moment before the write.
    :ivar held_up: `ready` is waited for.
    :ivar left: the write has begun.
    """

    __slots__ = (
        "_failure",
        "_permit",
        "_ready",
        "_refusal",
        "_refused_at",
        "_reply",
        "_timeout_seconds",
        "held_up",
        "left",
    )

    def __init__(
        self,
        *,
        timeout_seconds: float,
        permit: Callable[[], object] | None = None,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.held_up = False
        self.left = False
        self._timeout_seconds = timeout_seconds
        self._permit = permit
        self._ready = ready
        self._refusal: BaseException | None = None
        self._refused_at: TracebackType | None = None
        self._failure: NotSent | NoReply | None = None
        self._reply: Reply | None = None

    async def before_write(self, conn: Connection) -> None:
        """:raises BaseException: what `ready` or the permit says, that this would be a second
        time, or that the connection is gone.
        """
        if self.left:
            raise _Resend("an attempt leaves only once")
        try:
            if self._ready is not None:
                self.held_up = True
                await self._ready()
                self.held_up = False
                if conn.protocol is None or not conn.protocol.is_connected():
                    raise _Gone("the venue has closed the connection meanwhile")
            if self._permit is not None:
                self._permit()
        except _Gone:
            raise
        except Exception as refusal:  # whatever it is must reach the caller as it is
            self._refusal = refusal
            traceback = refusal.__traceback__
            self._refused_at = traceback.tb_next if traceback is not None else None
            raise
        self.left = True

    async def make(self, session: aiohttp.ClientSession, request: HttpRequest) -> None:
        """Send `request`; what comes of it is kept, and nothing raised but a cancellation.

        A connection that the venue closes while `ready` is waited for has carried nothing, and
        venues close those that were idle for a while: the request goes over another one then,
        once, within the same time.
        """
        token = _attempt.set(self)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout_seconds
        try:
            try:
                await self._exchange(session, request, self._timeout_seconds)
            except _Gone:
                await self._exchange(session, request, max(until - loop.time(), 0.001))
        except Exception as error:  # of network, aiohttp or permit: an attempt has no other end
            # Never the exception's own text: it may contain the signed URL.
            reason = str(error) if isinstance(error, _PastTheHook) else type(error).__name__
            if isinstance(error, OSError) and error.strerror:
                reason = f"{reason} ({error.strerror})"
            self._failure = (
                NoReply(reason, timed_out=isinstance(error, TimeoutError))
                if self.left
                else NotSent(reason)
            )
        finally:
            _attempt.reset(token)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: HttpRequest, timeout_seconds: float
    ) -> None:
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        ) as response:
            if not self.left:
                raise _PastTheHook
            self._reply = Reply(response.status, response.headers, await _read(response))

    def result(self) -> Reply:
        """
        :raises NotSent: nothing was sent.
        :raises NoReply: something was, and no whole answer came.
        :raises BaseException: what the permit raised; nothing was sent.
        """
        if self._refusal is not None:
            raise self._refusal.with_traceback(self._refused_at)
        if self._failure is not None:
            raise self._failure
        assert self._reply is not None
        return self._reply


_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


class GuardedRequest(aiohttp.ClientRequest):
    """Asks the permit at the last moment before the write, and lets an attempt leave once."""

    async def send(self, conn: Connection) -> ClientResponse:
        attempt = _attempt.get()
        if attempt is not None:
            await attempt.before_write(conn)
        return await super().send(conn)


def open_session(*, max_connections: int) -> aiohttp.ClientSession:
    """A session whose requests an `Attempt` guards. The caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_connections),
        request_class=GuardedRequest,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def send(
    session: aiohttp.ClientSession, request: HttpRequest, *, timeout_seconds: float
) -> Reply:
    """One attempt that needs no permit. :raises NotSent, NoReply: as `Attempt.result`."""
    attempt = Attempt(timeout_seconds=timeout_seconds)
    await attempt.make(session, request)
    return attempt.result()


async def _read(response: ClientResponse) -> bytes:
    """:raises aiohttp.ClientPayloadError: it was cut, or is longer than any real answer."""
    whole = await response.content.readany()
    while part := await response.content.readany():
        whole += part
        if len(whole) > MAX_REPLY_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return whole
