"""Stops and take-profits: when they wait, trigger, are refused, and end."""

from __future__ import annotations

from decimal import Decimal

import pytest
from venue_hand import BTC, Hand

from holdfast.model import OrderStatus
from holdfast.transports.sim.conditional import FIRST_ALGO_ID, MAX_WAITING
from holdfast.transports.sim.rules import VenueError

D = Decimal


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "safe", "reaching"),
    [
        ("STOP_MARKET", "sell", "49000", "49000.1", "49000"),
        ("STOP_MARKET", "buy", "51000", "50999.9", "51000"),
        ("TAKE_PROFIT_MARKET", "sell", "51000", "50999.9", "51000"),
        ("TAKE_PROFIT_MARKET", "buy", "49000", "49000.1", "49000"),
    ],
)
def test_triggers_when_the_price_reaches_it(kind, side, trigger, safe, reaching):
    hand = Hand()
    order = hand.keep(kind, side, trigger, client_id="mine")
    assert (order.status, order.algo_id) == ("NEW", FIRST_ALGO_ID)
    hand.price(safe)
    assert order.status == "NEW"
    assert hand.venue.order_log == []
    hand.price(reaching)
    assert order.status == "FINISHED"
    made = order.actual
    assert made is not None
    assert (made.client_order_id, made.type, made.side) == ("mine", "MARKET", side)
    assert (made.status, made.average_price) == ("filled", D(reaching))
    assert made.snapshot().trigger == order.trigger
    assert made.snapshot().trigger_price == D(trigger)
    assert order.snapshot() == made.snapshot()


@pytest.mark.parametrize(
    ("kind", "side", "trigger"),
    [
        ("STOP_MARKET", "sell", "50000"),
        ("STOP_MARKET", "buy", "50000"),
        ("TAKE_PROFIT_MARKET", "sell", "49999"),
        ("TAKE_PROFIT_MARKET", "buy", "50001"),
    ],
)
def test_is_refused_if_it_would_trigger_at_once(kind, side, trigger):
    hand = Hand()
    assert hand.not_kept(kind, side, trigger) == -2021
    assert hand.venue.conditional_log == []


def test_frames_of_a_triggered_market_order_come_as_at_binance():
    hand = Hand()
    hand.keep("STOP_MARKET", "sell", "49000")
    hand.price("48000")
    assert hand.heard == [
        "NEW",
        "TRIGGERING",
        "NEW open",
        "TRADE filled",
        "TRIGGERED",
        "FINISHED",
    ]


def test_stop_limit_rests_after_its_trigger_and_is_finished_with_its_order():
    hand = Hand()
    order = hand.keep("STOP", "buy", "51000", price="50500")
    hand.price("51200")
    assert order.status == "TRIGGERED"
    assert [resting.client_order_id for resting in hand.venue.open_orders()] == [order.client_id]
    assert hand.venue.open_conditional() == []
    hand.price("50500")
    assert order.actual is not None
    assert (order.status, order.actual.average_price) == ("FINISHED", D(50500))
    assert hand.venue.trades(BTC)[0].maker


def test_the_order_made_of_it_is_cancelled_as_any_order():
    hand = Hand()
    order = hand.keep("STOP", "buy", "51000", price="50500")
    hand.price("51200")
    with pytest.raises(VenueError) as refusal:
        hand.venue.cancel_conditional(algo_id=order.algo_id)
    assert refusal.value.code == -2011
    assert order.actual is not None
    hand.venue.cancel(BTC, order_id=order.actual.order_id)
    assert order.status == "FINISHED"


def test_watches_the_mark_price_if_told_so():
    hand = Hand()
    hand.venue.on_mark(BTC, D(50000))
    by_mark = hand.keep("STOP_MARKET", "sell", "49000", trigger_by="mark")
    by_last = hand.keep("STOP_MARKET", "sell", "48000")
    hand.price("48500")
    assert (by_mark.status, by_last.status) == ("NEW", "NEW")
    hand.venue.on_mark(BTC, D(47000))
    assert (by_mark.status, by_last.status) == ("FINISHED", "NEW")
    assert by_mark.actual is not None
    assert by_mark.actual.average_price == D(48500), "it trades at the last price"


def test_the_mark_price_follows_the_last_price_until_it_has_one_of_its_own():
    hand = Hand()
    order = hand.keep("STOP_MARKET", "sell", "49000", trigger_by="mark")
    hand.price("49000")
    assert order.status == "FINISHED"


def test_nearest_first_when_a_jump_reaches_several():
    hand = Hand()
    far = hand.keep("STOP_MARKET", "sell", "48000")
    near = hand.keep("STOP_MARKET", "sell", "49500")
    limit = hand.place("buy", "0.010", "49000")
    hand.price("47000")
    near_made, far_made = near.actual, far.actual
    assert near_made is not None
    assert far_made is not None
    filled = [trade.order for trade in hand.venue.trades(BTC)]
    assert filled == [near_made, limit, far_made]
    assert [order.average_price for order in filled] == [D(47000), D(49000), D(47000)]


def test_no_margin_is_asked_for_before_the_trigger_and_a_refusal_is_told():
    hand = Hand(deposit=D(100))
    order = hand.keep("STOP_MARKET", "buy", "51000", "1.000")
    assert hand.venue.available_balance() == 100
    hand.price("51000")
    assert (order.status, order.reason) == ("REJECTED", "Margin is insufficient.")
    assert order.actual is None
    assert hand.heard[-2:] == ["TRIGGERING", "REJECTED"]
    assert order.snapshot().status is OrderStatus.REJECTED
    assert hand.venue.order_log == []


def test_reduce_only_needs_no_position_to_wait_but_one_to_trade():
    hand = Hand()
    order = hand.keep("STOP_MARKET", "sell", "49000", reduce_only=True)
    hand.price("49000")
    assert (order.status, order.reason) == ("REJECTED", "Reduce Only reject")


def test_reduce_only_is_clipped_to_what_is_held_when_it_triggers():
    hand = Hand()
    hand.place("buy", "0.004")
    order = hand.keep("STOP_MARKET", "sell", "49000", "0.010", reduce_only=True)
    hand.price("49000")
    assert order.actual is not None
    assert (order.actual.status, order.actual.filled) == ("expired", D("0.004"))
    assert order.status == "FINISHED"
    assert hand.position == 0


def test_close_position_takes_all_that_is_held_when_it_triggers():
    hand = Hand()
    hand.place("buy", "0.004")
    order = hand.keep("STOP_MARKET", "sell", "49000", None)
    assert (order.time_in_force, order.quantity) == ("GTE_GTC", None)
    hand.place("buy", "0.008")
    hand.price("49000")
    assert order.actual is not None
    assert (order.actual.quantity, order.actual.reduce_only) == (D("0.012"), True)
    assert hand.position == 0


def test_close_position_ends_with_the_position():
    hand = Hand()
    hand.place("buy", "0.004")
    stop = hand.keep("STOP_MARKET", "sell", "49000", None)
    target = hand.keep("TAKE_PROFIT_MARKET", "sell", "51000", None)
    plain = hand.keep("STOP_MARKET", "sell", "48000", "0.004", reduce_only=True)
    hand.price("51000")
    assert (stop.status, target.status, plain.status) == ("EXPIRED", "FINISHED", "NEW")
    assert stop.snapshot().status is OrderStatus.EXPIRED


def test_close_position_ends_when_the_position_is_turned():
    hand = Hand()
    hand.place("buy", "0.004")
    stop = hand.keep("STOP_MARKET", "sell", "49000", None)
    hand.place("sell", "0.010")
    assert stop.status == "EXPIRED"


def test_gte_gtc_ends_with_the_position_too():
    hand = Hand()
    hand.place("buy", "0.004")
    stop = hand.keep("STOP_MARKET", "sell", "49000", "0.004", time_in_force="GTE_GTC")
    hand.place("sell", "0.004")
    assert stop.status == "EXPIRED"


def test_close_position_in_hedge_mode_closes_its_side():
    hand = Hand(hedge_mode=True)
    hand.place("buy", "0.004", position_side="LONG")
    hand.place("sell", "0.006", position_side="SHORT")
    assert hand.not_kept("STOP_MARKET", "buy", "51000", None, position_side="LONG") == -4509
    hand.keep("STOP_MARKET", "buy", "51000", None, position_side="SHORT")
    hand.price("51000")
    assert (hand.holding("LONG").quantity, hand.holding("SHORT").quantity) == (D("0.004"), 0)


def test_hedge_mode_stop_is_clipped_to_its_position():
    hand = Hand(hedge_mode=True)
    hand.place("buy", "0.004", position_side="LONG")
    order = hand.keep("STOP_MARKET", "sell", "49000", "0.010", position_side="LONG")
    hand.price("49000")
    assert order.actual is not None
    assert (order.actual.quantity, hand.holding("LONG").quantity) == (D("0.004"), 0)


@pytest.mark.parametrize(
    ("arguments", "more", "code"),
    [
        (("STOP_MARKET", "sell"), {}, -1102),
        (("STOP", "sell", "49000"), {}, -1102),
        (("STOP_MARKET", "sell", "49000", "0.010", "48000"), {}, -1106),
        (("STOP_MARKET", "sell", "49000.07"), {}, -1111),
        (("STOP_MARKET", "sell", "49000", "0.0001"), {}, -4004),
        (("STOP_MARKET", "sell", "49000"), {"client_id": "ä"}, -4015),
        (("STOP_MARKET", "sell", "49000"), {"position_side": "LONG"}, -4061),
        (("STOP_MARKET", "sell", "49000", None), {}, -4509),
        (("STOP", "sell", "49000", None, "48000"), {}, -4136),
        (("STOP_MARKET", "sell", "49000", "0.010"), {"close_position": True}, -4137),
        (("STOP_MARKET", "sell", "49000", None), {"reduce_only": True}, -1106),
        (("STOP_MARKET", "sell", "49000"), {"time_in_force": "GTE_GTC"}, -4509),
        (("TRAILING_STOP_MARKET", "sell"), {}, -1102),
        (("TRAILING_STOP_MARKET", "sell"), {"callback_rate": D("0.05")}, -2007),
        (("TRAILING_STOP_MARKET", "sell"), {"callback_rate": D(11)}, -2007),
    ],
)
def test_refusals_change_nothing(arguments, more, code):
    hand = Hand()
    assert hand.not_kept(*arguments, **more) == code
    assert hand.venue.conditional_log == []
    assert hand.heard == []


def test_one_closing_order_of_a_kind():
    hand = Hand()
    hand.place("buy", "0.004")
    hand.keep("STOP_MARKET", "sell", "49000", None)
    assert hand.not_kept("STOP_MARKET", "sell", "48000", None) == -4130
    hand.keep("TAKE_PROFIT_MARKET", "sell", "51000", None)


def test_client_ids_are_a_space_of_their_own_unique_among_those_that_wait():
    hand = Hand()
    hand.place("buy", "0.010", "40000", client_order_id="same")
    first = hand.keep("STOP_MARKET", "sell", "49000", client_id="same")
    assert hand.not_kept("STOP_MARKET", "sell", "48000", client_id="same") == -4116
    hand.venue.cancel_conditional(client_id="same")
    second = hand.keep("STOP_MARKET", "sell", "48000", client_id="same")
    assert hand.venue.query_conditional(client_id="same") is second
    assert hand.venue.query_conditional(algo_id=first.algo_id) is first


def test_an_order_that_can_not_have_its_client_id_is_rejected():
    hand = Hand()
    hand.place("buy", "0.010", "40000", client_order_id="same")
    order = hand.keep("STOP_MARKET", "sell", "49000", client_id="same")
    hand.price("49000")
    assert (order.status, order.reason) == ("REJECTED", "ClientOrderId is duplicated.")


def test_cancelling():
    hand = Hand()
    order = hand.keep("STOP_MARKET", "sell", "49000", client_id="c")
    other = hand.keep("STOP_MARKET", "sell", "48000")
    assert hand.venue.cancel_conditional(client_id="c") is order
    for name in ({"client_id": "c"}, {"client_id": "nobody"}, {"algo_id": 7}):
        with pytest.raises(VenueError) as refusal:
            hand.venue.cancel_conditional(**name)  # type: ignore[arg-type]
        assert refusal.value.code == -2011
    with pytest.raises(VenueError) as refusal:
        hand.venue.query_conditional(client_id="nobody")
    assert refusal.value.code == -2013
    hand.venue.cancel_all_conditional(BTC)
    assert (order.status, other.status) == ("CANCELED", "CANCELED")
    hand.price("40000")
    assert hand.venue.order_log == []


def test_neither_cancel_all_nor_the_countdown_reaches_it():
    hand = Hand()
    order = hand.keep("STOP_MARKET", "sell", "49000")
    hand.venue.countdown_cancel_all(BTC, 1000)
    hand.venue.cancel_all(BTC)
    hand.sleep_ms(1000)
    hand.venue.advance()
    assert order.status == "NEW"


def test_there_are_not_more_than_200():
    hand = Hand()
    for _ in range(MAX_WAITING):
        hand.keep("STOP_MARKET", "sell", "49000")
    assert hand.not_kept("STOP_MARKET", "sell", "49000") == -4045


def test_a_lagging_query_hides_it_for_a_while():
    hand = Hand()
    hand.venue.faults.query_lag_ms = 500
    order = hand.keep("STOP_MARKET", "sell", "49000")
    assert hand.venue.open_conditional() == []
    with pytest.raises(VenueError):
        hand.venue.query_conditional(algo_id=order.algo_id)
    hand.sleep_ms(500)
    assert hand.venue.open_conditional() == [order]


def test_trailing_stop_follows_the_price_and_never_goes_back():
    hand = Hand()
    order = hand.keep("TRAILING_STOP_MARKET", "sell", callback_rate=D(1))
    hand.price("51000")
    hand.price("50490.1")
    assert order.status == "NEW"
    hand.price("50490")
    assert order.status == "FINISHED"
    assert order.actual is not None
    assert order.actual.average_price == D(50490)


def test_trailing_stop_that_buys_is_the_mirror():
    hand = Hand()
    order = hand.keep("TRAILING_STOP_MARKET", "buy", callback_rate=D(2))
    hand.price("49000")
    hand.price("49979.9")
    assert order.status == "NEW"
    hand.price("49980")
    assert order.status == "FINISHED"


def test_trailing_stop_waits_for_its_activation():
    hand = Hand()
    assert (
        hand.not_kept("TRAILING_STOP_MARKET", "sell", callback_rate=D(1), activate_price=D(50000))
        == -2021
    )
    order = hand.keep("TRAILING_STOP_MARKET", "sell", callback_rate=D(1), activate_price=D(51000))
    hand.price("50900")
    hand.price("49000")
    assert order.status == "NEW"
    hand.price("51000")
    hand.price("50490")
    assert order.status == "FINISHED"


def test_conditional_orders_leave_the_price_quiet_in_between():
    hand = Hand()
    hand.keep("STOP_MARKET", "sell", "49000")
    hand.keep("TRAILING_STOP_MARKET", "sell", callback_rate=D(1))
    hand.price("49999")
    book = hand.venue.book(BTC)
    assert (book.quiet_low, book.quiet_high) == (49500.0, 50000.0)
