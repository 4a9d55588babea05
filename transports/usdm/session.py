"""One HTTP request, with the truth about whether it left.

A timeout looks the same to a caller whether the connection was never made or the
answer never came; for an order these are opposites. So each attempt is marked in
`ClientRequest.send`, after DNS, connection and TLS, where the write can still be
stopped: there the permit is asked, and there, too, a second sending of the same
attempt is refused (aiohttp repeats GET, PUT and DELETE by itself when a pooled
connection turns out to be dead). Parameters travel in the query, so that aiohttp
writes head and request in that same call, without a task for a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
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


class _Attempt:
    __slots__ = ("left", "permit", "refusal")

    def __init__(self, permit: Callable[[], object] | None) -> None:
        self.permit = permit
        self.left = False
        self.refusal: BaseException | None = None


_attempt: ContextVar[_Attempt | None] = ContextVar("attempt", default=None)


class GuardedRequest(aiohttp.ClientRequest):
    """Asks the permit at the last moment before the write, and lets an attempt leave once."""

    async def send(self, conn: Connection) -> ClientResponse:
        attempt = _attempt.get()
        if attempt is not None:
            if attempt.left:
                raise _Resend("an attempt leaves only once")
            if attempt.permit is not None:
                try:
                    attempt.permit()
                except BaseException as refusal:  # whatever it is must reach the caller as it is
                    attempt.refusal = refusal
                    raise
            attempt.left = True
        return await super().send(conn)


def open_session(*, key: str, max_connections: int) -> aiohttp.ClientSession:
    """A session whose requests `send` guards. The caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=max_connections),
        request_class=GuardedRequest,
        headers={"X-MBX-APIKEY": key},
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    timeout_seconds: float,
    permit: Callable[[], object] | None = None,
) -> Reply:
    """One attempt, never repeated.

    :param url: complete, encoded as it shall be sent (a signature covers it).
    :param permit: what it raises passes through, and nothing was sent.
    :raises NotSent: nothing was sent.
    :raises NoReply: something was, and no whole answer came.
    """
    attempt = _Attempt(permit)
    token = _attempt.set(attempt)
    try:
        async with session.request(
            method,
            URL(url, encoded=True),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        ) as response:
            return Reply(response.status, response.headers, await _read(response))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if attempt.refusal is not None:
            raise attempt.refusal from None
        # Never the exception's own text: it may contain the signed URL.
        reason = type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            reason = f"{reason} ({error.strerror})"
        if not attempt.left:
            raise NotSent(reason) from None
        raise NoReply(reason, timed_out=isinstance(error, TimeoutError)) from None
    finally:
        _attempt.reset(token)


async def _read(response: ClientResponse) -> bytes:
    """:raises aiohttp.ClientPayloadError: it was cut, or is longer than any real answer."""
    parts, length = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        length += len(part)
        if length > MAX_REPLY_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return b"".join(parts)
