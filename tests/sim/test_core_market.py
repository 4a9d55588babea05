"""Fills against candles, trades and quotes: what is fair to whom."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from venue_hand import BTC, Hand

from holdfast.transports.sim import slippage
from holdfast.transports.sim.rules import DEFAULT_MARKETS, Market

D = Decimal
MARKET = DEFAULT_MARKETS[0]


# --- candles -------------------------------------------------------------------------


def test_a_stop_inside_a_candle_trades_at_its_trigger():
    hand = Hand()
    hand.place("buy", "0.010")
    stop = hand.keep("STOP_MARKET", "sell", "49000", reduce_only=True)
    hand.candle("50000", "50100", "48000", "49500")
    assert stop.actual is not None
    assert stop.actual.average_price == D(49000)
    assert hand.venue.book(BTC).last == D(49500)


def test_a_stop_that_a_gap_jumps_over_trades_at_the_open():
    hand = Hand()
    hand.place("buy", "0.010")
    stop = hand.keep("STOP_MARKET", "sell", "49000", reduce_only=True)
    hand.candle("48500", "49500", "48000", "49400")
    assert stop.actual is not None
    assert stop.actual.average_price == D(48500)


def test_a_limit_order_that_a_gap_jumps_over_is_filled_at_its_own_price():
    hand = Hand()
    order = hand.place("buy", "0.010", "49000")
    hand.candle("48500", "49500", "48000", "49400")
    assert order.average_price == D(49000)


@pytest.mark.parametrize(
    ("side", "stop", "target"), [("buy", "49000", "51000"), ("sell", "51000", "49000")]
)
def test_of_stop_and_target_in_one_candle_the_stop_is_met(side, stop, target):
    hand = Hand()
    hand.place(side, "0.010")
    closing = "sell" if side == "buy" else "buy"
    lost = hand.keep("STOP_MARKET", closing, stop, None)
    won = hand.keep("TAKE_PROFIT_MARKET", closing, target, None)
    hand.candle("50000", "51500", "48500", "50000")
    assert (lost.status, won.status) == ("FINISHED", "EXPIRED")


def test_the_caller_may_know_better_which_extreme_came_first():
    hand = Hand()
    hand.place("buy", "0.010")
    lost = hand.keep("STOP_MARKET", "sell", "49000", None)
    won = hand.keep("TAKE_PROFIT_MARKET", "sell", "51000", None)
    hand.candle("50000", "51500", "48500", "50000", high_first=True)
    assert (lost.status, won.status) == ("EXPIRED", "FINISHED")


@pytest.mark.parametrize(
    ("kind", "side", "trigger", "stop"),
    [
        ("limit", "buy", "49500", "49000"),
        ("limit", "sell", "50500", "51000"),
        ("STOP_MARKET", "buy", "50500", "49000"),
        ("STOP_MARKET", "sell", "49500", "51000"),
    ],
)
def test_an_entry_is_followed_by_the_way_against_it(kind, side, trigger, stop):
    hand = Hand()
    if kind == "limit":
        hand.place(side, "0.010", trigger)
    else:
        hand.keep(kind, side, trigger)
    closing = "sell" if side == "buy" else "buy"
    protect = hand.keep("STOP_MARKET", closing, stop, reduce_only=True)
    hand.candle("50000", "51500", "48500", "50000")
    assert protect.status == "FINISHED"
    assert hand.position == 0
    trades = hand.venue.trades(BTC)
    assert [trade.price for trade in trades] == [D(trigger), D(stop)]


def test_flat_with_both_sides_waiting_the_nearer_extreme_comes_first():
    hand = Hand()
    hand.place("buy", "0.010", "49500")
    hand.place("sell", "0.010", "50500")
    hand.candle("50000", "50600", "49000", "50000")
    assert [trade.order.side for trade in hand.venue.trades(BTC)] == ["sell", "buy"]


def test_a_triggered_limit_order_is_filled_later_in_the_same_candle():
    hand = Hand()
    order = hand.keep("STOP", "buy", "51000", price="50500")
    hand.candle("50000", "51200", "49900", "50600", high_first=True)
    assert order.actual is not None
    assert (order.actual.average_price, order.status) == (D(50500), "FINISHED")


def test_a_candle_closes_a_trailing_stop_from_its_own_high():
    hand = Hand()
    order = hand.keep("TRAILING_STOP_MARKET", "sell", callback_rate=D(1))
    hand.candle("50000", "52000", "50000", "51600", high_first=True)
    assert order.actual is not None
    assert order.actual.average_price == D(51480)


def test_what_rests_shares_the_volume_of_a_candle():
    hand = Hand()
    near = hand.place("buy", "0.010", "49800")
    far = hand.place("buy", "0.010", "49000")
    hand.candle("50000", "50100", "48000", "49500", volume=D("0.015"))
    assert (near.filled, far.filled) == (D("0.010"), D("0.005"))
    hand.candle("49500", "49500", "48000", "49500")
    assert far.status == "filled"


def test_what_is_no_candle_is_refused_before_anything_moves():
    hand = Hand()
    for prices in (
        ("50000", "49000", "48000", "48500"),
        ("50000", "50100", "49000", "51000"),
        ("50000", "49000", "51000", "50000"),
    ):
        with pytest.raises(ValueError, match="candle"):
            hand.candle(*prices)
    nan = float("nan")
    with pytest.raises(ValueError, match="candle"):
        hand.venue.on_candle(BTC, nan, nan, nan, nan)
    assert hand.venue.book(BTC).last == D(50000)


def test_listeners_hear_of_a_candle_when_it_is_over():
    hand = Hand()
    hand.place("buy", "0.010", "49500")
    prices: list[Decimal | None] = []
    hand.venue.subscribe(lambda event: prices.append(hand.venue.book(BTC).last))
    hand.candle("50000", "50100", "49000", "49900")
    assert prices == [D(49900)]


# --- touch and through -----------------------------------------------------------------


@pytest.mark.parametrize(("rule", "filled"), [("touch", True), ("through", False)])
def test_whether_a_touch_fills(rule, filled):
    hand = Hand(maker_rule=rule)
    bid, ask = hand.place("buy", "0.010", "49000"), hand.place("sell", "0.010", "51000")
    hand.candle("50000", "51000", "49000", "50000")
    assert [bid.status.final, ask.status.final] == [filled, filled]
    hand.candle("50000", "51000.1", "48999.9", "50000")
    assert [bid.status, ask.status] == ["filled", "filled"]
    assert [bid.average_price, ask.average_price] == [D(49000), D(51000)]


# --- trades ----------------------------------------------------------------------------


def test_resting_orders_share_the_quantity_of_a_trade():
    hand = Hand()
    best, next_best = hand.place("buy", "0.010", "49500"), hand.place("buy", "0.010", "49000")
    hand.venue.on_trade(BTC, 48000.0, 0.012)
    assert (best.filled, next_best.filled) == (D("0.010"), D("0.002"))


def test_a_trade_that_hit_the_bids_fills_no_ask_at_its_price():
    hand = Hand()
    ask = hand.place("sell", "0.010", "50100")
    hand.venue.on_trade(BTC, 50100.0, 1.0, seller_took=True)
    assert ask.filled == 0
    hand.venue.on_trade(BTC, 50100.0, 1.0, seller_took=False)
    assert ask.status == "filled"


# --- quotes ----------------------------------------------------------------------------


def quoted(bid: float, ask: float, *sizes: float, **options: object) -> Hand:
    hand = Hand(price=None, **options)
    hand.venue.on_quote(BTC, bid, ask, *sizes)
    return hand


def test_takers_pay_the_spread():
    hand = quoted(49990.0, 50010.0)
    assert hand.place("buy", "0.010").average_price == D(50010)
    assert hand.place("sell", "0.010").average_price == D(49990)
    assert hand.venue.book(BTC).last == D(50000), "in the middle, without a trade"


def test_takers_find_what_is_shown_once():
    hand = quoted(49990.0, 50010.0, 0.004, 0.006)
    first = hand.place("buy", "0.010")
    assert (first.status, first.filled) == ("expired", D("0.006"))
    assert hand.place("buy", "0.010").filled == 0
    assert hand.place("sell", "0.010").filled == D("0.004")
    hand.venue.on_quote(BTC, 49990.0, 50010.0, 0.004, 0.006)
    assert hand.place("buy", "0.010").filled == D("0.006")


def test_inside_the_spread_an_order_rests_and_post_only_is_accepted():
    hand = quoted(49990.0, 50010.0)
    order = hand.place("buy", "0.010", "50000", time_in_force="GTX")
    assert order.status == "open"
    assert hand.refused("buy", "0.010", "50010", time_in_force="GTX") == -5022


@pytest.mark.parametrize("rule", ["touch", "through"])
def test_a_maker_is_filled_when_the_other_side_comes_to_its_price(rule):
    hand = quoted(49990.0, 50010.0, maker_rule=rule)
    order = hand.place("buy", "0.010", "50000")
    hand.venue.on_quote(BTC, 49980.0, 50000.1, 1.0, 1.0)
    assert order.status == "open"
    hand.venue.on_quote(BTC, 49980.0, 50000.0, 1.0, 0.004)
    assert (order.filled, order.average_price) == (D("0.004"), D(50000))
    assert hand.place("buy", "0.010").filled == 0, "it was all that was shown"
    hand.venue.on_quote(BTC, 49980.0, 49990.0, 1.0, 1.0)
    assert (order.status, order.average_price) == ("filled", D(50000))
    assert all(trade.maker for trade in hand.venue.trades(BTC))


def test_the_last_price_is_never_outside_of_the_quote():
    hand = quoted(49990.0, 50010.0)
    stop = hand.keep("STOP_MARKET", "sell", "49900")
    hand.venue.on_quote(BTC, 49890.0, 49910.0)
    assert (hand.venue.book(BTC).last, stop.status) == (D(49910), "NEW")
    hand.venue.on_quote(BTC, 49880.0, 49900.0)
    assert stop.actual is not None
    assert stop.actual.average_price == D(49880)


def test_a_trade_does_not_move_the_quote():
    hand = quoted(49990.0, 50010.0)
    hand.venue.on_trade(BTC, 49985.0, 0.5)
    book = hand.venue.book(BTC)
    assert (book.last, book.bid, book.ask) == (D(49985), D(49990), D(50010))


def test_a_crossed_quote_is_refused():
    hand = quoted(49990.0, 50010.0)
    with pytest.raises(ValueError, match="above the ask"):
        hand.venue.on_quote(BTC, 50010.1, 50010.0)


# --- floats ----------------------------------------------------------------------------


@given(st.integers(1, 10**9), st.sampled_from(["0.1", "0.01", "0.5", "0.0001", "0.25", "10"]))
def test_a_price_read_as_a_float_comes_back_as_it_was_written(ticks, step):
    market = Market.perpetual("BTC", price_step=step)
    exact = ticks * D(step)
    assert market.price(float(str(exact))) == exact
    assert market.price(exact) is exact
    assert market.quantity(float(str(ticks * D("0.001")))) == ticks * D("0.001")


def test_a_decimal_price_at_a_bound_is_not_taken_for_one_inside_of_it():
    hand = Hand(price="50")
    order = hand.place("sell", "10.000", "51.2")
    hand.venue.on_price(BTC, D("51.2"))
    assert order.status == "filled", "51.2 is less than the float 51.2"


def test_a_price_that_is_no_number_is_refused():
    hand = Hand()
    with pytest.raises(ValueError, match="NaN"):
        hand.venue.on_price(BTC, float("nan"))
    assert hand.venue.book(BTC).last == D(50000)


# --- slippage --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "bought", "sold"),
    [
        (slippage.ticks(3), "50000.3", "49999.7"),
        (slippage.fraction(D("0.0001")), "50005", "49995"),
        (slippage.fraction(D("0.0000001")), "50000.1", "49999.9"),
        (slippage.linear(D("0.004")), "50000.08", "49999.92"),
        (slippage.linear(D("0.004"), step=10), "50000.8", "49999.2"),
    ],
)
def test_slippage_is_against_the_taker(depth, bought, sold):
    hand = Hand(depth=depth)
    assert hand.place("buy", "0.010").average_price == D(bought)
    assert hand.place("sell", "0.010").average_price == D(sold)


def test_slippage_comes_on_top_of_the_spread():
    hand = quoted(49990.0, 50010.0, depth=slippage.ticks(1))
    assert hand.place("buy", "0.010").average_price == D("50010.1")


def test_a_limit_order_takes_no_level_beyond_its_price():
    hand = Hand(depth=slippage.linear(D("0.004")))
    order = hand.place("buy", "0.010", "50000.1")
    assert (order.filled, order.status) == (D("0.008"), "partially_filled")


@pytest.mark.parametrize(
    "make",
    [
        lambda: slippage.ticks(-1),
        lambda: slippage.fraction(D(1)),
        lambda: slippage.linear(D(0)),
        lambda: slippage.linear(D(1), step=0),
    ],
)
def test_impossible_slippage_is_refused(make):
    with pytest.raises(ValueError, match=r"count|rate|quantity"):
        make()


def test_no_level_of_a_book_is_at_or_below_zero():
    levels = slippage.linear(D(1))(MARKET, "sell", D("0.3"))
    assert [price for price, _ in levels] == [D("0.3"), D("0.2"), D("0.1")]
    ((lowest, _),) = slippage.fraction(D("0.99"))(MARKET, "sell", D("0.3"))
    assert lowest == D("0.1")
    ((price, _),) = slippage.ticks(5)(MARKET, "sell", D("0.3"))
    assert price == D("0.1")
