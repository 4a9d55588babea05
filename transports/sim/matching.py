"""The matching engine: orders are accepted or refused, take, rest, are filled, and end.

Our own orders queue among themselves by price, then by age, and never trade with each
other: the rest of the market does not see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final, Literal

from holdfast.model import OrderStatus, PositionSide, Side

from .account import Account
from .admission import Takes, admit
from .announcements import Announcements
from .book import Book, crosses
from .ledger import ZERO, money
from .records import ConditionalOrder, Execution, OrderTicket, Trade, VenueEvent, VenueOrder
from .rules import CLIENT_ORDER_ID, Market, VenueError

Depth = Callable[[Market, Side, Decimal], Iterable[tuple[Decimal, Decimal | None]]]
"""`(market, side of the taker, best price for it) -> (price, quantity) levels`, best first;
a quantity of None has no bound. Models of slippage are such functions (`slippage`)."""
MakerRule = Literal["touch", "through"]
"""When a resting order is filled: as soon as its price is traded, or only once a worse one
is, as if everybody else at that price had been first in the queue."""

FIRST_ORDER_ID: Final = 8_000_000_001
FIRST_TRADE_ID: Final = 1


class Matching:
    """Orders of one account.

    :param time_ns: UTC clock of the machine.
    :ivar now_ms: the venue's clock.
    :ivar order_log: every accepted order, in the order of acceptance.
    :ivar on_turned: told of a position side that was opened, closed or turned.
    :ivar on_final: told of an order that was made of a conditional one and has ended.
    """

    def __init__(
        self,
        *,
        account: Account,
        announcements: Announcements,
        time_ns: Callable[[], int],
        now_ms: Callable[[], int],
        depth: Depth | None,
        maker_rule: MakerRule,
    ) -> None:
        self.order_log: list[VenueOrder] = []
        self.maker_rule: MakerRule = maker_rule
        self.on_turned: Callable[[Book, PositionSide], object] = lambda _book, _side: None
        self.on_final: Callable[[VenueOrder], object] = lambda _order: None
        self._account = account
        self._announcements = announcements
        self._time_ns = time_ns
        self.now_ms = now_ms
        self._depth = depth
        self._open: dict[str, VenueOrder] = {}
        self._by_id: dict[int, VenueOrder] = {}

    # --- acceptance ----------------------------------------------------------------

    def accept(
        self, book: Book, ticket: OrderTicket, origin: ConditionalOrder | None = None
    ) -> VenueOrder:
        """Accept an order, match it, and return it as it then stands.

        :param origin: the conditional order it is made of.
        :raises VenueError: nothing was changed.
        """
        takes = self._check(book, ticket)
        order = self._record(book, ticket, origin)
        self.enter(book, order, "NEW", takes)
        return order

    def enter(self, book: Book, order: VenueOrder, execution: Execution, takes: Takes) -> None:
        """Tell of an order, let it take what it does at once, and the remainder rest or end."""
        if self._announcements.orders:
            self._emit(order, execution, None)
        for price, quantity in takes:
            if order.status.final:
                break  # it was to reduce more than there was
            self.fill(book, order, quantity, price, maker=False)
        if not order.status.final:
            if (
                order.price is not None
                and order.time_in_force in ("GTC", "GTX")
                and not book.spent(order)
            ):
                book.rest(order)
            else:
                self.finish(book, order, OrderStatus.EXPIRED, "EXPIRED")

    def _check(self, book: Book, ticket: OrderTicket) -> Takes:
        """What the order takes at once. :raises VenueError:"""
        market, side, hedge_mode = book.market, ticket.side, self._account.hedge_mode
        check_client_id(ticket.client_order_id)
        check_position_side(
            ticket.position_side, hedge_mode=hedge_mode, reduce_only=ticket.reduce_only
        )
        quantity, limit = ticket.quantity, ticket.price
        market.check_quantity(quantity)
        best = book.best(side)
        if limit is not None:
            market.check_price(limit)
        elif best is None:
            raise VenueError(-2020, "Unable to fill.")
        if ticket.client_order_id in self._open:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        reducible = book.reducible(ticket.position_side, side)
        opening = not ticket.reduce_only
        if hedge_mode and (ticket.position_side == "LONG") != (side == "buy"):
            opening = False
            if quantity > reducible:
                raise VenueError(-2022, "ReduceOnly Order is rejected.")
        elif ticket.reduce_only and not reducible:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        if opening:
            at = limit if limit is not None else best
            assert at is not None
            market.check_notional(quantity * at)
        return self.weigh(book, ticket, quantity, limit, opening=opening)

    def weigh(
        self,
        book: Book,
        terms: OrderTicket | VenueOrder,
        quantity: Decimal,
        limit: Decimal | None,
        *,
        opening: bool,
    ) -> Takes:
        """What an order of such terms takes at once.

        :param opening: whether it may grow a position.
        :raises VenueError: -2019 or -2027 (margin), -5021 or -5022 (time in force).
        """
        side, time_in_force = terms.side, terms.time_in_force
        best = book.best(side)
        takes: list[tuple[Decimal, Decimal]] = []
        rests = quantity
        if best is not None and (limit is None or crosses(side, limit, best)):
            for price, available in self.levels(book, side):
                if limit is not None and not crosses(side, limit, price):
                    break
                part = rests if available is None else min(rests, available)
                if part > 0:
                    takes.append((price, part))
                    rests -= part
                if not rests:
                    break
        if opening:
            admit(
                self._account,
                book,
                side,
                terms.position_side,
                takes,
                rests if limit is not None and time_in_force in ("GTC", "GTX") else ZERO,
                limit,
                grows=quantity > book.reducible(terms.position_side, side),
            )
        if limit is None or best is None:
            return takes
        if time_in_force == "GTX" and crosses(side, limit, best):
            raise VenueError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be"
                " rejected. The order will not be recorded in the order history",
            )
        if time_in_force == "FOK" and rests:
            raise VenueError(
                -5021,
                "Due to the order could not be filled immediately, the FOK order has been"
                " rejected. The order will not be recorded in the order history",
            )
        return takes

    def levels(self, book: Book, side: Side) -> Iterable[tuple[Decimal, Decimal | None]]:
        """What a taker of that side finds, best first."""
        best = book.best(side)
        if best is None:
            return ()
        if self._depth is not None:
            return self._depth(book.market, side, best)
        return ((best, book.liquidity(side)),)

    def _record(
        self, book: Book, ticket: OrderTicket, origin: ConditionalOrder | None
    ) -> VenueOrder:
        now_ns, now_ms = self._time_ns(), self.now_ms()
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
        if origin is not None:
            order.trigger, order.trigger_price = origin.trigger, origin.trigger_price
        self._note(book, order)
        self._open[order.client_order_id] = order
        return order

    def _note(self, book: Book, order: VenueOrder) -> None:
        self.order_log.append(order)
        self._by_id[order.order_id] = order
        book.orders[order.client_order_id] = order
        self._account.use(book)

    # --- life ----------------------------------------------------------------------

    def reached(self, order: VenueOrder, price: Decimal) -> bool:
        """Whether a trade of the market at that price fills a resting order."""
        limit = order.price
        assert limit is not None
        if self.maker_rule == "touch":
            return crosses(order.side, limit, price)
        return price < limit if order.side == "buy" else price > limit

    def fill(
        self, book: Book, order: VenueOrder, quantity: Decimal, price: Decimal, *, maker: bool
    ) -> bool:
        """Execute a part of an order; False if, being reduce-only, it had nothing to reduce."""
        side = order.position_side
        if order.closing:
            reducible = book.reducible(side, order.side)
            if not reducible:
                self.finish(book, order, OrderStatus.EXPIRED, "EXPIRED")
                return False
            quantity = min(quantity, reducible)
        account = self._account
        if maker:
            rate = account.maker_fee
            book.reduced(order, quantity)
        else:
            rate = account.taker_fee
            if self._depth is None:
                book.consume(order.side, quantity)
        fee = money(quantity * price * rate)
        self._execute(book, order, quantity, price, fee, maker=maker)
        return True

    def force(
        self,
        book: Book,
        position_side: PositionSide,
        client_order_id: str,
        limit: Decimal,
        takes: Iterable[tuple[Decimal, Decimal]],
    ) -> VenueOrder:
        """Close a position, or a part of it, by the venue's own order, without a trading fee."""
        takes = list(takes)
        now_ms = self.now_ms()
        order = VenueOrder(
            market=book.market,
            order_id=FIRST_ORDER_ID + len(self.order_log),
            client_order_id=client_order_id,
            side="sell" if book.holdings[position_side].quantity > 0 else "buy",
            type="LIMIT",
            time_in_force="IOC",
            quantity=sum((quantity for _, quantity in takes), ZERO),
            price=limit,
            reduce_only=position_side == "BOTH",
            position_side=position_side,
            accepted_ns=self._time_ns(),
            accepted_ms=now_ms,
            updated_ms=now_ms,
            forced=True,
        )
        self._note(book, order)
        if self._announcements.orders:
            self._emit(order, "NEW", None)
        for price, quantity in takes:
            self._execute(book, order, quantity, price, ZERO, maker=False)
        return order

    def _execute(
        self,
        book: Book,
        order: VenueOrder,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        *,
        maker: bool,
    ) -> None:
        side, account = order.position_side, self._account
        holding = book.holdings[side]
        held = holding.quantity
        realized = account.execute(book, order, quantity, price, fee)
        order.filled += quantity
        order.cost += quantity * price
        order.fill_count += 1
        order.updated_ms = now_ms = self.now_ms()
        trade_id = FIRST_TRADE_ID + len(book.trades)
        trade = Trade(trade_id, order, quantity, price, fee, realized, maker, now_ms)
        book.trades.append(trade)
        done = order.filled == order.quantity
        order.status = OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED
        if self._announcements.orders:
            self._emit(order, "CALCULATED" if order.forced else "TRADE", trade)
        if self._announcements.account:
            account.announce("ORDER", ((book, side),))
        account.disturb(book)
        if done:
            self._close(book, order)
        if not held or not holding.quantity or (held > 0) != (holding.quantity > 0):
            if held:
                self._expire_spent(book, side)
            self.on_turned(book, side)

    def _expire_spent(self, book: Book, position_side: PositionSide) -> None:
        """With the position gone, orders that may only reduce it have lost their object."""
        if book.exits:
            for order in book.resting():
                if order.position_side == position_side and book.spent(order):
                    self.finish(book, order, OrderStatus.EXPIRED, "EXPIRED")

    def finish(
        self, book: Book, order: VenueOrder, status: OrderStatus, execution: Execution
    ) -> None:
        """End an order, unless it has ended."""
        if order.status.final:
            return
        order.status = status
        order.updated_ms = self.now_ms()
        if self._announcements.orders:
            self._emit(order, execution, None)
        self._close(book, order)

    def cancel(self, book: Book, order: VenueOrder) -> None:
        self.finish(book, order, OrderStatus.CANCELED, "CANCELED")

    def cancel_resting(self, book: Book) -> None:
        """Cancel all that rests in one market."""
        for order in book.resting():
            self.cancel(book, order)

    def _close(self, book: Book, order: VenueOrder) -> None:
        if not order.forced:
            self._open.pop(order.client_order_id, None)
        book.remove(order)
        if order.trigger is not None:
            self.on_final(order)

    def find(self, book: Book, client_order_id: str, order_id: int) -> VenueOrder | None:
        """By number, else the latest of that client id."""
        if order_id:
            order = self._by_id.get(order_id)
            return order if order is not None and order.market is book.market else None
        return book.orders.get(client_order_id)

    def _emit(self, order: VenueOrder, execution: Execution, trade: Trade | None) -> None:
        self._announcements.pending.append(
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


def check_client_id(client_id: str) -> None:
    """:raises VenueError: -4015."""
    if not CLIENT_ORDER_ID.fullmatch(client_id):
        raise VenueError(-4015, "Client order id is not valid.")


def check_position_side(
    position_side: PositionSide, *, hedge_mode: bool, reduce_only: bool
) -> None:
    """:raises VenueError: -4061, or -1106 (hedge mode knows no reduceOnly)."""
    if (position_side != "BOTH") != hedge_mode:
        raise VenueError(-4061, "Order's position side does not match user's setting.")
    if hedge_mode and reduce_only:
        raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
