"""What differs between book and venue, one named case for each kind; pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.model import Fill, OrderSnapshot, OrderStatus, Position
from holdfast.reconcile import (
    ALLOWED_RULES,
    DEFAULT_RULES,
    Difference,
    Kind,
    Snapshot,
    View,
    confirmed,
    differences,
    just_traded,
    plan,
    rules_from,
)

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
OURS, THEIRS = "hf-alpha-1-0-1", "web_abc"

VIEW = View(
    symbols=frozenset({BTC}),
    prefix="hf-alpha-",
    positions={},
    orders={},
    in_flight=frozenset(),
    fill_ids=frozenset(),
    known_foreign=frozenset(),
    consented=True,
)
SNAPSHOT = Snapshot((), (), ())


def order(cid: str = OURS, **changes: Any) -> OrderSnapshot:
    base = OrderSnapshot(
        BTC, cid, "77", "buy", Decimal(1), Decimal(60000), Decimal(0), OrderStatus.OPEN
    )
    return replace(base, **changes)


def fill(cid: str = OURS, **changes: Any) -> Fill:
    base = Fill(
        BTC, 10, cid, "77", "buy", Decimal(1), Decimal(60000), Decimal(0), "USDT", time_ms=0
    )
    return replace(base, **changes)


def kinds(view: View, snapshot: Snapshot) -> list[Kind]:
    return [d.kind for d in differences(view, snapshot)]


def held(quantity: str, symbol: str = BTC) -> dict[tuple[str, str], Decimal]:
    return {(symbol, "BOTH"): Decimal(quantity)}


def at_venue(quantity: str, symbol: str = BTC) -> tuple[Position, ...]:
    return (Position(symbol, Decimal(quantity)),)


@pytest.mark.parametrize(
    ("kind", "view", "snapshot"),
    [
        (Kind.ORPHAN_POSITION, {}, {"positions": at_venue("1")}),
        (Kind.PHANTOM_POSITION, {"positions": held("1")}, {}),
        (Kind.SIZE_MISMATCH, {"positions": held("1")}, {"positions": at_venue("1.5")}),
        (Kind.SIDE_FLIP, {"positions": held("1")}, {"positions": at_venue("-1")}),
        (Kind.ORPHAN_ORDER, {}, {"open_orders": (order(),)}),
        (Kind.FOREIGN_ORDER, {"consented": False}, {"open_orders": (order(THEIRS),)}),
        (Kind.MISSING_ORDER, {"orders": {OURS: order()}}, {}),
        (
            Kind.UNPROTECTED_POSITION,
            {"positions": held("1"), "unprotected": {(BTC, "BOTH"): OURS}},
            {"positions": at_venue("1")},
        ),
        (
            Kind.STALE_ORDER,
            {"orders": {OURS: order()}},
            {"open_orders": (order(filled=Decimal("0.5"), status=OrderStatus.PARTIALLY_FILLED),)},
        ),
        (
            Kind.MISSED_FILL,
            {"orders": {OURS: order()}},
            {"fills": (fill(),), "open_orders": (order(),)},
        ),
        (Kind.MISSED_FILL, {"in_flight": frozenset({OURS})}, {"fills": (fill(),)}),
        (Kind.UNEXPECTED_FILL, {}, {"fills": (fill(),)}),
        (Kind.UNKNOWN_OUTCOME, {"unknown": (OURS,)}, {}),
    ],
)
def test_each_kind_is_found_alone_and_told(
    kind: Kind, view: dict[str, Any], snapshot: dict[str, Any]
) -> None:
    found = differences(replace(VIEW, **view), replace(SNAPSHOT, **snapshot))
    assert [d.kind for d in found] == [kind]
    assert kind.value in str(found[0])
    assert "here" in str(found[0])
    assert "at the venue" in str(found[0])


def test_equal_books_differ_in_nothing() -> None:
    view = replace(VIEW, positions=held("1.50"), orders={OURS: order()})
    snapshot = replace(SNAPSHOT, positions=at_venue("1.5"), open_orders=(order(), order(THEIRS)))
    assert kinds(view, snapshot) == []


@pytest.mark.parametrize(
    ("why", "view", "snapshot"),
    [
        ("another symbol's position", {}, {"positions": at_venue("1", ETH)}),
        ("another symbol's holding", {"positions": held("1", ETH)}, {}),
        ("another symbol's order", {}, {"open_orders": (order(symbol=ETH),)}),
        ("another symbol's fill", {}, {"fills": (fill(symbol=ETH),)}),
        ("another hand's order, after the consent", {}, {"open_orders": (order(THEIRS),)}),
        (
            "another hand's order that was named",
            {"consented": False, "known_foreign": frozenset({"77"})},
            {"open_orders": (order(THEIRS),)},
        ),
        ("another hand's fill", {}, {"fills": (fill(THEIRS),)}),
        ("another bot's order", {}, {"open_orders": (order("hf-alphabet-1-0-1"),)}),
        ("a fill counted already", {"fill_ids": frozenset({(BTC, 10)})}, {"fills": (fill(),)}),
        ("a fill of a life before the consent", {"consented": False}, {"fills": (fill(),)}),
        (
            "an order on its way",
            {"in_flight": frozenset({OURS})},
            {"open_orders": (order(),)},
        ),
        (
            "an order that ended and waits for its last fill",
            {"orders": {OURS: order(status=OrderStatus.FILLED)}},
            {},
        ),
        ("a flat position", {"positions": held("0")}, {"positions": at_venue("0")}),
    ],
)
def test_out_of_scope(why: str, view: dict[str, Any], snapshot: dict[str, Any]) -> None:
    assert kinds(replace(VIEW, **view), replace(SNAPSHOT, **snapshot)) == [], why


def test_each_side_of_a_hedged_position_is_compared_by_itself() -> None:
    view = replace(VIEW, positions={(BTC, "LONG"): Decimal(1), (BTC, "SHORT"): Decimal(-1)})
    snapshot = replace(SNAPSHOT, positions=(Position(BTC, Decimal(1), None, "LONG"),))
    (found,) = differences(view, snapshot)
    assert (found.kind, found.position_side) == (Kind.PHANTOM_POSITION, "SHORT")


def test_fills_come_first() -> None:
    """Once they are counted, most position differences are gone."""
    view = replace(VIEW, orders={OURS: order()})
    snapshot = Snapshot(at_venue("1"), (), (fill(),))
    assert kinds(view, snapshot)[0] is Kind.MISSED_FILL


quantities = st.sampled_from([Decimal(q) for q in ("-2", "-1", "0", "1", "1.5")])


@given(
    st.dictionaries(st.tuples(st.sampled_from([BTC, ETH]), st.just("BOTH")), quantities),
    st.dictionaries(st.sampled_from([BTC, ETH]), quantities),
)
def test_positions_are_equal_or_told(
    local: dict[tuple[str, str], Decimal], venue: dict[str, Decimal]
) -> None:
    view = replace(VIEW, symbols=frozenset({BTC, ETH}), positions=local)
    snapshot = replace(SNAPSHOT, positions=tuple(Position(s, q) for s, q in venue.items()))
    told = {d.symbol: d for d in differences(view, snapshot)}
    for symbol in (BTC, ETH):
        here, there = local.get((symbol, "BOTH"), Decimal(0)), venue.get(symbol, Decimal(0))
        assert (symbol in told) is (here != there)
        if here != there:
            assert told[symbol].quantity == there


# --- rules -------------------------------------------------------------------------------


def test_where_money_would_move_a_person_decides() -> None:
    for kind, rule in DEFAULT_RULES.items():
        if "position" in kind or kind in (Kind.SIZE_MISMATCH, Kind.SIDE_FLIP, Kind.ORPHAN_ORDER):
            assert rule == "hold"
    assert set(DEFAULT_RULES) == set(ALLOWED_RULES) == set(Kind)
    assert all(rule in ALLOWED_RULES[kind] for kind, rule in DEFAULT_RULES.items())


def test_rules_are_checked_by_name() -> None:
    assert rules_from({"orphan_order": "cancel"})[Kind.ORPHAN_ORDER] == "cancel"
    with pytest.raises(ValueError, match="no kind of difference"):
        rules_from({"orphan_ordr": "cancel"})
    with pytest.raises(ValueError, match="only"):
        rules_from({"phantom_position": "flatten"})


@pytest.mark.parametrize(
    ("cid", "changes", "waits"),
    [
        (THEIRS, {"time_ms": 750}, True),
        (THEIRS, {"time_ms": 1400}, True),  # the clocks differ by a little
        (THEIRS, {"time_ms": 749}, False),
        (THEIRS, {"time_ms": 900, "symbol": ETH}, False),
        (OURS, {"time_ms": 900}, True),
    ],
)
def test_positions_may_be_of_before_a_trade(cid: str, changes: dict[str, Any], waits: bool) -> None:
    snapshot = replace(SNAPSHOT, fills=(fill(cid, **changes),), wallets_asked_ms=1000)
    assert bool(just_traded(VIEW, snapshot, within_ms=250)) is waits


def test_only_what_was_seen_twice_is_confirmed() -> None:
    one = Difference(Kind.SIZE_MISMATCH, BTC, "1", "2")
    moved = Difference(Kind.SIZE_MISMATCH, BTC, "1", "3")
    other = Difference(Kind.ORPHAN_ORDER, BTC, "not known", "open", client_order_id=OURS)
    assert confirmed([one, other], [moved, other]) == [other]
    assert confirmed([], [one]) == []
    assert confirmed([one], []) == []


def test_a_plan_names_rule_and_difference() -> None:
    one = Difference(Kind.SIZE_MISMATCH, BTC, "1", "2")
    (action,) = plan([one], DEFAULT_RULES)
    assert str(action) == f"hold: size_mismatch {BTC}: here 1, at the venue 2"


def test_a_stop_of_any_hand_protects_a_position() -> None:
    view = replace(VIEW, positions=held("1"), unprotected={(BTC, "BOTH"): OURS})
    stop = order(
        THEIRS, side="sell", reduce_only=True, trigger="stop", trigger_price=Decimal(50000)
    )
    positions = at_venue("1")
    assert kinds(view, Snapshot(positions, (stop,), ())) == []
    resting_exit = replace(stop, trigger=None, trigger_price=None)
    assert kinds(view, Snapshot(positions, (resting_exit,), ())) == [Kind.UNPROTECTED_POSITION]
