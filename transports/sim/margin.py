"""How much margin positions and orders need: pure arithmetic, exact.

Initial margin, one-way mode: what the position could become if all open bids, or all open
asks, were filled, at the worse of the two, over the leverage (Binance, "Margin Requirement
= Max(Abs(Position Notional + Bid Order Value), Abs(Position Notional - Ask Order Value)) /
Leverage"). In hedge mode the two positions and what could open them are added up. Orders
that can only reduce need none. Requirements are rounded up to the digits of the wallet, so
sums of them are exact.

Maintenance margin comes from the brackets, at the mark price, for each position. A *pool* is
what is liquidated together: all cross positions with the cross wallet, or one isolated
position with its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from .book import Book
from .brackets import bracket_of, maintenance
from .ledger import ZERO, Holding, at_least

_SHARE_OF_SLACK: Final = 0.999
"""Of the way to a liquidation that is trusted to floats: their error is far smaller."""


class Exposure(NamedTuple):
    """What one market asks margin for, as notional.

    :ivar position: of the positions alone.
    :ivar total: with the open orders.
    """

    position: Decimal
    total: Decimal


def one_way(position: Decimal, bids: Decimal, asks: Decimal) -> Exposure:
    """:param position: signed notional; the others of open orders, not negative."""
    return Exposure(abs(position), max(abs(position + bids), abs(position - asks)))


def hedged(long: Decimal, short: Decimal, bids: Decimal, asks: Decimal) -> Exposure:
    """:param long, short: notional, not negative."""
    position = long + short
    return Exposure(position, position + bids + asks)


def exposure(book: Book, *, hedge_mode: bool) -> Exposure:
    """Of a market as it stands."""
    bids, asks, mark = book.bid_notional, book.ask_notional, book.mark
    if mark is None:
        return Exposure(ZERO, bids + asks if hedge_mode else max(bids, asks))
    holdings = book.holdings
    if hedge_mode:
        long, short = holdings["LONG"].quantity, holdings["SHORT"].quantity
        return hedged(abs(long) * mark, abs(short) * mark, bids, asks)
    return one_way(holdings["BOTH"].quantity * mark, bids, asks)


def initial(notional: Decimal, leverage: int) -> Decimal:
    """Initial margin, rounded up."""
    return at_least(notional / leverage) if notional else ZERO


class Pool(NamedTuple):
    """Positions that are liquidated together, and what they have.

    :ivar positions: of each its market and holding; none is flat.
    :ivar wallet: cash; `equity` is that with the profit at the mark prices.
    """

    positions: tuple[tuple[Book, Holding], ...]
    wallet: Decimal

    @property
    def equity(self) -> Decimal:
        return self.wallet + sum(
            (holding.unrealized(mark_of(book)) for book, holding in self.positions), ZERO
        )

    @property
    def maintenance(self) -> Decimal:
        return sum((maintenance_of(book, holding) for book, holding in self.positions), ZERO)

    @property
    def breached(self) -> bool:
        """Whether it must be liquidated: the margin ratio has reached 100 %."""
        return bool(self.positions) and self.equity <= self.maintenance


def mark_of(book: Book) -> Decimal:
    mark = book.mark
    assert mark is not None, "there is no position before a first price"
    return mark


def maintenance_of(book: Book, holding: Holding) -> Decimal:
    """Maintenance margin of one position at the mark price."""
    return maintenance(book.market.brackets, abs(holding.quantity) * mark_of(book))


def guards(pool: Pool) -> Iterable[tuple[Book, float, float]]:
    """For each market of the pool an interval of mark prices; inside of all of them the pool
    is not breached.

    The slack (equity less maintenance) is divided among the markets. A price that moves by
    `d` takes at most `d * quantity * (1 + highest maintenance rate)` of it, whichever way and
    into whichever bracket, so nothing has to be solved. The interval is smaller than it could
    be: whoever leaves it asks anew, and comes close in a few steps.
    """
    sizes: dict[Book, float] = {}
    for book, holding in pool.positions:
        sizes[book] = sizes.get(book, 0.0) + abs(float(holding.quantity))
    if not sizes:
        return
    slack = float(pool.equity - pool.maintenance) * _SHARE_OF_SLACK / len(sizes)
    for book, size in sizes.items():
        reach = max(0.0, slack) / (size * (1 + float(book.market.brackets[-1].rate)))
        mark = float(mark_of(book))
        yield book, mark - reach, mark + reach


def liquidation_price(pool: Pool, book: Book) -> Decimal | None:
    """The mark price of that market at which the pool is liquidated if no other price moves.

    Binance's formula ("How to Calculate Liquidation Price of USDⓈ-M Futures Contracts"),
    with the brackets that hold at the price found. None: there is no such price above zero.
    """
    ours = [holding for where, holding in pool.positions if where is book]
    others = [(where, holding) for where, holding in pool.positions if where is not book]
    free = (
        pool.wallet
        + sum((holding.unrealized(mark_of(where)) for where, holding in others), ZERO)
        - sum((maintenance_of(where, holding) for where, holding in others), ZERO)
        - sum((holding.cost for holding in ours), ZERO)
    )
    at = mark_of(book)
    for _ in range(len(book.market.brackets) + 1):
        slope, constant = ZERO, free
        for holding in ours:
            size = abs(holding.quantity)
            bracket = bracket_of(book.market.brackets, size * at)
            slope += size * bracket.rate - holding.quantity
            constant += bracket.cum
        if not slope:
            return None
        found = constant / slope
        if found <= 0:
            return None
        if all(
            bracket_of(book.market.brackets, abs(holding.quantity) * found)
            == bracket_of(book.market.brackets, abs(holding.quantity) * at)
            for holding in ours
        ):
            return found
        at = found
    return found
