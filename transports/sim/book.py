"""One market of the venue: its prices, what waits for them, the positions in it.

Market data comes as it was recorded, mostly as floats, and most of it changes nothing:
`quiet_low` and `quiet_high` are the ends of the interval in which no price can fill,
trigger or liquidate anything, so a price inside it is noted and nothing is computed. It
becomes a `Decimal` when somebody asks for it. Both sides of the comparison must be floats:
rounding is monotonic, so a price that reaches a bound never lies strictly inside of it (an
exact 51.2 lies below the float 51.2).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from holdfast.model import PositionSide, Side, TriggerBy

from .brackets import max_notional
from .ledger import ZERO, Holding
from .records import Trade, VenueOrder
from .rules import Market
from .triggers import Triggers

DEFAULT_LEVERAGE: Final = 20
"""Binance's, for a symbol nobody has set."""
FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
"""Binance's usual one."""

POSITION_SIDES: Final[tuple[PositionSide, ...]] = ("BOTH", "LONG", "SHORT")
INFINITE: Final = float("inf")

Resting = tuple[Decimal, int, VenueOrder]


@dataclass(slots=True, eq=False)
class Book:
    """Everything the venue knows of one market.

    Prices are None until the first one came. Without quotes the last price is also the best
    bid and the best ask; without a mark price of its own it is also the mark price.

    :ivar bid_notional, ask_notional: of the resting orders that could grow a position.
    :ivar exits: how many of the resting orders may only reduce one.
    :ivar isolated: whether positions have their own margin.
    :ivar next_funding_ms: when the funding fee is due, while there is a schedule and a position.
    :ivar guard_low, guard_high: where the margin has to be looked at, at the latest.
    """

    market: Market
    isolated: bool = False
    bids: list[Resting] = field(default_factory=list)
    asks: list[Resting] = field(default_factory=list)
    bid_notional: Decimal = ZERO
    ask_notional: Decimal = ZERO
    exits: int = 0
    triggers: dict[TriggerBy, Triggers] = field(
        default_factory=lambda: {"last": Triggers(), "mark": Triggers()}
    )
    trades: list[Trade] = field(default_factory=list)
    holdings: dict[PositionSide, Holding] = field(
        default_factory=lambda: {side: Holding() for side in POSITION_SIDES}
    )
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    """Latest order of each client id."""
    countdown_ms: int | None = None
    """Venue time at which `countdownCancelAll` strikes."""
    funding_rate: Decimal | None = None
    funding_interval_ms: int = FUNDING_INTERVAL_MS
    next_funding_ms: int | None = None
    quiet_low: float = INFINITE
    quiet_high: float = -INFINITE
    guard_low: float = -INFINITE
    guard_high: float = INFINITE
    quoted: bool = False
    max_notional: Decimal = ZERO
    _leverage: int = DEFAULT_LEVERAGE
    recorded: Decimal | float | None = None
    """The last price as it came."""
    _mark: Decimal | None = None
    _bid: Decimal | float | None = None
    _ask: Decimal | float | None = None
    _left: dict[Side, Decimal | float | None] = field(default_factory=dict)
    _queued: int = 0

    def __post_init__(self) -> None:
        self.leverage = min(DEFAULT_LEVERAGE, self.market.brackets[0].max_leverage)
        self.refill()

    # --- prices --------------------------------------------------------------------

    @property
    def last(self) -> Decimal | None:
        price = self.recorded
        if price is None or type(price) is Decimal:
            return price
        self.recorded = exact = self.market.price(price)
        return exact

    @property
    def mark(self) -> Decimal | None:
        return self.last if self._mark is None else self._mark

    @property
    def mark_follows(self) -> bool:
        """Whether the mark price is the last price."""
        return self._mark is None

    @property
    def bid(self) -> Decimal | None:
        """What a seller gets."""
        price = self._bid
        return self.last if price is None else self.market.price(price)

    @property
    def ask(self) -> Decimal | None:
        """What a buyer pays."""
        price = self._ask
        return self.last if price is None else self.market.price(price)

    def best(self, side: Side) -> Decimal | None:
        """Where an order of that side takes."""
        return self.ask if side == "buy" else self.bid

    def note(self, price: Decimal | float) -> None:
        """A last price that changes nothing."""
        self.recorded = price
        if self.market.liquidity is not None and not self.quoted:
            self.refill()

    def note_quote(
        self,
        bid: Decimal | float,
        ask: Decimal | float,
        bid_quantity: Decimal | float | None,
        ask_quantity: Decimal | float | None,
    ) -> None:
        """Best prices that change nothing else."""
        self.quoted = True
        self._bid, self._ask = bid, ask
        self._left["sell"], self._left["buy"] = bid_quantity, ask_quantity

    def note_mark(self, price: Decimal) -> None:
        """From now on the mark price is one of its own."""
        self._mark = price

    # --- what takers find ----------------------------------------------------------

    def refill(self) -> None:
        """A new price brings new quantity on both sides."""
        self._left["buy"] = self._left["sell"] = self.market.liquidity

    def liquidity(self, side: Side) -> Decimal | None:
        """Base units that a taker of that side finds at the best price; None: without bound."""
        left = self._left[side]
        return None if left is None else self.market.quantity(left)

    def consume(self, side: Side, quantity: Decimal) -> None:
        """A taker of that side took so much."""
        left = self.liquidity(side)
        if left is not None:
            self._left[side] = left - quantity

    # --- leverage ------------------------------------------------------------------

    @property
    def leverage(self) -> int:
        return self._leverage

    @leverage.setter
    def leverage(self, leverage: int) -> None:
        self._leverage = leverage
        self.max_notional = max_notional(self.market.brackets, leverage)

    # --- orders that wait ----------------------------------------------------------

    def resting(self) -> list[VenueOrder]:
        """All orders that wait in the book, a copy."""
        return [entry[2] for entry in self.bids] + [entry[2] for entry in self.asks]

    def rest(self, order: VenueOrder) -> None:
        """Queue a limit order: best price first, then who has waited longest."""
        self._queued += 1
        order.place_in_queue = self._queued
        self.put_back(order)

    def put_back(self, order: VenueOrder) -> None:
        """Queue a limit order in the place that it had."""
        insort(self._queue(order), (_rank(order), order.place_in_queue, order))
        self.exits += order.closing
        self._count(order, order.remaining)
        self.disturb()

    def remove(self, order: VenueOrder) -> None:
        """Take an order out of its queue, if it is there."""
        if order.price is None:
            return
        queue = self._queue(order)
        index = bisect_left(queue, (_rank(order), order.place_in_queue))
        if index < len(queue) and queue[index][2] is order:
            del queue[index]
            self.exits -= order.closing
            self._count(order, -order.remaining)
            self.disturb()

    def reduced(self, order: VenueOrder, quantity: Decimal) -> None:
        """A resting order is about to be filled by so much."""
        self._count(order, -quantity)

    def reducible(self, position_side: PositionSide, side: Side) -> Decimal:
        """How much an order of that side could take off the position."""
        held = self.holdings[position_side].quantity
        return max(ZERO, -held if side == "buy" else held)

    def spent(self, order: VenueOrder) -> bool:
        """Whether it may only reduce, and nothing is left to reduce."""
        return order.closing and not self.reducible(order.position_side, order.side)

    @property
    def held(self) -> bool:
        """Whether any position is not flat."""
        holdings = self.holdings
        return bool(
            holdings["BOTH"].quantity or holdings["LONG"].quantity or holdings["SHORT"].quantity
        )

    # --- what must be looked at ----------------------------------------------------

    def disturb(self) -> None:
        """The next price is looked at, whatever it is."""
        self.quiet_low = INFINITE

    @property
    def disturbed(self) -> bool:
        return self.quiet_low == INFINITE

    def refresh_quiet(self) -> None:
        """Find anew the interval in which prices change nothing (the guards are given)."""
        low = float(-self.bids[0][0]) if self.bids else -INFINITE
        high = float(self.asks[0][0]) if self.asks else INFINITE
        if triggers := self.triggers["last"]:
            low, high = triggers.quiet(low, high)
        if self._mark is None:
            if triggers := self.triggers["mark"]:
                low, high = triggers.quiet(low, high)
            low, high = max(low, self.guard_low), min(high, self.guard_high)
        self.quiet_low, self.quiet_high = low, high

    def _count(self, order: VenueOrder, quantity: Decimal) -> None:
        if order.closing:
            return
        assert order.price is not None
        if order.side == "buy":
            self.bid_notional += quantity * order.price
        else:
            self.ask_notional += quantity * order.price

    def _queue(self, order: VenueOrder) -> list[Resting]:
        return self.bids if order.side == "buy" else self.asks


def _rank(order: VenueOrder) -> Decimal:
    """What queues are sorted by: ascending is best first on both sides."""
    assert order.price is not None
    return -order.price if order.side == "buy" else order.price


def crosses(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Whether an order with that limit trades at that price."""
    return price <= limit if side == "buy" else price >= limit
