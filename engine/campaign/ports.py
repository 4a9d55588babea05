"""The ports of one simulated process: watched, and dead at once when the process is.

A killed process must do no more harm while its tasks are unwound, so nothing that it
asks for then leaves, and nothing that arrives reaches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Final, TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.journal import MemoryJournal
from holdfast.model import (
    Balance,
    CashFlow,
    ExecutionReport,
    Fill,
    Gap,
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
    ExecutionWatch,
    Fence,
    LeaseGrant,
    LeaseStore,
    LinkWatch,
    MessageBus,
    PolicyStore,
    PolicyWatch,
    PreparesOrders,
    StoredPolicy,
)
from holdfast.transports.faults import CountingClient

from .witness import Witness

_REACHED: Final = {OutcomeKind.NOT_EXECUTED: "refused", OutcomeKind.UNKNOWN: "unknown"}
"""Moments that the outcome of an order is."""

_T = TypeVar("_T")
Point = Callable[[str], None]
"""Told when a moment has come at which a fault may have been planned."""


class Life:
    """Whether the process is alive, and where it may be hit."""

    def __init__(self, witness: Witness, reached: Point) -> None:
        self.alive = True
        self.witness = witness
        self.reached = reached

    def check(self) -> None:
        """:raises LinkDown: the process is dead."""
        if not self.alive:
            raise LinkDown("the process was killed")

    def asks(self, question: str) -> None:
        """:raises LinkDown: the process is dead."""
        self.check()
        self.witness.asks(question)


class _Watch:
    def __init__(self, life: Life, link: str, watch: LinkWatch) -> None:
        self._life = life
        self._link = link
        self._watch = watch

    def up(self) -> None:
        if self._life.alive:
            self._life.witness.link_up(self._link)
            self._watch.up()

    def down(self, reason: str) -> None:
        if self._life.alive:
            self._life.witness.link_down(self._link, reason)
            self._watch.down(reason)


class WatchedBus:
    """
    :param on_gap: told of every marker that is sent in place of events.
    """

    def __init__(self, inner: MessageBus, life: Life, *, on_gap: Callable[[Gap], None]) -> None:
        self.name = inner.name
        self._inner = inner
        self._life = life
        self._on_gap = on_gap

    async def run(self, watch: LinkWatch) -> None:
        await self._inner.run(_Watch(self._life, "bus", watch))

    async def probe(self) -> None:
        self._life.asks("probe bus")
        await self._inner.probe()

    async def position(self, producer: str) -> BusPosition:
        self._life.asks("position")
        return await self._inner.position(producer)

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        if not self._life.alive:
            refused = asyncio.get_running_loop().create_future()
            refused.cancel()
            return refused
        self._life.witness.ships(batch)
        if batch.gap is not None:
            self._on_gap(batch.gap)
        answer = self._inner.append(batch)
        self._life.reached("ship")
        return answer

    async def fence(self) -> Fence:
        self._life.check()
        return await self._inner.fence()

    def subscribe(self, *, after: str | None = None) -> AsyncIterator[BusEntry]:
        return self._inner.subscribe(after=after)


class _PolicyWatch(_Watch):
    def __init__(self, life: Life, watch: PolicyWatch) -> None:
        super().__init__(life, "policy", watch)
        self._policy_watch = watch

    def changed(self) -> None:
        if self._life.alive:
            self._policy_watch.changed()


class WatchedStore:
    def __init__(self, inner: PolicyStore, lease: LeaseStore, life: Life) -> None:
        self.name = inner.name
        self._inner = inner
        self._lease = lease
        self._life = life

    async def run(self, watch: PolicyWatch) -> None:
        await self._inner.run(_PolicyWatch(self._life, watch))

    async def probe(self) -> None:
        self._life.asks("probe policy")
        await self._inner.probe()

    async def read(self) -> StoredPolicy | None:
        self._life.asks("policy")
        stored = await self._inner.read()
        self._life.witness.policy_read(stored, at_seconds=anyio.current_time())
        return stored

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        self._life.asks("set policy")
        return await self._inner.compare_and_set(policy, expected_version=expected_version)

    def verified_at(self) -> float:
        return self._inner.verified_at()

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        self._life.check()
        sent_at = self._life.witness.terms.now()
        grant = await self._lease.acquire(owner, ttl_seconds=ttl_seconds, above=above)
        self._life.witness.lease_answered(grant, sent_at=sent_at)
        return grant

    async def release(self, owner: str) -> None:
        self._life.check()
        await self._lease.release(owner)


class _ExecutionWatch(_Watch):
    def __init__(self, life: Life, watch: ExecutionWatch) -> None:
        super().__init__(life, "exchange", watch)
        self._execution_watch = watch

    def stream_up(self) -> None:
        if self._life.alive:
            self._life.witness.link_up("stream")
            self._execution_watch.stream_up()

    def stream_down(self, reason: str) -> None:
        if self._life.alive:
            self._life.witness.link_down("stream", reason)
            self._execution_watch.stream_down(reason)

    def report(self, report: ExecutionReport) -> None:
        if self._life.alive:
            self._life.witness.reported(report, partial(self._execution_watch.report, report))


class WatchedClient:
    """
    :param venue_ms: the venue's own clock.
    """

    def __init__(self, inner: CountingClient, life: Life, *, venue_ms: Callable[[], int]) -> None:
        self.name = inner.name
        self.venue = inner.venue
        self._inner = inner
        self._life = life
        self._venue_ms = venue_ms

    async def run(self, watch: ExecutionWatch) -> None:
        await self._inner.run(_ExecutionWatch(self._life, watch))

    async def probe(self) -> None:
        self._life.asks("probe exchange")
        await self._inner.probe()

    async def place(
        self, request: PlaceRequest, *, permit: Callable[[], object], timeout_seconds: float
    ) -> PlaceOutcome:
        return await self._place(self._inner.place, request, permit, timeout_seconds)

    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        inner: object = self._inner
        if isinstance(inner, PreparesOrders):
            place = partial(inner.place_when_ready, ready=ready)
            return await self._place(place, request, permit, timeout_seconds)
        await ready()
        return await self.place(request, permit=permit, timeout_seconds=timeout_seconds)

    async def _place(
        self,
        place: Callable[..., Awaitable[PlaceOutcome]],
        request: PlaceRequest,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        life = self._life
        life.check()
        life.witness.places(request)

        def write() -> None:
            life.check()
            permit()
            life.witness.writes(request)
            life.reached("order")

        outcome = await place(request, permit=write, timeout_seconds=timeout_seconds)
        if life.alive:
            life.witness.placed(request, outcome)
            if outcome.kind in _REACHED:
                life.reached(_REACHED[outcome.kind])
        return outcome

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        self._life.check()
        self._life.witness.leaves(f"a cancel of {client_order_id}")
        answer = await self._inner.cancel(
            symbol, client_order_id, conditional=conditional, timeout_seconds=timeout_seconds
        )
        if self._life.alive and answer.kind is QueryKind.FOUND:
            self._life.witness.saw(client_order_id)
        return answer

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        self._life.check()
        self._life.witness.leaves(f"a question for {client_order_id}")
        asked_ms = self._venue_ms()
        answer = await self._inner.query(
            symbol, client_order_id, conditional=conditional, timeout_seconds=timeout_seconds
        )
        if self._life.alive:
            self._life.witness.answered(client_order_id, asked_ms, answer)
        return answer

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        self._life.asks("open_orders")
        listed = await self._inner.open_orders(timeout_seconds=timeout_seconds)
        if self._life.alive:
            for order in listed:
                self._life.witness.saw(order.client_order_id)
        return listed

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        self._life.asks("positions")
        return await self._inner.positions(timeout_seconds=timeout_seconds)

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        self._life.asks("fills")
        listed = await self._inner.fills(
            symbol, after_trade_id=after_trade_id, timeout_seconds=timeout_seconds
        )
        self._life.witness.listed(listed)
        return listed

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        self._life.asks("fills")
        newest = await self._inner.newest_trade_id(symbol, timeout_seconds=timeout_seconds)
        self._life.witness.newest_trade(symbol, newest)
        return newest

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        self._life.check()
        return await self._inner.venue_time_ms(timeout_seconds=timeout_seconds)

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        self._life.check()
        return await self._inner.instruments(timeout_seconds=timeout_seconds)

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        self._life.check()
        return await self._inner.last_price(symbol, timeout_seconds=timeout_seconds)

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        self._life.check()
        await self._inner.countdown_cancel_all(
            symbol, countdown_seconds=countdown_seconds, timeout_seconds=timeout_seconds
        )


class WatchedAccount(WatchedClient):
    """As `WatchedClient`, and the venue tells of the account's cash.

    :param on_armed: told of a symbol that the venue counts down for.
    :param on_untold: called when it does not tell what has become of it.
    """

    def __init__(
        self,
        inner: CountingClient,
        life: Life,
        *,
        venue_ms: Callable[[], int],
        on_untold: Callable[[], None],
        on_armed: Callable[[str], None],
    ) -> None:
        super().__init__(inner, life, venue_ms=venue_ms)
        self._on_armed = on_armed
        self._on_untold = on_untold

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        await super().countdown_cancel_all(
            symbol, countdown_seconds=countdown_seconds, timeout_seconds=timeout_seconds
        )
        self._on_armed(symbol)

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        self._life.asks("balances")
        told = await self._inner.balances(timeout_seconds=timeout_seconds)
        if self._life.alive:
            self._life.reached("look")
        return told

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        self._life.check()
        try:
            return await self._inner.cash_flows(
                since_ms=since_ms, until_ms=until_ms, timeout_seconds=timeout_seconds
            )
        except LinkDown:
            self._on_untold()
            raise


class PerilousJournal(MemoryJournal):
    """A journal during whose appends the process may be hit."""

    reached: Point | None = None

    def append_nowait(self, kind: int, body: bytes, *, reserve: bool = False) -> int:
        seq = super().append_nowait(kind, body, reserve=reserve)
        if self.reached is not None:
            self.reached("journal")
        return seq
