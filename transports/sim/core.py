"""The matching and accounting core of a venue like Binance's USDⓈ-M futures.

Synchronous, deterministic, without I/O, timers or chance: time is a callable
given at construction, prices come from outside through `on_price`. The same core
stands behind the in-process client and behind the HTTP server.

How it trades: the last price is both best bid and best ask. An order that crosses
it takes liquidity there (at the prices of `depth`, if one is given); what rests is
filled at its own price as soon as the price reaches it, best price and oldest first.

`order_log` is append-only and holds every order ever accepted: the truth that an
observer compares a client's belief with. It is never trimmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from holdfast.model import OrderStatus, PositionSide, Side

from .book import Book, crosses
from .faults import VenueFaults
from .ledger import ZERO, Holding, money
from .records import Execution, OrderTicket, Trade, VenueEvent, VenueOrder
from .rules import CLIENT_ORDER_ID, DEFAULT_MARKETS, Market, VenueError

Depth = Callable[[Market, Side, Decimal], Iterable[tuple[Decimal, Decimal | None]]]
"""`(market, side of the taker, last price) -> (price, quantity) levels`, best first;
a quantity of None has no bound."""
Listener = Callable[[VenueEvent], object]

FIRST_ORDER_ID: Final = 8_000_000_001
FIRST_TRADE_ID: Final = 1

RECV_WINDOW_MESSAGE: Final = "Timestamp for this request is outside of the recvWindow."
AHEAD_MESSAGE: Final = "Timestamp for this request was 1000ms ahead of the server's time."


class SimulatedVenue:
    """One account at one venue.

    :param time_ns: UTC clock of the machine, nanoseconds; the venue adds its skew.
    :param markets: what can be traded.
    :param deposit: wallet balance at the start, in the quote asset.
    :param maker_fee, taker_fee: as a fraction of the notional. Binance's regular
        USDⓈ-M tier is 0.0002 and 0.0005.
    :param hedge_mode: orders name LONG or SHORT instead of BOTH.
    :param depth: where takers trade; None: all at the last price.
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
    ) -> None:
        self.faults = VenueFaults()
        self.hedge_mode = hedge_mode
        self.wallet_balance = deposit
        self.order_log: list[VenueOrder] = []
        self.books: dict[str, Book] = {}
        self._time_ns = time_ns
        self._maker_fee = maker_fee
        self._taker_fee = taker_fee
        self._depth = depth
        self._open: dict[str, VenueOrder] = {}
        self._by_id: dict[int, VenueOrder] = {}
        self._by_name: dict[str, Book] = {}
        self._countdowns = 0
        self._listeners: list[Listener] = []
        self._events: list[VenueEvent] = []
        self._telling = False
        for market in markets:
            book = Book(market)
            self.books[market.name] = book
            self._by_name[market.name] = self._by_name[market.symbol] = book

    # --- time, listeners -----------------------------------------------------------

    def machine_ns(self) -> int:
        """UTC on the machine's clock, never skewed: what logs for an observer are stamped with."""
        return self._time_ns()

    def now_ms(self) -> int:
        """The venue's own clock, skew included."""
        return self._time_ns() // 1_000_000 + self.faults.clock_skew_ms

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` every event from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def check_time(self, timestamp_ms: int, recv_window_ms: int, *, code: int = -1021) -> None:
        """Binance's rule: `timestamp < now + 1000 and now - timestamp <= recvWindow`.

        :raises VenueError: with `code`.
        """
        now = self.now_ms()
        if timestamp_ms >= now + 1000:
            raise VenueError(code, AHEAD_MESSAGE)
        if now - timestamp_ms > recv_window_ms:
            raise VenueError(code, RECV_WINDOW_MESSAGE)

    # --- prices --------------------------------------------------------------------

    def on_price(self, symbol: str, price: Decimal, quantity: Decimal | None = None) -> None:
        """A trade of the market at `price`: what rests and is reached fills at its own price.

        :param quantity: how much of it our resting orders may get; None: all they want.
        """
        book = self._by_name[symbol]
        if self._countdowns:
            self.advance()
        book.last = price
        book.liquidity_left = book.market.liquidity
        for entries in (book.bids, book.asks):
            while entries and self._reached(entries[0][2], price):
                order = entries[0][2]
                wanted = order.remaining
                part = wanted if quantity is None else min(wanted, quantity)
                if not part:
                    break
                assert order.price is not None
                if not self._fill(book, order, part, order.price, maker=True):
                    continue
                if quantity is not None:
                    quantity -= part
        if self._events:
            self._tell()

    def advance(self) -> None:
        """Let the countdowns that have ended strike."""
        now = self.now_ms()
        for book in self.books.values():
            if book.countdown_ms is not None and book.countdown_ms <= now:
                book.countdown_ms = None
                self._countdowns -= 1
                for order in book.resting():
                    self._finish(book, order, OrderStatus.CANCELED, "CANCELED")
        self._tell()

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
        if self._countdowns:
            self.advance()
        if timestamp_ms is not None:
            self.check_time(timestamp_ms, recv_window_ms, code=-5028)
        book = self.book(ticket.symbol)
        self._check(book, ticket)
        now_ns = self._time_ns()
        now_ms = now_ns // 1_000_000 + self.faults.clock_skew_ms
        order = VenueOrder(
            market=book.market,
            order_id=FIRST_ORDER_ID + len(self.order_log),
            client_order_id=ticket.client_order_id,
            side=ticket.side,
            type="MARKET" if ticket.price is None else "LIMIT",
            time_in_force=ticket.time_in_force,
            quantity=ticket.quantity,
            price=ticket.price,
            reduce_only=ticket.reduce_only,
            position_side=ticket.position_side,
            accepted_ns=now_ns,
            accepted_ms=now_ms,
            updated_ms=now_ms,
            foreign=ticket.foreign,
        )
        self.order_log.append(order)
        self._by_id[order.order_id] = order
        book.orders[order.client_order_id] = order
        self._open[order.client_order_id] = order
        self._emit(order, "NEW", None)
        self._take(book, order)
        if not order.status.final:
            if (
                order.price is not None
                and order.time_in_force in ("GTC", "GTX")
                and not book.spent(order)
            ):
                book.rest(order)
            else:
                self._finish(book, order, OrderStatus.EXPIRED, "EXPIRED")
        self._tell()
        return order

    def cancel(self, symbol: str, *, client_order_id: str = "", order_id: int = 0) -> VenueOrder:
        """:raises VenueError: -2011 if it is not open."""
        if self._countdowns:
            self.advance()
        book = self.book(symbol)
        order = self._find(book, client_order_id, order_id)
        if order is None or order.status.final:
            raise VenueError(-2011, "Unknown order sent.")
        self._finish(book, order, OrderStatus.CANCELED, "CANCELED")
        self._tell()
        return order

    def cancel_all(self, symbol: str) -> None:
        """Cancel what is open of one symbol.

        :raises VenueError: -1121.
        """
        book = self.book(symbol)
        for order in book.resting():
            self._finish(book, order, OrderStatus.CANCELED, "CANCELED")
        self._tell()

    def countdown_cancel_all(self, symbol: str, countdown_ms: int) -> None:
        """Cancel what is open of the symbol unless this is called again in time; 0 stops it."""
        book = self.book(symbol)
        self.advance()
        if book.countdown_ms is not None:
            self._countdowns -= 1
            book.countdown_ms = None
        if countdown_ms > 0:
            book.countdown_ms = self.now_ms() + countdown_ms
            self._countdowns += 1

    @property
    def counting_down(self) -> bool:
        """Whether someone must call `advance` now and then for a countdown to strike in time."""
        return self._countdowns > 0

    # --- questions -----------------------------------------------------------------

    def book(self, symbol: str) -> Book:
        """:raises VenueError: -1121."""
        try:
            return self._by_name[symbol]
        except KeyError:
            raise VenueError(-1121, "Invalid symbol.") from None

    def query(self, symbol: str, *, client_order_id: str = "", order_id: int = 0) -> VenueOrder:
        """The latest order of that client id, or the one with that number.

        :raises VenueError: -2013 if there is none, or none that is visible yet.
        """
        if self._countdowns:
            self.advance()
        order = self._find(self.book(symbol), client_order_id, order_id)
        if order is None or not self._visible(order):
            raise VenueError(-2013, "Order does not exist.")
        return order

    def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        if self._countdowns:
            self.advance()
        books = self.books.values() if symbol is None else (self.book(symbol),)
        return [order for book in books for order in book.resting() if self._visible(order)]

    def trades(
        self, symbol: str, *, from_id: int = FIRST_TRADE_ID, limit: int = 1000
    ) -> list[Trade]:
        """Own executions of the symbol with at least that id, ascending."""
        first = max(from_id - FIRST_TRADE_ID, 0)
        return self.book(symbol).trades[first : first + limit]

    def positions(self) -> list[tuple[Book, PositionSide, Holding]]:
        """All that are not flat."""
        return [
            (book, side, holding)
            for book in self.books.values()
            for side, holding in book.holdings.items()
            if holding.quantity
        ]

    def unrealized(self) -> Decimal:
        """Profit of all positions at the last prices."""
        return sum(
            (
                holding.unrealized(book.last)
                for book, _, holding in self.positions()
                if book.last is not None
            ),
            ZERO,
        )

    def available_balance(self) -> Decimal:
        """What new positions may use as margin: wallet and profit, less margin in use.

        Margin in use counts positions at the last price and open orders that could
        grow one, each at its notional over the symbol's leverage.
        """
        available = self.wallet_balance
        for book in self.books.values():
            notional = ZERO
            for holding in book.holdings.values():
                if holding.quantity and book.last is not None:
                    available += holding.unrealized(book.last)
                    notional += abs(holding.quantity) * book.last
            for entries in (book.bids, book.asks):
                for _, _, order in entries:
                    if not order.closing and order.price is not None:
                        notional += order.remaining * order.price
            if notional:
                available -= notional / book.leverage
        return available

    def executions(self, client_order_id: str) -> int:
        """How many orders with that client id the venue has ever accepted."""
        return sum(order.client_order_id == client_order_id for order in self.order_log)

    # --- acceptance ----------------------------------------------------------------

    def _check(self, book: Book, ticket: OrderTicket) -> None:
        market = book.market
        if not CLIENT_ORDER_ID.fullmatch(ticket.client_order_id):
            raise VenueError(-4015, "Client order id is not valid.")
        if (ticket.position_side != "BOTH") != self.hedge_mode:
            raise VenueError(-4061, "Order's position side does not match user's setting.")
        if self.hedge_mode and ticket.reduce_only:
            raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
        market.check_quantity(ticket.quantity)
        if ticket.price is not None:
            market.check_price(ticket.price)
        elif book.last is None:
            raise VenueError(-2020, "Unable to fill.")
        if ticket.client_order_id in self._open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        at = ticket.price if ticket.price is not None else book.last
        assert at is not None
        reducible = book.reducible(ticket.position_side, ticket.side)
        if ticket.reduce_only:
            if not reducible:
                raise VenueError(-2022, "ReduceOnly Order is rejected.")
        elif self.hedge_mode and (ticket.position_side == "LONG") != (ticket.side == "buy"):
            if ticket.quantity > reducible:
                raise VenueError(-2022, "ReduceOnly Order is rejected.")
        else:
            market.check_notional(ticket.quantity * at)
            growing = ticket.quantity - reducible
            if growing > 0 and growing * at / book.leverage > self.available_balance():
                raise VenueError(-2019, "Margin is insufficient.")
        if ticket.price is None or book.last is None:
            return
        if ticket.time_in_force == "GTX" and crosses(ticket.side, ticket.price, book.last):
            raise VenueError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be"
                " rejected. The order will not be recorded in the order history",
            )
        if ticket.time_in_force == "FOK" and not self._fillable(book, ticket):
            raise VenueError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been"
                " rejected. The order will not be recorded in the order history",
            )

    def _fillable(self, book: Book, ticket: OrderTicket) -> bool:
        found = ZERO
        for price, quantity in self._levels(book, ticket.side):
            if ticket.price is not None and not crosses(ticket.side, ticket.price, price):
                break
            if quantity is None:
                return True
            found += quantity
        return found >= ticket.quantity

    # --- matching ------------------------------------------------------------------

    def _levels(self, book: Book, side: Side) -> Iterable[tuple[Decimal, Decimal | None]]:
        if book.last is None:
            return ()
        if self._depth is not None:
            return self._depth(book.market, side, book.last)
        return ((book.last, book.liquidity_left),)

    def _take(self, book: Book, order: VenueOrder) -> None:
        """Trade what crosses, level by level."""
        for price, quantity in self._levels(book, order.side):
            if order.price is not None and not crosses(order.side, order.price, price):
                break
            part = order.remaining if quantity is None else min(order.remaining, quantity)
            if part > 0:
                self._fill(book, order, part, price, maker=False)
            if order.status.final:
                break

    @staticmethod
    def _reached(order: VenueOrder, price: Decimal) -> bool:
        assert order.price is not None
        return crosses(order.side, order.price, price)

    def _fill(
        self, book: Book, order: VenueOrder, quantity: Decimal, price: Decimal, *, maker: bool
    ) -> bool:
        """Execute a part of an order; False if, being reduce-only, it had nothing to reduce."""
        if order.closing:
            reducible = book.reducible(order.position_side, order.side)
            if not reducible:
                self._finish(book, order, OrderStatus.EXPIRED, "EXPIRED")
                return False
            quantity = min(quantity, reducible)
        if not maker and self._depth is None and book.liquidity_left is not None:
            book.liquidity_left -= quantity
        holding = book.holdings[order.position_side]
        notional = quantity * price
        fee = money(notional * (self._maker_fee if maker else self._taker_fee))
        realized = holding.apply(quantity if order.side == "buy" else -quantity, price)
        self.wallet_balance += realized - fee
        order.filled += quantity
        order.cost += notional
        order.fill_count += 1
        order.updated_ms = now_ms = self.now_ms()
        trade_id = FIRST_TRADE_ID + len(book.trades)
        trade = Trade(trade_id, order, quantity, price, fee, realized, maker, now_ms)
        book.trades.append(trade)
        if order.filled == order.quantity:
            order.status = OrderStatus.FILLED
            self._close(book, order)
        else:
            order.status = OrderStatus.PARTIALLY_FILLED
        self._emit(order, "TRADE", trade)
        if not holding.quantity and (book.bids or book.asks):
            self._expire_closing(book, order.position_side)
        return True

    def _expire_closing(self, book: Book, position_side: PositionSide) -> None:
        """With the position gone, orders that may only reduce it have lost their object."""
        for order in book.resting():
            if order.closing and order.position_side == position_side:
                self._finish(book, order, OrderStatus.EXPIRED, "EXPIRED")

    def _finish(
        self, book: Book, order: VenueOrder, status: OrderStatus, execution: Execution
    ) -> None:
        if order.status.final:
            return
        order.status = status
        order.updated_ms = self.now_ms()
        self._close(book, order)
        self._emit(order, execution, None)

    def _close(self, book: Book, order: VenueOrder) -> None:
        self._open.pop(order.client_order_id, None)
        book.remove(order)

    # --- views ---------------------------------------------------------------------

    def _find(self, book: Book, client_order_id: str, order_id: int) -> VenueOrder | None:
        if order_id:
            order = self._by_id.get(order_id)
            return order if order is not None and order.market is book.market else None
        return book.orders.get(client_order_id)

    def _visible(self, order: VenueOrder) -> bool:
        lag = self.faults.query_lag_ms
        return not lag or self.now_ms() - order.accepted_ms >= lag

    # --- events --------------------------------------------------------------------

    def _emit(self, order: VenueOrder, execution: Execution, trade: Trade | None) -> None:
        if self._listeners:
            self._events.append(
                VenueEvent(
                    order,
                    execution,
                    order.status,
                    order.filled,
                    order.average_price,
                    trade,
                    order.updated_ms,
                )
            )

    def _tell(self) -> None:
        """Tell the events once the books are consistent; a listener may call in again."""
        if self._telling:
            return
        self._telling = True
        try:
            while self._events:
                events, self._events = self._events, []
                for event in events:
                    for listener in tuple(self._listeners):
                        listener(event)
        finally:
            self._telling = False
