"""What a restart knows is what the running engine knew: the fold of the journal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast import book as book_module
from holdfast import records
from holdfast.book import Book, BookState
from holdfast.checkpoint import keys_with_room, room_for_keys
from holdfast.intent import Stage
from holdfast.ledger import MAX_PRODUCERS, Ledger
from holdfast.model import (
    MAX_DIGITS,
    MAX_KEY_LENGTH,
    Fill,
    Order,
    OrderReport,
    OrderSnapshot,
    OrderStatus,
    Position,
)
from holdfast.policy import Mode, Policy, encode

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def fill(trade_id: int, **changes: Any) -> Fill:
    base = Fill(
        BTC,
        trade_id,
        "hf-a-1",
        "77",
        "buy",
        Decimal("0.01"),
        Decimal(60000),
        Decimal("0.3"),
        "USDT",
        time_ms=trade_id,
    )
    return replace(base, **changes)


def snapshot(cid: str = "hf-a-1", **changes: Any) -> OrderSnapshot:
    base = OrderSnapshot(
        BTC, cid, "77", "buy", Decimal("0.05"), Decimal(60000), Decimal(0), OrderStatus.OPEN
    )
    return replace(base, **changes)


# --- the book ----------------------------------------------------------------------------

fills = st.lists(
    st.builds(
        fill,
        st.integers(1, 25),
        side=st.sampled_from(["buy", "sell"]),
        quantity=st.sampled_from([Decimal(q) for q in ("0.001", "0.01", "0.5", "3")]),
        price=st.sampled_from([Decimal(p) for p in ("59999.5", "60000", "61000.1")]),
        symbol=st.sampled_from([BTC, ETH]),
        position_side=st.sampled_from(["BOTH", "LONG"]),
    ),
    max_size=40,
)


@given(fills, st.randoms(use_true_random=False), st.integers(1, 3))
def test_fills_in_any_order_and_any_number_of_times_give_the_same_position(
    given_fills: list[Fill], random: Any, times: int
) -> None:
    unique = list({(f.symbol, f.trade_id): f for f in given_fills}.values())
    expected: dict[tuple[str, str], Decimal] = {}
    for one in unique:
        key = (one.symbol, one.position_side)
        expected[key] = expected.get(key, Decimal(0)) + one.signed_quantity
    book = Book()
    told = unique * times
    random.shuffle(told)
    counted = [book.count(one) for one in told]
    assert sum(counted) == len(unique), "each trade id counts once"
    assert {k: h.quantity for k, h in book.holdings.items()} == {
        k: q for k, q in expected.items() if q
    }


@given(fills, st.integers(0, 30))
def test_what_is_synced_is_never_counted_again(given_fills: list[Fill], upto: int) -> None:
    book = Book()
    book.sync(BTC, upto)
    book.sync(BTC, upto - 5)  # never back
    for one in given_fills:
        assert not (book.count(one) and one.symbol == BTC and one.trade_id <= upto)
    before = {k: h.quantity for k, h in book.holdings.items()}
    book.sync(BTC, 100)
    assert not any(symbol == BTC for symbol, _ in book.counted_ids()), "ids need not be kept"
    for one in given_fills:
        book.count(one)
    assert {k: h.quantity for k, h in book.holdings.items()} == before


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=60),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 60)), max_size=40),
    st.sets(st.integers(0, 100)),
)
def test_each_fill_is_counted_once_however_few_ids_are_kept(
    delays: list[int], repeats: list[tuple[int, int]], restarts: set[int]
) -> None:
    """A stream puts few fills out of order and tells any of them again, however late; the
    process may end after each."""
    told = [n for n, _ in sorted(enumerate(delays, start=1), key=lambda each: sum(each))]
    for at, trade_id in sorted(repeats):
        if trade_id in told[:at]:
            told.insert(at, trade_id)
    book, counted = Book(), []
    with mock.patch.object(book_module, "MAX_COUNTED", 8):
        for at, trade_id in enumerate(told):
            if book.count(fill(trade_id)):
                counted.append(trade_id)
            assert len(book.counted_ids()) <= 8
            if at in restarts:
                kept = msgspec.msgpack.encode(BookState.of(book))
                book = msgspec.msgpack.decode(kept, type=BookState).restore()
    assert sorted(counted) == list(range(1, len(delays) + 1))


def test_the_entry_price_is_the_average_of_what_grew_the_position() -> None:
    book = Book()
    held = (BTC, "BOTH")
    book.count(fill(1, quantity=Decimal(1), price=Decimal(100)))
    book.count(fill(2, quantity=Decimal(3), price=Decimal(200)))
    assert book.holdings[held].entry_price == Decimal(175)
    book.count(fill(3, side="sell", quantity=Decimal(2), price=Decimal(500)))
    assert book.holdings[held].entry_price == Decimal(175), "what shrinks it keeps it"
    book.count(fill(4, side="sell", quantity=Decimal(5), price=Decimal(300)))
    assert book.holdings[held].quantity == -3
    assert book.holdings[held].entry_price == Decimal(300), "turned over: a new position"
    book.count(fill(5, quantity=Decimal(3), price=Decimal(1)))
    assert book.holdings == {}


def test_an_order_stays_until_its_last_fill_is_counted() -> None:
    """The venue says filled before the stream has told the fill: exposure on its way."""
    book = Book()
    book.opened(snapshot())
    book.saw(snapshot(status=OrderStatus.FILLED, filled=Decimal("0.05")))
    assert book.orders["hf-a-1"].expected == Decimal("0.05")
    assert book.resting() == []
    book.count(fill(1, quantity=Decimal("0.02")))
    assert book.orders["hf-a-1"].expected == Decimal("0.03")
    book.count(fill(2, quantity=Decimal("0.03")))
    assert book.orders == {}


def test_fills_may_come_before_their_order() -> None:
    book = Book()
    book.count(fill(1, quantity=Decimal("0.02")))
    book.opened(snapshot(status=OrderStatus.PARTIALLY_FILLED, filled=Decimal("0.02")))
    assert book.orders["hf-a-1"].counted == Decimal("0.02")
    assert book.orders["hf-a-1"].expected == Decimal("0.03")
    book.count(fill(2, quantity=Decimal("0.03")))
    book.saw(snapshot(status=OrderStatus.FILLED, filled=Decimal("0.05")))
    assert book.orders == {}
    assert book.position(BTC) == Decimal("0.05")


@given(
    st.permutations(
        [
            snapshot(),
            snapshot(status=OrderStatus.PARTIALLY_FILLED, filled=Decimal("0.01")),
            snapshot(status=OrderStatus.PARTIALLY_FILLED, filled=Decimal("0.03")),
            snapshot(status=OrderStatus.CANCELED, filled=Decimal("0.03")),
        ]
        * 2
    )
)
def test_an_order_never_steps_backward(words: list[OrderSnapshot]) -> None:
    book = Book()
    book.opened(snapshot())
    last = snapshot()
    for word in words:
        book.saw(word)
        known = book.orders["hf-a-1"].snapshot
        assert known.filled >= last.filled
        assert not (last.status.final and not known.status.final)
        last = known
    assert last.status is OrderStatus.CANCELED
    assert last.filled == Decimal("0.03")


def test_orders_of_others_are_not_listened_to() -> None:
    book = Book()
    assert not book.saw(snapshot("web_1"))
    assert book.orders == {}


# --- protection --------------------------------------------------------------------------

STOP = {
    "side": "sell",
    "reduce_only": True,
    "trigger": "stop",
    "trigger_price": Decimal(50000),
    "price": None,
}


def protected_book() -> Book:
    book = Book()
    book.count(fill(1))
    book.opened(snapshot("hf-a-2", quantity=Decimal("0.01"), **STOP))
    return book


@pytest.mark.parametrize("end", [OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED])
def test_a_stop_that_ends_by_another_hand_leaves_its_position_unprotected(
    end: OrderStatus,
) -> None:
    book = protected_book()
    assert not book.unprotected()
    book.saw(snapshot("hf-a-2", quantity=Decimal("0.01"), status=end, **STOP))
    assert book.unprotected() == {(BTC, "BOTH"): "hf-a-2"}
    restored = BookState.of(book).restore()
    assert restored.unprotected() == book.unprotected(), "also after a restart"
    book.count(fill(2, client_order_id="hf-a-3", side="sell"))
    assert not book.unprotected(), "a closed position needs none"


def test_a_stop_that_was_filled_or_cancelled_by_the_bot_is_no_loss_of_protection() -> None:
    filled = protected_book()
    filled.saw(
        snapshot(
            "hf-a-2",
            quantity=Decimal("0.01"),
            filled=Decimal("0.01"),
            status=OrderStatus.FILLED,
            **STOP,
        )
    )
    assert not filled.unprotected()
    cancelled = protected_book()
    cancelled.lift_protection("hf-a-2")
    cancelled.saw(snapshot("hf-a-2", quantity=Decimal("0.01"), status=OrderStatus.CANCELED, **STOP))
    assert not cancelled.unprotected()


def test_a_second_stop_protects_while_it_rests() -> None:
    book = protected_book()
    book.opened(snapshot("hf-a-3", quantity=Decimal("0.01"), **STOP))
    book.saw(snapshot("hf-a-2", quantity=Decimal("0.01"), status=OrderStatus.CANCELED, **STOP))
    assert not book.unprotected()


@pytest.mark.parametrize("by", ["fill", "adoption"])
def test_the_stop_of_a_position_that_was_turned_round_protects_nothing_any_more(by: str) -> None:
    """The venue refuses it once its price comes: it would open."""
    book = protected_book()
    if by == "fill":
        book.count(fill(2, client_order_id="hf-a-3", side="sell", quantity=Decimal("0.03")))
    else:
        book.adopt([Position(BTC, Decimal("-0.02"), None)], [BTC])
    assert book.position(BTC) == Decimal("-0.02")
    book.saw(snapshot("hf-a-2", quantity=Decimal("0.01"), status=OrderStatus.REJECTED, **STOP))
    assert not book.unprotected()
    buy_stop = {**STOP, "side": "buy", "trigger_price": Decimal(70000)}
    book.opened(snapshot("hf-a-4", quantity=Decimal("0.02"), **buy_stop))
    book.opened(snapshot("hf-a-5", quantity=Decimal("0.02"), **STOP))
    book.saw(snapshot("hf-a-4", quantity=Decimal("0.02"), status=OrderStatus.EXPIRED, **buy_stop))
    assert book.unprotected() == {(BTC, "BOTH"): "hf-a-4"}, "a stop of the other side is none"
    assert BookState.of(book).restore().unprotected() == book.unprotected()


# --- the ledger --------------------------------------------------------------------------

CIDS = [f"hf-a-{n}" for n in range(1, 5)]
cids = st.sampled_from(CIDS)
WHAT = (
    *("intend", "attempt", "doubt", "resolve", "never sent", "see", "fill", "fill"),
    *("repeat", "sync", "adopt", "hold", "policy", "step"),
)


SHARED_KEY = "key-of-two"


def key_of(cid: str) -> str | None:
    """The first has none, the last two have one between them."""
    return {CIDS[0]: None, CIDS[2]: SHARED_KEY, CIDS[3]: SHARED_KEY}.get(cid, f"key-{cid}")


def order_of(cid: str) -> Order:
    key = key_of(cid)
    return Order(BTC, "buy", "0.05", price="60000", key=key)


def report_of(cid: str, status: Any, found: OrderSnapshot | None) -> OrderReport:
    order = order_of(cid)
    return OrderReport(
        client_order_id=cid,
        symbol=BTC,
        side="buy",
        quantity=order.quantity,
        status=status,
        filled=Decimal(0) if found is None else found.filled,
        order_status=None if found is None else found.status,
        evidence="a test",
        key=order.key,
        code=None if found else -2019,
    )


class Life:
    """Facts as an engine could write them, drawn one by one."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw
        self.ledger = Ledger(keys_kept=100)
        self.written: list[records.Fact] = []
        self._used: set[str] = set()
        self._trade = 0

    def step(self) -> None:
        ledger = self.ledger
        fact: records.Fact | None = None
        match self._draw(st.sampled_from(WHAT)):
            case "intend":
                cid = self._draw(cids)
                key = key_of(cid)
                if cid not in self._used and key not in {*ledger.by_key, *ledger.keyed}:
                    self._used.add(cid)
                    fact = records.Intended(cid, order_of(cid), 5, 1000, 2000, 3)
            case "attempt" if ledger.intents:
                cid = self._draw(st.sampled_from(sorted(ledger.intents)))
                fact = records.Attempted(cid, 2, 3000, 2000)
            case "doubt" if ledger.intents:
                cid = self._draw(st.sampled_from(sorted(ledger.intents)))
                fact = records.Doubted(cid, "no answer")
            case "resolve" if ledger.intents:
                cid = self._draw(st.sampled_from(sorted(ledger.intents)))
                if self._draw(st.booleans()):
                    found = snapshot(
                        cid,
                        status=self._draw(st.sampled_from(list(OrderStatus))),
                        filled=Decimal(0),
                    )
                    fact = records.Resolved(report_of(cid, "accepted", found), found)
                else:
                    fact = records.Resolved(report_of(cid, "rejected", None), None)
            case "never sent" if fresh := [
                cid
                for cid, i in ledger.intents.items()
                if i.stage is Stage.SENDING and len(i.attempts) == 1
            ]:
                cid = self._draw(st.sampled_from(sorted(fresh)))
                report = replace(report_of(cid, "not_executed", None), attempts=0)
                fact = records.Resolved(report, None)
            case "see":
                cid = self._draw(cids)
                filled = self._draw(st.sampled_from([Decimal(0), Decimal("0.02"), Decimal("0.05")]))
                status = self._draw(st.sampled_from(list(OrderStatus)))
                fact = records.OrderSeen(snapshot(cid, filled=filled, status=status))
            case "fill":
                self._trade += 1
                fact = records.Filled(fill(self._trade, client_order_id=self._draw(cids)))
            case "repeat" if self._trade:
                fact = records.Filled(fill(self._draw(st.integers(1, self._trade))))
            case "sync":
                fact = records.Synced(BTC, self._draw(st.integers(0, self._trade)))
            case "adopt":
                fact = records.Adopted(
                    (Position(BTC, Decimal(self._draw(st.integers(-2, 2)))),),
                    ("77",),
                    "a test",
                    1,
                    self._draw(st.booleans()),
                )
            case "hold":
                fact = records.Held(self._draw(st.sampled_from([None, "by hand"])), "owner", 1)
            case "policy":
                policy = Policy(Mode.NORMAL, version=self._draw(st.integers(1, 5)))
                fact = records.PolicySeen(
                    "lineage", policy.version, policy.content_hash, encode(policy)
                )
            case "step":
                fact = records.Transitioned(
                    ledger.transitions + 1, "fault", "a test", "HEALTHY", "DEGRADED", 1
                )
        if fact is not None:
            self.written.append(fact)
            ledger.apply(fact)


def state_of(ledger: Ledger) -> Any:
    """Everything a restart must know; words of ended intents are not kept by a checkpoint."""
    book = ledger.book
    return {
        "positions": {k: (h.quantity, h.entry_price) for k, h in book.holdings.items()},
        "orders": {cid: (o.snapshot, o.counted) for cid, o in book.orders.items()},
        "synced": {s: t for s, t in book.synced.items() if t},
        "ids": book.counted_ids(),
        "early": book._early,
        "intents": {
            cid: (i.order, i.created_ns, i.attempts, i.attempts_made, i.doubt)
            for cid, i in ledger.intents.items()
        },
        "by_key": {key: i.client_order_id for key, i in ledger.by_key.items()},
        "keyed": [
            (key, r.client_order_id, r.status, r.filled, r.order_status, r.code)
            for key, r in ledger.keyed.items()
        ],
        "hold": ledger.hold,
        "policy": ledger.policy_identity,
        "consented": ledger.consented,
        "foreign": ledger.foreign_orders,
        "transitions": ledger.transitions,
    }


def written_and_read(fact: records.Fact) -> records.Fact:
    read = records.decode(records.KIND_OF[type(fact)], records.encode(fact))
    assert read is not None
    return read


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 40))
def test_the_fold_of_the_journal_is_the_live_state(data: st.DataObject, steps: int) -> None:
    life = Life(data)
    for _ in range(steps):
        life.step()
    again = Ledger(keys_kept=100)
    for fact in life.written:
        again.apply(written_and_read(fact))
    assert state_of(again) == state_of(life.ledger)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 30), st.integers(0, 20))
def test_a_checkpoint_and_what_follows_is_the_live_state(
    data: st.DataObject, before: int, after: int
) -> None:
    life = Life(data)
    for _ in range(before):
        life.step()
    checkpoint = life.ledger.checkpoint()
    at = len(life.written)
    for _ in range(after):
        life.step()
    again = Ledger(keys_kept=100)
    again.apply(records.Held("of a state that is replaced", "owner", 1))
    again.restore(checkpoint)
    for fact in life.written[at:]:
        again.apply(written_and_read(fact))
    assert state_of(again) == state_of(life.ledger)
    again.begin()
    assert all(i.stage is Stage.UNKNOWN and i.doubt for i in again.intents.values())


def test_with_a_lower_bound_than_before_a_checkpoint_brings_the_latest_keys() -> None:
    ledger = Ledger(keys_kept=300)
    for number in range(300):
        cid = f"hf-a-{number}"
        order = Order(BTC, "buy", "0.05", price="60000", key=f"key-{number}")
        ledger.apply(records.Intended(cid, order, 5, 1000, 2000))
        report = replace(report_of(CIDS[1], "rejected", None), client_order_id=cid, key=order.key)
        ledger.apply(records.Resolved(report, None))
    again = Ledger(keys_kept=100)
    again.restore(ledger.checkpoint())
    assert list(again.keyed) == [f"key-{number}" for number in range(200, 300)]
    assert set(again.terms) == set(again.keyed)


def test_the_longest_keys_have_the_room_that_is_counted_with() -> None:
    room = room_for_keys(100, [BTC])
    keys = keys_with_room(room, [BTC])
    assert keys == 100
    digits = Decimal("0." + "7" * MAX_DIGITS)
    ledger = Ledger(keys_kept=keys)
    for number in range(keys):
        cid = f"{number:036}"
        key = f"{number:03}" + "\U0001f511" * (MAX_KEY_LENGTH - 3)
        order = Order(BTC, "buy", digits, digits, key=key, reduce_only=True, time_in_force="GTX",
                      trigger="take_profit", trigger_price=digits, trigger_by="mark")  # fmt: skip
        ledger.apply(records.Intended(cid, order, 5, 1000, 2000))
        report = replace(
            report_of(CIDS[1], "not_executed", None), client_order_id=cid, key=key, code=-2019,
            quantity=digits, price=digits, filled=digits, average_price=digits, venue_order_id=cid,
            order_status=OrderStatus.PARTIALLY_FILLED, updated_ms=1 << 48,
        )  # fmt: skip
        ledger.apply(records.Resolved(report, None))
    assert len(ledger.keyed) == keys
    assert 0.95 * room < len(ledger.checkpoint()) / 0.75 < room


def test_a_checkpoint_remembers_how_far_each_life_had_counted() -> None:
    ledger = Ledger(keys_kept=100)
    for incarnation in (9, 7, 8):  # random numbers: their order is that of their first event
        for sequence in range(1, incarnation):
            ledger.published(incarnation, sequence)
    again = Ledger(keys_kept=100)
    again.published(1, 1)
    again.restore(ledger.checkpoint())
    assert list(again.last_sequences.items()) == [(9, 8), (7, 6), (8, 7)]
    again.published(7, 7)
    assert list(again.last_sequences.items()) == [(9, 8), (7, 7), (8, 7)]


def test_of_lives_the_oldest_are_forgotten() -> None:
    ledger = Ledger(keys_kept=100)
    for incarnation in range(1, MAX_PRODUCERS + 11):
        ledger.published(incarnation, 1)
        ledger.published(incarnation, 2)
    assert len(ledger.last_sequences) == MAX_PRODUCERS
    assert next(iter(ledger.last_sequences)) == 11


def test_a_checkpoint_of_before_lives_were_remembered_is_read() -> None:
    ledger = Ledger(keys_kept=100)
    state = msgspec.msgpack.decode(ledger.checkpoint())
    state.pop("last_sequences", None)
    ledger.restore(msgspec.msgpack.encode(state))
    assert ledger.last_sequences == {}


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        Ledger(keys_kept=100).restore(msgspec.msgpack.encode({"book": 1}))


def test_every_fact_has_a_kind_of_its_own_and_survives_writing() -> None:
    assert len(records.KINDS) == len(records.KIND_OF)
    assert records.EVENT not in records.KINDS
    assert records.decode(records.EVENT, b"") is None


def test_a_record_whose_intent_was_lost_to_damage_stops_no_start() -> None:
    ledger = Ledger(keys_kept=100)
    ledger.apply(records.Attempted("hf-a-1", 2, 3000, 2000))
    ledger.apply(records.Doubted("hf-a-1", "no answer"))
    ledger.apply(records.Resolved(report_of("hf-a-1", "accepted", snapshot()), snapshot()))
    ledger.begin()
    assert ledger.intents == {}
    assert "hf-a-1" in ledger.book.orders


def test_an_order_that_was_never_sent_leaves_its_key_free_and_another_takes_it() -> None:
    first, second = CIDS[2:]
    ledger = Ledger(keys_kept=100)
    ledger.apply(records.Intended(first, order_of(first), 5, 1000, 2000))
    never = replace(report_of(first, "not_executed", None), attempts=0)
    ledger.apply(records.Resolved(never, None))
    assert (ledger.keyed, ledger.by_key, ledger.intents) == ({}, {}, {})
    ledger.apply(records.Intended(second, order_of(second), 5, 1000, 2000))
    assert ledger.by_key[SHARED_KEY].client_order_id == second
    ledger.apply(records.Resolved(report_of(second, "rejected", None), None))
    assert ledger.keyed[SHARED_KEY].client_order_id == second


@pytest.mark.parametrize("first_ends", ["before", "after"])
def test_of_two_orders_of_a_key_the_executed_one_is_remembered(first_ends: str) -> None:
    """Damage has taken the record that the first one was never sent."""
    first, second = CIDS[2:]
    ledger = Ledger(keys_kept=100)
    for cid in (first, second):
        ledger.apply(records.Intended(cid, order_of(cid), 5, 1000, 2000))
    absent = records.Resolved(report_of(first, "not_executed", None), None)
    found = records.Resolved(report_of(second, "accepted", snapshot(second)), snapshot(second))
    ends = [absent, found] if first_ends == "before" else [found, absent]
    ledger.apply(ends[0])
    assert (SHARED_KEY in ledger.by_key) == (first_ends == "before")
    ledger.apply(ends[1])
    assert ledger.keyed[SHARED_KEY].client_order_id == second
    assert ledger.by_key == {}


def test_a_key_restored_is_still_told_how_its_order_goes_on() -> None:
    cid = CIDS[1]
    ledger = Ledger(keys_kept=100)
    ledger.apply(records.Intended(cid, order_of(cid), 5, 1000, 2000))
    ledger.apply(records.Resolved(report_of(cid, "accepted", snapshot(cid)), snapshot(cid)))
    again = Ledger(keys_kept=100)
    again.restore(ledger.checkpoint())
    filled = snapshot(cid, status=OrderStatus.FILLED, filled=Decimal("0.05"))
    again.apply(records.OrderSeen(filled))
    report = again.keyed[f"key-{cid}"]
    assert (report.order_status, report.filled) == (OrderStatus.FILLED, Decimal("0.05"))
