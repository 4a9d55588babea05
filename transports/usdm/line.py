"""One request to the venue, from its parameters to what its answer says.

Whoever signs, each request waits its turn (`pacing`), is stamped on the venue's clock, is
made once (`session`), and tells the link's health what became of it (`health`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from holdfast.clock_offset import ClockOffset
from holdfast.errors import LinkDown
from holdfast.ports import Clock

from .endpoints import Endpoint, Security
from .errors import TIMESTAMP_CODES
from .health import LinkKeeper
from .limits import Budget, Cost, Priority
from .pacing import Pacer
from .session import Attempt, NoReply, NotSent, Reply, open_session
from .signing import Params, Signer
from .wire import read_error, silence_asked_for

if TYPE_CHECKING:
    from aiohttp import ClientSession

_T = TypeVar("_T")

MAX_CONNECTIONS: Final = 100
READ_WINDOW_MS: Final = 5000
"""recvWindow of requests that change nothing, or may be repeated."""


class Line:
    """
    :param name: of the link, in errors.
    :ivar offset: the venue's clock against the monotonic one.
    """

    def __init__(self, signer: Signer, *, name: str, clock: Clock, health: LinkKeeper) -> None:
        self.name = name
        self.clock = clock
        self.offset = ClockOffset()
        self.pacer = Pacer(Budget(), clock, now_ms=self.now_ms)
        self._signer = signer
        self._health = health
        self._open_session: ClientSession | None = None

    def session(self) -> ClientSession:
        """The connections to the venue; opened when first needed."""
        if self._open_session is None:
            self._open_session = open_session(max_connections=MAX_CONNECTIONS)
        return self._open_session

    async def aclose(self) -> None:
        session, self._open_session = self._open_session, None
        if session is not None:
            await session.close()

    def now_ms(self) -> int:
        """The venue's clock, as far as known."""
        venue_ms = self.offset.venue_ms(self.clock.monotonic_ns())
        return self.clock.time_ns() // 1_000_000 if venue_ms is None else venue_ms

    # --- one request ---------------------------------------------------------------

    async def send(
        self,
        endpoint: Endpoint,
        params: Params,
        *,
        timeout_seconds: float,
        priority: Priority,
        permit: Callable[[], object] | None = None,
        ready: Callable[[], Awaitable[object]] | None = None,
        patience_seconds: float | None = None,
        stamped: bool = False,
    ) -> Reply:
        """One attempt, after the link's health was told.

        :param ready, permit: as of `session.Attempt`.
        :param patience_seconds: for its turn; by default as long as for the answer.
        :param stamped: the parameters have time stamp and window already.
        :raises NotSent, NoReply: and whatever `ready` and the permit raise.
        """
        began = self.clock.monotonic()
        if patience_seconds is None:
            patience_seconds = timeout_seconds
        cost = Cost(endpoint.weight, endpoint.orders)
        await self.pacer.admit(cost, priority, patience_seconds=patience_seconds)
        left_seconds = max(timeout_seconds - (self.clock.monotonic() - began), 0.001)
        attempt = Attempt(timeout_seconds=left_seconds, permit=permit, ready=ready)
        if endpoint.security is Security.SIGNED and not stamped:
            params = [
                *params,
                ("recvWindow", str(READ_WINDOW_MS)),
                ("timestamp", str(self.now_ms())),
            ]
        ticket = self.pacer.budget.let_go(cost, self.now_ms())
        reply: Reply | None = None
        try:
            await self._sign_and_make(endpoint, params, attempt)
            reply = attempt.result()
        except NotSent as error:
            if not attempt.held_up:  # it was no fault of the line
                self._health.down(f"nothing can be sent: {error}")
            raise
        except NoReply as error:
            if error.timed_out:
                self._health.doubt()
            else:
                self._health.down(f"the connection broke: {error}")
            raise
        finally:
            headers = None if reply is None else reply.headers
            self.pacer.budget.settle(ticket, self.now_ms(), headers=headers, left=attempt.left)
            self.pacer.look_again()
        if reply.status >= 400:
            self._heed(reply)
        return reply

    async def _sign_and_make(self, endpoint: Endpoint, params: Params, attempt: Attempt) -> None:
        try:
            # In one expression: a frame that a traceback shows holds no signed request.
            await attempt.make(self.session(), self._signer.request(endpoint, params))
        except Exception as error:  # a signer's bug, or a key that is none: nothing was sent
            reason = f"it could not be signed: {type(error).__name__}"
        except BaseException as error:  # cancelled; the frames below hold key and signature
            raise error.with_traceback(None)  # noqa: B904
        else:
            return
        raise NotSent(reason)

    def _heed(self, reply: Reply) -> None:
        """A refusal that says something of more than this request."""
        seconds, code = silence_asked_for(reply, now_ms=self.now_ms())
        if seconds:
            self.pacer.silence.keep(seconds)
        if seconds or code in TIMESTAMP_CODES:
            self._health.doubt()

    # --- questions -----------------------------------------------------------------

    async def read(
        self,
        endpoint: Endpoint,
        params: Params,
        kind: type[_T],
        *,
        timeout_seconds: float,
        priority: Priority = Priority.QUESTION,
    ) -> _T:
        """The answer, as a `kind`. :raises LinkDown: there is none, or it says no."""
        reply = await self.ask(endpoint, params, timeout_seconds=timeout_seconds, priority=priority)
        return self.decoded(endpoint, reply, kind)

    async def ask(
        self,
        endpoint: Endpoint,
        params: Params,
        *,
        timeout_seconds: float,
        priority: Priority = Priority.QUESTION,
    ) -> Reply:
        """A reply of whatever status. :raises LinkDown: there was none."""
        try:
            return await self.send(
                endpoint, params, timeout_seconds=timeout_seconds, priority=priority
            )
        except (NotSent, NoReply) as error:
            raise LinkDown(f"{self.name}: {endpoint.path}: {error}") from None

    def decoded(self, endpoint: Endpoint, reply: Reply, kind: type[_T]) -> _T:
        """:raises LinkDown: it is a refusal, or unreadable."""
        if reply.status != 200:
            code, message = read_error(reply.body)
            raise LinkDown(f"{self.name}: {endpoint.path}: HTTP {reply.status}, {code}: {message}")
        return self.readable(lambda: msgspec.json.decode(reply.body, type=kind))

    def readable(self, read: Callable[[], _T]) -> _T:
        """:raises LinkDown: the answer could not be read, so nothing was learnt."""
        try:
            return read()
        except msgspec.DecodeError as error:
            raise LinkDown(f"{self.name}: unreadable answer: {error}") from None


class Countdown:
    """One time limit that several requests share."""

    def __init__(self, line: Line, timeout_seconds: float) -> None:
        self._line = line
        self._deadline = line.clock.monotonic() + timeout_seconds

    def seconds_left(self) -> float:
        """:raises LinkDown: the time is up."""
        seconds = self._deadline - self._line.clock.monotonic()
        if seconds <= 0:
            raise LinkDown(f"{self._line.name}: no complete answer within the timeout")
        return seconds
