"""The public side of the venue: whatever moves a price goes through here.

The venue matches; beside it each market has a tape (what was traded) and a shown book (what
could be). Feeds and the control API call `trade` and `quote`; endpoints and streams read.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from .core import SimulatedVenue
from .depth import Change, ShownBook
from .ledger import ZERO
from .rules import VenueError
from .tape import PublicTrade, Tape


class Funding(NamedTuple):
    """A funding fee that came due."""

    time_ms: int
    rate: Decimal
    mark: Decimal


TradeListener = Callable[[str, PublicTrade], object]
BookListener = Callable[[str, Change], object]
MAX_FUNDINGS = 1000


class MarketData:
    """Tapes and shown books of all markets of one venue.

    :ivar fundings: funding fees that came due, by market, the newest `MAX_FUNDINGS`.
    :ivar on_trade, on_book: told of each trade, and of each change of a book that was looked at.
    """

    def __init__(self, venue: SimulatedVenue) -> None:
        self.venue = venue
        self.tapes = {name: Tape() for name in venue.books}
        self.fundings: dict[str, list[Funding]] = {name: [] for name in venue.books}
        self.on_trade: TradeListener = lambda _name, _trade: None
        self.on_book: BookListener = lambda _name, _change: None
        self._books = {name: ShownBook(venue, name) for name in venue.books}
        self._noted_ms = venue.now_ms()

    def trade(
        self,
        symbol: str,
        price: Decimal,
        quantity: Decimal | None = None,
        *,
        seller_took: bool | None = None,
        spread: int = 0,
    ) -> None:
        """A trade of others.

        :param quantity: also how much of it our resting orders may get; None: unknown, and
            all they want.
        :param seller_took: None: nobody knows; the tape goes by the direction of the price.
        :param spread: ticks between the best prices that it leaves; 0: no quote is made.
        :raises VenueError: -1121, or a price that is none.
        """
        book = self.venue.book(symbol)
        book.market.check_price(price)
        name, before = book.market.name, book.last
        fell = before is not None and price < before
        sold = fell if seller_took is None else seller_took
        if spread or book.quoted:
            # Whoever took met the best price of the other side: that is where it was traded.
            away = max(spread, 1) * book.market.price_step
            bid, ask = (price, price + away) if sold else (price - away, price)
            if bid > 0:
                self.venue.on_quote(name, bid, ask)
        if quantity is None or seller_took is None:
            self.venue.on_price(name, price, quantity)
        else:
            self.venue.on_trade(name, price, quantity, seller_took=sold)
        trade = self.tapes[name].trade(
            self.venue.now_ms(), price, quantity or ZERO, seller_took=sold
        )
        self.on_trade(name, trade)

    def past(
        self, symbol: str, time_ms: int, price: Decimal, quantity: Decimal, *, seller_took: bool
    ) -> None:
        """A trade from before the venue was opened: it is on the tape and moves nothing.

        To be given oldest first, and before any `trade`.
        """
        name = self.venue.book(symbol).market.name
        self.tapes[name].trade(time_ms, price, quantity, seller_took=seller_took)

    def book(self, symbol: str) -> ShownBook:
        """The book as it is now.

        :raises VenueError: -1121.
        """
        name = self.venue.book(symbol).market.name
        shown = self._books[name]
        if (change := shown.refresh(self.venue.now_ms())) is not None:
            self.on_book(name, change)
        return shown

    def tape(self, symbol: str) -> Tape:
        """:raises VenueError: -1121."""
        return self.tapes[self.venue.book(symbol).market.name]

    def last(self, symbol: str) -> Decimal:
        """:raises VenueError: -1121, also of a market without any price yet."""
        last = self.venue.book(symbol).last
        if last is None:
            raise VenueError(-1121, "Invalid symbol.")
        return last

    def note_fundings(self) -> None:
        """Write down the funding fees that came due since the last call."""
        now_ms, before_ms = self.venue.now_ms(), self._noted_ms
        self._noted_ms = now_ms
        for name, book in self.venue.books.items():
            rate, interval = book.funding_rate, book.funding_interval_ms
            due_ms = now_ms // interval * interval
            if rate is not None and book.mark is not None and before_ms < due_ms:
                kept = self.fundings[name]
                kept.append(Funding(due_ms, rate, book.mark))
                del kept[:-MAX_FUNDINGS]
