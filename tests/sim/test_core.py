"""The matching and accounting core: Binance's rules, and money that adds up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_hand import BTC, DEPOSIT, Hand

from holdfast.model import OrderStatus
from holdfast.transports.sim.faults import Fault, VenueFaults
from holdfast.transports.sim.records import OrderTicket, VenueEvent
from holdfast.transports.sim.rules import Market, VenueError

D = Decimal


def test_market_order_fills_at_the_last_price_and_pays_the_taker_fee():
    hand = Hand()
    order = hand.place("buy", "0.010")
    assert (order.status, order.filled, order.average_price) == ("filled", D("0.010"), D(50000))
    assert hand.venue.wallet_balance == DEPOSIT - D("0.25")
    assert hand.history() == [("NEW", "open"), ("TRADE", "filled")]
    assert hand.venue.book(BTC).holdings["BOTH"].entry_price == D(50000)


def test_resting_order_fills_at_its_own_price_as_maker():
    hand = Hand()
    order = hand.place("buy", "0.010", "49000")
    assert order.status is OrderStatus.OPEN
    hand.venue.on_price(BTC, D("49000.1"))
    assert order.status is OrderStatus.OPEN
    hand.venue.on_price(BTC, D(48000))
    assert (order.status, order.average_price) == ("filled", D(49000))
    trade = hand.venue.trades(BTC)[0]
    assert trade.maker
    assert trade.fee == D("0.098")


def test_crossing_limit_takes_at_the_better_price():
    order = Hand().place("buy", "0.010", "51000")
    assert (order.status, order.average_price) == ("filled", D(50000))


def test_price_then_time_priority_and_partial_fills():
    hand = Hand()
    early = hand.place("buy", "0.010", "49000")
    late = hand.place("buy", "0.010", "49000")
    best = hand.place("buy", "0.010", "49500")
    hand.venue.on_price(BTC, D(49000), D("0.015"))
    assert [best.filled, early.filled, late.filled] == [D("0.010"), D("0.005"), D(0)]
    assert early.status is OrderStatus.PARTIALLY_FILLED
    hand.venue.on_price(BTC, D(49000), D("0.100"))
    assert [early.status, late.status] == ["filled", "filled"]


def test_thin_market_fills_a_part_and_the_rest_waits_or_expires():
    thin = Market.perpetual("BTC", liquidity=D("0.004"))
    hand = Hand(markets=[thin])
    resting = hand.place("buy", "0.010", "50000")
    assert (resting.status, resting.filled) == ("partially_filled", D("0.004"))
    market = hand.place("buy", "0.010")
    assert (market.status, market.filled) == ("expired", D(0))
    hand.venue.on_price(BTC, D(50001))
    market = hand.place("buy", "0.010")
    assert (market.status, market.filled) == ("expired", D("0.004"))


def test_depth_gives_slippage():
    def depth(market, side, last):
        step = 1 if side == "buy" else -1
        return [(last + step * n, D("0.010")) for n in range(3)]

    hand = Hand(depth=depth)
    assert hand.place("buy", "0.020").average_price == D("50000.5")
    assert hand.place("sell", "0.050").filled == D("0.030")
    assert hand.place("buy", "0.050", "50001").filled == D("0.020")
    assert hand.refused("buy", "0.050", "50001", time_in_force="FOK") == -5021


@pytest.mark.parametrize(
    ("arguments", "more", "code"),
    [
        (("buy", "0.0015"), {}, -1111),
        (("buy", "0"), {}, -4003),
        (("buy", "0.0001"), {}, -4004),
        (("buy", "9000000"), {}, -4005),
        (("buy", "0.010", "50000.07"), {}, -1111),
        (("buy", "0.010", "-1"), {}, -4001),
        (("buy", "0.001"), {}, -4164),
        (("buy", "0.010"), {"client_order_id": "ä"}, -4015),
        (("buy", "0.010"), {"client_order_id": "x" * 37}, -4015),
        (("buy", "0.010"), {"position_side": "LONG"}, -4061),
        (("buy", "0.010"), {"reduce_only": True}, -2022),
        (("buy", "0.010", "50000"), {"time_in_force": "GTX"}, -5022),
        (("buy", "500"), {}, -2019),
    ],
)
def test_refusals_change_nothing(arguments, more, code):
    assert Hand().refused(*arguments, **more) == code


def test_steps_that_are_no_power_of_ten():
    hand = Hand(markets=[Market.perpetual("BTC", price_step="0.5", quantity_step="0.002")])
    assert hand.refused("buy", "0.010", "49000.3") == -4014
    assert hand.refused("buy", "0.011", "49000.5") == -4023


def test_no_market_order_before_a_first_price():
    assert Hand(price=None).refused("buy", "0.010") == -2020


def test_unknown_symbol():
    with pytest.raises(VenueError) as refusal:
        Hand().venue.open_orders("NOPEUSDT")
    assert refusal.value.code == -1121


def test_client_id_is_unique_among_open_orders_only():
    hand = Hand()
    hand.place("buy", "0.010", "49000", client_order_id="once")
    assert hand.refused("sell", "0.020", client_order_id="once") == -4116
    hand.venue.on_price(BTC, D(49000))
    again = hand.place("buy", "0.010", client_order_id="once")
    assert again.status is OrderStatus.FILLED
    assert hand.venue.executions("once") == 2
    assert hand.venue.query(BTC, client_order_id="once") is again


def test_reduce_only_is_clipped_to_the_position():
    hand = Hand()
    hand.place("buy", "0.010")
    order = hand.place("sell", "0.030", reduce_only=True)
    assert (order.status, order.filled) == ("expired", D("0.010"))
    assert hand.position == 0


def test_resting_reduce_only_orders_expire_with_the_position():
    hand = Hand()
    hand.place("buy", "0.010")
    first = hand.place("sell", "0.010", "51000", reduce_only=True)
    second = hand.place("sell", "0.010", "52000", reduce_only=True)
    hand.venue.on_price(BTC, D(53000))
    assert (first.status, second.status) == ("filled", "expired")
    assert hand.position == 0


def test_reduce_only_limit_that_takes_all_never_rests():
    hand = Hand()
    hand.place("buy", "0.010")
    order = hand.place("sell", "0.030", "50000", reduce_only=True)
    assert (order.status, order.filled) == ("expired", D("0.010"))
    assert hand.venue.open_orders() == []


def test_realized_profit_and_average_entry():
    hand = Hand()
    hand.place("buy", "0.010")
    hand.venue.on_price(BTC, D(51000))
    hand.place("buy", "0.010")
    holding = hand.venue.book(BTC).holdings["BOTH"]
    assert holding.entry_price == D(50500)
    hand.venue.on_price(BTC, D(52000))
    hand.place("sell", "0.030")
    assert holding.realized == D(30)
    assert (holding.quantity, holding.entry_price) == (D("-0.010"), D(52000))


def test_time_rule_has_binances_edges():
    hand = Hand()
    now = hand.venue.now_ms()
    hand.venue.check_time(now + 999, 5000)
    hand.venue.check_time(now - 5000, 5000)
    for stamp in (now + 1000, now - 5001):
        with pytest.raises(VenueError) as refusal:
            hand.venue.check_time(stamp, 5000)
        assert refusal.value.code == -1021
    hand.venue.faults.clock_skew_ms = 1500
    with pytest.raises(VenueError):
        hand.venue.check_time(now, 1000)


def test_cancel_and_query_errors():
    hand = Hand()
    order = hand.place("buy", "0.010", "49000", client_order_id="c")
    assert hand.venue.cancel(BTC, client_order_id="c") is order
    assert order.status is OrderStatus.CANCELED
    for method, code in ((hand.venue.cancel, -2011), (hand.venue.query, -2013)):
        with pytest.raises(VenueError) as refusal:
            method(BTC, client_order_id="c" if code == -2011 else "none")
        assert refusal.value.code == code
    assert hand.venue.query(BTC, order_id=order.order_id) is order


def test_query_lag_hides_a_new_order_for_a_while():
    hand = Hand()
    hand.venue.faults.query_lag_ms = 500
    hand.place("buy", "0.010", "49000", client_order_id="late")
    with pytest.raises(VenueError) as refusal:
        hand.venue.query(BTC, client_order_id="late")
    assert refusal.value.code == -2013
    assert hand.venue.open_orders() == []
    hand.sleep_ms(500)
    assert hand.venue.query(BTC, client_order_id="late").status is OrderStatus.OPEN
    assert len(hand.venue.open_orders()) == 1


def test_countdown_cancels_exits_too_unless_renewed():
    hand = Hand()
    hand.place("buy", "0.010")
    entry = hand.place("buy", "0.010", "49000")
    exit_ = hand.place("sell", "0.010", "51000", reduce_only=True)
    hand.venue.countdown_cancel_all(BTC, 1000)
    hand.sleep_ms(900)
    hand.venue.countdown_cancel_all(BTC, 1000)
    hand.sleep_ms(900)
    hand.venue.advance()
    assert entry.status is exit_.status is OrderStatus.OPEN
    hand.sleep_ms(100)
    hand.venue.advance()
    assert entry.status is exit_.status is OrderStatus.CANCELED
    assert not hand.venue.counting_down


def test_hedge_mode_keeps_two_positions():
    hand = Hand(hedge_mode=True)
    hand.place("buy", "0.010", position_side="LONG")
    hand.place("sell", "0.020", position_side="SHORT")
    held = {side: holding.quantity for _, side, holding in hand.venue.positions()}
    assert held == {"LONG": D("0.010"), "SHORT": D("-0.020")}
    assert hand.refused("sell", "0.020", position_side="LONG") == -2022
    assert hand.refused("sell", "0.010") == -4061
    assert hand.refused("sell", "0.010", position_side="LONG", reduce_only=True) == -1106


def test_trades_are_paged_by_id():
    hand = Hand()
    for _ in range(7):
        hand.place("buy", "0.010")
    assert [t.trade_id for t in hand.venue.trades(BTC, limit=3)] == [1, 2, 3]
    assert [t.trade_id for t in hand.venue.trades(BTC, from_id=6, limit=3)] == [6, 7]
    assert hand.venue.trades(BTC, from_id=8) == []


def test_listener_may_trade_while_it_is_told():
    hand = Hand()
    answered = []

    def hedge(event: VenueEvent) -> None:
        if event.execution == "TRADE" and not answered:
            answered.append(hand.place("sell", "0.010"))

    hand.venue.subscribe(hedge)
    hand.place("buy", "0.010")
    assert answered[0].status is OrderStatus.FILLED
    ids = [event.order.order_id for event in hand.events]
    assert ids == sorted(ids)


STEP = D("0.001")
orders = st.tuples(
    st.just("order"),
    st.sampled_from(["buy", "sell"]),
    st.integers(2, 40).map(lambda n: n * STEP),
    st.one_of(st.none(), st.integers(-30, 30).map(lambda n: D(50000) + n * D(100))),
    st.booleans(),
    st.sampled_from(["GTC", "IOC", "GTX", "FOK"]),
    st.integers(0, 5).map(lambda n: f"id{n}"),
)
prices = st.tuples(
    st.just("price"),
    st.integers(-30, 30).map(lambda n: D(50000) + n * D(100)),
    st.one_of(st.none(), st.integers(1, 50).map(lambda n: n * STEP)),
)
amendments = st.tuples(
    st.just("amend"),
    st.integers(0, 5).map(lambda n: f"id{n}"),
    st.sampled_from(["buy", "sell"]),
    st.integers(2, 40).map(lambda n: n * STEP),
    st.integers(-30, 30).map(lambda n: D(50000) + n * D(100)),
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 5).map(lambda n: f"id{n}"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(orders, prices, amendments, cancels), max_size=60), st.booleans())
def test_money_adds_up_and_reduce_only_never_grows(steps, thin):
    market = Market.perpetual("BTC", liquidity=D("0.013") if thin else None)
    hand = Hand(markets=[market])
    held_before = D(0)

    def check(event: VenueEvent) -> None:
        nonlocal held_before
        if event.trade is not None:
            held = held_before + event.trade.fill().signed_quantity
            if event.order.reduce_only:
                assert abs(held) < abs(held_before)
                assert held * held_before >= 0
            held_before = held
        assert event.filled <= event.order.quantity

    hand.venue.subscribe(check)
    for step in steps:
        try:
            match step:
                case ("order", side, quantity, price, reduce_only, tif, cid):
                    hand.venue.place(
                        OrderTicket(
                            symbol=BTC,
                            client_order_id=cid,
                            side=side,
                            quantity=quantity,
                            price=price,
                            reduce_only=reduce_only,
                            time_in_force=tif if price is not None else "GTC",
                        )
                    )
                case ("price", price, quantity):
                    hand.venue.on_price(BTC, price, quantity)
                case ("amend", cid, side, quantity, price):
                    hand.venue.amend(
                        BTC, client_order_id=cid, side=side, quantity=quantity, price=price
                    )
                case ("cancel", cid):
                    hand.venue.cancel(BTC, client_order_id=cid)
        except VenueError:
            pass
        open_ids = [order.client_order_id for order in hand.venue.open_orders()]
        assert len(open_ids) == len(set(open_ids))
        book, resting = hand.venue.book(BTC), hand.venue.open_orders()
        assert book.exits == sum(order.closing for order in resting)
        assert not any(book.spent(order) for order in resting)
        notional = [
            sum(o.remaining * o.price for o in resting if o.side == side and not o.closing)
            for side in ("buy", "sell")
        ]
        assert notional == [book.bid_notional, book.ask_notional]
    trades = hand.venue.trades(BTC, limit=10_000)
    holding = hand.venue.book(BTC).holdings["BOTH"]
    paid = sum((t.fill().signed_quantity * t.price for t in trades), D(0))
    fees = sum((t.fee for t in trades), D(0))
    assert hand.venue.wallet_balance - holding.cost == DEPOSIT - paid - fees
    assert holding.quantity == sum((t.fill().signed_quantity for t in trades), D(0))
    assert hand.venue.wallet_balance == DEPOSIT + holding.realized - fees
    assert [t.trade_id for t in trades] == list(range(1, len(trades) + 1))
    assert sum(order.filled for order in hand.venue.order_log) == sum(t.quantity for t in trades)


kinds = st.sampled_from(["place", "cancel", "query", "snapshot"])


@given(st.lists(st.tuples(kinds, st.integers(1, 3), st.one_of(st.none(), st.integers(0, 20)))))
def test_a_fault_is_shown_as_often_as_it_was_armed(armed):
    faults = VenueFaults()
    for number, (kind, count, until_ms) in enumerate(armed):
        faults.arm(kind, Fault(status=400 + number), count=count, until_ms=until_ms)
    for kind in ("place", "cancel", "query", "snapshot"):
        expected = [
            400 + number
            for number, (of, count, until_ms) in enumerate(armed)
            for _ in range(count)
            if of == kind and (until_ms is None or until_ms > 10)
        ]
        shown = []
        while (fault := faults.take(kind, 10)) is not None:
            shown.append(fault.status)
        assert shown == expected
    assert faults.idle


def test_a_decision_from_outside_is_asked_after_what_is_armed():
    faults = VenueFaults()
    faults.arm("place", Fault.lost_reply())
    faults.decide = lambda kind, now_ms: Fault.lost_request() if now_ms < 5 else None
    assert [faults.take("place", now_ms) for now_ms in (1, 2, 5)] == [
        Fault.lost_reply(),
        Fault.lost_request(),
        None,
    ]
