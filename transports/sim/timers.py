"""What happens at the venue because time passes: countdowns strike, funding fees are due.

The venue has no timer of its own. Whoever moves it on (a request, a price, the server's
clock) asks first whether something is due, which is one comparison, or none at all while
nothing is armed: a funding schedule is armed only while a position is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from .account import Account
from .book import Book
from .liquidation import Liquidations
from .matching import Matching


class Timers:
    """The timers of one venue.

    :ivar due_ms: venue time of the next one, or None.
    :ivar now_ms: the venue's clock.
    """

    def __init__(
        self,
        *,
        books: Mapping[str, Book],
        account: Account,
        matching: Matching,
        liquidations: Liquidations,
        now_ms: Callable[[], int],
    ) -> None:
        self.due_ms: int | None = None
        self._books = books
        self._account = account
        self._matching = matching
        self._liquidations = liquidations
        self.now_ms = now_ms

    def run(self) -> None:
        """Do what is due."""
        now = self.now_ms()
        if self.due_ms is None or now < self.due_ms:
            return
        for book in self._books.values():
            if book.countdown_ms is not None and book.countdown_ms <= now:
                book.countdown_ms = None
                self._matching.cancel_resting(book)
            while book.next_funding_ms is not None and book.next_funding_ms <= now:
                book.next_funding_ms += book.funding_interval_ms
                assert book.funding_rate is not None
                self.fund(book, book.funding_rate)
        self._find_due()

    def count_down(self, book: Book, milliseconds: int) -> None:
        """Cancel what rests in so many milliseconds; 0 stops that."""
        book.countdown_ms = self.now_ms() + milliseconds if milliseconds > 0 else None
        self._find_due()

    def fund(self, book: Book, rate: Decimal, price: Decimal | None = None) -> None:
        """A funding fee is due now."""
        if book.held:
            self._account.fund(book, rate, price)
            self._liquidations.check(book)

    def set_funding(self, book: Book, rate: Decimal | None, interval_ms: int) -> None:
        """Funding fees at the multiples of the interval since 1970; None: no more."""
        book.funding_rate = rate
        book.funding_interval_ms = interval_ms
        book.next_funding_ms = None
        self.position_turned(book)

    def position_turned(self, book: Book) -> None:
        """A position of that market was opened or closed."""
        if book.funding_rate is None or not book.held:
            if book.next_funding_ms is None:
                return
            book.next_funding_ms = None
        elif book.next_funding_ms is None:
            interval = book.funding_interval_ms
            book.next_funding_ms = (self.now_ms() // interval + 1) * interval
        self._find_due()

    def _find_due(self) -> None:
        due: int | None = None
        for book in self._books.values():
            for at in (book.countdown_ms, book.next_funding_ms):
                if at is not None and (due is None or at < due):
                    due = at
        self.due_ms = due
