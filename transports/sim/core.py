"""The matching and accounting core of a venue like Binance's USDⓈ-M futures.

Synchronous, deterministic, without I/O, timers or chance: time is a callable
given at construction, prices come from outside. The same core stands behind the
in-process client and behind the HTTP server, in live-like serving and in backtests.

How it trades. Without quotes the last price is both best bid and best ask. An order that
crosses it takes liquidity there (at the prices of `depth`, if one is given); what rests is
filled at its own price when the market reaches it (`maker_rule`), best price and oldest
first. Our orders do not move the market, and never trade with each other. Latency is not
known here: it is on the line to the venue.

`SimulatedVenue` is what others see. Behind it: `market_side` (prices in), `matching` (orders),
`amendment` (of open ones), `conditional` (stops and take-profits), `account` with `ledger` and
`margin` (money), `admission` (is there margin for an order), `liquidation`, `moves` (what a
price sets off), `timers` (what time sets off), `settings`, `announcements` (who is told).

`order_log` is append-only and holds every order ever accepted: the truth that an
observer compares a client's belief with. It is never trimmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from holdfast.model import PositionSide, Side

from .account import Account
from .amendment import amend
from .announcements import AccountListener, Announcements, ConditionalListener, Listener
from .book import Book
from .conditional import ConditionalOrders
from .faults import VenueFaults
from .ledger import Holding
from .liquidation import Liquidation, Liquidations
from .margin import mark_of
from .market_side import MarketSide
from .matching import FIRST_ORDER_ID, FIRST_TRADE_ID, Depth, MakerRule, Matching
from .moves import Moves
from .records import (
    CashFlow,
    ConditionalOrder,
    ConditionalTicket,
    OrderTicket,
    Trade,
    VenueOrder,
)
from .rules import DEFAULT_MARKETS, Market, VenueError
from .settings import AccountSettings
from .timers import Timers

__all__ = ["FIRST_ORDER_ID", "FIRST_TRADE_ID", "Depth", "Listener", "MakerRule", "SimulatedVenue"]

RECV_WINDOW_MESSAGE: Final = "Timestamp for this request is outside of the recvWindow."
AHEAD_MESSAGE: Final = "Timestamp for this request was 1000ms ahead of the server's time."


class SimulatedVenue(MarketSide):
    """One account at one venue.

    :param time_ns: UTC clock of the machine, nanoseconds; the venue adds its skew.
    :param markets: what can be traded.
    :param deposit: wallet balance at the start, in the quote asset.
    :param maker_fee, taker_fee: as a fraction of the notional. Binance's regular
        USDⓈ-M tier is 0.0002 and 0.0005.
    :param hedge_mode: orders name LONG or SHORT instead of BOTH.
    :param depth: where takers trade; None: all at the best price. See `slippage`.
    :param maker_rule: when resting orders are filled: `touch`, as soon as their price is
        traded, or `through`, only once a worse price is: whoever else waited at that price
        was there before. The second is the cautious one for backtests. A quote of the other
        side at their price fills them under both.
    :ivar order_log: every accepted order, in the order of acceptance.
    """

    def __init__(
        self,
        *,
        time_ns: Callable[[], int],
        markets: Sequence[Market] = DEFAULT_MARKETS,
        deposit: Decimal = Decimal(100_000),
        maker_fee: Decimal = Decimal("0.0002"),
        taker_fee: Decimal = Decimal("0.0005"),
        hedge_mode: bool = False,
        depth: Depth | None = None,
        maker_rule: MakerRule = "touch",
    ) -> None:
        self.faults = VenueFaults()
        self.books: dict[str, Book] = {}
        self._time_ns = time_ns
        by_name: dict[str, Book] = {}
        for market in markets:
            book = Book(market)
            self.books[market.name] = book
            by_name[market.name] = by_name[market.symbol] = book
        announcements = Announcements()
        self.account = Account(
            deposit=deposit,
            maker_fee=maker_fee,
            taker_fee=taker_fee,
            hedge_mode=hedge_mode,
            books=self.books,
            announcements=announcements,
            now_ms=self.now_ms,
        )
        self._matching = Matching(
            account=self.account,
            announcements=announcements,
            time_ns=time_ns,
            now_ms=self.now_ms,
            depth=depth,
            maker_rule=maker_rule,
        )
        self._conditional = ConditionalOrders(
            account=self.account,
            matching=self._matching,
            announcements=announcements,
            now_ms=self.now_ms,
        )
        self._liquidations = Liquidations(
            account=self.account, matching=self._matching, now_ms=self.now_ms
        )
        super().__init__(
            by_name=by_name,
            moves=Moves(
                account=self.account,
                matching=self._matching,
                conditional=self._conditional,
                liquidations=self._liquidations,
            ),
            timers=Timers(
                books=self.books,
                account=self.account,
                matching=self._matching,
                liquidations=self._liquidations,
                now_ms=self.now_ms,
            ),
            announcements=announcements,
        )
        self._settings = AccountSettings(account=self.account, conditional=self._conditional)
        self._matching.on_turned = self._on_turned
        self.order_log = self._matching.order_log

    # --- time, listeners -----------------------------------------------------------

    def machine_ns(self) -> int:
        """UTC on the machine's clock, never skewed: what logs for an observer are stamped with."""
        return self._time_ns()

    def now_ms(self) -> int:
        """The venue's own clock, skew included."""
        return self._time_ns() // 1_000_000 + self.faults.clock_skew_ms

    def subscribe(
        self,
        orders: Listener | None = None,
        *,
        conditional: ConditionalListener | None = None,
        account: AccountListener | None = None,
    ) -> Callable[[], None]:
        """Tell these what happens from now on, in the order in which it happens, whatever its
        kind; returns what ends that.

        :param orders: hears every step of an order.
        :param conditional: hears every step of a conditional order.
        :param account: hears of wallet and positions.
        """
        return self._announcements.subscribe(orders, conditional=conditional, account=account)

    def check_time(self, timestamp_ms: int, recv_window_ms: int, *, code: int = -1021) -> None:
        """Binance's rule: `timestamp < now + 1000 and now - timestamp <= recvWindow`.

        :raises VenueError: with `code`.
        """
        now = self.now_ms()
        if timestamp_ms >= now + 1000:
            raise VenueError(code, AHEAD_MESSAGE)
        if now - timestamp_ms > recv_window_ms:
            raise VenueError(code, RECV_WINDOW_MESSAGE)

    def deleverage(
        self,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        position_side: PositionSide = "BOTH",
    ) -> VenueOrder:
        """Auto-deleverage a position of the account, the whole of it unless told otherwise.

        :param price: bankruptcy price of the counterparty; None: the mark price.
        :raises VenueError: -2022, there is no such position.
        """
        book = self.book(symbol)
        self.advance()
        order = self._liquidations.deleverage(
            book, position_side, quantity, mark_of(book) if price is None else price
        )
        self._announcements.tell()
        return order

    def transfer(self, amount: Decimal) -> None:
        """The owner moves money in, or out (negative).

        :raises VenueError: -2018, more than the open positions leave free.
        """
        self.advance()
        if amount < 0 and -amount > self.available_balance():
            raise VenueError(-2018, "Balance is insufficient.")
        self.account.transfer(amount)
        self._announcements.tell()

    def _on_turned(self, book: Book, position_side: PositionSide) -> None:
        self._conditional.expire_bound(book, position_side)
        if book.funding_rate is not None:
            self._timers.position_turned(book)

    # --- orders --------------------------------------------------------------------

    def place(
        self,
        ticket: OrderTicket,
        *,
        timestamp_ms: int | None = None,
        recv_window_ms: int = 5000,
    ) -> VenueOrder:
        """Accept an order, match it, and return it as it then stands.

        :param timestamp_ms: signed time; checked here once more, at the matching engine
            (Binance since 2023-04).
        :raises VenueError: nothing was changed.
        """
        if self._timers.due_ms is not None:
            self._run_timers()
        if timestamp_ms is not None:
            self.check_time(timestamp_ms, recv_window_ms, code=-5028)
        book = self.book(ticket.symbol)
        order = self._matching.accept(book, ticket)
        if order.filled and order.cost != order.filled * mark_of(book):
            # Traded away from the mark price: at a loss, or with one, from the first moment.
            self._liquidations.check(book)
        if self._announcements.pending:
            self._announcements.tell()
        return order

    def cancel(self, symbol: str, *, client_order_id: str = "", order_id: int = 0) -> VenueOrder:
        """:raises VenueError: -2011 if it is not open."""
        if self._timers.due_ms is not None:
            self._run_timers()
        book = self.book(symbol)
        order = self._matching.find(book, client_order_id, order_id)
        if order is None or order.status.final:
            raise VenueError(-2011, "Unknown order sent.")
        self._matching.cancel(book, order)
        self._announcements.tell()
        return order

    def amend(
        self,
        symbol: str,
        *,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        reduce_only: bool = False,
        client_order_id: str = "",
        order_id: int = 0,
        timestamp_ms: int | None = None,
        recv_window_ms: int = 5000,
    ) -> VenueOrder:
        """Change an open limit order, and return it as it then stands.

        :raises VenueError: see `amendment`; the order stays as it was.
        """
        self.advance()
        if timestamp_ms is not None:
            self.check_time(timestamp_ms, recv_window_ms, code=-5028)
        book = self.book(symbol)
        order = self._matching.find(book, client_order_id, order_id)
        if order is None or order.status.final or order.side != side:
            raise VenueError(-2013, "Order does not exist.")
        amend(self._matching, book, order, quantity=quantity, price=price, reduce_only=reduce_only)
        self._liquidations.check(book)
        self._announcements.tell()
        return order

    def cancel_all(self, symbol: str) -> None:
        """Cancel what is open of one symbol, conditional orders excepted.

        :raises VenueError: -1121.
        """
        self._matching.cancel_resting(self.book(symbol))
        self._announcements.tell()

    def countdown_cancel_all(self, symbol: str, countdown_ms: int) -> None:
        """Cancel what is open of the symbol (conditional orders excepted) unless this is called
        again in time; 0 stops it.
        """
        book = self.book(symbol)
        self.advance()
        self._timers.count_down(book, countdown_ms)

    @property
    def counting_down(self) -> bool:
        """Whether someone must call `advance` now and then for what is due to happen in time."""
        return self._timers.due_ms is not None

    # --- conditional orders --------------------------------------------------------

    def place_conditional(
        self,
        ticket: ConditionalTicket,
        *,
        timestamp_ms: int | None = None,
        recv_window_ms: int = 5000,
    ) -> ConditionalOrder:
        """Keep an order until its price is reached.

        :raises VenueError: nothing was changed; -2021 if it would trigger at once.
        """
        self.advance()
        if timestamp_ms is not None:
            self.check_time(timestamp_ms, recv_window_ms, code=-5028)
        order = self._conditional.accept(self.book(ticket.symbol), ticket)
        self._announcements.tell()
        return order

    def cancel_conditional(self, *, client_id: str = "", algo_id: int = 0) -> ConditionalOrder:
        """:raises VenueError: -2011 if it does not wait (any more)."""
        self.advance()
        order = self._conditional.find(client_id, algo_id)
        if order is None:
            raise VenueError(-2011, "Unknown order sent.")
        self._conditional.cancel(self.books[order.market.name], order)
        self._announcements.tell()
        return order

    def cancel_all_conditional(self, symbol: str) -> None:
        """:raises VenueError: -1121."""
        self._conditional.cancel_all(self.book(symbol))
        self._announcements.tell()

    def query_conditional(self, *, client_id: str = "", algo_id: int = 0) -> ConditionalOrder:
        """The latest of that client id, or the one with that number.

        :raises VenueError: -2013 if there is none, or none that is visible yet.
        """
        self.advance()
        order = self._conditional.find(client_id, algo_id)
        if order is None or not self._seen(order.created_ms):
            raise VenueError(-2013, "Order does not exist.")
        return order

    def open_conditional(self, symbol: str | None = None) -> list[ConditionalOrder]:
        """Those that wait for their price, oldest first."""
        self.advance()
        waiting = self._conditional.waiting(None if symbol is None else self.book(symbol))
        return [order for order in waiting if self._seen(order.created_ms)]

    @property
    def conditional_log(self) -> list[ConditionalOrder]:
        """Every conditional order that was accepted, in the order of acceptance."""
        return self._conditional.log

    # --- settings of the account ---------------------------------------------------

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """:raises VenueError: see `AccountSettings.set_leverage`."""
        self._settings.set_leverage(self.book(symbol), leverage)

    def set_isolated(self, symbol: str, *, isolated: bool) -> None:
        """:raises VenueError: see `AccountSettings.set_isolated`."""
        self._settings.set_isolated(self.book(symbol), isolated=isolated)
        self._announcements.tell()

    def set_hedge_mode(self, *, hedge_mode: bool) -> None:
        """:raises VenueError: see `AccountSettings.set_hedge_mode`."""
        self._settings.set_hedge_mode(hedge_mode=hedge_mode)

    def move_margin(
        self, symbol: str, amount: Decimal, *, position_side: PositionSide = "BOTH"
    ) -> None:
        """Add to the margin of an isolated position, or take from it with a negative amount.

        :raises VenueError: -4049 (not isolated), -4054 (flat), -4050 or -4051 (not so much).
        """
        book = self.book(symbol)
        self.account.move_margin(book, position_side, amount)
        self._announcements.tell()

    @property
    def hedge_mode(self) -> bool:
        return self.account.hedge_mode

    @hedge_mode.setter
    def hedge_mode(self, hedge_mode: bool) -> None:
        self.account.hedge_mode = hedge_mode

    @property
    def wallet_balance(self) -> Decimal:
        return self.account.wallet_balance

    # --- questions -----------------------------------------------------------------

    def query(self, symbol: str, *, client_order_id: str = "", order_id: int = 0) -> VenueOrder:
        """The latest order of that client id, or the one with that number.

        :raises VenueError: -2013 if there is none, or none that is visible yet.
        """
        if self._timers.due_ms is not None:
            self._run_timers()
        order = self._matching.find(self.book(symbol), client_order_id, order_id)
        if order is None or not self._seen(order.accepted_ms):
            raise VenueError(-2013, "Order does not exist.")
        return order

    def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """What rests; conditional orders that wait are no orders yet."""
        if self._timers.due_ms is not None:
            self._run_timers()
        books = self.books.values() if symbol is None else (self.book(symbol),)
        return [
            order for book in books for order in book.resting() if self._seen(order.accepted_ms)
        ]

    def levels(self, symbol: str, side: Side) -> Iterable[tuple[Decimal, Decimal | None]]:
        """What a taker of that side finds now, best first; a quantity of None has no bound.

        :raises VenueError: -1121.
        """
        return self._matching.levels(self.book(symbol), side)

    def trades(
        self, symbol: str, *, from_id: int = FIRST_TRADE_ID, limit: int = 1000
    ) -> list[Trade]:
        """Own executions of the symbol with at least that id, ascending."""
        first = max(from_id - FIRST_TRADE_ID, 0)
        return self.book(symbol).trades[first : first + limit]

    def positions(self) -> list[tuple[Book, PositionSide, Holding]]:
        """All that are not flat."""
        return list(self.account.positions())

    def unrealized(self) -> Decimal:
        """Profit of all positions at the mark prices."""
        return self.account.unrealized()

    def available_balance(self) -> Decimal:
        """What new positions may use as margin; see `Account.available`."""
        return self.account.available()

    def income(self) -> Iterator[CashFlow]:
        """All that changed the wallet since the deposit, by time."""
        return self.account.income()

    @property
    def liquidations(self) -> list[Liquidation]:
        """Every position that the venue has closed for want of margin, in order."""
        return self._liquidations.log

    def executions(self, client_order_id: str) -> int:
        """How many orders with that client id the venue has ever accepted."""
        return sum(order.client_order_id == client_order_id for order in self.order_log)

    def _seen(self, accepted_ms: int) -> bool:
        lag = self.faults.query_lag_ms
        return not lag or self.now_ms() - accepted_ms >= lag
