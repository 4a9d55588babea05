"""A recording of trades and quotes: checked as a whole before a run.

In a table of trades or quotes, disorder and duplicates are errors of whoever made it, and told with
their line. A raw feed has them by nature (streams that reconnect tell again what was told), so
they are dropped there, counted, and the first is named. Neither is ever traded on. Trades are
numbered without a hole by the venue, so a missing number is a missing trade: a bot hears of it
(`MarketGap`), and bars with such a hole are not handed out. Changes of the best prices are numbered
too, but not without holes, so of them only the order is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.errors import ConfigError
from holdfast.marketdata import DataError
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import NO_NUMBER, QuoteRow, TradeRow

from . import weaving
from .funding import Fees, no_fees
from .recording import DataSummary, Recording
from .spool import Row, Spool
from .weaving import GAP, QUOTE, TRADE, by_length

DEFAULT_BARS: Final = ("1m",)
"""That are made of trades, as live (`market.intervals`)."""


class _Ticks:
    """Checks trades and quotes as they pass, and counts."""

    def __init__(self) -> None:
        self.trades = self.quotes = self.gaps = self.missing = self.dropped = 0
        self.first_gap = self.first_dropped = ""
        self.first_ms: int | None = None
        self.first_trade_ms: int | None = None
        self.first_price = 0.0
        self.last_ms = 0

    def of(self, source: Files) -> Iterator[Row]:
        """The rows of one series, their times never going back.

        :raises DataError: naming the line.
        """
        place = source.place
        raw = source.received
        numbers = {TRADE: NO_NUMBER, QUOTE: NO_NUMBER}
        now_ms = last_trade_ms = last_line = 0
        for line, event in source.events():
            if isinstance(event, TradeRow):
                kind = TRADE
            elif isinstance(event, QuoteRow):
                kind = QUOTE
            else:
                raise DataError(f"{place(line)}: neither a trade nor a quote")
            before, number = numbers[kind], event.number
            if NO_NUMBER not in (before, number) and number <= before:
                if not raw:
                    what = _out_of_order(kind, number, before)
                    raise DataError(f"{place(line)}: {what}; {source.remedy(line, last_line)}")
                self.dropped += 1
                self.first_dropped = self.first_dropped or place(line)
                continue
            if event.time_ms < now_ms and not raw:
                raise DataError(f"{place(line)}: older than the one before; sort the file by time")
            last_line = line
            now_ms = max(now_ms, event.time_ms)
            if self.first_ms is None or now_ms < self.first_ms:
                self.first_ms = now_ms
                self.first_price = (
                    event.price if isinstance(event, TradeRow) else (event.bid + event.ask) / 2
                )
            self.last_ms = max(self.last_ms, now_ms)
            numbers[kind] = number
            if isinstance(event, QuoteRow):
                self.quotes += 1
                _, bid, bid_quantity, ask, ask_quantity, _ = event
                yield now_ms, bid, bid_quantity, ask, ask_quantity, event.time_ms, QUOTE
                continue
            if NO_NUMBER not in (before, number) and number != before + 1:
                self.gaps += 1
                self.missing += number - before - 1
                self.first_gap = self.first_gap or place(line)
                yield now_ms, last_trade_ms, number - before - 1, 0.0, 0.0, 0.0, GAP
            if self.first_trade_ms is None:
                self.first_trade_ms = now_ms
            last_trade_ms = event.time_ms
            self.trades += 1
            took = -1.0 if event.seller_took is None else float(event.seller_took)
            yield now_ms, event.price, event.quantity, number, took, event.time_ms, TRADE


def _out_of_order(kind: int, number: int, before: int) -> str:
    what = "trade" if kind == TRADE else "update"
    if number == before:
        return f"{what} {number} stands twice"
    return f"{what} {number} comes after {before}"


def of_ticks(
    symbol: str,
    sources: Sequence[Files],
    *,
    bars: Sequence[str] = (),
    fees: Fees = no_fees,
) -> Recording:
    """
    :param sources: trades, quotes or both, each oldest first. What happens in one moment is told
        trades first: the quote that follows a trade is what the trade has left.
    :param bars: names of the lengths that are made of the trades; none: `DEFAULT_BARS`.
    :param fees: funding fees that come due meanwhile.
    :raises DataError: naming the line: not sorted, twice, or nothing at all.
    :raises ConfigError: bars of quotes alone.
    """
    seen = _Ticks()
    parts = [seen.of(source) for source in sources]
    merged = parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_by_time)
    spool = Spool(merged)
    names = " and ".join(map(str, sources))
    if seen.first_ms is None:
        raise DataError(f"{names}: holds no data")
    if bars and not seen.trades:
        raise ConfigError(f"bars: {names} holds quotes only, and bars are made of trades")
    made = (by_length(bars) or DEFAULT_BARS) if seen.trades else ()
    first_ms, last_ms = seen.first_ms, seen.last_ms + 1
    due = list(fees(first_ms, seen.last_ms))
    first_trade_ms = first_ms if seen.first_trade_ms is None else seen.first_trade_ms
    lanes, woven = weaving.ticks(spool.rows(), first_ms=first_trade_ms, bars=made, fees=due)
    plain, spool = spool, Spool(woven)
    plain.close()
    return Recording(
        lanes,
        spool,
        summary=DataSummary(
            symbol=symbol,
            source=names,
            bars=made,
            trades=seen.trades,
            quotes=seen.quotes,
            first_ms=first_ms,
            last_ms=last_ms,
            gaps=seen.gaps,
            missing=seen.missing,
            first_gap=seen.first_gap,
            dropped=seen.dropped,
            first_dropped=seen.first_dropped,
            fundings=len(due),
        ),
        first_price=seen.first_price,
    )


def _by_time(row: Row) -> tuple[int, int]:
    return row[0], row[6]
