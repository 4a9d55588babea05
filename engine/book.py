"""The local book: positions and open orders, made of the venue's fills and nothing else.

A position changes only by a fill with a trade id, and each trade id counts once,
however often the stream or a query repeats it. An order's own word on how much of
it is filled is kept beside, never added: the difference between the two is what is
still on its way. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import msgspec

from .model import Fill, OrderSnapshot, OrderStatus, Position, Side

ZERO = Decimal(0)

MAX_EARLY: Final = 1000
"""Orders with fills that came before the order itself; more would be somebody else's."""
MAX_ENDED: Final = 256
"""Ended orders that are remembered, for a fill that comes after all; the oldest go first."""
MAX_COUNTED: Final = 2000
"""Trade ids kept of one symbol above `Book.synced`. With one more, the older half is let go."""
MAX_FOLLOWED: Final = 10_000
"""Fills and orders that one trail holds: no look at the venue lasts that long."""


class Holding(msgspec.Struct):
    quantity: Decimal = ZERO
    entry_price: Decimal | None = None

    def add(self, signed: Decimal, price: Decimal | None) -> None:
        """Average entry price: moved by what grows the position, kept by what shrinks it.

        :param price: None: nobody knows.
        """
        before, after = self.quantity, self.quantity + signed
        if after == 0:
            self.entry_price = None
        elif before == 0 or (before > 0) != (after > 0):
            self.entry_price = price
        elif abs(after) > abs(before):
            known = self.entry_price if self.entry_price is not None else price
            if known is not None and price is not None:
                self.entry_price = (known * abs(before) + price * abs(signed)) / abs(after)
        self.quantity = after

    @property
    def closing_side(self) -> Side | None:
        """On which side an order closes it; None: nothing is held."""
        if self.quantity == 0:
            return None
        return "sell" if self.quantity > 0 else "buy"


_NOTHING: Final = Holding()


def newer(word: OrderSnapshot, known: OrderSnapshot) -> bool:
    """Whether `word` tells more of an order than `known`: an order never steps backward.

    Streams repeat and reorder, and a query may lag: less filled, or open after it had
    ended, is an older word however late it comes.
    """
    if known.status.final or word.filled < known.filled:
        return False
    return (word.status, word.filled) != (known.status, known.filled)


class OpenOrder(msgspec.Struct):
    """An order of ours that the venue has, and how much of it our fills account for."""

    snapshot: OrderSnapshot
    counted: Decimal = ZERO
    adopted: Decimal = ZERO
    """How much of a position was taken for true with this order, which closes it; signed."""
    ordered: Decimal | None = None
    """What was asked for. The venue's word may be another by now: somebody has amended it there,
    or it has filled more."""

    @property
    def unfilled(self) -> Decimal:
        """How much more may be filled of what was asked for."""
        asked = self.snapshot.quantity if self.ordered is None else self.ordered
        return asked - self.counted

    @property
    def expected(self) -> Decimal:
        """Quantity that may still become fills we have not counted."""
        total = self.snapshot.filled if self.snapshot.status.final else self.snapshot.quantity
        return max(total - self.counted, ZERO)

    def give_back(self) -> Decimal:
        """What of the position was taken for true with this order, and is not closed by it now
        that it has ended; signed. Given back once.
        """
        if not self.snapshot.status.final:
            return ZERO
        left = min(self.snapshot.quantity - self.snapshot.filled, abs(self.adopted))
        part = left.copy_sign(self.adopted) if left > 0 else ZERO
        self.adopted = ZERO
        return part


class Trail:
    """What became of a book while somebody looked at the venue.

    :ivar fills: those that were counted.
    :ivar orders: client order ids of which anything was learnt.
    :ivar lost: it can not be followed: positions were adopted, or too much happened.
    """

    def __init__(self) -> None:
        self.fills: list[Fill] = []
        self.orders: set[str] = set()
        self.lost = False

    def note(self, client_order_id: str, fill: Fill | None = None) -> None:
        self.orders.add(client_order_id)
        if fill is not None:
            self.fills.append(fill)
        if max(len(self.fills), len(self.orders)) > MAX_FOLLOWED:
            self.fills.clear()
            self.orders.clear()
            self.lost = True


class Book:
    """
    :ivar version: grows with every change, so that a snapshot of the venue can be
        recognised as taken across one.
    """

    def __init__(self) -> None:
        self.holdings: dict[tuple[str, str], Holding] = {}
        self.orders: dict[str, OpenOrder] = {}
        self.synced: dict[str, int] = {}
        """Per symbol: no fill up to this trade id is counted any more. They are all counted,
        as comparisons with the venue have shown; or, after many more fills than a stream puts
        out of order, without a comparison in between, the ids of the older ones were let go.
        What was missed among those shows as a difference of the position."""
        self._seen: dict[str, set[int]] = {}
        self._trails: list[Trail] = []
        self._early: dict[str, Decimal] = {}
        """Fills counted before their order was known to be open, by client order id."""
        self.ended: dict[str, Decimal] = {}
        """Orders that are done with, and how much of each was never filled."""
        self._closing: dict[str, Position] = {}
        """As `close_with_fills` has it, by client order id."""
        self.protection: dict[tuple[str, str, Side], str] = {}
        """The latest stop of ours that protects a position, by its client order id; with the side
        on which it trades: one that sells protects nothing but what is long. Forgotten when it
        was filled, when the bot itself cancelled it, or when that position is closed or turned
        round: what is left without its stop resting is a position whose protection is gone."""
        self.version = 0

    def count(self, fill: Fill) -> bool:
        """Count a fill of ours. False: it was counted already."""
        if self.has_counted(fill):
            return False
        self._remember(fill.symbol, fill.trade_id)
        self._take_over_what_it_closes(fill.client_order_id, fill.quantity)
        self._add((fill.symbol, fill.position_side), fill.signed_quantity, fill.price)
        order = self.orders.get(fill.client_order_id)
        if order is not None:
            order.counted += fill.quantity
            self._forget_when_done(fill.client_order_id, order)
        elif fill.client_order_id in self.ended:
            self.ended[fill.client_order_id] -= fill.quantity
        else:
            self._early[fill.client_order_id] = (
                self._early.get(fill.client_order_id, ZERO) + fill.quantity
            )
            while len(self._early) > MAX_EARLY:
                del self._early[next(iter(self._early))]
        self._changed(fill.client_order_id, fill)
        return True

    def _add(self, key: tuple[str, str], signed: Decimal, price: Decimal | None) -> None:
        holding = self.holdings.setdefault(key, Holding())
        stop_side = holding.closing_side
        holding.add(signed, price)
        if holding.quantity == 0:
            del self.holdings[key]
        if stop_side is not None and holding.closing_side != stop_side:
            self.protection.pop((*key, stop_side), None)

    def take_over(self, part: Position) -> None:
        """Add what the venue has shown to be held besides; fills of it are not known."""
        self._add((part.symbol, part.position_side), part.quantity, part.entry_price)
        self._unfollowed()

    def close_with_fills(self, client_order_id: str, part: Position) -> None:
        """A repair was sent to close this, which is not known here, and nobody will tell how it
        ended: what its fills close, and no more, is taken over with each of them.
        """
        self._closing[client_order_id] = part
        self._take_over_what_it_closes(client_order_id, self.counted_early(client_order_id))

    def _take_over_what_it_closes(self, client_order_id: str, quantity: Decimal) -> None:
        part = self._closing.get(client_order_id)
        if part is None or not quantity:
            return
        closed = min(quantity, abs(part.quantity)).copy_sign(part.quantity)
        self.take_over(msgspec.structs.replace(part, quantity=closed))
        left = part.quantity - closed
        if left:
            self._closing[client_order_id] = msgspec.structs.replace(part, quantity=left)
        else:
            del self._closing[client_order_id]

    def _remember(self, symbol: str, trade_id: int) -> None:
        ids = self._seen.setdefault(symbol, set())
        ids.add(trade_id)
        if len(ids) > MAX_COUNTED:
            # The ids of a symbol ascend, and what is told twice or late is told soon.
            self.sync(symbol, sorted(ids)[len(ids) // 2])

    def has_counted(self, fill: Fill) -> bool:
        return fill.trade_id <= self.synced.get(fill.symbol, 0) or fill.trade_id in self._seen.get(
            fill.symbol, ()
        )

    def counted_early(self, client_order_id: str) -> Decimal:
        """How much was filled of an order that is not known to be open yet."""
        return self._early.get(client_order_id, ZERO)

    def wants_comparison(self, symbol: str) -> bool:
        """Whether so many trade ids are kept that `sync` should let some go. True once, when
        the half is reached: a comparison that does not come to an end is not hurried by more.
        """
        return len(self._seen.get(symbol, ())) == MAX_COUNTED // 2

    @contextmanager
    def follow(self) -> Iterator[Trail]:
        """Inside, the trail is told what changes."""
        trail = Trail()
        self._trails.append(trail)
        try:
            yield trail
        finally:
            self._trails.remove(trail)

    def _changed(self, client_order_id: str, fill: Fill | None = None) -> None:
        self.version += 1
        for trail in self._trails:
            trail.note(client_order_id, fill)

    def awaits_fills(self, client_order_id: str) -> bool:
        """Whether the venue's word on this order tells of fills that are not counted yet."""
        known = self.orders.get(client_order_id)
        return known is not None and known.counted < known.snapshot.filled

    def saw(self, snapshot: OrderSnapshot) -> bool:
        """Take the venue's word on an order of ours; a word older than one known changes nothing.

        :returns: whether anything changed.
        """
        known = self.orders.get(snapshot.client_order_id)
        if known is None:
            return False
        if not newer(snapshot, known.snapshot):
            return False
        known.snapshot = snapshot
        self._disown_what_it_left(known)
        self._forget_when_done(snapshot.client_order_id, known)
        self._changed(snapshot.client_order_id)
        return True

    def opened(self, snapshot: OrderSnapshot, *, adopted: Decimal = ZERO) -> None:
        """The venue has this order of ours. Known already: as `saw`.

        :param adopted: as of `OpenOrder`.
        """
        if snapshot.client_order_id in self.orders:
            self.saw(snapshot)
            return
        counted = self._early.pop(snapshot.client_order_id, ZERO)
        order = OpenOrder(snapshot, counted, adopted, snapshot.quantity)
        self.orders[snapshot.client_order_id] = order
        self._disown_what_it_left(order)
        if snapshot.protective:
            key = snapshot.symbol, snapshot.position_side, snapshot.side
            self.protection[key] = snapshot.client_order_id
        self._forget_when_done(snapshot.client_order_id, order)
        self._changed(snapshot.client_order_id)

    def _disown_what_it_left(self, order: OpenOrder) -> None:
        """A repair that has ended and closed less than it was to close: the rest is as unknown
        as it was before. Kept, it would be a position that nobody decided to have.
        """
        part, word = order.give_back(), order.snapshot
        if part:
            self.take_over(Position(word.symbol, -part, None, word.position_side))

    def _forget_when_done(self, client_order_id: str, order: OpenOrder) -> None:
        # A final order stays until its last fill has been counted: until then it is
        # exposure that is on its way.
        if order.snapshot.status.final and order.expected == 0:
            self.orders.pop(client_order_id, None)
            self.ended[client_order_id] = order.unfilled
            if len(self.ended) > MAX_ENDED:
                del self.ended[next(iter(self.ended))]
        if order.snapshot.status is OrderStatus.FILLED:
            self.lift_protection(client_order_id)

    def lift_protection(self, client_order_id: str) -> None:
        """This stop protects nothing any more, and that is as it should be."""
        for key in [k for k, cid in self.protection.items() if cid == client_order_id]:
            del self.protection[key]

    def unprotected(self) -> dict[tuple[str, str], str]:
        """Positions whose latest stop is gone without a reason, with its client order id."""
        if not self.protection:
            return {}
        resting = {(o.symbol, o.position_side, o.side) for o in self.resting() if o.protective}
        return {
            (symbol, side): cid
            for (symbol, side, stop_side), cid in self.protection.items()
            if (holding := self.holdings.get((symbol, side))) is not None
            and holding.closing_side == stop_side
            and (symbol, side, stop_side) not in resting
        }

    def sync(self, symbol: str, trade_id: int) -> None:
        """No fill of `symbol` up to `trade_id` is counted any more: their ids need not be kept."""
        self.synced[symbol] = max(trade_id, self.synced.get(symbol, 0))
        seen = self._seen.get(symbol)
        if seen:
            self._seen[symbol] = {t for t in seen if t > self.synced[symbol]}

    def adopt(self, positions: Iterable[Position], symbols: Iterable[str]) -> None:
        """Take over the venue's positions of `symbols` as the truth."""
        scope = set(symbols)
        for key in [k for k in self.holdings if k[0] in scope]:
            del self.holdings[key]
        for p in positions:
            if p.symbol in scope and p.quantity != 0:
                self.holdings[p.symbol, p.position_side] = Holding(p.quantity, p.entry_price)
        for symbol, side, stop_side in list(self.protection):
            holding = self.holdings.get((symbol, side), _NOTHING)
            if symbol in scope and holding.closing_side != stop_side:
                del self.protection[symbol, side, stop_side]
        for order in self.orders.values():
            if order.snapshot.symbol in scope:
                order.adopted = ZERO  # whatever it leaves is part of what was adopted now
        self._closing = {cid: p for cid, p in self._closing.items() if p.symbol not in scope}
        self._unfollowed()

    def _unfollowed(self) -> None:
        """Positions have changed by other than fills."""
        self.version += 1
        for trail in self._trails:
            trail.lost = True

    def position(self, symbol: str, position_side: str = "BOTH") -> Decimal:
        holding = self.holdings.get((symbol, position_side))
        return ZERO if holding is None else holding.quantity

    def net_position(self, symbol: str) -> Decimal:
        """In hedge mode long and short set off against each other."""
        one_way = self.holdings.get((symbol, "BOTH"))
        if one_way is not None:
            return one_way.quantity
        return self.position(symbol, "LONG") + self.position(symbol, "SHORT")

    def counted_ids(self) -> frozenset[tuple[str, int]]:
        """Trade ids counted above `synced`, with their symbols."""
        return frozenset((symbol, t) for symbol, ids in self._seen.items() for t in ids)

    def positions(self) -> list[Position]:
        return [
            Position(symbol, h.quantity, h.entry_price, side)  # type: ignore[arg-type]
            for (symbol, side), h in self.holdings.items()
        ]

    def resting(self) -> list[OrderSnapshot]:
        """Orders of ours that the venue still has open."""
        return [o.snapshot for o in self.orders.values() if not o.snapshot.status.final]


class BookState(msgspec.Struct, frozen=True):
    """A book as a checkpoint keeps it."""

    positions: tuple[Position, ...] = ()
    orders: tuple[OpenOrder, ...] = ()
    synced: dict[str, int] = {}
    seen: dict[str, tuple[int, ...]] = {}
    early: dict[str, Decimal] = {}
    protection: tuple[tuple[str, str, str], ...] = ()
    """Symbol, position side, client order id of the stop."""
    ended: dict[str, Decimal] = {}
    closing: dict[str, Position] = {}

    @classmethod
    def of(cls, book: Book) -> BookState:
        return cls(
            tuple(book.positions()),
            tuple(book.orders.values()),
            dict(book.synced),
            {symbol: tuple(sorted(ids)) for symbol, ids in book._seen.items()},
            dict(book._early),
            tuple((symbol, side, cid) for (symbol, side, _), cid in book.protection.items()),
            dict(book.ended),
            dict(book._closing),
        )

    def restore(self) -> Book:
        book = Book()
        book.adopt(self.positions, {p.symbol for p in self.positions})
        book.orders = {o.snapshot.client_order_id: o for o in self.orders}
        book.synced = dict(self.synced)
        book._seen = {symbol: set(ids) for symbol, ids in self.seen.items()}
        book._early = dict(self.early)
        for symbol, side, cid in self.protection:
            known, holding = book.orders.get(cid), book.holdings.get((symbol, side), _NOTHING)
            stop_side = holding.closing_side if known is None else known.snapshot.side
            if stop_side is not None:
                book.protection[symbol, side, stop_side] = cid
        book.ended = dict(self.ended)
        book._closing = dict(self.closing)
        return book
