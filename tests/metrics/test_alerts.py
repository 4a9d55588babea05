"""Each alert is raised once at its limit, and cleared once when it is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import metrics as names
from holdfast.alerts import Alert, Alerts, Severity
from holdfast.metrics import Metrics


def edges(found: list[Alert]) -> list[tuple[str, bool]]:
    return [(alert.name, alert.raised) for alert in found]


def test_nothing_is_wrong_with_an_engine_that_did_nothing() -> None:
    alerts = Alerts()
    for second in range(1000):
        assert alerts.evaluate(Metrics().snapshot(), second) == []


def test_redis_down_for_more_than_a_minute_is_critical() -> None:
    metrics, alerts = Metrics(), Alerts()
    metrics.gauge(names.REDIS_DOWN, 1)
    assert [alerts.evaluate(metrics.snapshot(), second) for second in range(61)] == [[]] * 61
    (alert,) = alerts.evaluate(metrics.snapshot(), 60.1)
    assert (alert.name, alert.severity, alert.raised) == (
        "redis_unavailable",
        Severity.CRITICAL,
        True,
    )
    assert "60 s" in alert.message
    assert alerts.evaluate(metrics.snapshot(), 500) == []
    assert alerts.standing == [alert]
    metrics.gauge(names.REDIS_DOWN, 0)
    assert alerts.evaluate(metrics.snapshot(), 501) == [alert._replace(raised=False)]
    assert alerts.standing == []
    assert alerts.evaluate(metrics.snapshot(), 502) == []


def test_two_short_outages_are_not_one_long_one() -> None:
    metrics, alerts = Metrics(), Alerts()
    for second in range(200):
        metrics.gauge(names.REDIS_DOWN, 0 if second % 50 == 0 else 1)
        assert alerts.evaluate(metrics.snapshot(), second) == []


def orders(metrics: Metrics, *retries: int) -> None:
    for count in retries:
        metrics.observe(names.ORDER_RETRY_COUNT, count)


def test_more_than_a_tenth_of_orders_retried_is_a_warning() -> None:
    metrics, alerts = Metrics(), Alerts()
    orders(metrics, *[0] * 9, 1)
    assert alerts.evaluate(metrics.snapshot(), 0) == []
    orders(metrics, 1)
    (alert,) = alerts.evaluate(metrics.snapshot(), 1)
    assert (alert.name, alert.severity) == ("order_retries", Severity.WARNING)
    assert "2 retries of 11 orders" in alert.message


def test_old_retries_are_forgotten_and_new_ones_not_diluted() -> None:
    metrics, alerts = Metrics(), Alerts()
    orders(metrics, 4)
    assert edges(alerts.evaluate(metrics.snapshot(), 0)) == [("order_retries", True)]
    for second in range(1, 300):
        assert alerts.evaluate(metrics.snapshot(), second) == []
    assert edges(alerts.evaluate(metrics.snapshot(), 321)) == [("order_retries", False)]
    orders(metrics, *[0] * 1000)
    for second in range(330, 700, 5):
        alerts.evaluate(metrics.snapshot(), second)
    orders(metrics, 0, 0, 1)
    assert edges(alerts.evaluate(metrics.snapshot(), 700)) == [("order_retries", True)]


@pytest.mark.parametrize(("events", "expected"), [(100, []), (101, [("event_replay", True)])])
def test_a_replay_of_more_than_a_hundred_events_is_told(
    events: int, expected: list[tuple[str, bool]]
) -> None:
    metrics, alerts = Metrics(), Alerts()
    metrics.observe(names.EVENT_REPLAY_DURATION_SECONDS, 0.1)
    metrics.gauge(names.REPLAYED_EVENTS, events)
    assert edges(alerts.evaluate(metrics.snapshot(), 0)) == expected


def divergence(metrics: Metrics) -> None:
    metrics.gauge(names.POSITION_RECONCILIATION_DIVERGENCE, 2)


def losing(metrics: Metrics) -> None:
    metrics.count(names.EVENTS_LOST_BEYOND_WINDOW, 5)


def held(metrics: Metrics) -> None:
    metrics.gauge(names.DIFFERENCES_HELD, 2)


def cut_short(metrics: Metrics) -> None:
    metrics.count(names.REPAIRS_CUT_SHORT)


@pytest.mark.parametrize(
    ("cause", "name", "severity", "words"),
    [
        (held, "person_needed", Severity.CRITICAL, "2 differences"),
        (cut_short, "repair_cut_short", Severity.WARNING, "1 repairs"),
        (divergence, "position_divergence", Severity.INFO, "2 places"),
        (losing, "events_lost", Severity.CRITICAL, "5 events"),
    ],
)
def test_what_can_not_wait_is_told_at_once(
    cause: Callable[[Metrics], None], name: str, severity: Severity, words: str
) -> None:
    metrics, alerts = Metrics(), Alerts()
    assert alerts.evaluate(metrics.snapshot(), 0) == []
    cause(metrics)
    (alert,) = alerts.evaluate(metrics.snapshot(), 1)
    assert (alert.name, alert.severity, alert.raised) == (name, severity, True)
    assert words in alert.message


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans(), st.integers(0, 3)), max_size=60))
def test_edges_alternate_and_agree_with_what_stands(steps: list[tuple[float, bool, int]]) -> None:
    metrics, alerts, now = Metrics(), Alerts(), 0.0
    standing: set[str] = set()
    for wait, down, divergence in steps:
        now += wait
        metrics.gauge(names.REDIS_DOWN, down)
        metrics.gauge(names.POSITION_RECONCILIATION_DIVERGENCE, divergence)
        orders(metrics, divergence)
        for alert in alerts.evaluate(metrics.snapshot(), now):
            assert (alert.name in standing) is not alert.raised
            standing ^= {alert.name}
        assert {alert.name for alert in alerts.standing} == standing
        assert ("position_divergence" in standing) is (divergence > 0)
