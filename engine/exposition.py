"""Shows `Metrics` to Prometheus; imported only when `metrics.prometheus` is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from .errors import ConfigError
from .metrics import HELP, Metrics, Series

try:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ConfigError(
        "the Prometheus exporter needs prometheus-client: pip install 'holdfast[metrics]'"
    ) from error


class MetricsCollector(Collector):
    """Counters get the suffix `_total`, as Prometheus' text format wants it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        snapshot = self._metrics.snapshot()
        for name, names, rows in _families(snapshot.counters):
            counter = CounterMetricFamily(name, HELP.get(name, name), labels=names)
            for labels, count in rows:
                counter.add_metric(labels, count)
            yield counter
        for name, names, rows in _families(snapshot.gauges):
            gauge = GaugeMetricFamily(name, HELP.get(name, name), labels=names)
            for labels, level in rows:
                gauge.add_metric(labels, level)
            yield gauge
        for name, names, rows in _families(snapshot.histograms):
            histogram = HistogramMetricFamily(name, HELP.get(name, name), labels=names)
            for labels, one in rows:
                buckets = [
                    ("+Inf" if bound == float("inf") else str(float(bound)), count)
                    for bound, count in one.buckets
                ]
                histogram.add_metric(labels, buckets, sum_value=one.sum)
            yield histogram


def _families(
    table: Mapping[Series, Any],
) -> Iterable[tuple[str, list[str], list[tuple[list[str], Any]]]]:
    """Per metric: its name, all its label names, and a row for each series."""
    for name, group in groupby(sorted(table.items(), key=itemgetter(0)), lambda item: item[0][0]):
        items = list(group)
        names = sorted({label for (_, labels), _ in items for label, _ in labels})
        yield (
            name,
            names,
            [
                ([dict(labels).get(label, "") for label in names], value)
                for (_, labels), value in items
            ],
        )
