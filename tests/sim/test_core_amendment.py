"""Orders that are amended: what they become, and what stays as it was."""

from __future__ import annotations

from decimal import Decimal

import pytest
from venue_hand import BTC, Hand

from holdfast.model import OrderStatus, Side
from holdfast.transports.sim.amendment import MAX_AMENDMENTS
from holdfast.transports.sim.records import VenueOrder
from holdfast.transports.sim.rules import VenueError

D = Decimal


def amend(hand: Hand, order: VenueOrder, quantity: str, price: str, **more: bool) -> VenueOrder:
    side: Side = order.side
    number = order.order_id
    return hand.venue.amend(
        BTC, side=side, quantity=D(quantity), price=D(price), order_id=number, **more
    )


def refused(hand: Hand, order: VenueOrder, quantity: str, price: str, **more: bool) -> int:
    book = hand.venue.book(BTC)
    before = (list(book.bids), list(book.asks), book.bid_notional, book.ask_notional)
    terms = (order.quantity, order.price, order.status, order.amendments)
    heard = len(hand.heard)
    with pytest.raises(VenueError) as refusal:
        amend(hand, order, quantity, price, **more)
    assert before == (list(book.bids), list(book.asks), book.bid_notional, book.ask_notional)
    assert terms == (order.quantity, order.price, order.status, order.amendments)
    assert len(hand.heard) == heard
    return refusal.value.code


def test_it_keeps_its_number_and_loses_its_place():
    hand = Hand()
    first, second = (hand.place("buy", "0.010", "49000") for _ in range(2))
    number = first.order_id
    assert amend(hand, first, "0.020", "49000") is first
    assert (first.order_id, first.quantity, first.status) == (number, D("0.020"), OrderStatus.OPEN)
    assert first.amendments == 1
    assert hand.venue.book(BTC).bid_notional == D("0.030") * 49000
    hand.venue.on_price(BTC, D(49000), D("0.010"))
    assert [first.filled, second.filled] == [0, D("0.010")]
    hand.venue.on_price(BTC, D(49000))
    assert (first.status, first.filled) == (OrderStatus.FILLED, D("0.020"))
    assert hand.venue.book(BTC).bid_notional == 0
    assert hand.heard[:3] == ["NEW open", "NEW open", "AMENDMENT open"]


def test_one_that_crosses_now_takes():
    hand = Hand()
    order = hand.place("buy", "0.010", "49000")
    amend(hand, order, "0.010", "50000.1")
    assert (order.status, order.average_price) == (OrderStatus.FILLED, D(50000))
    assert not hand.venue.trades(BTC)[0].maker
    assert hand.heard == ["NEW open", "AMENDMENT open", "TRADE filled"]
    assert not hand.venue.open_orders()


def test_what_was_filled_counts():
    hand = Hand()
    order = hand.place("buy", "0.010", "49000")
    hand.venue.on_price(BTC, D(49000), D("0.004"))
    amend(hand, order, "0.006", "48000")
    assert (order.status, order.remaining) == (OrderStatus.PARTIALLY_FILLED, D("0.002"))
    assert hand.venue.book(BTC).bid_notional == D("0.002") * 48000
    amend(hand, order, "0.004", "48000")
    assert (order.status, order.filled) == (OrderStatus.CANCELED, D("0.004"))
    assert hand.venue.book(BTC).bid_notional == 0
    with pytest.raises(VenueError) as refusal:
        amend(hand, order, "0.020", "48000")
    assert refusal.value.code == -2013


def test_a_post_only_order_that_would_take_is_cancelled():
    hand = Hand()
    order = hand.place("sell", "0.010", "51000", time_in_force="GTX")
    amend(hand, order, "0.010", "50500")
    assert (order.status, order.price) == (OrderStatus.OPEN, D(50500))
    amend(hand, order, "0.010", "50000")
    assert (order.status, order.price) == (OrderStatus.CANCELED, D(50500))
    assert not hand.venue.trades(BTC)


def test_a_refusal_leaves_it_where_it_stood():
    hand = Hand()
    order, later = hand.place("buy", "0.010", "49000"), hand.place("buy", "0.010", "49000")
    assert refused(hand, order, "0.010", "49000") == -5027
    assert refused(hand, order, "0.001", "49000") == -5029
    assert refused(hand, order, "0.0105", "49000") == -1111
    assert refused(hand, order, "0.010", "49000.05") == -1111
    assert refused(hand, order, "900", "49000") == -2019
    order.amendments = MAX_AMENDMENTS
    assert refused(hand, order, "0.020", "49000") == -5026
    hand.venue.on_price(BTC, D(49000), D("0.010"))
    assert [order.status, later.status] == [OrderStatus.FILLED, OrderStatus.OPEN]


def test_an_exit_in_hedge_mode_is_no_larger_than_what_is_held():
    hand = Hand(hedge_mode=True)
    hand.place("buy", "0.010", position_side="LONG")
    leaving = hand.place("sell", "0.005", "51000", position_side="LONG")
    assert refused(hand, leaving, "0.011", "51000") == -2022
    assert amend(hand, leaving, "0.010", "51000").quantity == D("0.010")


def test_only_an_order_known_as_reduce_only_may_become_small():
    hand = Hand()
    hand.place("buy", "0.010")
    leaving, other = (
        hand.place("sell", "0.005", "51000", reduce_only=flag) for flag in (True, False)
    )
    assert refused(hand, leaving, "0.001", "51000") == -5029
    assert refused(hand, other, "0.001", "51000", reduce_only=True) == -5047
    assert amend(hand, leaving, "0.001", "51000", reduce_only=True).quantity == D("0.001")
