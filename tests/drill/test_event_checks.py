"""The judges of events, shown logs with every fault a bus can have."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.drill import event_checks
from holdfast.drill.observation import Observation, StreamEntry

from .observations import PRODUCER, good_run


def verdicts(run: Observation) -> dict[str, bool]:
    return {check.id: check.passed for check in event_checks.event_checks(run, 1)}


def test_a_good_run_passes() -> None:
    checks = event_checks.event_checks(good_run(), 1)
    assert all(check.passed for check in checks), checks
    assert [check.id for check in checks] == [
        "events_published",
        "events_lost",
        "events_duplicated",
        "events_out_of_order",
    ]


def test_nothing_passes_when_nothing_was_published() -> None:
    assert not any(verdicts(Observation()).values())
    assert not any(verdicts(good_run()._replace(published=())).values())


def test_events_must_have_been_published_in_the_outage() -> None:
    run = good_run()
    quiet = [e for e in run.published if e.type != "strategy.signal"]
    assert not verdicts(run._replace(published=quiet))["events_published"]


def test_a_lost_event_is_counted() -> None:
    run = good_run()
    assert event_checks.lost(run._replace(stream=run.stream[:10] + run.stream[11:])) == 1
    assert not verdicts(run._replace(stream=run.stream[:-1]))["events_lost"]


def test_a_gap_marker_is_no_event() -> None:
    run = good_run()
    marker = StreamEntry(PRODUCER, run.stream[4].sequence, "gap", 0, gap=True)
    assert event_checks.lost(run._replace(stream=[*run.stream[:4], marker, *run.stream[5:]])) == 1


def test_another_event_under_the_same_name_does_not_stand_in() -> None:
    run = good_run()
    swapped = run.stream[4]._replace(number=999)
    assert event_checks.lost(run._replace(stream=[*run.stream[:4], swapped, *run.stream[5:]])) == 1


@pytest.mark.parametrize("renamed", [False, True])
def test_a_duplicate_is_counted_also_under_a_new_sequence(renamed: bool) -> None:
    run = good_run()
    again = run.stream[7]
    if renamed:
        again = again._replace(producer="drill:2", sequence=1)
    bad = run._replace(stream=[*run.stream, again])
    assert event_checks.duplicated(bad) == 1
    assert not verdicts(bad)["events_duplicated"]


def test_file_order_is_not_publish_order() -> None:
    """Two neighbours swapped: one is out of order."""
    run = good_run()
    stream = list(run.stream)
    stream[3], stream[4] = stream[4], stream[3]
    assert event_checks.out_of_order(run._replace(stream=stream)) == 1
    assert not verdicts(run._replace(stream=stream))["events_out_of_order"]


def test_order_is_judged_by_the_bots_clock_also_between_producers() -> None:
    """After a restart of the bot sequences begin anew; trade.closed still follows trade.opened."""
    run = good_run()
    first, second = run.published[0], run.published[1]
    second = type(second)(
        at_ns=second.at_ns, wall_ns=0, called_ns=second.called_ns, number=second.number,
        type="trade.closed", producer="drill:2", sequence=1,
    )  # fmt: skip
    entry_one = StreamEntry(first.producer, first.sequence, first.type, 0, first.number)
    entry_two = StreamEntry("drill:2", 1, "trade.closed", 0, second.number)
    good = Observation(published=[first, second], stream=[entry_one, entry_two])
    assert event_checks.out_of_order(good) == 0
    assert event_checks.out_of_order(good._replace(stream=[entry_two, entry_one])) == 1


def test_concurrent_publishes_may_come_in_either_order() -> None:
    run = good_run()
    a, b = run.published[0], run.published[1]
    overlapping = type(b)(
        at_ns=a.at_ns + 1, wall_ns=0, called_ns=a.called_ns, number=b.number, type=b.type,
        producer="drill:2", sequence=1,
    )  # fmt: skip
    entries = [
        StreamEntry("drill:2", 1, b.type, 0, b.number),
        StreamEntry(a.producer, a.sequence, a.type, 0, a.number),
    ]
    assert event_checks.out_of_order(Observation(published=[a, overlapping], stream=entries)) == 0


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_any_shuffle_is_found(seed: int, count: int) -> None:
    """Oracle: the quadratic definition, every pair compared."""
    run = good_run()
    stream = list(run.stream)
    rng = random.Random(seed)
    for _ in range(count):
        i, j = rng.randrange(len(stream)), rng.randrange(len(stream))
        stream[i], stream[j] = stream[j], stream[i]
    log = {(e.producer, e.sequence): e for e in run.published}

    def overtakes(i: int, j: int) -> bool:
        ahead, behind = stream[i], stream[j]
        if behind.producer == ahead.producer and behind.sequence < ahead.sequence:
            return True
        one, two = (
            log.get((ahead.producer, ahead.sequence)),
            log.get((behind.producer, behind.sequence)),
        )
        return one is not None and two is not None and two.at_ns < one.called_ns

    expected = sum(
        any(overtakes(i, j) for j in range(i + 1, len(stream))) for i in range(len(stream))
    )
    assert event_checks.out_of_order(run._replace(stream=stream)) == expected
