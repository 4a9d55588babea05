"""Own fills out of `userTrades`, and whose orders they were, in few requests.

A row of userTrades names its order by the venue's number only, and an account may have a
hundred thousand of them. So the ids of orders come by the page too: `allOrders` tells a
thousand orders a request, and a single order is asked for only if it is the only one, or
if the pages do not show it ("All Orders": without times the recent 7 days). Where counting
has to begin (`newest_id`) nobody's order is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from .wire import OrderJson, TradeJson

PAGE: Final = 1000
"""Largest `limit` of userTrades and of allOrders."""
GREATEST_ID: Final = 2**63 - 1
"""Trade ids are of type LONG."""
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
"""Longest time between `startTime` and `endTime` of userTrades."""
KEPT_MS: Final = 180 * DAY_MS
"""userTrades tells of the past six months ("Account Trade List")."""
MAX_KNOWN_IDS: Final = 10_000
"""Client order ids remembered by order number."""


class Questions(Protocol):
    """What is asked of the venue. Each raises `LinkDown` without a readable answer in time."""

    async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
        """At most `PAGE` rows with ids from `from_id` on; None: the latest, of 7 days at most."""

    async def trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[TradeJson]:
        """The first `PAGE` rows of that time, both ends included; at most 7 days."""

    async def orders(self, symbol: str, from_number: int) -> list[OrderJson]:
        """At most `PAGE` orders, open or not, with numbers from `from_number` on."""

    async def order_of(self, trade: TradeJson) -> OrderJson | None:
        """The order of `trade`; None: the venue has forgotten it."""


class NamedTrade(NamedTuple):
    """A row of userTrades and the client order id of its order ("": nobody can say)."""

    trade: TradeJson
    client_order_id: str


class OrderNames:
    """Client order ids by the venue's order number, the latest `MAX_KNOWN_IDS`."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def remember(self, number: int, client_order_id: str) -> None:
        self._known.pop(number, None)  # one that is still told of stays
        if len(self._known) >= MAX_KNOWN_IDS:
            del self._known[next(iter(self._known))]
        self._known[number] = client_order_id

    async def named(self, ask: Questions, trades: Iterable[TradeJson]) -> list[NamedTrade]:
        """The same trades, of one symbol, with the names of their orders.

        :raises LinkDown: what was learnt until then is remembered.
        """
        trades = list(trades)
        names: dict[int, str] = {}
        unknown: dict[int, TradeJson] = {}
        for trade in trades:
            known = self._known.get(trade.orderId)
            if known is None:
                unknown[trade.orderId] = trade
            else:
                names[trade.orderId] = known
        left = sorted(unknown)
        while left:
            told = await self._page(ask, unknown[left[0]]) if len(left) > 1 else {}
            covered_to = max(told) if len(told) == PAGE else left[-1]
            names.update(told)
            for number in left:
                if number <= covered_to and number not in names:
                    names[number] = await self._single(ask, unknown[number])
            left = [number for number in left if number > covered_to]
        return [NamedTrade(trade, names[trade.orderId]) for trade in trades]

    async def _page(self, ask: Questions, first: TradeJson) -> dict[int, str]:
        page = await ask.orders(first.symbol, first.orderId)
        told = {o.orderId: o.clientOrderId for o in page if o.orderId >= first.orderId}
        for number, name in told.items():
            self.remember(number, name)
        return told

    async def _single(self, ask: Questions, trade: TradeJson) -> str:
        order = await ask.order_of(trade)
        name = "" if order is None else order.clientOrderId
        self.remember(trade.orderId, name)
        return name


async def trades_after(ask: Questions, symbol: str, trade_id: int) -> list[TradeJson]:
    """Every row with a greater id, ascending. :raises LinkDown:"""
    found: list[TradeJson] = []
    while True:
        rows = await ask.trades(symbol, (found[-1].id if found else trade_id) + 1)
        found += sorted(rows, key=lambda row: row.id)
        if len(rows) < PAGE:
            return found


async def trades_since(
    ask: Questions, symbol: str, *, since_ms: int, now_ms: int
) -> list[TradeJson]:
    """Every row since a moment, ascending.

    `fromId` and times exclude each other, so the times only find where it begins: week by
    week, until one has a row. From there on ids are safer: none is skipped or told twice.

    :raises ValueError: it is longer ago than the venue tells trades of.
    :raises LinkDown:
    """
    if now_ms - since_ms > KEPT_MS:
        raise ValueError(f"since_ms: {since_ms} is longer ago than {KEPT_MS // DAY_MS} days")
    start_ms = since_ms
    while start_ms <= now_ms:
        rows = await ask.trades_between(symbol, start_ms, start_ms + WEEK_MS - 1)
        if rows:
            return await trades_after(ask, symbol, min(row.id for row in rows) - 1)
        start_ms += WEEK_MS
    return []


async def newest_id(ask: Questions, symbol: str) -> int:
    """The id of the latest row; 0: there is none. :raises LinkDown:

    One or two requests for an account that has traded within 7 days, or never. Of an older
    history only the end is looked for, by leaps and halves of the id: some tens of requests,
    however long it is.
    """
    rows = await ask.trades(symbol, None)
    newest, beyond, step = _last(rows), GREATEST_ID, 1
    if 0 < len(rows) < PAGE:
        return newest
    while newest + 1 < beyond:
        begin = min(newest + step, (newest + 1 + beyond) // 2)
        rows = await ask.trades(symbol, begin)
        if 0 < len(rows) < PAGE:
            return _last(rows)
        newest, beyond = (_last(rows), beyond) if rows else (newest, begin)
        step *= PAGE
    return newest


def _last(rows: list[TradeJson]) -> int:
    return max((row.id for row in rows), default=0)
