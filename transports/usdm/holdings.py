"""What the venue lists, and what the account holds: the snapshots that books are made equal to.

What could not be read whole is an error and never a shorter list: a position, an order or a fill
that is left out would be believed not to exist. What is told of an order without its client id
or its trigger gets them from what was told before.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from functools import partial

import msgspec

from holdfast.errors import LinkDown
from holdfast.model import Fill, Instrument, OrderSnapshot, Position

from . import endpoints
from .account import AccountAccess
from .algo import AlgoOrderJson
from .conditional import KnownTriggers
from .fills import OrderNames, newest_id, trades_after, trades_since
from .limits import Priority
from .line import Countdown, Line
from .listing import ExchangeInfoJson
from .questions import FillQuestions
from .symbols import Symbols
from .wire import NamedOrder, OrderJson, PositionJson, PriceJson, TradeJson

log = logging.getLogger("holdfast.usdm")


class Holdings(AccountAccess):
    """The part of the client that looks at orders, positions, fills and contracts."""

    def __init__(self, line: Line, symbols: Symbols, *, tells_rights: bool) -> None:
        super().__init__(line, symbols, tells_rights=tells_rights)
        self._instruments: dict[str, Instrument] = {}
        self._order_names = OrderNames()
        self._triggers = KnownTriggers()

    def _remember(self, order: OrderSnapshot) -> OrderSnapshot:
        """The order, with the trigger that it once waited for."""
        if order.trigger is None:  # while it waits, its number is of another kind
            self._order_names.remember(int(order.venue_order_id), order.client_order_id)
        return self._triggers.marked(order)

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        """See `ports.ExecutionClient`."""
        countdown = Countdown(self._line, timeout_seconds)
        # First those that wait: one that is triggered in between is told twice, never not at all.
        waiting = await self._line.read(
            endpoints.OPEN_ALGO_ORDERS,
            [],
            list[AlgoOrderJson],
            timeout_seconds=countdown.seconds_left(),
        )
        resting = await self._line.read(
            endpoints.OPEN_ORDERS, [], list[OrderJson], timeout_seconds=countdown.seconds_left()
        )
        rows: list[NamedOrder] = [*waiting, *resting]
        snapshots: dict[tuple[str, str], OrderSnapshot] = {}
        for row in rows:
            snapshot = self._line.readable(partial(row.snapshot, self._symbols.unified))
            snapshots[snapshot.symbol, snapshot.client_order_id] = self._remember(snapshot)
        return list(snapshots.values())

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        """See `ports.ExecutionClient`."""
        rows = await self._line.read(
            endpoints.POSITIONS, [], list[PositionJson], timeout_seconds=timeout_seconds
        )
        return [row.position(self._symbols.unified) for row in rows if row.positionAmt]

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        """See `ports.ExecutionClient`."""
        ask = FillQuestions(self._line, timeout_seconds)
        trades = await trades_after(ask, self._symbols.at_venue(symbol), after_trade_id)
        return await self._as_fills(ask, trades)

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        """See `ports.ExecutionClient`."""
        ask = FillQuestions(self._line, timeout_seconds)
        return await newest_id(ask, self._symbols.at_venue(symbol))

    async def fills_since(
        self, symbol: str, *, since_ms: int, timeout_seconds: float
    ) -> list[Fill]:
        """See `ports.FillHistory`."""
        ask = FillQuestions(self._line, timeout_seconds)
        name = self._symbols.at_venue(symbol)
        trades = await trades_since(ask, name, since_ms=since_ms, now_ms=self._line.now_ms())
        return await self._as_fills(ask, trades)

    async def _as_fills(self, ask: FillQuestions, trades: list[TradeJson]) -> list[Fill]:
        return [
            self._line.readable(partial(trade.fill, self._symbols.unified, client_order_id))
            for trade, client_order_id in await self._order_names.named(ask, trades)
        ]

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        """See `ports.ExecutionClient`. A contract that can not be read is not listed."""
        answer = await self._line.read(
            endpoints.EXCHANGE_INFO,
            [],
            ExchangeInfoJson,
            timeout_seconds=timeout_seconds,
            priority=Priority.EXIT,
        )
        self._line.pacer.budget.adopt(answer.limits)
        instruments: dict[str, Instrument] = {}
        unread = ""
        for market in answer.symbols:
            try:
                instruments[market.unified] = market.instrument()
            except msgspec.DecodeError as error:
                unread = str(error)
                log.warning("contract not listed", extra={"reason": unread})
        if unread and not instruments:
            raise LinkDown(f"{self._line.name}: unreadable answer: {unread}")
        self._symbols.learn({market.symbol: market.unified for market in answer.symbols})
        self._instruments = instruments
        return dict(instruments)

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        """See `ports.ExecutionClient`."""
        answer = await self._line.read(
            endpoints.LAST_PRICE,
            [("symbol", self._symbols.at_venue(symbol))],
            PriceJson,
            timeout_seconds=timeout_seconds,
        )
        return answer.price
