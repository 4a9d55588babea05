"""The account: its wallet, its margin, and every change of them.

The wallet is one number. What isolated positions keep for themselves is a part of it, and
the rest is the cross wallet. It changes by the profit and the fee of each trade, and by cash
flows that are no trades (funding, liquidation fees, the insurance fund), which are kept; so
`wallet == deposit + sum(realized - fee of trades) + sum(cash flows)`, to the last digit.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from holdfast.model import PositionSide

from .announcements import Announcements
from .book import Book
from .ledger import ZERO, Holding, money
from .margin import (
    Exposure,
    Pool,
    exposure,
    guards,
    initial,
    liquidation_price,
    maintenance_of,
    mark_of,
)
from .records import (
    AccountEvent,
    AccountReason,
    CashFlow,
    FlowKind,
    PositionNow,
    Trade,
    VenueOrder,
)
from .rules import VenueError


class Totals(NamedTuple):
    """Sums over all markets.

    :ivar position_margin, order_margin: initial margin of positions, and of open orders.
    :ivar maintenance: maintenance margin of all positions.
    """

    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal
    unrealized: Decimal
    cross_unrealized: Decimal


class Account:
    """One account in one asset.

    :param maker_fee, taker_fee: as a fraction of the notional.
    :ivar flows: cash that came or went other than by trades, in order.
    """

    def __init__(
        self,
        *,
        deposit: Decimal,
        maker_fee: Decimal,
        taker_fee: Decimal,
        hedge_mode: bool,
        books: Mapping[str, Book],
        announcements: Announcements,
        now_ms: Callable[[], int],
    ) -> None:
        self.deposit = deposit
        self.wallet_balance = deposit
        self.hedge_mode = hedge_mode
        self.maker_fee = maker_fee
        self.taker_fee = taker_fee
        self.flows: list[CashFlow] = []
        self._books = books
        self._announcements = announcements
        self._now_ms = now_ms
        self._isolated = ZERO
        self._used: dict[Book, None] = {}
        """Markets that may have a position or an order; those that never had cost nothing."""

    # --- what there is -------------------------------------------------------------

    @property
    def cross_wallet(self) -> Decimal:
        return self.wallet_balance - self._isolated

    def use(self, book: Book) -> None:
        """An order of this market was accepted."""
        self._used[book] = None

    def used(self) -> Iterable[Book]:
        """The markets that may have a position or an order."""
        return tuple(self._used)

    def positions(self) -> Iterator[tuple[Book, PositionSide, Holding]]:
        """All that are not flat, in the order of the markets."""
        if not self._used:
            return
        for book in self._books.values():
            if book in self._used:
                for side, holding in book.holdings.items():
                    if holding.quantity:
                        yield book, side, holding

    def cross_pool(self) -> Pool:
        return Pool(
            tuple((book, holding) for book, _, holding in self.positions() if not book.isolated),
            self.cross_wallet,
        )

    def pool_of(self, book: Book, holding: Holding) -> Pool:
        """What that position is liquidated with."""
        if book.isolated:
            return Pool(((book, holding),) if holding.quantity else (), holding.isolated_wallet)
        return self.cross_pool()

    def pools(self) -> Iterator[Pool]:
        """All that have positions."""
        cross = self.cross_pool()
        if cross.positions:
            yield cross
        for book, _, holding in self.positions():
            if book.isolated:
                yield self.pool_of(book, holding)

    def unrealized(self) -> Decimal:
        """Profit of all positions at the mark prices."""
        return sum((h.unrealized(mark_of(book)) for book, _, h in self.positions()), ZERO)

    def available(self) -> Decimal:
        """What new positions may use as margin (Binance: "available balance"): cross wallet and
        cross profit, less the initial margin of cross positions and of all open orders.
        """
        return self.cross_wallet + self.margin_of_others(None)

    def margin_of_others(self, book: Book | None) -> Decimal:
        """What all markets add to the available balance, but for that one."""
        margin = ZERO
        for other in self._used:
            if other is not book:
                margin += self.margin_of(other, exposure(other, hedge_mode=self.hedge_mode))
        return margin

    @staticmethod
    def margin_of(book: Book, exposed: Exposure) -> Decimal:
        """What one market adds to the available balance, mostly less than nothing."""
        if not exposed.total:
            return ZERO
        if book.isolated:
            # The margin of its positions is in their own wallets.
            return initial(exposed.position, book.leverage) - initial(exposed.total, book.leverage)
        margin = -initial(exposed.total, book.leverage)
        if exposed.position:
            mark = mark_of(book)
            for holding in book.holdings.values():
                if holding.quantity:
                    margin += holding.unrealized(mark)
        return margin

    def totals(self) -> Totals:
        position = order = held = cross_unrealized = unrealized = ZERO
        for book in self._used:
            exposed = exposure(book, hedge_mode=self.hedge_mode)
            margin = initial(exposed.position, book.leverage)
            position += margin
            order += initial(exposed.total, book.leverage) - margin
            for holding in book.holdings.values():
                if holding.quantity:
                    held += maintenance_of(book, holding)
                    profit = holding.unrealized(mark_of(book))
                    unrealized += profit
                    if not book.isolated:
                        cross_unrealized += profit
        return Totals(position, order, held, unrealized, cross_unrealized)

    def liquidation_price(self, book: Book, holding: Holding) -> Decimal | None:
        """Of a position that is not flat; None if no price above zero liquidates it."""
        return liquidation_price(self.pool_of(book, holding), book)

    # --- what changes it -----------------------------------------------------------

    def execute(
        self, book: Book, order: VenueOrder, quantity: Decimal, price: Decimal, fee: Decimal
    ) -> Decimal:
        """Book one execution; returns the profit it realized."""
        holding = book.holdings[order.position_side]
        signed = quantity if order.side == "buy" else -quantity
        if book.isolated:
            before = holding.isolated_wallet
            realized, _ = holding.apply_isolated(signed, price, fee, book.leverage)
            self._isolated += holding.isolated_wallet - before
        else:
            realized = holding.apply(signed, price)
        self.wallet_balance += realized - fee
        return realized

    def flow(
        self, kind: FlowKind, amount: Decimal, book: Book | None, holding: Holding | None = None
    ) -> None:
        """Cash that is no trade's.

        :param holding: the isolated position whose wallet it goes to or comes from; what that
            one does not have the cross wallet pays.
        """
        market = None if book is None else book.market
        self.flows.append(CashFlow(len(self.flows) + 1, market, kind, amount, self._now_ms()))
        self.wallet_balance += amount
        if holding is not None:
            part = max(amount, -holding.isolated_wallet)
            holding.isolated_wallet += part
            self._isolated += part

    def transfer(self, amount: Decimal) -> None:
        """Cash of the owner's, in or out."""
        self.flow("TRANSFER", amount, None)
        self.announce("DEPOSIT" if amount > 0 else "WITHDRAW", change=amount)
        for book in self._books.values():
            self.disturb(book)

    def fund(self, book: Book, rate: Decimal, price: Decimal | None = None) -> None:
        """Funding fee on the positions of one market: who is long pays a positive rate.

        :param price: that it is reckoned by; None: the mark price.
        """
        mark = mark_of(book) if price is None else price
        for side, holding in book.holdings.items():
            if holding.quantity and (amount := money(-holding.quantity * mark * rate)):
                own = holding if book.isolated else None
                self.flow("FUNDING_FEE", amount, book, own)
                # Binance names the position of an isolated one only ("Balance and Position
                # Update").
                self.announce("FUNDING_FEE", ((book, side),) if own else (), change=amount)
        self.disturb(book)

    def move_margin(self, book: Book, side: PositionSide, amount: Decimal) -> None:
        """Add to the margin of an isolated position, or with a negative amount take from it.

        :raises VenueError: -4049 (not isolated), -4054 (flat), -4050 or -4051 (not so much).
        """
        holding = book.holdings[side]
        if not book.isolated:
            raise VenueError(-4049, "Add margin only support for isolated position.")
        if not holding.quantity:
            raise VenueError(-4054, "Cannot add position margin: position is 0.")
        if amount > self.available():
            raise VenueError(-4050, "Cross balance insufficient.")
        required = initial(abs(holding.quantity) * mark_of(book), book.leverage)
        spare = holding.isolated_wallet + min(ZERO, holding.unrealized(mark_of(book))) - required
        if amount < 0 and -amount > spare:
            raise VenueError(-4051, "Isolated balance insufficient.")
        holding.isolated_wallet += amount
        self._isolated += amount
        self.disturb(book)
        self.announce("MARGIN_TRANSFER", ((book, side),))

    # --- who has to look -----------------------------------------------------------

    def disturb(self, book: Book) -> None:
        """Cash or a position of that market has changed: what was safe may not be."""
        book.disturb()
        if not book.isolated:
            for other in self._used:
                if other is not book and not other.isolated and other.held:
                    other.disturb()

    def refresh_guards(self, book: Book) -> None:
        """Find anew where the margin of that market's positions must be looked at.

        Cross positions share their slack, so all of them get new guards at once.
        """
        book.guard_low, book.guard_high = float("-inf"), float("inf")
        if not book.held:
            return
        if book.isolated:
            for holding in book.holdings.values():
                if holding.quantity:
                    for _, low, high in guards(self.pool_of(book, holding)):
                        book.guard_low = max(book.guard_low, low)
                        book.guard_high = min(book.guard_high, high)
            return
        for other, low, high in guards(self.cross_pool()):
            other.guard_low, other.guard_high = low, high
            if other is not book:
                other.refresh_quiet()

    # --- what is told --------------------------------------------------------------

    def announce(
        self,
        reason: AccountReason,
        positions: Iterable[tuple[Book, PositionSide]] = (),
        *,
        change: Decimal = ZERO,
    ) -> None:
        if not self._announcements.account:
            return
        self._announcements.pending.append(
            AccountEvent(
                reason,
                next(iter(self._books.values())).market.quote,
                self.wallet_balance,
                self.cross_wallet,
                change,
                tuple(position_now(book, side) for book, side in positions),
                self._now_ms(),
            )
        )

    def income(self) -> Iterator[CashFlow]:
        """All that changed the wallet since the deposit, by time: cash flows, and of each trade
        its profit and its fee. Numbered anew.
        """
        parts = [iter(self.flows), *(_of_trades(book.trades) for book in self._books.values())]
        for number, item in enumerate(heapq.merge(*parts, key=lambda flow: flow.time_ms), 1):
            yield item._replace(number=number)


def position_now(book: Book, side: PositionSide) -> PositionNow:
    """One position as it stands."""
    holding, mark = book.holdings[side], book.mark
    return PositionNow(
        book.market,
        side,
        holding.quantity,
        holding.entry_price,
        holding.realized,
        ZERO if mark is None else holding.unrealized(mark),
        book.isolated,
        holding.isolated_wallet,
    )


def _of_trades(trades: Iterable[Trade]) -> Iterator[CashFlow]:
    for trade in trades:
        market = trade.order.market
        if trade.realized:
            yield CashFlow(0, market, "REALIZED_PNL", trade.realized, trade.time_ms, trade.trade_id)
        if trade.fee:
            yield CashFlow(0, market, "COMMISSION", -trade.fee, trade.time_ms, trade.trade_id)
