"""The audit's verdicts on a book that never stands still; pure."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.audit import Audit, Judgement, Look, drifts
from holdfast.model import Fill, OrderSnapshot, OrderStatus, Position
from holdfast.reconcile import Kind, Snapshot, View

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
OURS, THEIRS = "hf-alpha-1-0-1", "web_abc"
HELD = (BTC, "BOTH")
LAG_MS = 250
LOOK_MS = 150
"""From the beginning of a look to its end."""


def fill(trade_id: int, quantity: str | Decimal = "1", **changes: Any) -> Fill:
    signed = Decimal(quantity)
    base = Fill(
        symbol=BTC,
        trade_id=trade_id,
        client_order_id=OURS,
        venue_order_id="77",
        side="buy" if signed > 0 else "sell",
        quantity=abs(signed),
        price=Decimal(60000),
        fee=Decimal(0),
        fee_asset="USDT",
        time_ms=trade_id,
    )
    return replace(base, **changes)


def order(**changes: Any) -> OrderSnapshot:
    base = OrderSnapshot(
        BTC, OURS, "77", "buy", Decimal(1), Decimal(60000), Decimal(0), OrderStatus.OPEN
    )
    return replace(base, **changes)


def look(
    *,
    before: str = "0",
    at_venue: str = "0",
    counted: Iterable[Fill] = (),
    listed: Iterable[Fill] = (),
    known: Iterable[Fill] = (),
    orders: Iterable[OrderSnapshot] = (),
    open_orders: Iterable[OrderSnapshot] = (),
    touched: Iterable[str] = (),
    since_ms: int = 1000,
    **view: Any,
) -> Look:
    """
    :param counted: during the look.
    :param known: counted before it and listed by the venue.
    :param listed: by the venue besides.
    """
    counted, known = tuple(counted), tuple(known)
    after = Decimal(before) + sum((f.signed_quantity for f in counted), Decimal(0))
    return Look(
        view=View(
            symbols=frozenset({BTC}),
            prefix="hf-alpha-",
            positions={HELD: after},
            orders={o.client_order_id: o for o in orders},
            in_flight=frozenset(),
            fill_ids=frozenset((f.symbol, f.trade_id) for f in (*counted, *known)),
            known_foreign=frozenset(),
            consented=True,
            **view,
        ),
        snapshot=Snapshot(
            (Position(BTC, Decimal(at_venue)),), tuple(open_orders), (*known, *listed)
        ),
        before={HELD: Decimal(before)},
        counted=counted,
        touched=frozenset(touched),
        since_ms=since_ms,
    )


def judged(*looks: Look) -> list[Judgement]:
    audit = Audit([BTC], now=0.0)
    return [audit.judge(one, now=float(n)) for n, one in enumerate(looks)]


def kinds(judgement: Judgement) -> list[Kind]:
    return [d.kind for d in judgement.lasting]


# --- positions ---------------------------------------------------------------------------


def test_one_look_at_equal_books_is_enough() -> None:
    (one,) = judged(look(before="2", at_venue="2.0"))
    assert one == Judgement((), frozenset())


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("none of the fills was in it", {"at_venue": "0"}),
        ("the first was", {"at_venue": "1"}),
        ("both were", {"at_venue": "3"}),
    ],
)
def test_a_position_that_the_book_passed_through_is_explained(
    why: str, change: dict[str, str]
) -> None:
    moved = [fill(10, "1"), fill(11, "2")]
    for told in ({"counted": moved}, {"listed": moved}, {"counted": moved[1:], "listed": moved}):
        (one,) = judged(look(**change, **told))
        assert not kinds(one), why
        assert 0 in drifts(look(**change, **told))[HELD].during, why


def test_a_drift_is_told_once_two_looks_allow_nothing_else() -> None:
    """The bot has traded in between, so the two sides are others, and the drift is the same."""
    first, second = judged(
        look(at_venue="0.3", counted=[fill(10, "1")]),
        look(before="1", at_venue="2.3", counted=[fill(11, "1")]),
    )
    assert first == Judgement((), frozenset({BTC})), "it may be a race"
    (told,) = second.lasting
    assert (told.kind, told.local, told.venue) == (Kind.SIZE_MISMATCH, "1", "1.3")


def test_a_drift_that_chance_could_explain_is_found_by_looking_on() -> None:
    """A maker whose position goes to and fro by what it is off: half of the looks see nothing."""
    to_and_fro = [fill(10, "1"), fill(11, "-1")]
    looks = [
        look(at_venue="1", counted=to_and_fro),
        look(at_venue="2", counted=to_and_fro),
        look(at_venue="1", counted=to_and_fro),
        look(at_venue="2", counted=to_and_fro),
    ]
    *before, last = judged(*looks)
    assert not any(kinds(one) for one in before)
    assert all(one.open == {BTC} for one in before)
    assert kinds(last) == [Kind.ORPHAN_POSITION]


def test_looks_that_allow_a_drift_are_cleared_by_one_that_does_not() -> None:
    first, second = judged(look(at_venue="1", counted=[fill(10, "1")]), look(at_venue="0"))
    assert first.open == {BTC}
    assert second == Judgement((), frozenset())


def test_two_drifts_that_are_not_the_same_are_no_drift() -> None:
    told = judged(look(at_venue="0.3"), look(at_venue="0.5"), look(at_venue="0"))
    assert [kinds(one) for one in told] == [[], [], []]
    assert not told[-1].open


def test_what_each_look_allows_besides_is_ruled_out_by_the_next() -> None:
    first, second = judged(
        look(at_venue="1", counted=[fill(10, "1")]),
        look(before="1", at_venue="3", counted=[fill(11, "2")]),
    )
    assert first.open == {BTC}, "it may be off by 1"
    assert not second.open, "or by 2: both only if by nothing"


def test_a_position_that_lags_behind_the_stream_is_no_verdict() -> None:
    """Also if it does so by the same each time: a bot that only buys."""
    lagging = [
        look(before="2", at_venue="1", known=[fill(1100)]),
        look(before="9", at_venue="8", known=[fill(1900)], since_ms=1800),
    ]
    assert [(kinds(one), one.open) for one in judged(*lagging)] == [([], {BTC})] * 2
    old = [replace(one, since_ms=5000) for one in lagging]
    assert kinds(judged(*old)[1]) == [Kind.SIZE_MISMATCH], "it has had the time to catch up"


def test_each_side_of_a_hedged_position_is_judged_by_its_own_fills() -> None:
    long = fill(10, "1", position_side="LONG")
    one = replace(look(counted=[long]), before={})
    hedged = replace(
        one, snapshot=replace(one.snapshot, positions=(Position(BTC, Decimal(1), None, "SHORT"),))
    )
    assert kinds(judged(hedged, hedged)[1]) == [Kind.ORPHAN_POSITION]
    assert judged(hedged, hedged)[1].lasting[0].position_side == "SHORT"


def test_a_fill_of_another_hand_explains_nothing() -> None:
    by_hand = fill(10, "1", client_order_id=THEIRS)
    one = look(at_venue="1", listed=[by_hand])
    assert kinds(judged(one, one)[1]) == [Kind.ORPHAN_POSITION]


def test_what_no_look_could_tell_is_overdue() -> None:
    audit = Audit([BTC, ETH], now=0.0)
    never_clear = look(at_venue="1", counted=[fill(10, "1")])
    for second in range(10, 130, 10):
        audit.judge(never_clear, now=float(second))
        assert audit.overdue(now=float(second), patience_seconds=120) == []
    assert audit.overdue(now=121, patience_seconds=120) == [BTC]
    audit.judge(look(), now=121.0)
    assert audit.overdue(now=122, patience_seconds=120) == []


# --- orders, fills, stops ----------------------------------------------------------------


ORPHAN = {"open_orders": [order()]}
MISSING = {"orders": [order()]}
STALE = {
    "orders": [order()],
    "open_orders": [order(filled=Decimal("0.5"), status=OrderStatus.PARTIALLY_FILLED)],
}


@pytest.mark.parametrize(
    ("kind", "sides"),
    [(Kind.ORPHAN_ORDER, ORPHAN), (Kind.MISSING_ORDER, MISSING), (Kind.STALE_ORDER, STALE)],
)
def test_orders_are_compared_while_nothing_is_learnt_of_them(
    kind: Kind, sides: dict[str, Any]
) -> None:
    busy = {"counted": [fill(10, client_order_id="hf-alpha-1-0-2")], "at_venue": "1"}
    seen, moving = look(**sides, **busy), look(**sides, **busy, touched=[OURS])
    assert [kinds(one) for one in judged(seen, seen)] == [[], [kind]]
    assert [kinds(one) for one in judged(moving, moving, moving)] == [[]] * 3
    assert [kinds(one) for one in judged(seen, moving, seen)] == [[]] * 3


def test_a_missed_fill_is_one_that_two_looks_do_not_find_counted() -> None:
    missed = look(at_venue="1", listed=[fill(10)])
    assert [kinds(one) for one in judged(missed, missed)] == [[], [Kind.UNEXPECTED_FILL]]
    late = look(before="1", at_venue="1", known=[fill(10)], since_ms=0)
    assert [kinds(one) for one in judged(missed, late)] == [[], []]


def test_a_position_whose_stop_is_gone_may_change_between_the_looks() -> None:
    gone = {"unprotected": {HELD: "hf-alpha-1-0-9"}}
    first, second = look(before="1", at_venue="1", **gone), look(before="2", at_venue="2", **gone)
    assert [kinds(one) for one in judged(first, second)] == [[], [Kind.UNPROTECTED_POSITION]]


def test_an_unknown_order_is_the_resolvers_affair() -> None:
    doubted = look(unknown=(OURS,))
    assert judged(doubted, doubted)[1] == Judgement((), frozenset())


# --- any bot, any timing -----------------------------------------------------------------


class Busy:
    """A bot that trades without a pause, a stream that is late, a venue whose list lags."""

    def __init__(self, seed: int, drift: Decimal) -> None:
        self._random = random.Random(seed)
        self._drift = drift
        self._now_ms = 10_000
        quantities = [Decimal(q) for q in ("-2", "-1", "-0.5", "0.5", "1", "1", "1")]
        self._fills: list[Fill] = []
        self._told_ms: list[int] = []
        time_ms = self._now_ms - 1000
        for number in range(1, 120):
            time_ms += self._random.randint(0, 120)
            self._fills.append(fill(number, self._random.choice(quantities), time_ms=time_ms))
            self._told_ms.append(time_ms + self._random.randint(0, 100))

    def _sum(self, fills: Iterable[Fill]) -> Decimal:
        return sum((f.signed_quantity for f in fills), Decimal(0))

    def _told(self, at_ms: int) -> list[Fill]:
        return [
            f for f, told_ms in zip(self._fills, self._told_ms, strict=True) if told_ms <= at_ms
        ]

    def look(self, *, lagging: bool) -> Look:
        begin = self._now_ms
        asked = begin + self._random.randint(0, LOOK_MS)
        lag = self._random.randint(0, LAG_MS) if lagging else 0
        listed = asked + self._random.randint(0, LOOK_MS)
        end = listed + self._random.randint(0, LOOK_MS)
        self._now_ms = end + LAG_MS
        known, by_end = self._told(begin), self._told(end)
        counted = [f for f in by_end if f not in known]
        at_venue = self._drift + self._sum(f for f in self._fills if f.time_ms <= asked - lag)
        in_list = [f for f in self._fills if f.time_ms <= listed]
        return look(
            before=str(self._sum(known)),
            at_venue=str(at_venue),
            counted=counted,
            known=[f for f in known if f in in_list],
            listed=[f for f in in_list if f not in known],
            since_ms=begin - LAG_MS,
        )


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_an_equal_book_is_never_said_to_differ(seed: int, lagging: bool) -> None:
    bot, audit = Busy(seed, Decimal(0)), Audit([BTC], now=0.0)
    for _ in range(6):
        assert not audit.judge(bot.look(lagging=lagging), now=0.0).lasting


@settings(deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(["-1", "0.25", "1", "7"]))
def test_a_book_that_is_off_is_never_found_equal(seed: int, drift: str) -> None:
    bot, audit = Busy(seed, Decimal(drift)), Audit([BTC], now=0.0)
    for second in range(6):
        judgement = audit.judge(bot.look(lagging=False), now=float(second))
        if judgement.lasting:
            return
    assert audit.overdue(now=6.0, patience_seconds=5.5) == [BTC]
