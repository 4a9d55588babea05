"""The execution client of a venue in the same process, for virtual time.

Without latency or an armed fault a call is a plain function call: no task, no
timer (see `line`). `run` only waits, so that a simulation can see that nothing is
left to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.model import (
    Balance,
    CashFlow,
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
from holdfast.ports import ExecutionWatch
from holdfast.transports.usdm.errors import DOES_NOT_EXIST, UNKNOWN_ORDER, classify_refusal

from .faults import RequestKind
from .line import BadReply, LocalLine, NoReply
from .records import ConditionalTicket, ConditionalType, OrderTicket
from .rules import VenueError

_T = TypeVar("_T")


class SimExecutionClient:
    """Execution client of the venue behind `line`, in this process.

    :param latency_seconds: from the permit to the venue; answers come back at once.
    :ivar line: where outages are made.
    """

    def __init__(
        self,
        line: LocalLine,
        *,
        name: str = "exchange",
        venue: str = "sim",
        latency_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.venue = venue
        self.line = line
        self._core = line.core
        self._latency_seconds = latency_seconds

    async def run(self, watch: ExecutionWatch) -> None:
        line = self.line
        detach = line.attach(watch)
        try:
            if line.rest_down is None:
                watch.up()
            else:
                watch.down(line.rest_down)
            if line.stream_down is None:
                watch.stream_up()
            else:
                watch.stream_down(line.stream_down)
            await anyio.sleep_forever()
        finally:
            detach()

    async def probe(self) -> None:
        await self.venue_time_ms(timeout_seconds=1.0)

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        if self.line.refused:
            return PlaceOutcome(
                kind=OutcomeKind.NOT_EXECUTED, reason=f"not sent: {self.line.rest_down}"
            )
        permit()
        try:
            snapshot = await self._ask("place", lambda: self._accept(request), timeout_seconds)
        except NoReply as error:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason=str(error))
        except VenueError as error:
            return classify_refusal(status=400, code=error.code, message=error.message)
        except BadReply as error:
            fault = error.fault
            return classify_refusal(
                status=fault.status,
                code=fault.code,
                message=fault.message or fault.body or "",
                retry_after_seconds=fault.retry_after_seconds,
                now_ms=self._core.now_ms(),
            )
        return PlaceOutcome(kind=OutcomeKind.ACCEPTED, order=snapshot)

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        def act() -> OrderSnapshot:
            if conditional:
                try:
                    return self._core.cancel_conditional(client_id=client_order_id).snapshot()
                except VenueError as refusal:
                    if refusal.code != UNKNOWN_ORDER:
                        raise
                    # It waits no more: what was made of it may still be open.
            return self._core.cancel(symbol, client_order_id=client_order_id).snapshot()

        outcome = await self._look("cancel", act, timeout_seconds)
        if outcome is not None:
            return outcome
        return await self.query(
            symbol, client_order_id, conditional=conditional, timeout_seconds=timeout_seconds
        )

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        def act() -> OrderSnapshot:
            if conditional:
                return self._core.query_conditional(client_id=client_order_id).snapshot()
            return self._core.query(symbol, client_order_id=client_order_id).snapshot()

        outcome = await self._look("query", act, timeout_seconds)
        assert outcome is not None
        return outcome

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        def act() -> list[OrderSnapshot]:
            resting = [order.snapshot() for order in self._core.open_orders()]
            return resting + [order.snapshot() for order in self._core.open_conditional()]

        return await self._read("snapshot", act, timeout_seconds)

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        def act() -> list[Position]:
            held = [
                Position(
                    symbol=book.market.symbol,
                    quantity=holding.quantity,
                    entry_price=holding.entry_price,
                    position_side=side,
                )
                for book, side, holding in self._core.positions()
            ]
            lag_ms = self._core.faults.position_lag_ms
            return self._before(held, lag_ms) if lag_ms else held

        return await self._read("snapshot", act, timeout_seconds)

    def _before(self, held: list[Position], lag_ms: int) -> list[Position]:
        """What was held before the trades of so many milliseconds; without a price where it is
        not what is held now."""
        earlier = {(p.symbol, p.position_side): p for p in held}
        since_ms = self._core.now_ms() - lag_ms
        for book in self._core.books.values():
            for trade in reversed(book.trades):
                if trade.time_ms <= since_ms:
                    break
                fill = trade.fill()
                key = fill.symbol, fill.position_side
                now = earlier[key].quantity if key in earlier else Decimal(0)
                earlier[key] = Position(
                    fill.symbol, now - fill.signed_quantity, None, fill.position_side
                )
        return [p for p in earlier.values() if p.quantity]

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        def act() -> list[Fill]:
            trades = self._core.book(symbol).trades
            return [
                trade.fill()
                for trade in self._core.trades(
                    symbol, from_id=after_trade_id + 1, limit=len(trades)
                )
            ]

        return await self._read("snapshot", act, timeout_seconds)

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        def act() -> int:
            trades = self._core.book(symbol).trades
            return trades[-1].trade_id if trades else 0

        return await self._read("snapshot", act, timeout_seconds)

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        """See `ports.BalanceReader`."""

        def act() -> list[Balance]:
            venue = self._core
            asset = next(iter(venue.books.values())).market.quote
            return [
                Balance(asset, venue.wallet_balance, venue.available_balance(), venue.unrealized())
            ]

        return await self._read("snapshot", act, timeout_seconds)

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        """See `ports.CashFlowReader`."""

        def act() -> list[CashFlow]:
            asset = next(iter(self._core.books.values())).market.quote
            return [
                CashFlow(
                    asset,
                    flow.amount,
                    flow.kind,
                    flow.time_ms,
                    "" if flow.market is None else flow.market.symbol,
                    flow.trade_id,
                )
                for flow in self._core.income()
                if since_ms <= flow.time_ms <= until_ms
            ]

        return await self._read("snapshot", act, timeout_seconds)

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        return await self._read("probe", self._core.now_ms, timeout_seconds)

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        return await self._read(
            "snapshot",
            lambda: {
                book.market.symbol: book.market.instrument for book in self._core.books.values()
            },
            timeout_seconds,
        )

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        def act() -> Decimal:
            last = self._core.book(symbol).last
            if last is None:
                raise VenueError(-1121, "Invalid symbol.")
            return last

        return await self._read("snapshot", act, timeout_seconds)

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """Binance's dead-man switch; 0 stops it. :raises LinkDown:"""
        await self._read(
            "cancel",
            lambda: self._core.countdown_cancel_all(symbol, round(countdown_seconds * 1000)),
            timeout_seconds,
        )

    # --- one request ---------------------------------------------------------------

    def _accept(self, request: PlaceRequest) -> OrderSnapshot:
        order = request.order
        self._core.check_time(request.timestamp_ms, request.recv_window_ms)
        if order.trigger is not None:
            return self._core.place_conditional(_conditional_ticket(request)).snapshot()
        ticket = OrderTicket(
            symbol=order.symbol,
            client_order_id=request.client_order_id,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            time_in_force=order.time_in_force or "GTC",
            reduce_only=order.reduce_only,
            position_side=order.position_side,
        )
        return self._core.place(ticket).snapshot()

    async def _look(
        self, kind: RequestKind, act: Callable[[], OrderSnapshot], timeout_seconds: float
    ) -> QueryOutcome | None:
        """None: to a cancel, the venue said "unknown order", which says nothing of its end."""
        code: int | None
        try:
            self._refuse_if_down()
            snapshot = await self._ask(kind, act, timeout_seconds)
        except (NoReply, LinkDown) as error:
            return QueryOutcome(kind=QueryKind.UNANSWERED, reason=str(error))
        except VenueError as error:
            code, reason = error.code, str(error)
        except BadReply as error:
            code = error.fault.code if error.fault.status == 400 else None
            reason = f"HTTP {error.fault.status}, {error.fault.code}: {error}"
        else:
            return QueryOutcome(kind=QueryKind.FOUND, order=snapshot)
        if code == DOES_NOT_EXIST:
            return QueryOutcome(kind=QueryKind.ABSENT, reason=reason)
        if code == UNKNOWN_ORDER and kind == "cancel":
            return None
        return QueryOutcome(kind=QueryKind.UNANSWERED, reason=reason)

    async def _read(self, kind: RequestKind, act: Callable[[], _T], timeout_seconds: float) -> _T:
        """:raises LinkDown:"""
        self._refuse_if_down()
        try:
            return await self._ask(kind, act, timeout_seconds)
        except (NoReply, VenueError, BadReply) as error:
            raise LinkDown(f"{self.name}: {error}") from error

    def _refuse_if_down(self) -> None:
        if self.line.refused:
            raise LinkDown(f"{self.name}: {self.line.rest_down}")

    def _ask(
        self, kind: RequestKind, act: Callable[[], _T], timeout_seconds: float
    ) -> Awaitable[_T]:
        """:raises VenueError, BadReply, NoReply: as `LocalLine.carry`."""
        return self.line.carry(
            kind, act, latency_seconds=self._latency_seconds, timeout_seconds=timeout_seconds
        )


def _conditional_ticket(request: PlaceRequest) -> ConditionalTicket:
    order = request.order
    stop = order.trigger == "stop"
    kind: ConditionalType
    if order.price is None:
        kind = "STOP_MARKET" if stop else "TAKE_PROFIT_MARKET"
    else:
        kind = "STOP" if stop else "TAKE_PROFIT"
    return ConditionalTicket(
        symbol=order.symbol,
        client_id=request.client_order_id,
        type=kind,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        trigger_by=order.trigger_by,
        time_in_force=order.time_in_force or "GTC",
        reduce_only=order.reduce_only,
        position_side=order.position_side,
    )
