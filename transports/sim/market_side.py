"""The market's side of the venue: prices, trades, quotes and candles come in here.

Each is one comparison as long as nothing is reached (see `book`); a candle of a market in
which nothing waits costs a fraction of a microsecond. Prices and quantities are floats or
`Decimal`; floats stand for what was recorded as text, and come out as that text says.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from .announcements import Announcements
from .book import FUNDING_INTERVAL_MS, Book
from .moves import Moves
from .rules import VenueError
from .timers import Timers


class MarketSide:
    """What a market, or whoever plays it, tells the venue."""

    def __init__(
        self,
        *,
        by_name: dict[str, Book],
        moves: Moves,
        timers: Timers,
        announcements: Announcements,
    ) -> None:
        self._by_name = by_name
        self._moves = moves
        self._timers = timers
        self._announcements = announcements

    def book(self, symbol: str) -> Book:
        """By the unified symbol or the venue's name. :raises VenueError: -1121."""
        try:
            return self._by_name[symbol]
        except KeyError:
            raise VenueError(-1121, "Invalid symbol.") from None

    def on_price(
        self,
        symbol: str,
        price: Decimal | float,
        quantity: Decimal | float | None = None,
        *,
        seller_took: bool | None = None,
    ) -> None:
        """The price is here now: what rests and is reached on the way is filled at its own
        price, and what is triggered trades at the new one.

        :param quantity: how much of it our resting orders may get; None: all they want.
        :param seller_took: who crossed the spread, if it is known: a trade that hit the bids
            fills no ask that rests at just its price.
        """
        book = self._by_name[symbol]
        if self._timers.due_ms is not None:
            self._run_timers()
        at = price if type(price) is float else float(price)
        if book.quiet_low < at < book.quiet_high or self._moves.quiet(book, at, at):
            book.note(price)
            return
        market = book.market
        self._moves.jump(
            book,
            market.price(price),
            None if quantity is None else market.quantity(quantity),
            None if seller_took is None else "sell" if seller_took else "buy",
        )
        if self._announcements.pending:
            self._announcements.tell()

    def on_trade(
        self,
        symbol: str,
        price: Decimal | float,
        quantity: Decimal | float,
        *,
        seller_took: bool | None = None,
    ) -> None:
        """A trade of others, from recorded data: a price of which our resting orders share the
        quantity. What takers of ours find is not bounded by it, but by the market's `liquidity`
        and by `depth`.
        """
        self.on_price(symbol, price, quantity, seller_took=seller_took)

    def on_quote(
        self,
        symbol: str,
        bid: Decimal | float,
        ask: Decimal | float,
        bid_quantity: Decimal | float | None = None,
        ask_quantity: Decimal | float | None = None,
    ) -> None:
        """The best prices of the rest of the market. From the first one on takers pay the
        spread: they trade at the other side's best price, up to its quantity, which is not
        there a second time before the next quote. A resting order is filled when the other
        side comes to its price, out of the quantity shown there.

        The last price stays where it is, but never outside of the quote: without trades it
        is the point of the spread nearest to where it was.

        :param bid_quantity, ask_quantity: None: without bound.
        """
        book = self._by_name[symbol]
        if self._timers.due_ms is not None:
            self._run_timers()
        low = bid if type(bid) is float else float(bid)
        high = ask if type(ask) is float else float(ask)
        if low <= high and (
            (book.quiet_low < low and high < book.quiet_high) or self._moves.quiet(book, low, high)
        ):
            last = book.recorded
            if last is not None and bid <= last <= ask:
                book.note_quote(bid, ask, bid_quantity, ask_quantity)
                return
        if bid > ask:
            raise ValueError(f"{symbol}: the bid {bid} is above the ask {ask}; give them uncrossed")
        market = book.market
        self._moves.quote(
            book,
            market.price(bid),
            market.price(ask),
            None if bid_quantity is None else market.quantity(bid_quantity),
            None if ask_quantity is None else market.quantity(ask_quantity),
        )
        if self._announcements.pending:
            self._announcements.tell()

    def on_candle(
        self,
        symbol: str,
        open_: Decimal | float,
        high: Decimal | float,
        low: Decimal | float,
        close: Decimal | float,
        volume: Decimal | float | None = None,
        *,
        high_first: bool | None = None,
    ) -> None:
        """All trades of a time, of which four prices are known.

        The price jumps to the open (over a gap stops trade at the open, not at their trigger)
        and walks from there to one extreme, to the other, and to the close, meeting every
        price on the way: a limit order is filled at its price, a triggered market order at its
        trigger price (and what `depth` adds), a liquidation where the margin is used up.

        Which extreme came first a candle does not tell. It is taken to be the one that is
        worse for the account: the low if it is long on balance, the high if it is short, so a
        stop is met before a take-profit; for a flat account the high if what waits would buy,
        the low if it would sell, so an entry is followed by the way against it. With both or
        neither, the extreme nearer to the open. Both are reached in any case: where a candle
        touches only one side of what waits, the order makes no difference.

        Whether a limit order at just the extreme is filled is for `maker_rule` to say. Events
        are told when the candle is over, so whoever answers them does it at the close.

        :param volume: base units that resting orders may get of it altogether; None: all they
            want.
        :param high_first: to decide otherwise.
        :raises ValueError: the prices are no candle (low <= open, close <= high).
        """
        book = self._by_name[symbol]
        if self._timers.due_ms is not None:
            self._run_timers()
        if not (low <= open_ <= high and low <= close <= high):
            raise ValueError(f"{symbol}: {open_}, {high}, {low}, {close} is no candle")
        lowest = low if type(low) is float else float(low)
        highest = high if type(high) is float else float(high)
        if (book.quiet_low < lowest and highest < book.quiet_high) or self._moves.quiet(
            book, lowest, highest
        ):
            book.note(close)
            return
        market = book.market
        self._moves.candle(
            book,
            (market.price(open_), market.price(high), market.price(low), market.price(close)),
            None if volume is None else market.quantity(volume),
            high_first,
        )
        if self._announcements.pending:
            self._announcements.tell()

    def candles_of(self, symbol: str) -> Callable[[float, float, float, float, float], None]:
        """`on_candle` for one symbol and floats, of which a backtest has millions."""
        book, timers, general = self._by_name[symbol], self._timers, self.on_candle
        now_ms = timers.now_ms

        def on_candle(open_: float, high: float, low: float, close: float, volume: float) -> None:
            due_ms = timers.due_ms
            if (
                (due_ms is None or now_ms() < due_ms)
                and book.quiet_low < low <= open_ <= high < book.quiet_high
                and low <= close <= high
            ):
                book.note(close)
            else:
                general(symbol, open_, high, low, close, volume)

        return on_candle

    def on_mark(self, symbol: str, price: Decimal | float) -> None:
        """The mark price. Until the first one it is the last price, from then on it moves by
        this call only.
        """
        book = self._by_name[symbol]
        if self._timers.due_ms is not None:
            self._run_timers()
        self._moves.mark(book, _exact(price))
        self._announcements.tell()

    def on_funding(
        self, symbol: str, rate: Decimal | float, price: Decimal | float | None = None
    ) -> None:
        """A funding fee is due now: who is long pays a positive rate.

        :param price: the mark price that it is reckoned by, if it was recorded; None: the mark
            price as it is here.
        """
        book = self.book(symbol)
        self.advance()
        self._timers.fund(book, _exact(rate), None if price is None else _exact(price))
        self._announcements.tell()

    def set_funding(
        self, symbol: str, rate: Decimal | float | None, interval_ms: int = FUNDING_INTERVAL_MS
    ) -> None:
        """Funding fees by the clock, at the multiples of the interval since 1970 (UTC), as at
        Binance; None: no more.
        """
        book = self.book(symbol)
        if interval_ms <= 0:
            raise ValueError(f"interval_ms: {interval_ms} is no interval; give one above 0")
        self.advance()
        self._timers.set_funding(book, None if rate is None else _exact(rate), interval_ms)

    def advance(self) -> None:
        """Let the countdowns that have ended strike, and the funding fees that are due be paid."""
        if self._timers.due_ms is not None:
            self._run_timers()

    def _run_timers(self) -> None:
        self._timers.run()
        if self._announcements.pending:
            self._announcements.tell()


def _exact(value: Decimal | float) -> Decimal:
    """As it is written: 0.1 is meant where 0.1 is written, not the binary number beside it."""
    return value if isinstance(value, Decimal) else Decimal(repr(value))
