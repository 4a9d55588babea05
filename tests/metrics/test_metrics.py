"""Figures are counted rightly, stay bounded, and reach Prometheus."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from holdfast import metrics as names
from holdfast.metrics import Metrics, prometheus


def test_counters_add_up_per_label_and_in_total() -> None:
    metrics = Metrics()
    metrics.count("orders", side="buy")
    metrics.count("orders", 2, side="sell")
    snapshot = metrics.snapshot()
    assert snapshot.counters["orders", (("side", "sell"),)] == 2
    assert snapshot.counter("orders") == 3
    assert snapshot.counter("never") == 0
    metrics.count("orders")
    assert snapshot.counter("orders") == 3  # a snapshot does not move


def test_a_gauge_holds_the_latest_value() -> None:
    metrics = Metrics()
    metrics.gauge("redis_down", 1)
    metrics.gauge("redis_down", 0)
    assert metrics.snapshot().gauge("redis_down") == 0


@given(st.lists(st.floats(0, 1000), max_size=50))
def test_a_histogram_agrees_with_counting_by_hand(values: list[float]) -> None:
    metrics = Metrics()
    for value in values:
        metrics.observe("wait_seconds", value)
    if not values:
        assert metrics.snapshot().histogram("wait_seconds") == (0, 0)
        return
    histogram = metrics.snapshot().histograms["wait_seconds", ()]
    assert histogram.observations == len(values)
    assert histogram.sum == pytest.approx(sum(values))
    for bound, upto in histogram.buckets:
        assert upto == sum(value <= bound for value in values)
    assert histogram.buckets[-1] == (float("inf"), len(values))


def test_order_retries_have_buckets_of_their_own() -> None:
    metrics = Metrics()
    for retries in (0, 0, 1, 3):
        metrics.observe(names.ORDER_RETRY_COUNT, retries)
    buckets = dict(metrics.snapshot().histograms[names.ORDER_RETRY_COUNT, ()].buckets)
    assert (buckets[0], buckets[1], buckets[3]) == (2, 3, 4)


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics(max_series=3)
    for number in range(10):
        metrics.count("orders", key=str(number))
        metrics.gauge("depth", number, key=str(number))
        metrics.observe("wait", number, key=str(number))
    snapshot = metrics.snapshot()
    kept = len(snapshot.counters) + len(snapshot.gauges) + len(snapshot.histograms)
    assert kept == 3
    assert metrics.dropped == 27
    metrics.count("orders", key="0")
    assert metrics.snapshot().counters["orders", (("key", "0"),)] == 2


def test_counting_from_many_threads_loses_nothing() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.count("orders")
            metrics.observe("wait", 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.snapshot().counter("orders") == 8000
    assert metrics.snapshot().histogram("wait") == (8000, 8000)


def test_prometheus_reads_what_was_counted() -> None:
    metrics = Metrics()
    metrics.count(names.TRADING_GATE_BLOCKS, 7)
    metrics.count("orders", side='b"uy')
    metrics.count("orders", 2)
    metrics.gauge(names.REDIS_DOWN, 1)
    metrics.observe(names.EVENT_REPLAY_DURATION_SECONDS, 0.02)
    registry = CollectorRegistry()
    registry.register(prometheus(metrics))
    text = generate_latest(registry).decode()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples[("trading_gate_blocks_total",)] == 7
    assert samples["orders_total", ("side", 'b"uy')] == 1
    assert samples["orders_total", ("side", "")] == 2
    assert samples[("redis_down",)] == 1
    assert samples[("event_replay_duration_seconds_sum",)] == 0.02
    assert samples["event_replay_duration_seconds_bucket", ("le", "0.01")] == 0
    assert samples["event_replay_duration_seconds_bucket", ("le", "0.05")] == 1
    assert samples["event_replay_duration_seconds_bucket", ("le", "+Inf")] == 1
    assert names.HELP[names.TRADING_GATE_BLOCKS] in text
