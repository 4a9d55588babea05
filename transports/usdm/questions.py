"""`fills.Questions` over a line, all within one timeout."""

from __future__ import annotations

from typing import Final, TypeVar

from . import endpoints
from .endpoints import Endpoint
from .errors import DOES_NOT_EXIST
from .fills import PAGE
from .line import Countdown, Line
from .wire import OrderJson, TradeJson, read_error

_T = TypeVar("_T")

QUERY_LAG_MS: Final = 10_000
"""A trade may be listed before its order can be queried; once it is older than this, an
order that the venue does not know is one that it has forgotten."""


class FillQuestions:
    def __init__(self, line: Line, timeout_seconds: float) -> None:
        self._line = line
        self._countdown = Countdown(line, timeout_seconds)

    async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
        begin = [] if from_id is None else [("fromId", str(from_id))]
        params = [("symbol", symbol), *begin, ("limit", str(PAGE))]
        return await self._read(endpoints.USER_TRADES, params, list[TradeJson])

    async def trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[TradeJson]:
        params = [
            ("symbol", symbol),
            ("startTime", str(start_ms)),
            ("endTime", str(end_ms)),
            ("limit", str(PAGE)),
        ]
        return await self._read(endpoints.USER_TRADES, params, list[TradeJson])

    async def orders(self, symbol: str, from_number: int) -> list[OrderJson]:
        params = [("symbol", symbol), ("orderId", str(from_number)), ("limit", str(PAGE))]
        return await self._read(endpoints.ALL_ORDERS, params, list[OrderJson])

    async def order_of(self, trade: TradeJson) -> OrderJson | None:
        """Binance keeps filled orders ninety days ("Query Order") and trades longer, so an
        account may have trades of which nobody can say whose they were.
        """
        line, endpoint = self._line, endpoints.QUERY_ORDER
        params = [("symbol", trade.symbol), ("orderId", str(trade.orderId))]
        reply = await line.ask(endpoint, params, timeout_seconds=self._countdown.seconds_left())
        if (
            reply.status != 200
            and read_error(reply.body)[0] == DOES_NOT_EXIST
            and line.now_ms() - trade.time >= QUERY_LAG_MS
        ):
            return None
        return line.decoded(endpoint, reply, OrderJson)

    async def _read(self, endpoint: Endpoint, params: list[tuple[str, str]], kind: type[_T]) -> _T:
        return await self._line.read(
            endpoint, params, kind, timeout_seconds=self._countdown.seconds_left()
        )
