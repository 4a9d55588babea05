"""Binance's USDⓈ-M endpoints for market data.

"Test Connectivity", "Check Server Time", "Exchange Information", "Order Book", "Recent Trades
List", "Old Trades Lookup", "Compressed/Aggregate Trades List", "Kline/Candlestick Data",
"Continuous Contract Kline/Candlestick Data", "Mark Price", "Get Funding Rate History", "Get
Funding Rate Info", "24hr Ticker Price Change Statistics", "Symbol Price Ticker", "Symbol Order
Book Ticker". The venue sees the trades of others one by one, so an aggregate trade is one
trade. There is no index: the mark price stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from .api import Account
from .book import Book
from .depth import Level
from .ledger import ZERO
from .limits import declared
from .parameters import Params, integer, page_size, required
from .rules import VenueError
from .tape import INTERVALS, Candle, PublicTrade, closing
from .wire import market_json, rounded, text

DEPTH_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1000)
MAX_KLINES: Final = 1500
_HOUR_MS: Final = 3_600_000
_PER_CENT: Final = Decimal(100)


def ping(_account: Account, _params: Params) -> Any:
    return {}


def time(account: Account, _params: Params) -> Any:
    return {"serverTime": account.venue.now_ms()}


def exchange_info(account: Account, _params: Params) -> Any:
    venue = account.venue
    return {
        "timezone": "UTC",
        "serverTime": venue.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": declared(account.limits),
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [market_json(book.market) for book in venue.books.values()],
    }


# --- prices ------------------------------------------------------------------------


def ticker_price(account: Account, params: Params) -> Any:
    now_ms = account.venue.now_ms()
    return _of_one_or_all(
        account,
        params,
        lambda book: {"symbol": book.market.name, "price": text(book.last), "time": now_ms},
    )


def book_ticker(account: Account, params: Params) -> Any:
    return _of_one_or_all(account, params, lambda book: best_json(account, book))


def ticker_24h(account: Account, params: Params) -> Any:
    return _of_one_or_all(account, params, lambda book: day_json(account, book))


def premium_index(account: Account, params: Params) -> Any:
    return _of_one_or_all(account, params, lambda book: mark_json(account, book))


def best_json(account: Account, book: Book) -> dict[str, Any]:
    shown = account.market.book(book.market.name)
    bids, asks = shown.bids(1), shown.asks(1)
    bid, ask = bids[0] if bids else (ZERO, ZERO), asks[0] if asks else (ZERO, ZERO)
    return {
        "symbol": book.market.name,
        "bidPrice": text(bid[0]),
        "bidQty": text(bid[1]),
        "askPrice": text(ask[0]),
        "askQty": text(ask[1]),
        "time": shown.changed_ms,
        "lastUpdateId": shown.update_id,
    }


def day_json(account: Account, book: Book) -> dict[str, Any]:
    now_ms, last = account.venue.now_ms(), account.market.last(book.market.name)
    tape = account.market.tapes[book.market.name]
    day = tape.day(now_ms) or Candle(now_ms, last, last, last, last)
    change = last - day.open
    return {
        "symbol": book.market.name,
        "priceChange": text(change),
        "priceChangePercent": f"{change * _PER_CENT / day.open:.3f}",
        "weightedAvgPrice": rounded(day.quote_volume / day.volume if day.volume else last),
        "lastPrice": text(last),
        "lastQty": text(tape.last.quantity if tape.last else None),
        "openPrice": text(day.open),
        "highPrice": text(day.high),
        "lowPrice": text(day.low),
        "volume": text(day.volume),
        "quoteVolume": text(day.quote_volume),
        "openTime": day.open_ms,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.trades,
    }


def mark_json(account: Account, book: Book) -> dict[str, Any]:
    now_ms, interval_ms = account.venue.now_ms(), book.funding_interval_ms
    mark = text(book.mark)
    return {
        "symbol": book.market.name,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": f"{book.funding_rate or ZERO:.8f}",
        "interestRate": "0.00000000",
        "nextFundingTime": (now_ms // interval_ms + 1) * interval_ms,
        "time": now_ms,
    }


def _of_one_or_all(
    account: Account, params: Params, row: Callable[[Book], dict[str, Any]]
) -> dict[str, Any] | list[dict[str, Any]]:
    """Of the symbol asked for, else a list; markets without a price yet are left out."""
    symbol = params.get("symbol")
    if symbol is None:
        return [row(book) for book in account.venue.books.values() if book.last is not None]
    account.market.last(symbol)
    return row(account.venue.book(symbol))


# --- the book, trades, candles -----------------------------------------------------


def depth(account: Account, params: Params) -> Any:
    limit = integer(params, "limit", 500)
    if limit not in DEPTH_LIMITS:
        raise VenueError(-4021, f"{limit} is not valid depth limit.")
    symbol = required(params, "symbol")
    shown = account.market.book(symbol)
    return {
        "lastUpdateId": shown.update_id,
        "E": account.venue.now_ms(),
        "T": shown.changed_ms,
        "bids": levels_json(shown.bids(limit)),
        "asks": levels_json(shown.asks(limit)),
    }


def levels_json(levels: list[Level]) -> list[list[str]]:
    return [[text(price), text(quantity)] for price, quantity in levels]


def trades(account: Account, params: Params) -> Any:
    limit = page_size(params)
    return [_trade_json(trade) for trade in _latest(account, params, limit)]


def historical_trades(account: Account, params: Params) -> Any:
    limit = page_size(params, default=100, most=500)
    if from_id := integer(params, "fromId", 0):
        tape = account.market.tape(required(params, "symbol"))
        return [_trade_json(trade) for trade in tape.since(from_id)][:limit]
    return [_trade_json(trade) for trade in _latest(account, params, limit)]


def agg_trades(account: Account, params: Params) -> Any:
    limit = page_size(params)
    tape = account.market.tape(required(params, "symbol"))
    if from_id := integer(params, "fromId", 0):
        return [_agg_trade_json(trade) for trade in tape.since(from_id)][:limit]
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    if start and end and start > end:
        raise VenueError(-1023, "Start time is greater than end time.")
    if start or end:
        chosen = [t for t in tape.trades if start <= t.time_ms and (not end or t.time_ms <= end)]
        return [_agg_trade_json(trade) for trade in (chosen[:limit] if start else chosen[-limit:])]
    return [_agg_trade_json(trade) for trade in _latest(account, params, limit)]


def klines(account: Account, params: Params) -> Any:
    return _klines(account, params, required(params, "symbol"))


def continuous_klines(account: Account, params: Params) -> Any:
    if required(params, "contractType") != "PERPETUAL":
        raise VenueError(-1110, "Invalid contractType.")
    return _klines(account, params, required(params, "pair"))


def _klines(account: Account, params: Params, symbol: str) -> Any:
    interval = required(params, "interval")
    if interval not in INTERVALS:
        raise VenueError(-1120, "Invalid interval.")
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    if start and end and start > end:
        raise VenueError(-1023, "Start time is greater than end time.")
    candles = account.market.tape(symbol).candles(
        interval,
        account.venue.now_ms(),
        start_ms=start or None,
        end_ms=end or None,
        limit=page_size(params, most=MAX_KLINES),
    )
    return [
        [
            candle.open_ms,
            text(candle.open),
            text(candle.high),
            text(candle.low),
            text(candle.close),
            text(candle.volume),
            closing(interval, candle.open_ms),
            text(candle.quote_volume),
            candle.trades,
            text(candle.taken),
            text(candle.taken_quote),
            "0",
        ]
        for candle in candles
    ]


def _latest(account: Account, params: Params, limit: int) -> list[PublicTrade]:
    return list(account.market.tape(required(params, "symbol")).trades)[-limit:]


def _trade_json(trade: PublicTrade) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "time": trade.time_ms,
        "isBuyerMaker": trade.seller_took,
    }


def _agg_trade_json(trade: PublicTrade) -> dict[str, Any]:
    return {
        "a": trade.trade_id,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": trade.time_ms,
        "m": trade.seller_took,
    }


# --- funding -----------------------------------------------------------------------


def funding_rate(account: Account, params: Params) -> Any:
    """Fees that came due while the venue was open, by ascending time."""
    limit, symbol = page_size(params, default=100), params.get("symbol")
    start, end = integer(params, "startTime", 0), integer(params, "endTime", 0)
    account.market.note_fundings()
    kept = account.market.fundings
    names = kept if symbol is None else (account.venue.book(symbol).market.name,)
    rows: list[dict[str, Any]] = [
        {
            "symbol": name,
            "fundingTime": fee.time_ms,
            "fundingRate": f"{fee.rate:.8f}",
            "markPrice": text(fee.mark),
        }
        for name in names
        for fee in kept[name]
        if start <= fee.time_ms and (not end or fee.time_ms <= end)
    ]
    rows.sort(key=lambda row: row["fundingTime"])
    return rows[:limit] if start else rows[-limit:]


def funding_info(account: Account, _params: Params) -> Any:
    return [
        {
            "symbol": book.market.name,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": book.funding_interval_ms // _HOUR_MS,
            "disclaimer": False,
        }
        for book in account.venue.books.values()
    ]
