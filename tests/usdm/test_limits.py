"""The venue's own counts decide how much may be asked, and who goes first."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.clock_offset import ENOUGH_ERROR_MS
from holdfast.transports.usdm.limits import BINANCE, MARGIN_MS, Budget, Cost, Limit, Priority

MINUTE = 60_000
START = 1_700_000_040_000
"""The begin of a minute."""
WEIGHT, ORDERS_10S, ORDERS_1M = BINANCE
USED = "X-MBX-USED-WEIGHT-1M"
COUNT_10S, COUNT_1M = "X-MBX-ORDER-COUNT-10S", "X-MBX-ORDER-COUNT-1M"
QUESTION = Cost(weight=5)
ORDER = Cost(orders=1)


def hears(budget: Budget, now_ms: int) -> None:
    """A reply without a count."""
    told(budget, now_ms, {})


def told(budget: Budget, now_ms: int, headers: dict[str, str], cost: Cost = QUESTION) -> None:
    budget.settle(budget.let_go(cost, now_ms), now_ms, headers=headers)


def test_headers_are_named_as_binance_names_them() -> None:
    assert [limit.header for limit in BINANCE] == [USED, COUNT_10S, COUNT_1M]
    assert Limit("orders", 86_400_000, 1, 200_000).header == "X-MBX-ORDER-COUNT-1D"


def test_a_count_that_was_never_told_limits_nothing() -> None:
    budget = Budget()
    for _ in range(10_000):
        hears(budget, START)
    assert budget.wait_ms(Cost(weight=2400), Priority.ENTRY, START) == 0


@pytest.mark.parametrize(
    ("used", "free"),
    [
        (1915, {Priority.EXIT, Priority.QUESTION, Priority.ENTRY}),
        (1916, {Priority.EXIT, Priority.QUESTION}),  # entries leave a fifth
        (2155, {Priority.EXIT, Priority.QUESTION}),
        (2156, {Priority.EXIT}),  # questions a tenth
        (2395, {Priority.EXIT}),
        (2396, set()),
    ],
)
def test_each_priority_leaves_its_part(used: int, free: set[Priority]) -> None:
    budget = Budget()
    told(budget, START, {USED: str(used)})
    waits = {each: budget.wait_ms(QUESTION, each, START + 1000) for each in Priority}
    assert {each for each, wait_ms in waits.items() if not wait_ms} == free
    assert {wait for wait in waits.values() if wait} <= {MINUTE - 1000 + MARGIN_MS}


def test_a_window_begins_anew_on_the_venues_minute() -> None:
    budget = Budget()
    told(budget, START + 59_000, {USED: "2400"})
    assert budget.wait_ms(QUESTION, Priority.EXIT, START + 59_999) == 1 + MARGIN_MS
    assert budget.wait_ms(QUESTION, Priority.ENTRY, START + MINUTE) == 0


def test_the_end_of_a_window_is_not_trusted_to_the_millisecond() -> None:
    """A venue's clock is taken for known when it is known to 10 ms; some of these may add up."""
    assert MARGIN_MS >= 3 * ENOUGH_ERROR_MS


def test_the_longest_of_all_waits_counts() -> None:
    for limits in ([ORDERS_10S, ORDERS_1M], [ORDERS_1M, ORDERS_10S]):
        budget = Budget(limits)
        told(budget, START, {COUNT_10S: "300", COUNT_1M: "1200"}, ORDER)
        assert budget.wait_ms(ORDER, Priority.EXIT, START) == MINUTE + MARGIN_MS


def test_an_order_that_was_answered_is_no_longer_on_its_way() -> None:
    budget = Budget()
    for _ in range(100):
        told(budget, START, {COUNT_10S: "298", COUNT_1M: "1198"}, ORDER)
    assert budget.wait_ms(ORDER, Priority.EXIT, START) == 0
    two = [budget.let_go(ORDER, START) for _ in range(2)]
    assert budget.wait_ms(ORDER, Priority.EXIT, START) > 0
    for ticket in two:
        budget.settle(ticket, START, headers=None, left=False)
    assert budget.wait_ms(ORDER, Priority.EXIT, START) == 0


@pytest.mark.parametrize("count", ["", "many", "-1", "1e3", "12 of 300"])
def test_a_count_that_is_no_number_is_none(count: str) -> None:
    budget = Budget()
    told(budget, START, {USED: count})
    assert budget.wait_ms(Cost(weight=2400), Priority.ENTRY, START) == 0
    told(budget, START, {USED: "2390"})
    told(budget, START, {USED: count})
    assert budget.wait_ms(Cost(weight=6), Priority.EXIT, START) > 0, "it counts by itself then"


def test_orders_wait_for_orders_and_questions_for_weight() -> None:
    budget = Budget()
    told(budget, START, {COUNT_10S: "300", COUNT_1M: "300", USED: "10"}, ORDER)
    assert budget.wait_ms(QUESTION, Priority.QUESTION, START) == 0
    assert budget.wait_ms(ORDER, Priority.EXIT, START) == 10_000 + MARGIN_MS
    told(budget, START, {COUNT_10S: "300", COUNT_1M: "1200", USED: "10"}, ORDER)
    assert budget.wait_ms(ORDER, Priority.EXIT, START) == MINUTE + MARGIN_MS


def test_what_is_on_its_way_counts_until_it_is_known_not_to_have_left() -> None:
    budget = Budget()
    told(budget, START, {USED: "2390"})
    first = budget.let_go(QUESTION, START)
    second = budget.let_go(QUESTION, START)
    assert budget.wait_ms(QUESTION, Priority.EXIT, START) > 0
    budget.settle(first, START, headers=None, left=False)
    assert budget.wait_ms(QUESTION, Priority.EXIT, START) == 0
    budget.settle(second, START, headers=None)  # left, and nothing came back: it may have counted
    assert budget.wait_ms(Cost(weight=6), Priority.EXIT, START) > 0
    assert budget.wait_ms(QUESTION, Priority.EXIT, START) == 0


def test_a_late_reply_does_not_lower_what_a_later_one_told() -> None:
    budget = Budget()
    early = budget.let_go(QUESTION, START)
    told(budget, START, {USED: "2400"})
    budget.settle(early, START, headers={USED: "100"})
    assert budget.wait_ms(QUESTION, Priority.EXIT, START) > 0


def test_a_reply_to_a_request_of_the_last_minute_is_not_taken_for_this_one() -> None:
    budget = Budget()
    ticket = budget.let_go(QUESTION, START + 59_990)
    budget.settle(ticket, START + MINUTE + 10, headers={USED: "2399"})
    assert budget.wait_ms(QUESTION, Priority.ENTRY, START + MINUTE + 10) == 0


def test_limits_that_the_venue_announces_replace_those_of_the_documentation() -> None:
    budget = Budget()
    told(budget, START, {USED: "590", COUNT_1M: "1100"})
    budget.adopt([Limit("weight", MINUTE, 1, 600), ORDERS_1M])
    told(budget, START, {USED: "590"})
    assert budget.wait_ms(Cost(weight=11), Priority.EXIT, START) > 0
    assert budget.wait_ms(Cost(weight=10), Priority.EXIT, START) == 0
    assert budget.wait_ms(ORDER, Priority.ENTRY, START) > 0  # its count was kept


def test_what_is_larger_than_a_share_goes_when_nothing_else_does() -> None:
    budget = Budget([Limit("weight", MINUTE, 1, 30)])
    told(budget, START, {USED: "0"})
    assert budget.wait_ms(Cost(weight=40), Priority.ENTRY, START) == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 5_000)), max_size=60))
def test_a_venue_that_counts_is_never_asked_for_more(steps: list[tuple[int, int]]) -> None:
    """Whoever waits as long as told stays within the limit, by the venue's own count."""
    limit = Limit("weight", MINUTE, 1, 200)
    budget, counted, now_ms = Budget([limit]), dict[int, int](), START
    told(budget, now_ms, {USED: "0"}, Cost(weight=0))
    for weight, pause_ms in steps:
        now_ms += pause_ms
        for _ in range(2):
            now_ms += budget.wait_ms(Cost(weight=weight), Priority.EXIT, now_ms)
        ticket = budget.let_go(Cost(weight=weight), now_ms)
        window = now_ms // MINUTE
        counted[window] = counted.get(window, 0) + weight
        budget.settle(ticket, now_ms, headers={USED: str(counted[window])})
    assert all(count <= limit.most for count in counted.values())
