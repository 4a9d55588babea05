"""An execution client with mishaps. What is lost is reported as lost; its stream keeps order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Protocol, TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.model import (
    Balance,
    CashFlow,
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
from holdfast.ports import (
    BalanceReader,
    CashFlowReader,
    CountsDown,
    Entropy,
    ExecutionClient,
    ExecutionWatch,
)

from .chance import Chance, Fate, FaultSwitch
from .connection import Connection

_T = TypeVar("_T")


class CountingClient(ExecutionClient, CountsDown, BalanceReader, CashFlowReader, Protocol):
    """A client of a venue that has a dead-man switch, and tells of the account's cash."""


class _ExecutionConnection(Connection):
    """Passes the stream on, message by message in its order, some of them late."""

    def __init__(self, name: str, watch: ExecutionWatch, chance: Chance) -> None:
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

    def __init__(self, inner: CountingClient, switch: FaultSwitch, entropy: Entropy) -> None:
        self.name = inner.name
        self.venue = inner.venue
        self._inner = inner
        self._chance = Chance(switch, entropy)

    async def run(self, watch: ExecutionWatch) -> None:
        await self._inner.run(_ExecutionConnection(self.name, watch, self._chance))

    async def probe(self) -> None:
        await self._read("probe", 1.0, self._inner.probe)

    async def place(
        self, request: PlaceRequest, *, permit: Callable[[], object], timeout_seconds: float
    ) -> PlaceOutcome:
        draw = self._chance.draw("place")
        if draw.fate is Fate.REFUSED:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason="no connection could be made")
        if draw.fate is Fate.LOST_REQUEST:
            permit()
            await anyio.sleep(timeout_seconds)
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason="the request was lost")
        if draw.delay_seconds:
            await anyio.sleep(min(draw.delay_seconds, timeout_seconds))
        outcome = await self._inner.place(request, permit=permit, timeout_seconds=timeout_seconds)
        if draw.fate is Fate.LOST_REPLY and outcome.kind is not OutcomeKind.NOT_EXECUTED:
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

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        return await self._read(
            "balances",
            timeout_seconds,
            lambda: self._inner.balances(timeout_seconds=timeout_seconds),
        )

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        return await self._read(
            "cash_flows",
            timeout_seconds,
            lambda: self._inner.cash_flows(
                since_ms=since_ms, until_ms=until_ms, timeout_seconds=timeout_seconds
            ),
        )

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        await self._read(
            "countdown_cancel_all",
            timeout_seconds,
            lambda: self._inner.countdown_cancel_all(
                symbol, countdown_seconds=countdown_seconds, timeout_seconds=timeout_seconds
            ),
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
            case Fate.REFUSED:
                raise LinkDown(f"{self.name}: {method} was refused")
            case Fate.LOST_REQUEST:
                await anyio.sleep(timeout_seconds)
                raise LinkDown(f"{self.name}: no answer to {method}")
            case Fate.DELAYED:
                await anyio.sleep(min(draw.delay_seconds, timeout_seconds))
        answer = await act()
        if draw.fate is Fate.LOST_REPLY:
            raise LinkDown(f"{self.name}: the answer to {method} was lost")
        return answer
