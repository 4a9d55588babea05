"""Margin, liquidation, auto-deleveraging and funding, cross and isolated."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from venue_hand import BTC, Hand

from holdfast.transports.sim.book import Book
from holdfast.transports.sim.brackets import BTC_BRACKETS, bracket_of, maintenance, table
from holdfast.transports.sim.ledger import Holding
from holdfast.transports.sim.margin import Pool, guards, liquidation_price
from holdfast.transports.sim.rules import DEFAULT_MARKETS, Market, VenueError

D = Decimal
ETH = "ETH/USDT:USDT"


def refusal_of(act, *args, **more) -> int:
    with pytest.raises(VenueError) as refusal:
        act(*args, **more)
    return refusal.value.code


# --- brackets ----------------------------------------------------------------------


def test_maintenance_amounts_come_out_as_binance_publishes_them():
    assert [bracket.cum for bracket in BTC_BRACKETS] == [
        D(cum)
        for cum in (
            0,
            50,
            950,
            11_450,
            131_450,
            481_450,
            2_981_450,
            14_481_450,
            26_481_450,
            41_481_450,
            121_481_450,
            421_481_450,
        )
    ]


@given(st.integers(1, len(BTC_BRACKETS) - 1))
def test_maintenance_margin_has_no_step_between_brackets(number):
    below, above = BTC_BRACKETS[number - 1 : number + 1]
    assert below.cap == above.floor
    assert maintenance(BTC_BRACKETS, below.cap) == below.cap * above.rate - above.cum
    assert bracket_of(BTC_BRACKETS, below.cap) is below
    assert bracket_of(BTC_BRACKETS, below.cap + 1) is above


@pytest.mark.parametrize(
    "tiers", [[], [(20, "0", "0.01")], [(20, "10", "0.01"), (10, "20", "0.01")]]
)
def test_a_table_that_does_not_ascend_is_refused(tiers):
    with pytest.raises(ValueError, match="brackets"):
        table(tiers)


# --- what is available ---------------------------------------------------------------


def test_one_way_margin_is_for_the_worse_of_bids_and_asks():
    hand = Hand(deposit=D(10_000), maker_fee=D(0), taker_fee=D(0))
    hand.venue.set_leverage(BTC, 10)
    hand.place("buy", "0.100")
    assert hand.venue.available_balance() == 9_500
    hand.place("sell", "0.150", "51000")
    assert hand.venue.available_balance() == 9_500, "it could only become a smaller short"
    hand.place("sell", "0.100", "51000")
    assert hand.venue.available_balance() == 10_000 - D("775")
    hand.place("buy", "0.100", "49000")
    assert hand.venue.available_balance() == 10_000 - D("990")
    hand.price("50500")
    assert hand.venue.available_balance() == 10_000 + 50 - D("995")


def test_hedge_mode_margin_is_the_sum_of_both_sides():
    hand = Hand(deposit=D(10_000), maker_fee=D(0), taker_fee=D(0), hedge_mode=True)
    hand.venue.set_leverage(BTC, 10)
    hand.place("buy", "0.100", position_side="LONG")
    hand.place("sell", "0.100", position_side="SHORT")
    hand.place("buy", "0.100", "49000", position_side="LONG")
    hand.place("sell", "0.050", "51000", position_side="LONG")
    assert hand.venue.available_balance() == 10_000 - 500 - 500 - 490


def test_an_order_is_accepted_up_to_the_last_cent_of_its_cost():
    hand = Hand(deposit=D("502.5"), taker_fee=D("0.0005"))
    hand.venue.set_leverage(BTC, 10)
    assert hand.refused("buy", "0.101") == -2019
    hand.place("buy", "0.100")
    assert hand.venue.available_balance() == 0
    poorer = Hand(deposit=D("502.49"), taker_fee=D("0.0005"))
    poorer.venue.set_leverage(BTC, 10)
    assert poorer.refused("buy", "0.100") == -2019


def test_a_loss_against_the_mark_price_counts_as_cost():
    hand = Hand(deposit=D(1_000), maker_fee=D(0), taker_fee=D(0))
    hand.venue.set_leverage(BTC, 10)
    hand.venue.on_mark(BTC, D(48_000))
    assert hand.refused("buy", "0.150") == -2019, "720 of margin, and 300 of loss"
    hand.place("sell", "0.150")


def test_what_only_reduces_needs_no_margin():
    hand = Hand(deposit=D("502.5"))
    hand.venue.set_leverage(BTC, 10)
    hand.place("buy", "0.100")
    hand.price("49000")
    assert hand.venue.available_balance() < 0
    hand.place("sell", "0.100", "52000", reduce_only=True)
    resting = hand.place("sell", "0.100", "52000")
    assert hand.refused("sell", "0.100") == -2019, "what rests would then open a short"
    hand.venue.cancel(BTC, order_id=resting.order_id)
    hand.place("sell", "0.100")
    assert hand.position == 0


def test_a_position_is_not_larger_than_its_leverage_allows():
    hand = Hand(deposit=D(10**9))
    hand.venue.set_leverage(BTC, 125)
    hand.place("buy", "1.000")
    assert hand.refused("buy", "0.002", "50000") == -2027
    hand.venue.set_leverage(BTC, 100)
    hand.place("buy", "1.000")
    assert refusal_of(hand.venue.set_leverage, BTC, 125) == -2027
    assert hand.venue.book(BTC).leverage == 100


def test_leverage_is_lowered_only_with_margin_enough():
    hand = Hand(deposit=D(600))
    hand.venue.set_leverage(BTC, 10)
    hand.place("buy", "0.100")
    assert refusal_of(hand.venue.set_leverage, BTC, 5) == -2028
    for leverage in (0, 126):
        assert refusal_of(hand.venue.set_leverage, BTC, leverage) == -4028
    hand.venue.set_leverage(BTC, 20)
    assert hand.venue.available_balance() == 600 - D("2.5") - 250


# --- isolated ------------------------------------------------------------------------


def isolated_hand(deposit: str = "1000", **options: object) -> Hand:
    hand = Hand(deposit=D(deposit), maker_fee=D(0), taker_fee=D(0), **options)
    hand.venue.set_isolated(BTC, isolated=True)
    hand.venue.set_leverage(BTC, 10)
    return hand


def test_isolated_margin_moves_in_when_opened_and_out_when_closed():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    account = hand.venue.account
    assert (hand.holding().isolated_wallet, account.cross_wallet) == (500, 500)
    hand.price("51000")
    assert hand.venue.available_balance() == 500, "an isolated profit is no margin of others"
    hand.place("sell", "0.050")
    assert (hand.holding().isolated_wallet, account.cross_wallet) == (250, 800)
    hand.place("sell", "0.100")
    assert (hand.position, hand.holding().isolated_wallet) == (D("-0.050"), 255)
    assert account.cross_wallet == 800 + 250 + 50 - 255
    assert hand.venue.wallet_balance == 1_100


def test_isolated_liquidation_leaves_the_rest_of_the_account_alone():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    far = hand.place("buy", "0.010", "40000")
    price = hand.venue.account.liquidation_price(hand.venue.book(BTC), hand.holding())
    assert price is not None
    assert round(price, 2) == D("45180.72")
    hand.price("45180.8")
    assert hand.position == D("0.100")
    hand.price("45180.7")
    assert hand.position == 0
    assert far.status == "canceled"
    order = hand.venue.order_log[-1]
    assert order.client_order_id.startswith("autoclose-")
    assert (order.average_price, order.forced) == (D("45180.7"), True)
    assert hand.venue.wallet_balance == 500, "18.07 were left, less than the fee of 56.48"
    assert hand.holding().isolated_wallet == 0


def test_isolated_bankruptcy_takes_no_more_than_its_margin():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    hand.price("30000")
    assert hand.position == 0
    order = hand.venue.order_log[-1]
    assert order.average_price == D(45000), "the insurance fund took it over there"
    assert hand.venue.wallet_balance == 500


def test_liquidation_frames():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    hand.heard.clear()
    hand.account_events.clear()
    hand.price("45100")
    assert hand.heard == ["NEW open", "CALCULATED filled"]
    assert [event.reason for event in hand.account_events] == ["ORDER", "INSURANCE_CLEAR"]
    assert hand.account_events[-1].change == -10
    assert [flow.kind for flow in hand.venue.account.flows] == ["INSURANCE_CLEAR"]


def test_margin_can_be_added_and_what_is_spare_taken_back():
    hand = isolated_hand()
    move = hand.venue.move_margin
    assert refusal_of(move, ETH, D(1)) == -4049
    assert refusal_of(move, BTC, D(1)) == -4054
    hand.place("buy", "0.100")
    move(BTC, D(300))
    assert hand.holding().isolated_wallet == 800
    assert refusal_of(move, BTC, D(201)) == -4050
    assert refusal_of(move, BTC, D(-301)) == -4051
    move(BTC, D(-300))
    assert hand.account_events[-1].reason == "MARGIN_TRANSFER"
    assert hand.venue.available_balance() == 500


def test_margin_type_and_mode_change_only_while_nothing_is_open():
    hand = Hand()
    venue = hand.venue
    assert refusal_of(venue.set_isolated, BTC, isolated=False) == -4046
    assert refusal_of(venue.set_hedge_mode, hedge_mode=False) == -4059
    order = hand.place("buy", "0.010", "49000")
    assert refusal_of(venue.set_isolated, BTC, isolated=True) == -4047
    assert refusal_of(venue.set_hedge_mode, hedge_mode=True) == -4067
    venue.cancel(BTC, order_id=order.order_id)
    kept = hand.keep("STOP_MARKET", "sell", "49000")
    assert refusal_of(venue.set_isolated, BTC, isolated=True) == -4047
    venue.cancel_conditional(algo_id=kept.algo_id)
    hand.place("buy", "0.010")
    assert refusal_of(venue.set_isolated, BTC, isolated=True) == -4048
    assert refusal_of(venue.set_hedge_mode, hedge_mode=True) == -4068
    hand.place("sell", "0.010")
    venue.set_isolated(BTC, isolated=True)
    venue.set_hedge_mode(hedge_mode=True)
    assert hand.account_events[-1].reason == "MARGIN_TYPE_CHANGE"


def test_leverage_of_an_isolated_position_only_rises():
    hand = isolated_hand()
    hand.place("buy", "0.010")
    assert refusal_of(hand.venue.set_leverage, BTC, 5) == -4161
    hand.venue.set_leverage(BTC, 20)


# --- cross liquidation ---------------------------------------------------------------


def test_cross_liquidation_happens_at_the_mark_price():
    hand = Hand(deposit=D(1_000), maker_fee=D(0), taker_fee=D(0))
    hand.place("buy", "0.100")
    entry = hand.place("buy", "0.010", "30000")
    hand.venue.on_mark(BTC, D(50000))
    hand.price("41000")
    assert hand.position == D("0.100"), "the last price liquidates nobody"
    hand.venue.on_mark(BTC, D("40160.7"))
    assert hand.position == D("0.100")
    hand.venue.on_mark(BTC, D("40160.6"))
    assert hand.position == 0
    assert entry.status == "canceled"
    order = hand.venue.order_log[-1]
    assert order.average_price == D(41000), "the market's bid, which is better than bankruptcy"
    assert hand.venue.wallet_balance == 1_000 - 900 - D("51.25")


def test_a_negative_balance_is_brought_back_to_zero():
    hand = Hand(deposit=D(1_000), maker_fee=D(0), taker_fee=D(0))
    hand.place("buy", "0.100")
    hand.keep("STOP_MARKET", "sell", "39000", "0.100", reduce_only=True)
    hand.price("30000")
    assert hand.position == 0
    assert hand.venue.wallet_balance == 0
    assert [(flow.kind, flow.amount) for flow in hand.venue.account.flows] == [
        ("INSURANCE_CLEAR", 1_000)
    ]


def test_the_largest_of_several_positions_goes_first_until_margin_suffices():
    brackets = table([(5, "1000000", "0.1")])
    markets = [Market.perpetual(name, brackets=brackets) for name in ("BTC", "ETH")]
    hand = Hand(deposit=D(2_000), maker_fee=D(0), taker_fee=D(0), markets=markets)
    assert hand.venue.book(BTC).leverage == 5, "not Binance's 20, which these brackets forbid"
    hand.venue.on_price(ETH, D(2500))
    hand.place("buy", "0.100")
    hand.place("buy", "0.100", symbol=ETH)
    hand.price("33600")
    assert hand.position == 0
    assert hand.venue.book(ETH).holdings["BOTH"].quantity == D("0.100")
    assert len(hand.venue.order_log) == 3
    assert hand.venue.wallet_balance == 2_000 - 1_640 - 42


def test_other_markets_count_too():
    hand = Hand(deposit=D(1_000), maker_fee=D(0), taker_fee=D(0))
    hand.venue.on_price(ETH, D(2500))
    hand.place("buy", "0.100")
    hand.place("sell", "1.000", symbol=ETH)
    hand.price("45000")
    hand.venue.on_price(ETH, D(2900))
    assert len(hand.venue.order_log) == 2
    hand.venue.on_price(ETH, D(2999))
    assert hand.position == 0
    assert hand.venue.order_log[2].client_order_id.startswith("autoclose-")


def test_hedge_mode_positions_share_the_cross_margin():
    hand = Hand(deposit=D(1_000), maker_fee=D(0), taker_fee=D(0), hedge_mode=True)
    hand.place("buy", "0.100", position_side="LONG")
    hand.place("sell", "0.100", position_side="SHORT")
    hand.price("20000")
    assert len(hand.venue.positions()) == 2, "what one loses the other gains"


def test_a_liquidation_pays_for_its_slippage_up_to_bankruptcy():
    def depth(market, side, best):
        return [(best, D("0.040")), (best - 10, D("0.020")), (best - 10_000, None)]

    hand = isolated_hand(depth=depth)
    hand.place("buy", "0.040")
    hand.place("buy", "0.040")
    hand.price("45150")
    trades = [(trade.price, trade.quantity) for trade in hand.venue.trades(BTC)[2:]]
    assert trades == [
        (D(45150), D("0.040")),
        (D(45140), D("0.020")),
        (D(45000), D("0.020")),
    ]


@given(
    wallet=st.integers(10, 5_000),
    held=st.lists(
        st.tuples(st.integers(-400, 400).filter(bool), st.integers(80, 120)),
        min_size=1,
        max_size=2,
    ),
    brackets=st.sampled_from(
        [BTC_BRACKETS, table([(50, "2000", "0.01"), (20, "10000", "0.025"), (5, "50000", "0.1")])]
    ),
)
def test_liquidation_price_and_guards_agree_with_the_definition(wallet, held, brackets):
    market = Market.perpetual("BTC", brackets=brackets)
    book = Book(market)
    book.note(D(100))
    sides = ("LONG", "SHORT")
    positions = []
    for side, (quantity, entry) in zip(sides, held, strict=False):
        holding = book.holdings[side]  # type: ignore[index]
        holding.quantity, holding.cost = D(quantity), D(quantity * entry)
        positions.append((book, holding))
    pool = Pool(tuple(positions), D(wallet))
    if pool.breached:
        return
    for _, low, high in guards(pool):
        for step in range(1, 40):
            at = D(low) + (D(high) - D(low)) * step / 40
            book.note(max(at, D("0.01")))
            assert not pool.breached
    book.note(D(100))
    price = liquidation_price(pool, book)
    if price is not None:
        size = sum(holding.quantity for _, holding in positions)
        off = D("0.0001") * (-1 if size > 0 else 1)
        book.note(price - off)
        before = pool.breached
        book.note(price + off)
        after = pool.breached
        assert before != after


# --- inside a candle -----------------------------------------------------------------


def test_a_candle_liquidates_where_the_margin_is_used_up():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    hand.candle("50000", "50100", "20000", "49000")
    assert hand.position == 0
    assert hand.venue.order_log[-1].average_price == D("45180.7")
    assert hand.venue.book(BTC).last == D(49000)


def test_a_stop_before_the_liquidation_saves_the_rest():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    hand.keep("STOP_MARKET", "sell", "46000", None)
    hand.candle("50000", "50100", "20000", "49000")
    assert hand.venue.wallet_balance == 600


# --- auto-deleveraging, funding --------------------------------------------------------


def test_deleveraging_closes_at_the_price_of_the_bankrupt_without_a_fee():
    hand = Hand()
    hand.place("sell", "0.010")
    order = hand.place("buy", "0.010", "45000")
    wallet = hand.venue.wallet_balance
    forced = hand.venue.deleverage(BTC, quantity=D("0.004"), price=D(46000))
    assert (forced.client_order_id, forced.average_price) == ("adl_autoclose", D(46000))
    assert order.status == "canceled"
    assert hand.position == D("-0.006")
    assert hand.venue.wallet_balance == wallet + 16
    hand.venue.deleverage(BTC)
    assert hand.position == 0
    assert refusal_of(hand.venue.deleverage, BTC) == -2022


def test_funding_is_paid_by_longs_at_the_mark_price():
    hand = Hand()
    hand.place("buy", "0.010")
    hand.venue.on_mark(BTC, D(51000))
    before = hand.venue.wallet_balance
    hand.venue.on_funding(BTC, D("0.0001"))
    assert hand.venue.wallet_balance == before - D("0.051")
    event = hand.account_events[-1]
    assert (event.reason, event.change, event.positions) == ("FUNDING_FEE", D("-0.051"), ())
    hand.venue.on_funding(BTC, D("-0.0001"))
    assert hand.venue.wallet_balance == before


def test_funding_of_an_isolated_position_names_it_and_takes_its_margin():
    hand = isolated_hand()
    hand.place("sell", "0.100")
    hand.venue.on_funding(BTC, D("-0.001"))
    event = hand.account_events[-1]
    assert [position.isolated_wallet for position in event.positions] == [495]
    assert hand.venue.account.cross_wallet == 500


def test_funding_that_takes_the_last_margin_liquidates():
    hand = isolated_hand()
    hand.place("buy", "0.100")
    hand.venue.on_funding(BTC, D("0.097"))
    assert hand.position == 0


def test_funding_by_the_clock_only_while_a_position_is_open():
    hand = Hand()
    hour = 3_600_000
    hand.venue.set_funding(BTC, D("0.0001"), interval_ms=hour)
    assert not hand.venue.counting_down
    hand.place("buy", "0.010")
    assert hand.venue.counting_down
    start = hand.venue.now_ms()
    assert hand.venue.book(BTC).next_funding_ms == (start // hour + 1) * hour
    hand.sleep_ms(3 * hour)
    hand.price("50000")
    assert len(hand.venue.account.flows) == 3
    hand.place("sell", "0.010")
    assert not hand.venue.counting_down
    with pytest.raises(ValueError, match="interval_ms"):
        hand.venue.set_funding(BTC, D(0), interval_ms=0)


def test_income_is_all_that_changed_the_wallet():
    hand = Hand()
    hand.place("buy", "0.010")
    hand.sleep_ms(1)
    hand.venue.on_funding(BTC, D("0.0001"))
    hand.sleep_ms(1)
    hand.price("51000")
    hand.place("sell", "0.010")
    income = [(flow.number, flow.kind, flow.amount) for flow in hand.venue.income()]
    assert income == [
        (1, "COMMISSION", D("-0.25")),
        (2, "FUNDING_FEE", D("-0.05")),
        (3, "REALIZED_PNL", D(10)),
        (4, "COMMISSION", D("-0.255")),
    ]
    assert DEFAULT_MARKETS[0].liquidation_fee == D("0.0125")


def test_account_event_of_a_trade():
    hand = Hand()
    hand.place("buy", "0.010")
    (event,) = hand.account_events
    (position,) = event.positions
    assert (event.reason, event.change, event.asset) == ("ORDER", 0, "USDT")
    assert (event.wallet, event.cross_wallet) == (D("999999.75"), D("999999.75"))
    assert (position.quantity, position.entry_price) == (D("0.010"), D(50000))
    assert isinstance(hand.holding(), Holding)
