"""What a client sets on its account: leverage, margin type, position mode."""

from __future__ import annotations

from holdfast.model import PositionSide

from .account import Account
from .admission import TOO_LARGE
from .book import Book
from .conditional import ConditionalOrders
from .margin import exposure, initial
from .rules import VenueError


class AccountSettings:
    """The settings of one account, and when Binance lets them be changed."""

    def __init__(self, *, account: Account, conditional: ConditionalOrders) -> None:
        self._account = account
        self._conditional = conditional

    def set_leverage(self, book: Book, leverage: int) -> None:
        """:raises VenueError: -4028 (no such), -2027 (a position is too large for it), -2028
        (too little margin for it), -4161 (lower, with an isolated position).
        """
        before = book.leverage
        if not 1 <= leverage <= book.market.brackets[0].max_leverage:
            raise VenueError(-4028, f"Leverage {leverage} is not valid")
        if book.isolated and book.held and leverage < before:
            raise VenueError(
                -4161,
                "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
            )
        total = exposure(book, hedge_mode=self._account.hedge_mode).total
        more = initial(total, leverage) - initial(total, before)
        if more > 0 and more > self._account.available():
            raise VenueError(
                -2028, "Leverage is smaller than permitted: insufficient margin balance."
            )
        book.leverage = leverage
        if total > book.max_notional:
            book.leverage = before
            raise VenueError(-2027, TOO_LARGE)

    def set_isolated(self, book: Book, *, isolated: bool) -> None:
        """Margin of the symbol's positions: their own, or the account's.

        :raises VenueError: -4046 (it is so), -4047 (open orders), -4048 (a position).
        """
        if book.isolated == isolated:
            raise VenueError(-4046, "No need to change margin type.")
        if book.bids or book.asks or self._conditional.waiting(book):
            raise VenueError(-4047, "Margin type cannot be changed if there exists open orders.")
        if book.held:
            raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
        book.isolated = isolated
        hedge_mode = self._account.hedge_mode
        sides: tuple[PositionSide, ...] = ("LONG", "SHORT") if hedge_mode else ("BOTH",)
        self._account.announce("MARGIN_TYPE_CHANGE", [(book, side) for side in sides])

    def set_hedge_mode(self, *, hedge_mode: bool) -> None:
        """:raises VenueError: -4059 (it is so), -4067 (open orders), -4068 (a position)."""
        account = self._account
        if account.hedge_mode == hedge_mode:
            raise VenueError(-4059, "No need to change position side.")
        if any(book.bids or book.asks for book in account.used()) or self._conditional.waiting():
            raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
        if any(True for _ in account.positions()):
            raise VenueError(-4068, "Position side cannot be changed if there exists position.")
        account.hedge_mode = hedge_mode
