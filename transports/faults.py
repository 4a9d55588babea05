"""Mishaps on the way to any port: late, lost, refused, cut; by chance, but repeatable.

Each wrapper stands before a transport and keeps the promises of its port: what is
lost is reported as lost, appends stay in order, a value read is never older than the
last change announced. So whatever the engine does wrong behind it is the engine's.

Every method of every wrapper draws from an entropy stream of its own, and always
the same number of draws a call: one fault or one call more leaves the fate of all
others as it was.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from enum import Enum
from math import inf
from typing import NamedTuple, TypeVar

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
from holdfast.policy import Policy
from holdfast.ports import (
    AppendStatus,
    Batch,
    BusEntry,
    BusPosition,
    Entropy,
    ExecutionClient,
    ExecutionWatch,
    LeaseGrant,
    LeaseStore,
    LinkWatch,
    MessageBus,
    PolicyStore,
    PolicyWatch,
    StoredPolicy,
)

_T = TypeVar("_T")


class FaultRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chances, 0 to 1, of what may happen to one call. Together at most 1.

    :ivar lost_request: it never arrives; nothing is answered.
    :ivar lost_reply: it takes effect; nothing is answered.
    :ivar refused: the other side answers that it will not.
    :ivar delayed: it leaves late, by up to `longest_delay_seconds`.
    """

    lost_request: float = 0.0
    lost_reply: float = 0.0
    refused: float = 0.0
    delayed: float = 0.0
    longest_delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        chances = (self.lost_request, self.lost_reply, self.refused, self.delayed)
        if min(chances) < 0 or sum(chances) > 1:
            raise ValueError(f"chances {chances} are not all above 0 and together at most 1")


class _Fate(Enum):
    SPARED = "spared"
    LOST_REQUEST = "lost request"
    LOST_REPLY = "lost reply"
    REFUSED = "refused"
    DELAYED = "delayed"


class _Draw(NamedTuple):
    fate: _Fate
    delay_seconds: float


_SPARED = _Draw(_Fate.SPARED, 0.0)


class FaultSwitch:
    """Rates that can be turned off for all wrappers that share it."""

    def __init__(self, rates: FaultRates) -> None:
        self.rates = rates
        self.on = True


class _Chance:
    """Draws the fate of each call of one wrapper."""

    def __init__(self, switch: FaultSwitch, entropy: Entropy) -> None:
        self._switch = switch
        self._entropy = entropy
        self._streams: dict[str, Entropy] = {}

    def draw(self, method: str) -> _Draw:
        switch = self._switch
        if not switch.on:
            return _SPARED
        stream = self._streams.get(method)
        if stream is None:
            stream = self._streams[method] = self._entropy.child(method)
        point, share = stream.random(), stream.random()
        rates = switch.rates
        for chance, fate in (
            (rates.lost_request, _Fate.LOST_REQUEST),
            (rates.lost_reply, _Fate.LOST_REPLY),
            (rates.refused, _Fate.REFUSED),
            (rates.delayed, _Fate.DELAYED),
        ):
            if point < chance:
                delay = share * rates.longest_delay_seconds if fate is _Fate.DELAYED else 0.0
                return _Draw(fate, delay)
            point -= chance
        return _SPARED


RECONNECT_SECONDS = 0.02
"""After a connection was cut here."""


class _Connection:
    """What the engine hears of a link whose transport knows nothing of the cuts made here."""

    def __init__(self, name: str, watch: LinkWatch) -> None:
        self._name = name
        self._watch = watch
        self._inner_up = False
        self._cut = False
        self.number = 0
        """Counts the connections, as the engine sees them."""

    @property
    def stands(self) -> bool:
        return self._inner_up and not self._cut

    def up(self) -> None:
        self._inner_up = True
        self._cut = False
        self.number += 1
        self._watch.up()

    def down(self, reason: str) -> None:
        self._inner_up = False
        self._watch.down(reason)

    def cut(self, reason: str) -> None:
        """Break the connection; it is there again a little later."""
        if not self.stands:
            return
        self._cut = True
        self._watch.down(reason)
        asyncio.get_running_loop().call_later(RECONNECT_SECONDS, self._mend, self.number)

    def _mend(self, number: int) -> None:
        if self._cut and self._inner_up and self.number == number:
            self.up()

    def check(self, number: int) -> None:
        """:raises LinkDown: the connection `number` does not stand any more."""
        if not self.stands or self.number != number:
            raise LinkDown(f"{self._name}: the connection was lost before an answer")


class _Nobody:
    def up(self) -> None: ...

    def down(self, reason: str) -> None: ...


class _Asking:
    """Calls with one question and one answer over a connection that the mishaps break."""

    def __init__(self, name: str, switch: FaultSwitch, entropy: Entropy) -> None:
        self.name = name
        self._chance = _Chance(switch, entropy)
        self._connection = _Connection(name, _Nobody())

    async def _ask(self, method: str, act: Callable[[], Awaitable[_T]]) -> _T:
        """:raises LinkDown:"""
        draw, connection = self._chance.draw(method), self._connection
        number = connection.number
        connection.check(number)
        match draw.fate:
            case _Fate.DELAYED:
                await anyio.sleep(draw.delay_seconds)
                connection.check(number)
            case _Fate.REFUSED:
                raise LinkDown(f"{self.name}: {method} was refused")
            case _Fate.LOST_REQUEST:
                connection.cut(f"cut before {method} arrived")
                connection.check(number)
        answer = await act()
        if draw.fate is _Fate.LOST_REPLY:
            connection.cut(f"cut before {method} was answered")
        connection.check(number)
        return answer


class FaultyBus(_Asking):
    """`ports.MessageBus` with mishaps."""

    def __init__(self, inner: MessageBus, switch: FaultSwitch, entropy: Entropy) -> None:
        super().__init__(inner.name, switch, entropy)
        self._inner = inner
        self._last_answer_at = 0.0
        self._late: deque[Callable[[], None]] = deque()

    async def run(self, watch: LinkWatch) -> None:
        self._connection = _Connection(self.name, watch)
        await self._inner.run(self._connection)

    async def probe(self) -> None:
        await self._ask("probe", self._inner.probe)

    async def position(self, producer: str) -> BusPosition:
        return await self._ask("position", lambda: self._inner.position(producer))

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        loop = asyncio.get_running_loop()
        answer: Future[AppendStatus] = loop.create_future()
        answer.add_done_callback(_retrieve)
        draw, connection = self._chance.draw("append"), self._connection
        number = connection.number
        if not connection.stands or draw.fate is _Fate.LOST_REQUEST:
            connection.cut("cut before an append arrived")
            answer.set_exception(LinkDown(f"{self.name}: the append was not sent"))
            return answer

        def deliver() -> None:
            if draw.fate is _Fate.LOST_REPLY:
                connection.cut("cut before an append was answered")
            if answer.done():  # nobody waits any more, perhaps because of the cut
                return
            error = None if inner.cancelled() else inner.exception()
            if inner.cancelled() or error is not None:
                answer.set_exception(LinkDown(f"{self.name}: {error}"))
            elif not connection.stands or connection.number != number:
                answer.set_exception(LinkDown(f"{self.name}: cut before an answer"))
            else:
                answer.set_result(inner.result())

        inner = asyncio.ensure_future(self._inner.append(batch))
        inner.add_done_callback(lambda _: self._in_order(deliver, draw.delay_seconds))
        return answer

    def _in_order(self, deliver: Callable[[], None], delay_seconds: float) -> None:
        """Deliver an answer late, but none before the one ahead of it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = max(self._last_answer_at, now + delay_seconds)
        if at <= now and not self._late:
            deliver()
            return
        self._last_answer_at = at
        self._late.append(deliver)
        # Timers of one instant may fire in any order: each takes the head.
        loop.call_at(at, lambda: self._late.popleft()())

    def subscribe(self, *, after: str | None = None) -> AsyncIterator[BusEntry]:
        return self._inner.subscribe(after=after)


def _retrieve(future: Future[AppendStatus]) -> None:
    if not future.cancelled():
        future.exception()


class _PolicyConnection(_Connection):
    def __init__(self, name: str, watch: PolicyWatch) -> None:
        super().__init__(name, watch)
        self._policy_watch = watch

    def changed(self) -> None:
        if self.stands:
            self._policy_watch.changed()


class FaultyStore(_Asking):
    """`ports.PolicyStore` and `ports.LeaseStore` with mishaps.

    :param lease: of the same connection, usually the same object.
    """

    def __init__(
        self, inner: PolicyStore, lease: LeaseStore, switch: FaultSwitch, entropy: Entropy
    ) -> None:
        super().__init__(inner.name, switch, entropy)
        self._inner = inner
        self._lease = lease
        self._read_in = -1

    async def run(self, watch: PolicyWatch) -> None:
        connection = _PolicyConnection(self.name, watch)
        self._connection = connection
        await self._inner.run(connection)

    async def probe(self) -> None:
        await self._ask("probe", self._inner.probe)

    async def read(self) -> StoredPolicy | None:
        stored = await self._ask("read", self._inner.read)
        self._read_in = self._connection.number
        return stored

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        return await self._ask(
            "compare_and_set",
            lambda: self._inner.compare_and_set(policy, expected_version=expected_version),
        )

    def verified_at(self) -> float:
        """As the transport says, but never of an earlier connection."""
        connection = self._connection
        if connection.stands and self._read_in == connection.number:
            return self._inner.verified_at()
        return -inf

    async def acquire(self, owner: str, *, ttl_seconds: float) -> LeaseGrant | None:
        return await self._ask(
            "acquire", lambda: self._lease.acquire(owner, ttl_seconds=ttl_seconds)
        )

    async def release(self, owner: str) -> None:
        await self._ask("release", lambda: self._lease.release(owner))


class _ExecutionConnection(_Connection):
    """Passes the stream on, message by message in its order, some of them late."""

    def __init__(self, name: str, watch: ExecutionWatch, chance: _Chance) -> None:
        super().__init__(name, watch)
        self._execution_watch = watch
        self._chance = chance
        self._late: deque[ExecutionReport] = deque()
        self._last_at = 0.0

    def stream_up(self) -> None:
        self._execution_watch.stream_up()

    def stream_down(self, reason: str) -> None:
        # What was under way is lost with the connection.
        self._late.clear()
        self._execution_watch.stream_down(reason)

    def report(self, report: ExecutionReport) -> None:
        draw = self._chance.draw("report")
        loop = asyncio.get_running_loop()
        at = max(self._last_at, loop.time() + draw.delay_seconds)
        if at <= loop.time() and not self._late:
            self._execution_watch.report(report)
            return
        self._last_at = at
        self._late.append(report)
        loop.call_at(at, self._deliver_next)

    def _deliver_next(self) -> None:
        if self._late:  # else it was lost with its connection
            self._execution_watch.report(self._late.popleft())


class FaultyExecutionClient:
    """`ports.ExecutionClient` with mishaps. A delay comes before the permit, as connecting does."""

    def __init__(self, inner: ExecutionClient, switch: FaultSwitch, entropy: Entropy) -> None:
        self.name = inner.name
        self.venue = inner.venue
        self._inner = inner
        self._chance = _Chance(switch, entropy)

    async def run(self, watch: ExecutionWatch) -> None:
        await self._inner.run(_ExecutionConnection(self.name, watch, self._chance))

    async def probe(self) -> None:
        await self._read("probe", 1.0, self._inner.probe)

    async def place(
        self, request: PlaceRequest, *, permit: Callable[[], object], timeout_seconds: float
    ) -> PlaceOutcome:
        draw = self._chance.draw("place")
        if draw.fate is _Fate.REFUSED:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason="no connection could be made")
        if draw.fate is _Fate.LOST_REQUEST:
            permit()
            await anyio.sleep(timeout_seconds)
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason="the request was lost")
        if draw.delay_seconds:
            await anyio.sleep(min(draw.delay_seconds, timeout_seconds))
        outcome = await self._inner.place(request, permit=permit, timeout_seconds=timeout_seconds)
        if draw.fate is _Fate.LOST_REPLY and outcome.kind is not OutcomeKind.NOT_EXECUTED:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason="the reply was lost")
        return outcome

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        return await self._question(
            "cancel",
            timeout_seconds,
            lambda: self._inner.cancel(
                symbol, client_order_id, conditional=conditional, timeout_seconds=timeout_seconds
            ),
        )

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        return await self._question(
            "query",
            timeout_seconds,
            lambda: self._inner.query(
                symbol, client_order_id, conditional=conditional, timeout_seconds=timeout_seconds
            ),
        )

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        return await self._read(
            "open_orders",
            timeout_seconds,
            lambda: self._inner.open_orders(timeout_seconds=timeout_seconds),
        )

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        return await self._read(
            "positions",
            timeout_seconds,
            lambda: self._inner.positions(timeout_seconds=timeout_seconds),
        )

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        return await self._read(
            "fills",
            timeout_seconds,
            lambda: self._inner.fills(
                symbol, after_trade_id=after_trade_id, timeout_seconds=timeout_seconds
            ),
        )

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        return await self._read(
            "newest_trade_id",
            timeout_seconds,
            lambda: self._inner.newest_trade_id(symbol, timeout_seconds=timeout_seconds),
        )

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        return await self._read(
            "venue_time_ms",
            timeout_seconds,
            lambda: self._inner.venue_time_ms(timeout_seconds=timeout_seconds),
        )

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        return await self._read(
            "instruments",
            timeout_seconds,
            lambda: self._inner.instruments(timeout_seconds=timeout_seconds),
        )

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        return await self._read(
            "last_price",
            timeout_seconds,
            lambda: self._inner.last_price(symbol, timeout_seconds=timeout_seconds),
        )

    async def _question(
        self, method: str, timeout_seconds: float, act: Callable[[], Awaitable[QueryOutcome]]
    ) -> QueryOutcome:
        try:
            return await self._read(method, timeout_seconds, act)
        except LinkDown as error:
            return QueryOutcome(kind=QueryKind.UNANSWERED, reason=str(error))

    async def _read(
        self, method: str, timeout_seconds: float, act: Callable[[], Awaitable[_T]]
    ) -> _T:
        """:raises LinkDown:"""
        draw = self._chance.draw(method)
        match draw.fate:
            case _Fate.REFUSED:
                raise LinkDown(f"{self.name}: {method} was refused")
            case _Fate.LOST_REQUEST:
                await anyio.sleep(timeout_seconds)
                raise LinkDown(f"{self.name}: no answer to {method}")
            case _Fate.DELAYED:
                await anyio.sleep(min(draw.delay_seconds, timeout_seconds))
        answer = await act()
        if draw.fate is _Fate.LOST_REPLY:
            raise LinkDown(f"{self.name}: the answer to {method} was lost")
        return answer
