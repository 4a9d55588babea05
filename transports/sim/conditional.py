"""Conditional orders, as Binance's algo service keeps them since 2025-12-09.

Documented ("New Algo Order", "Event: Algo Order Update", change log of 2025-11-06): when an
order triggers; its states; no check of margin before it is triggered; none can be modified; a
refusal of the matching engine makes it REJECTED with a reason; at most 200 over all symbols;
GTE_GTC depends on the position only and ends EXPIRED with it. Reported by users: an order
with `closePosition` is GTE_GTC, so it needs a position (-4509), and one of a kind and
direction is the most (-4130); a reduce-only one needs no position when it is placed; the
order made of one has the `clientAlgoId` as its client order id, and its ORDER_TRADE_UPDATEs
come before the ALGO_UPDATE with TRIGGERED, which tells its number. Inferred: the codes for
what is not found (-2013, -2011) and for a duplicate (-4116); that neither allOpenOrders nor
countdownCancelAll reaches a conditional order. `priceProtect` is kept and shown, and holds no
trigger back.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from holdfast.model import PositionSide

from .account import Account
from .announcements import Announcements
from .book import Book
from .ledger import ZERO
from .matching import Matching, check_client_id, check_position_side
from .records import (
    ConditionalEvent,
    ConditionalOrder,
    ConditionalStatus,
    ConditionalTicket,
    OrderTicket,
    VenueOrder,
    VenueTimeInForce,
    trigger_of,
)
from .rules import VenueError
from .triggers import falls

FIRST_ALGO_ID: Final = 1_000_000_000_000_001
"""Apart from the numbers of orders, and exact in JavaScript, as Binance's are."""
MAX_WAITING: Final = 200
"""Over all symbols (Binance, change log of 2025-12-29)."""
MIN_CALLBACK: Final = Decimal("0.1")
MAX_CALLBACK: Final = Decimal(10)
_REDUCE_ONLY_REJECT: Final = "Reduce Only reject"
"""The reason in Binance's own example of an ALGO_UPDATE."""


class ConditionalOrders:
    """The conditional orders of one account.

    :ivar log: every one that was accepted, in the order of acceptance.
    """

    def __init__(
        self,
        *,
        account: Account,
        matching: Matching,
        announcements: Announcements,
        now_ms: Callable[[], int],
    ) -> None:
        self.log: list[ConditionalOrder] = []
        self._account = account
        self._matching = matching
        self._announcements = announcements
        self._now_ms = now_ms
        self._waiting: dict[str, ConditionalOrder] = {}
        self._latest: dict[str, ConditionalOrder] = {}
        self._of_order: dict[int, ConditionalOrder] = {}
        """By the number of the order made of it, until that has ended."""
        matching.on_final = self._on_final

    # --- what a client asks --------------------------------------------------------

    def accept(self, book: Book, ticket: ConditionalTicket) -> ConditionalOrder:
        """:raises VenueError: nothing was changed."""
        self._check(book, ticket)
        now_ms = self._now_ms()
        order = ConditionalOrder(
            market=book.market,
            algo_id=FIRST_ALGO_ID + len(self.log),
            client_id=ticket.client_id,
            type=ticket.type,
            side=ticket.side,
            quantity=ticket.quantity,
            price=ticket.price,
            trigger_price=ticket.trigger_price,
            trigger_by=ticket.trigger_by,
            time_in_force="GTE_GTC" if ticket.close_position else ticket.time_in_force,
            reduce_only=ticket.reduce_only,
            close_position=ticket.close_position,
            position_side=ticket.position_side,
            activate_price=ticket.activate_price,
            callback_rate=ticket.callback_rate,
            price_protect=ticket.price_protect,
            foreign=ticket.foreign,
            created_ms=now_ms,
            updated_ms=now_ms,
            peak=_watched(book, ticket) if ticket.callback_rate is not None else None,
        )
        self.log.append(order)
        self._waiting[order.client_id] = self._latest[order.client_id] = order
        book.triggers[order.trigger_by].add(order)
        book.disturb()
        self._emit(order)
        return order

    def cancel(self, book: Book, order: ConditionalOrder) -> None:
        """:raises VenueError: -2011 if it waits no more."""
        if not order.waiting:
            raise VenueError(-2011, "Unknown order sent.")
        self._leave(book, order, "CANCELED")

    def cancel_all(self, book: Book) -> None:
        for order in self.waiting(book):
            self._leave(book, order, "CANCELED")

    def find(self, client_id: str, algo_id: int) -> ConditionalOrder | None:
        """By number, else the latest of that client id."""
        if algo_id:
            index = algo_id - FIRST_ALGO_ID
            return self.log[index] if 0 <= index < len(self.log) else None
        return self._latest.get(client_id)

    def waiting(self, book: Book | None = None) -> list[ConditionalOrder]:
        """Those that wait for their price, oldest first."""
        return [
            order for order in self._waiting.values() if book is None or order.market is book.market
        ]

    # --- acceptance ----------------------------------------------------------------

    def _check(self, book: Book, ticket: ConditionalTicket) -> None:
        market = book.market
        check_client_id(ticket.client_id)
        check_position_side(
            ticket.position_side,
            hedge_mode=self._account.hedge_mode,
            reduce_only=ticket.reduce_only,
        )
        if ticket.client_id in self._waiting:
            raise VenueError(-4116, "ClientOrderId is duplicated.")
        if len(self._waiting) >= MAX_WAITING:
            raise VenueError(-4045, "Reach max stop order limit.")
        self._check_quantity(book, ticket)
        limited = ticket.type in ("STOP", "TAKE_PROFIT")
        if limited != (ticket.price is not None):
            raise (
                _missing("price")
                if limited
                else VenueError(-1106, "Parameter 'price' sent when not required.")
            )
        if ticket.price is not None:
            market.check_price(ticket.price)
        watched = _watched(book, ticket)
        if ticket.type == "TRAILING_STOP_MARKET":
            self._check_trailing(book, ticket, watched)
            return
        if ticket.trigger_price is None:
            raise _missing("triggerPrice")
        market.check_price(ticket.trigger_price)
        if watched is not None and _immediate(ticket, watched):
            raise VenueError(-2021, "Order would immediately trigger.")

    def _check_quantity(self, book: Book, ticket: ConditionalTicket) -> None:
        if not ticket.close_position:
            if ticket.quantity is None:
                raise _missing("quantity")
            book.market.check_quantity(ticket.quantity)
            if ticket.time_in_force != "GTE_GTC":
                return
        elif ticket.type not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
            raise VenueError(
                -4136, f"Target strategy invalid for orderType {ticket.type},closePosition true"
            )
        elif ticket.quantity is not None:
            raise VenueError(-4137, "Quantity must be zero with closePosition equals true")
        elif ticket.reduce_only:
            raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
        if not book.reducible(ticket.position_side, ticket.side):
            raise VenueError(
                -4509,
                "Time in Force (TIF) GTE can only be used with open positions."
                " Please ensure that positions are available.",
            )
        for other in self._waiting.values() if ticket.close_position else ():
            if (
                other.close_position
                and other.market is book.market
                and (other.side, other.position_side) == (ticket.side, ticket.position_side)
                and other.type == ticket.type
            ):
                raise VenueError(
                    -4130,
                    "An open stop or take profit order with GTE and closePosition in the"
                    " direction is existing.",
                )

    @staticmethod
    def _check_trailing(book: Book, ticket: ConditionalTicket, watched: Decimal | None) -> None:
        rate, start = ticket.callback_rate, ticket.activate_price
        if rate is None:
            raise _missing("callbackRate")
        if not MIN_CALLBACK <= rate <= MAX_CALLBACK:
            raise VenueError(-2007, "Invalid callBack rate.")
        if watched is None:
            raise VenueError(-2020, "Unable to fill.")
        if start is not None:
            book.market.check_price(start)
            if start >= watched if ticket.side == "buy" else start <= watched:
                raise VenueError(-2021, "Order would immediately trigger.")

    # --- triggering ----------------------------------------------------------------

    def fire(self, book: Book, order: ConditionalOrder) -> None:
        """Its price was reached: hand it to the matching engine."""
        self._leave(book, order, "TRIGGERING")
        order.triggered_ms = order.updated_ms
        try:
            made = self._matching.accept(book, self._ticket(book, order), order)
        except VenueError as refusal:
            order.reason = _REDUCE_ONLY_REJECT if refusal.code == -2022 else refusal.message
            self._enter(order, "REJECTED")
            return
        order.actual = made
        self._enter(order, "TRIGGERED")
        if made.status.final:
            self._enter(order, "FINISHED")
        else:
            self._of_order[made.order_id] = order

    @staticmethod
    def _ticket(book: Book, order: ConditionalOrder) -> OrderTicket:
        quantity = order.quantity
        if quantity is None:
            # All that is held now; nothing is a quantity of zero, which is refused by itself.
            quantity = book.reducible(order.position_side, order.side)
        elif order.closing and order.position_side != "BOTH":
            # Hedge mode has no reduce-only that would be clipped.
            quantity = min(quantity, book.reducible(order.position_side, order.side)) or quantity
        time_in_force: VenueTimeInForce = (
            "GTC" if order.time_in_force == "GTE_GTC" else order.time_in_force
        )
        return OrderTicket(
            symbol=order.market.symbol,
            client_order_id=order.client_id,
            side=order.side,
            quantity=quantity,
            price=order.price,
            time_in_force=time_in_force if order.price is not None else "GTC",
            reduce_only=order.closing and order.position_side == "BOTH",
            position_side=order.position_side,
            foreign=order.foreign,
        )

    def _on_final(self, made: VenueOrder) -> None:
        order = self._of_order.pop(made.order_id, None)
        if order is not None:
            self._enter(order, "FINISHED")

    def expire_bound(self, book: Book, position_side: PositionSide) -> None:
        """With the position gone, what depends on it ends."""
        if not self._waiting:
            return
        for order in self.waiting(book):
            if (
                order.bound
                and order.position_side == position_side
                and not book.reducible(position_side, order.side)
            ):
                self._leave(book, order, "EXPIRED")

    # --- states --------------------------------------------------------------------

    def _leave(self, book: Book, order: ConditionalOrder, status: ConditionalStatus) -> None:
        """It waits no more."""
        del self._waiting[order.client_id]
        book.triggers[order.trigger_by].remove(order)
        book.disturb()
        self._enter(order, status)

    def _enter(self, order: ConditionalOrder, status: ConditionalStatus) -> None:
        order.status = status
        order.updated_ms = self._now_ms()
        self._emit(order)

    def _emit(self, order: ConditionalOrder) -> None:
        if self._announcements.conditional:
            made = order.actual
            self._announcements.pending.append(
                ConditionalEvent(
                    order,
                    order.status,
                    made,
                    ZERO if made is None else made.filled,
                    None if made is None else made.average_price,
                    order.updated_ms,
                )
            )


def _watched(book: Book, ticket: ConditionalTicket) -> Decimal | None:
    return book.mark if ticket.trigger_by == "mark" else book.last


def _immediate(ticket: ConditionalTicket, price: Decimal) -> bool:
    assert ticket.trigger_price is not None
    if falls(trigger_of(ticket.type), ticket.side):
        return price <= ticket.trigger_price
    return price >= ticket.trigger_price


def _missing(name: str) -> VenueError:
    return VenueError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )
