"""What happens when a price moves: orders are filled, triggered, and positions liquidated.

A *jump* is all that is known of a trade: the price was there, now it is here. What lies on
the way is met nearest first; limit orders are filled at their own price, triggered market
orders at the new one. A *walk* passes through every price on the way, as inside a candle, so
a triggered market order trades at its trigger price, and a liquidation is found where it
happens. Both are the same sweep, which ends when nothing that the price has reached is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from holdfast.model import Side

from .account import Account
from .book import Book, crosses
from .conditional import ConditionalOrders
from .ledger import ZERO
from .liquidation import Liquidations
from .matching import Matching
from .records import ConditionalOrder, VenueOrder
from .triggers import Triggers

Met = tuple[Decimal, VenueOrder | ConditionalOrder | None]
"""At which price something is met, and what: an order, or None for the guard of the margin."""


class Moves:
    """Moves the prices of one venue."""

    def __init__(
        self,
        *,
        account: Account,
        matching: Matching,
        conditional: ConditionalOrders,
        liquidations: Liquidations,
    ) -> None:
        self._account = account
        self._matching = matching
        self._conditional = conditional
        self._liquidations = liquidations

    def quiet(self, book: Book, low: float, high: float) -> bool:
        """Whether prices from `low` to `high` change nothing, with what has changed since the
        last price taken in.
        """
        if book.disturbed:
            self._account.refresh_guards(book)
            book.refresh_quiet()
        return book.quiet_low < low and high < book.quiet_high

    def jump(
        self,
        book: Book,
        price: Decimal,
        budget: Decimal | None = None,
        taker: Side | None = None,
    ) -> None:
        """The market traded at that price.

        :param budget: how much of it our resting orders may get; None: all they want.
        :param taker: who took, if known: an order at just this price on the taker's own side
            was not hit.
        """
        book.note(price)
        self._sweep(book, price, budget, taker, walking=False)
        self._end(book, price)

    def candle(
        self,
        book: Book,
        prices: tuple[Decimal, Decimal, Decimal, Decimal],
        budget: Decimal | None,
        high_first: bool | None,
    ) -> None:
        """Jump to the open, then walk to both extremes and to the close.

        :param prices: open, high, low, close.
        """
        opened, high, low, close = prices
        book.note(opened)
        budget = self._sweep(book, opened, budget, None, walking=False)
        self._end(book, opened)
        if high_first is None:
            high_first = self._high_is_worse_first(book, opened, high, low)
        for target in (high, low, close) if high_first else (low, high, close):
            budget = self._sweep(book, target, budget, None, walking=True)
            book.note(target)
            self._end(book, target)

    def quote(
        self,
        book: Book,
        bid: Decimal,
        ask: Decimal,
        bid_quantity: Decimal | None,
        ask_quantity: Decimal | None,
    ) -> None:
        """The best prices of the rest of the market changed."""
        book.note_quote(bid, ask, bid_quantity, ask_quantity)
        self._cross(book, "buy", ask)
        self._cross(book, "sell", bid)
        last = book.last
        if last is None:
            price = book.market.price(float(bid + ask) / 2)
        else:
            price = min(max(last, bid), ask)
        if price != last:
            book.note(price)
            self._sweep(book, price, ZERO, None, walking=False)
        self._end(book, price)

    def mark(self, book: Book, price: Decimal) -> None:
        """The mark price, from now on one of its own."""
        book.note_mark(price)
        triggers = book.triggers["mark"]
        while (met := _triggered(triggers, price)) is not None:
            self._conditional.fire(book, met)
        triggers.observe(price)
        self._liquidations.check(book)
        self._account.refresh_guards(book)
        book.refresh_quiet()

    # --- the sweep -----------------------------------------------------------------

    def _sweep(
        self,
        book: Book,
        target: Decimal,
        budget: Decimal | None,
        taker: Side | None,
        *,
        walking: bool,
    ) -> Decimal | None:
        """Meet all that lies on the way to `target`; returns what is left of the budget."""
        while (met := self._next(book, target, budget, taker, walking=walking)) is not None:
            at, what = met
            if walking:
                book.note(_between(at, book.last, target))
            if isinstance(what, VenueOrder):
                budget = self._fill(book, what, budget)
            elif what is not None:
                self._conditional.fire(book, what)
            if walking:
                self._liquidations.check(book)
                self._account.refresh_guards(book)
        return budget

    def _fill(self, book: Book, order: VenueOrder, budget: Decimal | None) -> Decimal | None:
        wanted, before = order.remaining, order.filled
        part = wanted if budget is None else min(wanted, budget)
        assert order.price is not None
        self._matching.fill(book, order, part, order.price, maker=True)
        return None if budget is None else budget - (order.filled - before)

    def _next(
        self,
        book: Book,
        target: Decimal,
        budget: Decimal | None,
        taker: Side | None,
        *,
        walking: bool,
    ) -> Met | None:
        """The nearest that `target` reaches. At one price limit orders come first: the trade
        that triggers has filled them.
        """
        fills = budget is None or budget > 0
        met: list[Met] = []
        if fills and book.bids and self._hit(order := book.bids[0][2], target, taker):
            met.append((order.price or ZERO, order))
        waiting = [triggers.below() for triggers in self._watching(book)]
        met += [found for found in waiting if found is not None and target <= found[0]]
        if walking and (guard := _guard_below(book, target)) is not None:
            met.append((guard, None))
        if met:
            return max(met, key=_at)
        if fills and book.asks and self._hit(order := book.asks[0][2], target, taker):
            met.append((order.price or ZERO, order))
        waiting = [triggers.above() for triggers in self._watching(book)]
        met += [found for found in waiting if found is not None and target >= found[0]]
        if walking and (guard := _guard_above(book, target)) is not None:
            met.append((guard, None))
        return min(met, key=_at, default=None)

    def _hit(self, order: VenueOrder, price: Decimal, taker: Side | None) -> bool:
        if taker == order.side and order.price == price:
            return False
        return self._matching.reached(order, price)

    def _cross(self, book: Book, side: Side, price: Decimal) -> None:
        """Fill what rests on that side and is reached by the best price of the other one, out
        of the quantity shown there.
        """
        resting = book.bids if side == "buy" else book.asks
        while resting and crosses(side, (order := resting[0][2]).price or ZERO, price):
            left = book.liquidity(side)
            if left is not None and left <= 0:
                return
            before = order.filled
            self._fill(book, order, left)
            book.consume(side, order.filled - before)

    @staticmethod
    def _watching(book: Book) -> Iterator[Triggers]:
        """What a move of the last price can trigger."""
        yield book.triggers["last"]
        if book.mark_follows:
            yield book.triggers["mark"]

    def _end(self, book: Book, price: Decimal) -> None:
        """The price has arrived, and all that it reached is done."""
        for triggers in self._watching(book):
            triggers.observe(price)
        if book.held or book.disturbed:
            self._liquidations.check(book)
        self._account.refresh_guards(book)
        book.refresh_quiet()

    def _high_is_worse_first(
        self, book: Book, opened: Decimal, high: Decimal, low: Decimal
    ) -> bool:
        """See `SimulatedVenue.on_candle`."""
        net = sum((holding.quantity for holding in book.holdings.values()), ZERO)
        if net:
            return net < 0
        opening = {"buy": bool(book.bid_notional), "sell": bool(book.ask_notional)}
        for order in self._conditional.waiting(book):
            if not order.closing:
                opening[order.side] = True
        if opening["buy"] != opening["sell"]:
            return opening["buy"]
        return high - opened < opened - low


def _at(met: Met) -> Decimal:
    return met[0]


def _triggered(triggers: Triggers, price: Decimal) -> ConditionalOrder | None:
    if (below := triggers.below()) is not None and price <= below[0]:
        return below[1]
    if (above := triggers.above()) is not None and price >= above[0]:
        return above[1]
    return None


def _between(at: Decimal, last: Decimal | None, target: Decimal) -> Decimal:
    """`at`, on the way from the last price to the target, which it never overshoots."""
    if last is None:
        return target
    low, high = (last, target) if last <= target else (target, last)
    return min(max(at, low), high)


def _guard_below(book: Book, target: Decimal) -> Decimal | None:
    """A tick of the way down at which the margin has to be looked at, before the target."""
    last = book.last
    if last is None or target >= last or not book.mark_follows or float(target) > book.guard_low:
        return None
    step = book.market.price_step
    at = (Decimal(book.guard_low) / step).to_integral_value(ROUND_FLOOR) * step
    at = min(at, last - step)
    return at if at > target else None


def _guard_above(book: Book, target: Decimal) -> Decimal | None:
    last = book.last
    if last is None or target <= last or not book.mark_follows or float(target) < book.guard_high:
        return None
    step = book.market.price_step
    at = (Decimal(book.guard_high) / step).to_integral_value(ROUND_CEILING) * step
    at = max(at, last + step)
    return at if at < target else None
