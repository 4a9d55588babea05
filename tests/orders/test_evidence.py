"""What replies and silence prove: absence of proof is never proof of absence."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.evidence import (
    Next,
    absence_countable_from_ms,
    absence_proven,
    decide,
    mismatch,
)
from holdfast.intent import Attempt
from holdfast.model import Order, OrderSnapshot, OrderStatus, OutcomeKind, PlaceOutcome

BTC = "BTC/USDT:USDT"
BACKOFF = (1.0, 2.0, 4.0)

attempts = st.lists(
    st.builds(Attempt, st.integers(0, 100_000), st.integers(100, 60_000)), min_size=1, max_size=5
)
denials = st.lists(st.integers(0, 300_000), max_size=30)


@given(attempts, denials, st.integers(0, 5000), st.integers(2, 5), st.integers(0, 2000))
def test_absence_needs_answers_apart_after_every_attempt_has_expired(
    made: list[Attempt], denied: list[int], margin_ms: int, needed: int, spacing_ms: int
) -> None:
    proven = absence_proven(made, denied, margin_ms=margin_ms, needed=needed, spacing_ms=spacing_ms)
    last_possible = max(a.timestamp_ms + a.recv_window_ms for a in made) + margin_ms
    counting = sorted(d for d in denied if d > last_possible)
    if not proven:
        # Then there is no way to pick so many answers: try the greedy one.
        picked: list[int] = []
        for moment in counting:
            if not picked or moment - picked[-1] >= spacing_ms:
                picked.append(moment)
        assert len(picked) < needed
    else:
        assert len(counting) >= needed
        assert counting[-1] - counting[0] >= spacing_ms * (needed - 1)
    assert absence_countable_from_ms(made, margin_ms=margin_ms) == last_possible + 1


def test_in_the_last_millisecond_of_its_window_an_attempt_may_still_be_accepted() -> None:
    made = [Attempt(1000, 2000)]
    known = {"margin_ms": 0, "needed": 2, "spacing_ms": 250}
    assert not absence_proven(made, [3000, 3250], **known)
    assert absence_proven(made, [3001, 3251], **known)
    assert not absence_proven(made, [3001], **known)


@given(attempts, denials)
def test_answers_from_before_prove_nothing_however_many(
    made: list[Attempt], denied: list[int]
) -> None:
    countable = absence_countable_from_ms(made, margin_ms=500)
    early = [d for d in denied if d < countable] * 50
    assert not absence_proven(made, early, margin_ms=500, needed=2, spacing_ms=0)


def test_one_moment_is_one_answer() -> None:
    made = [Attempt(0, 2000)]
    assert not absence_proven(made, [3000] * 9, margin_ms=500, needed=2, spacing_ms=250)
    assert absence_proven(made, [3000, 3250], margin_ms=500, needed=2, spacing_ms=250)


def test_a_later_attempt_makes_it_unproven_again() -> None:
    denied = [3000, 3250]
    made = [Attempt(0, 2000), Attempt(3300, 2000)]
    assert not absence_proven(made, denied, margin_ms=500, needed=2, spacing_ms=250)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (OutcomeKind.ACCEPTED, Next.DONE),
        (OutcomeKind.NOT_EXECUTED, Next.SEND_AGAIN),
        (OutcomeKind.UNKNOWN, Next.ASK),
        (OutcomeKind.REJECTED, Next.REJECT),
        (OutcomeKind.EXISTS, Next.ASK),
        (OutcomeKind.THROTTLED, Next.SEND_AGAIN),
        (OutcomeKind.BANNED, Next.HALT),
        (OutcomeKind.AUTH, Next.HALT),
        (OutcomeKind.CLOCK, Next.SEND_AGAIN),
    ],
)
def test_what_follows_from_each_class(kind: OutcomeKind, expected: Next) -> None:
    decision = decide(PlaceOutcome(kind, "why"), attempts=1, backoff_seconds=BACKOFF, jitter=0.0)
    assert decision.next is expected
    assert decision.resync_clock is (kind is OutcomeKind.CLOCK)


def test_every_class_is_decided() -> None:
    for kind in OutcomeKind:
        decide(PlaceOutcome(kind), attempts=1, backoff_seconds=BACKOFF, jitter=0.0)


def test_a_class_of_the_future_is_unknown() -> None:
    outcome = PlaceOutcome("perhaps")  # type: ignore[arg-type]
    assert decide(outcome, attempts=1, backoff_seconds=BACKOFF, jitter=0.0).next is Next.ASK


@given(st.integers(1, 10), st.floats(-1, 1), st.none() | st.floats(0, 100))
def test_waits_grow_as_set_and_end(number: int, jitter: float, retry_after: float | None) -> None:
    outcome = PlaceOutcome(OutcomeKind.NOT_EXECUTED, retry_after_seconds=retry_after)
    decision = decide(outcome, attempts=number, backoff_seconds=BACKOFF, jitter=jitter)
    if number > len(BACKOFF):
        assert decision.next is Next.GIVE_UP
    else:
        assert decision.next is Next.SEND_AGAIN
        assert decision.wait_seconds == max(BACKOFF[number - 1] * (1 + jitter), retry_after or 0.0)


ORDER = Order(BTC, "buy", "0.010", price="64000")
FOUND = OrderSnapshot(
    BTC, "cid", "1", "buy", Decimal("0.01"), Decimal("64000.0"), Decimal(0), OrderStatus.OPEN
)


def test_the_same_order_written_otherwise_is_the_same() -> None:
    assert mismatch(ORDER, FOUND) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbol", "ETH/USDT:USDT"),
        ("side", "sell"),
        ("quantity", Decimal("0.011")),
        ("price", Decimal("64000.1")),
        ("price", None),
        ("reduce_only", True),
        ("position_side", "LONG"),
    ],
)
def test_any_difference_makes_it_another_order(field: str, value: object) -> None:
    from msgspec.structs import replace

    why = mismatch(ORDER, replace(FOUND, **{field: value}))
    assert why is not None
    assert why.startswith(field.replace("position_side", "position side"))


def test_in_hedge_mode_the_side_says_that_an_order_only_reduces() -> None:
    """The venue is not sent `reduceOnly` there, and does not tell it back."""
    from msgspec.structs import replace

    close = Order(BTC, "sell", "0.010", "64000", position_side="LONG", reduce_only=True)
    found = replace(FOUND, side="sell", position_side="LONG", reduce_only=False)
    assert mismatch(close, found) is None
    short = replace(found, position_side="SHORT")
    assert mismatch(close, short) == "position side SHORT, meant LONG"


def test_the_price_of_a_market_order_is_the_venues_affair() -> None:
    market = Order(BTC, "buy", "0.010")
    assert mismatch(market, FOUND) is None


@pytest.mark.parametrize(
    ("closes", "quantity", "same"),
    [(True, "0.004", True), (True, "0.011", False), (False, "0.004", False)],
)
def test_a_stop_that_closes_may_be_cut_to_what_was_held_when_it_was_triggered(
    closes: bool, quantity: str, same: bool
) -> None:
    """Taken for another order, one that was executed would be told as rejected."""
    side = "LONG" if closes else "SHORT"
    stop = Order(BTC, "sell", "0.010", trigger="stop", trigger_price="60000", position_side=side)
    found = msgspec.structs.replace(
        FOUND,
        side="sell",
        quantity=Decimal(quantity),
        price=None,
        position_side=side,
        trigger="stop",
        trigger_price=Decimal(60_000),
    )
    assert (mismatch(stop, found) is None) is same


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"trigger": "take_profit"}, False),
        ({"trigger_price": Decimal(59_000)}, False),
        ({"trigger": None, "trigger_price": None}, False),
    ],
)
def test_a_stop_is_told_from_another_by_what_it_waits_for(
    changed: dict[str, Any], same: bool
) -> None:
    stop = Order(BTC, "buy", "0.010", price="64000", trigger="stop", trigger_price="65000")
    waits = {"trigger": "stop", "trigger_price": Decimal(65_000), **changed}
    found = msgspec.structs.replace(FOUND, **waits)
    assert (mismatch(stop, found) is None) is same
    assert mismatch(ORDER, msgspec.structs.replace(FOUND, trigger="stop")) is not None
