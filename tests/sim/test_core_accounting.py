"""Whatever happens at the venue, in all four modes: the money adds up to the last digit."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.model import PositionSide
from holdfast.transports.sim import slippage
from holdfast.transports.sim.book import Book
from holdfast.transports.sim.brackets import table
from holdfast.transports.sim.core import SimulatedVenue
from holdfast.transports.sim.ledger import ZERO
from holdfast.transports.sim.moves import Moves
from holdfast.transports.sim.records import (
    ConditionalTicket,
    OrderTicket,
    VenueEvent,
    closing,
)
from holdfast.transports.sim.rules import Market, VenueError

D = Decimal
BRACKETS = table([(50, "2000", "0.01"), (20, "10000", "0.025"), (5, "50000", "0.1")])
"""So small that a few orders cross them."""
MARKETS = [
    Market.perpetual("BTC", min_notional="1", brackets=BRACKETS),
    Market.perpetual("ETH", min_notional="1", price_step="0.01", brackets=BRACKETS),
]
START = {"BTCUSDT": D(1000), "ETHUSDT": D(50)}

names = st.sampled_from(list(START))
sides = st.sampled_from(["buy", "sell"])
sizes = st.integers(1, 60)
moves = st.integers(-120, 120)
"""In thousandths of the start price."""
rarely = st.sampled_from([False, False, False, True])
position_sides = st.sampled_from(["LONG", "SHORT"])
orders = st.tuples(
    st.just("order"),
    names,
    sides,
    sizes,
    st.one_of(st.none(), moves),
    rarely,
    position_sides,
    st.sampled_from(["GTC", "GTC", "IOC", "GTX", "FOK"]),
    st.integers(0, 7),
)
conditionals = st.tuples(
    st.just("conditional"),
    names,
    sides,
    st.one_of(st.none(), sizes),
    moves,
    st.sampled_from(
        ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
    ),
    st.sampled_from(["last", "mark"]),
    st.booleans(),
    position_sides,
    st.integers(0, 7),
)
others = st.one_of(
    st.tuples(st.just("price"), names, moves, st.one_of(st.none(), sizes)),
    st.tuples(st.just("trade"), names, moves, sizes, st.sampled_from([None, True, False])),
    st.tuples(st.just("candle"), names, st.tuples(moves, moves, moves, moves)),
    st.tuples(st.just("quote"), names, moves, st.integers(0, 5), sizes),
    st.tuples(st.just("mark"), names, moves),
    st.tuples(st.just("funding"), names, st.integers(-40, 40), st.one_of(st.none(), moves)),
    st.tuples(st.just("cancel"), names, st.integers(0, 7)),
    st.tuples(st.just("deleverage"), names, position_sides, sizes, moves),
    st.tuples(st.just("leverage"), names, st.sampled_from([1, 2, 5, 10, 20, 50])),
    st.tuples(st.just("margin"), names, position_sides, st.integers(-50, 50)),
    st.tuples(st.just("time"), st.integers(1, 9)),
)
# Orders often: without them there is nothing to look at. (`map` makes strategies of their own,
# which are not taken for one.)
steps = st.one_of(
    *(orders.map(tuple) for _ in range(6)), *(conditionals.map(tuple) for _ in range(3)), others
)
sequences = st.lists(steps, min_size=25, max_size=70)


class Life:
    """One venue through a sequence of steps, looked at after each."""

    def __init__(self, *, hedge_mode: bool, isolated: bool, **options: Any) -> None:
        self.now_ns = 1_700_000_000_000_000_000
        self.hedge_mode = hedge_mode
        self.venue = SimulatedVenue(
            time_ns=lambda: self.now_ns,
            markets=MARKETS,
            deposit=D(300),
            hedge_mode=hedge_mode,
            **options,
        )
        for name, price in START.items():
            if isolated:
                self.venue.set_isolated(name, isolated=True)
            self.venue.on_price(name, price)
        self.venue.set_funding("BTCUSDT", D("0.0003"), interval_ms=3_600_000)
        self.held: dict[tuple[str, PositionSide], Decimal] = {}
        self.venue.subscribe(self._hear)

    def _hear(self, event: VenueEvent) -> None:
        order, trade = event.order, event.trade
        assert event.filled <= order.quantity
        if trade is not None:
            key = (order.market.name, order.position_side)
            before = self.held.get(key, ZERO)
            after = before + trade.fill().signed_quantity
            if order.closing:
                assert abs(after) < abs(before)
                assert after * before >= 0
            if order.position_side != "BOTH":
                assert after >= 0 if order.position_side == "LONG" else after <= 0
            self.held[key] = after

    # --- what is done --------------------------------------------------------------

    def price(self, name: str, move: int) -> Decimal:
        return START[name] * (1000 + move) / 1000

    def do(self, step: tuple[Any, ...]) -> None:
        with contextlib.suppress(VenueError):
            getattr(self, f"_{step[0]}")(*step[1:])
        self.check()

    def _side(self, position_side: PositionSide) -> PositionSide:
        return position_side if self.hedge_mode else "BOTH"

    def _order(self, name, side, size, move, reduce_only, position_side, tif, number) -> None:
        position_side = self._side(position_side)
        reduce_only = reduce_only and not self.hedge_mode
        quantity = D(size) / 100 if name == "BTCUSDT" else D(size) / 5
        reducible = self.venue.book(name).reducible(position_side, side)
        opening = not closing(side, position_side, reduce_only=reduce_only)
        self.venue.place(
            OrderTicket(
                symbol=name,
                client_order_id=f"o{number}",
                side=side,
                quantity=quantity,
                price=None if move is None else self.price(name, move),
                time_in_force=tif if move is not None else "GTC",
                reduce_only=reduce_only,
                position_side=position_side,
            )
        )
        if opening and quantity > reducible:
            assert self.venue.available_balance() >= 0

    def _conditional(
        self, name, side, size, move, kind, by, reduce_only, position_side, number
    ) -> None:
        trailing = kind == "TRAILING_STOP_MARKET"
        quantity = None
        if size is not None:
            quantity = D(size) / 100 if name == "BTCUSDT" else D(size) / 5
        self.venue.place_conditional(
            ConditionalTicket(
                symbol=name,
                client_id=f"c{number}",
                type=kind,
                side=side,
                quantity=quantity,
                close_position=quantity is None,
                price=self.price(name, move) if kind in ("STOP", "TAKE_PROFIT") else None,
                trigger_price=None if trailing else self.price(name, move),
                callback_rate=D("1.5") if trailing else None,
                trigger_by=by,
                reduce_only=reduce_only and quantity is not None and not self.hedge_mode,
                position_side=self._side(position_side),
            )
        )

    def _price(self, name, move, size) -> None:
        quantity = None if size is None else D(size) / 100
        self.venue.on_price(name, float(self.price(name, move)), quantity)
        self.settled()

    def _trade(self, name, move, size, seller_took) -> None:
        self.venue.on_trade(name, self.price(name, move), D(size) / 100, seller_took=seller_took)
        self.settled()

    def _candle(self, name, moved) -> None:
        opened, high, low, close = (self.price(name, move) for move in moved)
        everything = [opened, high, low, close]
        self.venue.on_candle(name, opened, max(everything), min(everything), close)
        self.settled()

    def _quote(self, name, move, ticks, size) -> None:
        bid = self.price(name, move)
        ask = bid + ticks * self.venue.book(name).market.price_step
        self.venue.on_quote(name, bid, ask, D(size) / 100, None)
        self.settled()

    def _mark(self, name, move) -> None:
        self.venue.on_mark(name, self.price(name, move))
        self.settled()

    def _funding(self, name, rate, mark) -> None:
        price = None if mark is None else self.price(name, mark)
        self.venue.on_funding(name, D(rate) / 1000, price)

    def _cancel(self, name, number) -> None:
        try:
            self.venue.cancel(name, client_order_id=f"o{number}")
        except VenueError:
            self.venue.cancel_conditional(client_id=f"c{number}")

    def _deleverage(self, name, position_side, size, move) -> None:
        self.venue.deleverage(
            name,
            quantity=D(size) / 100,
            price=self.price(name, move),
            position_side=self._side(position_side),
        )

    def _leverage(self, name, leverage) -> None:
        self.venue.set_leverage(name, leverage)

    def _margin(self, name, position_side, amount) -> None:
        self.venue.move_margin(name, D(amount), position_side=self._side(position_side))

    def _time(self, hours) -> None:
        self.now_ns += hours * 600_000_000_000
        self.venue.advance()

    # --- what must hold ------------------------------------------------------------

    def settled(self) -> None:
        """After a price: nothing that should have been liquidated is left, nobody owes."""
        for pool in self.venue.account.pools():
            assert not pool.breached
        if not self.venue.positions():
            assert self.venue.wallet_balance >= 0

    def check(self) -> None:
        venue, account = self.venue, self.venue.account
        trades = [trade for book in venue.books.values() for trade in book.trades]
        holdings = [(b, s, h) for b in venue.books.values() for s, h in b.holdings.items()]
        flows = sum((flow.amount for flow in account.flows), ZERO)
        fees = sum((trade.fee for trade in trades), ZERO)
        paid = sum((t.fill().signed_quantity * t.price for t in trades), ZERO)
        costs = sum((holding.cost for _, _, holding in holdings), ZERO)
        assert venue.wallet_balance - costs == account.deposit - paid - fees + flows
        realized = sum((trade.realized for trade in trades), ZERO)
        assert venue.wallet_balance == account.deposit + realized - fees + flows
        assert sum((flow.amount for flow in venue.income()), account.deposit) == (
            venue.wallet_balance
        )
        for book, side, holding in holdings:
            traded = [t for t in book.trades if t.order.position_side == side]
            assert holding.quantity == sum((t.fill().signed_quantity for t in traded), ZERO)
            assert holding.isolated_wallet >= 0
            assert not (holding.isolated_wallet and not holding.quantity)
        isolated = sum((holding.isolated_wallet for _, _, holding in holdings), ZERO)
        assert account.cross_wallet == venue.wallet_balance - isolated
        for book in venue.books.values():
            assert [t.trade_id for t in book.trades] == list(range(1, len(book.trades) + 1))
            for entries, counted in (
                (book.bids, book.bid_notional),
                (book.asks, book.ask_notional),
            ):
                resting = [e[2] for e in entries if not e[2].closing]
                assert counted == sum((o.remaining * (o.price or ZERO) for o in resting), ZERO)
        open_ids = [order.client_order_id for order in venue.open_orders()]
        assert len(open_ids) == len(set(open_ids))
        waiting = [order.client_id for order in venue.open_conditional()]
        assert len(waiting) == len(set(waiting))
        assert sum(o.filled for o in venue.order_log) == sum(t.quantity for t in trades)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"maker_rule": "through"},
    {"depth": slippage.linear(D("0.05"))},
]
modes = pytest.mark.parametrize(
    ("hedge_mode", "isolated"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["one-way cross", "one-way isolated", "hedge cross", "hedge isolated"],
)


@modes
@settings(max_examples=40, deadline=None)
@given(sequences, st.sampled_from(OPTIONS))
def test_money_adds_up_and_margin_holds(hedge_mode, isolated, sequence, options):
    life = Life(hedge_mode=hedge_mode, isolated=isolated, **options)
    for step in sequence:
        life.do(step)


class LookingMoves(Moves):
    """Never takes the short way."""

    def quiet(self, book: Book, low: object, high: object) -> bool:
        return False


@modes
@settings(max_examples=25, deadline=None)
@given(sequences, st.sampled_from(OPTIONS))
def test_the_short_way_of_quiet_prices_changes_nothing(hedge_mode, isolated, sequence, options):
    lives = [Life(hedge_mode=hedge_mode, isolated=isolated, **options) for _ in range(2)]
    lives[1].venue._moves.__class__ = LookingMoves
    for step in sequence:
        for life in lives:
            life.do(step)
        for book in lives[1].venue.books.values():
            book.disturb()
    assert story(lives[0].venue) == story(lives[1].venue)


def story(venue: SimulatedVenue) -> list[object]:
    """All that an observer can tell."""
    return [
        venue.wallet_balance,
        venue.available_balance(),
        [(o.client_order_id[:9], o.status, o.filled, o.cost) for o in venue.order_log],
        [(c.client_id, c.status, c.reason, c.triggered_ms) for c in venue.conditional_log],
        [(book.last, book.mark, book.bid, book.ask) for book in venue.books.values()],
    ]
