"""What the venue does to positions by itself: liquidation, and auto-deleveraging.

Documented ("Liquidation Protocol", "Event: Order Update"): liquidation begins when the mark
price takes the equity down to the maintenance margin; open orders are cancelled first; an
immediate-or-cancel order closes the position, a liquidation fee is charged on what it closed,
and what the market does not take at the bankruptcy price or better the insurance fund takes
over there; a negative balance is brought back to zero by that fund. The order's client id is
`autoclose-…`, its execution type CALCULATED. Auto-deleveraging closes a position of someone in
profit at a given price, cancels his open orders, costs no fee, and its client id is
`adl_autoclose`.

Simplified: a position is always closed whole (Binance first tries to come down a bracket);
of several cross positions the one with the largest maintenance margin goes first, until what
is left has margin enough. Inferred: the liquidation fee is what is charged, no trading fee
besides, and it takes no more than what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, NamedTuple

from holdfast.model import PositionSide, Side

from .account import Account
from .book import Book
from .ledger import ZERO, Holding, money
from .margin import Pool, maintenance_of, mark_of
from .matching import Matching
from .records import VenueOrder
from .rules import VenueError

LIQUIDATED: Final = "autoclose-"
DELEVERAGED: Final = "adl_autoclose"


class Liquidation(NamedTuple):
    """One position that was closed because its margin was used up.

    :ivar order: the venue's own; what it filled was held until then.
    :ivar realized: profit of closing it, mostly a loss.
    :ivar fee: liquidation fee, not negative.
    """

    order: VenueOrder
    realized: Decimal
    fee: Decimal


class Liquidations:
    """The venue's own hand on the positions of one account.

    :ivar log: every liquidation, in order.
    """

    def __init__(self, *, account: Account, matching: Matching, now_ms: Callable[[], int]) -> None:
        self._account = account
        self._matching = matching
        self._now_ms = now_ms
        self.log: list[Liquidation] = []

    def check(self, book: Book) -> None:
        """Liquidate what can not keep its margin, now that a price of this market or the
        account's cash has moved.
        """
        account = self._account
        if book.isolated:
            for side, holding in book.holdings.items():
                if account.pool_of(book, holding).breached:
                    self._cancel(book, side)
                    self._close(account.pool_of(book, holding), book, side, holding)
        if account.cross_pool().breached:
            self._liquidate_cross()
        self.cover()

    def cover(self) -> None:
        """Nobody owes the venue: without cross positions a negative cross wallet is emptied."""
        account = self._account
        short = account.cross_wallet
        if short < 0 and not account.cross_pool().positions:
            account.flow("INSURANCE_CLEAR", -short, None)
            account.announce("INSURANCE_CLEAR", change=-short)

    def deleverage(
        self, book: Book, side: PositionSide, quantity: Decimal | None, price: Decimal
    ) -> VenueOrder:
        """Auto-deleveraging, as if the counterparty had gone bankrupt at that price.

        :param quantity: None: the whole position.
        :raises VenueError: -2022, there is no such position.
        """
        held = abs(book.holdings[side].quantity)
        if not held:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        size = held if quantity is None else min(quantity, held)
        self._matching.cancel_resting(book)
        order = self._matching.force(book, side, DELEVERAGED, price, [(price, size)])
        self.check(book)
        return order

    def _liquidate_cross(self) -> None:
        account = self._account
        for book in account.used():
            if not book.isolated:
                self._matching.cancel_resting(book)
        while (pool := account.cross_pool()).breached:
            book, holding = max(pool.positions, key=lambda position: maintenance_of(*position))
            side = next(name for name, held in book.holdings.items() if held is holding)
            self._close(pool, book, side, holding)

    def _cancel(self, book: Book, side: PositionSide) -> None:
        for order in book.resting():
            if order.position_side == side:
                self._matching.cancel(book, order)

    def _close(self, pool: Pool, book: Book, side: PositionSide, holding: Holding) -> None:
        """Close one position of a pool, at the bankruptcy price or better."""
        account, market = self._account, book.market
        size = abs(holding.quantity)
        taker: Side = "sell" if holding.quantity > 0 else "buy"
        worst = bankruptcy_price(pool, book, holding)
        takes: list[tuple[Decimal, Decimal]] = []
        left = size
        for price, available in self._matching.levels(book, taker):
            if price < worst if taker == "sell" else price > worst:
                break
            part = left if available is None else min(left, available)
            if part > 0:
                takes.append((price, part))
                left -= part
            if not left:
                break
        if left:
            takes.append((worst, left))  # the insurance fund takes this over
        name = f"{LIQUIDATED}{self._now_ms()}{len(self.log) + 1:04d}"
        before = holding.realized
        order = self._matching.force(book, side, name, worst, takes)
        realized = holding.realized - before
        remains = pool.wallet + realized if book.isolated else account.cross_pool().equity
        fee = min(money(order.cost * market.liquidation_fee), max(ZERO, remains))
        self.log.append(Liquidation(order, realized, fee))
        if fee:
            account.flow("INSURANCE_CLEAR", -fee, book)
            account.disturb(book)
            account.announce("INSURANCE_CLEAR", change=-fee)


def bankruptcy_price(pool: Pool, book: Book, holding: Holding) -> Decimal:
    """Where closing that position leaves its pool with nothing, on the nearest better tick."""
    step = book.market.price_step
    per_unit = pool.equity / abs(holding.quantity)
    if holding.quantity > 0:
        ticks = ((mark_of(book) - per_unit) / step).to_integral_value(ROUND_CEILING)
    else:
        ticks = ((mark_of(book) + per_unit) / step).to_integral_value(ROUND_FLOOR)
    return max(ticks, Decimal(1)) * step
