"""What becomes of an open limit order whose quantity or price is changed.

Binance, "Modify Order": only limit orders; both quantity and price are given; the order goes to
the end of the queue at its price. What the filters or the margin do not allow is refused, and
the order stays. It is cancelled, and the answer says so, where the new quantity is no more than
what was filled already, and where a post-only order would take at its new price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from .book import Book, crosses
from .matching import Matching
from .records import VenueOrder
from .rules import VenueError

MAX_AMENDMENTS: Final = 10_000
"""Of one order ("Modify Order")."""


def amend(
    matching: Matching,
    book: Book,
    order: VenueOrder,
    *,
    quantity: Decimal,
    price: Decimal,
    reduce_only: bool,
) -> None:
    """Change an open order.

    :param reduce_only: what the client takes the order for; it changes nothing of it, but only
        with it may the notional be below the minimum.
    :raises VenueError: nothing was changed: -5025 (no limit order), -5026 (too often), -5047
        (not reduce-only), -5027 (nothing to change), -5029 (too small), -2022 (hedge mode: more
        than is held), a filter's, or one of margin.
    """
    market = book.market
    if order.price is None:
        raise VenueError(-5025, "Only limit order is supported.")
    if order.amendments >= MAX_AMENDMENTS:
        raise VenueError(-5026, "Exceed maximum modify order limit.")
    if reduce_only and not order.reduce_only:
        raise VenueError(-5047, "The original order is not a reduce-only order.")
    market.check_quantity(quantity)
    market.check_price(price)
    if (quantity, price) == (order.quantity, order.price):
        raise VenueError(-5027, "No need to modify the order.")
    if not reduce_only and quantity * price < market.min_notional:
        raise VenueError(-5029, f"Order's notional must be no smaller than {market.min_notional}")
    reducible = book.reducible(order.position_side, order.side)
    hedged_exit = order.closing and order.position_side != "BOTH"
    if hedged_exit and quantity - order.filled > reducible:
        raise VenueError(-2022, "ReduceOnly Order is rejected.")
    best = book.best(order.side)
    would_take = best is not None and crosses(order.side, price, best)
    if quantity <= order.filled or (order.time_in_force == "GTX" and would_take):
        matching.cancel(book, order)
        return
    book.remove(order)
    try:
        takes = matching.weigh(
            book, order, quantity - order.filled, price, opening=not order.closing
        )
    except VenueError:
        book.put_back(order)
        raise
    order.quantity, order.price = quantity, price
    order.amendments += 1
    order.updated_ms = matching.now_ms()
    matching.enter(book, order, "AMENDMENT", takes)
