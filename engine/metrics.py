"""The hook through which the engine reports figures, and the store behind it.

`Meter` is three methods; anything that has them can stand in its place. The
default, `Metrics`, keeps counters, gauges and histograms in memory, bounded, and
is cheap enough for the path of an order. Nothing here knows Prometheus except
`prometheus`, which is imported when it is called.

A meter is called from any thread, and must never raise: it watches, and what
watches must not be able to stop an order.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

REDIS_HEALTH_CHECK_FAILURES: Final = "redis_health_check_failures"
TRADING_GATE_BLOCKS: Final = "trading_gate_blocks"
ORDER_RETRY_COUNT: Final = "order_retry_count"
EVENT_REPLAY_DURATION_SECONDS: Final = "event_replay_duration_seconds"
REPLAYED_EVENTS: Final = "replayed_events"
EVENTS_LOST_BEYOND_WINDOW: Final = "events_lost_beyond_window"
POSITION_RECONCILIATION_DIVERGENCE: Final = "position_reconciliation_divergence"
DIFFERENCES_HELD: Final = "differences_held"
REPAIRS_CUT_SHORT: Final = "repairs_cut_short"
CACHE_INVALIDATION_LATENCY: Final = "cache_invalidation_latency"
REDIS_DOWN: Final = "redis_down"

HELP: Final[Mapping[str, str]] = {
    REDIS_HEALTH_CHECK_FAILURES: "Times a Redis link was found down.",
    TRADING_GATE_BLOCKS: "Orders refused because the gate was shut.",
    ORDER_RETRY_COUNT: "Attempts beyond the first, per order.",
    EVENT_REPLAY_DURATION_SECONDS: "From entering RECOVERING until the backlog was on the bus.",
    REPLAYED_EVENTS: "Events that the latest replay had to bring to the bus.",
    EVENTS_LOST_BEYOND_WINDOW: "Events the bus lost that the outbox no longer held.",
    POSITION_RECONCILIATION_DIVERGENCE: "Differences found by the latest comparison of the books.",
    DIFFERENCES_HELD: "Differences between the books that wait for a person now.",
    REPAIRS_CUT_SHORT: "Repairs that closed less of a position than they were to close.",
    CACHE_INVALIDATION_LATENCY: "Seconds from losing a policy until a fresh one was read.",
    REDIS_DOWN: "1 from the loss of Redis until the engine has recovered from it, else 0.",
}

_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
BUCKETS: Final[Mapping[str, tuple[float, ...]]] = {
    ORDER_RETRY_COUNT: (0, 1, 2, 3, 5, 8),
}
"""Upper bounds of a histogram's buckets; seconds from 1 ms to 5 min unless named here."""

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class Meter(Protocol):
    """Where figures go. Called from any thread; never raises."""

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Something happened `amount` times more."""

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """Something stands at `value` now."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """One measurement of many, whose distribution is of interest."""


class Histogram(NamedTuple):
    """
    :ivar buckets: (upper bound, observations up to it), ascending, the last bound infinite.
    """

    observations: int
    sum: float
    buckets: tuple[tuple[float, int], ...]


class Snapshot(NamedTuple):
    """All figures at one moment; immutable, and its own."""

    counters: Mapping[Series, float]
    gauges: Mapping[Series, float]
    histograms: Mapping[Series, Histogram]

    def counter(self, name: str) -> float:
        """The sum over all labels; 0 if it never was counted."""
        return sum(value for (key, _), value in self.counters.items() if key == name)

    def gauge(self, name: str) -> float:
        """The sum over all labels; 0 if it never was set."""
        return sum(value for (key, _), value in self.gauges.items() if key == name)

    def histogram(self, name: str) -> tuple[int, float]:
        """Observations and their sum, over all labels."""
        found = [value for (key, _), value in self.histograms.items() if key == name]
        return sum(one.observations for one in found), sum(one.sum for one in found)


class _Distribution:
    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def frozen(self) -> Histogram:
        total = 0
        buckets = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        return Histogram(total, self.sum, tuple(buckets))


class Metrics:
    """Figures in memory. Satisfies `Meter`.

    :param max_series: bound on distinct (name, labels); further ones are not kept, and
        counted in `dropped`.
    """

    def __init__(self, *, max_series: int = 1000) -> None:
        self._max_series = max_series
        self._lock = threading.Lock()
        self._counters: dict[Series, float] = {}
        self._gauges: dict[Series, float] = {}
        self._distributions: dict[Series, _Distribution] = {}
        self.dropped = 0

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        series = (name, tuple(sorted(labels.items())))
        with self._lock:
            if series in self._counters or self._has_room():
                self._counters[series] = self._counters.get(series, 0) + amount

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        series = (name, tuple(sorted(labels.items())))
        with self._lock:
            if series in self._gauges or self._has_room():
                self._gauges[series] = value

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        series = (name, tuple(sorted(labels.items())))
        with self._lock:
            distribution = self._distributions.get(series)
            if distribution is None:
                if not self._has_room():
                    return
                distribution = _Distribution(BUCKETS.get(name, _SECONDS))
                self._distributions[series] = distribution
            distribution.counts[bisect.bisect_left(distribution.bounds, value)] += 1
            distribution.sum += value

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                dict(self._counters),
                dict(self._gauges),
                {series: one.frozen() for series, one in self._distributions.items()},
            )

    def _has_room(self) -> bool:
        kept = len(self._counters) + len(self._gauges) + len(self._distributions)
        if kept < self._max_series:
            return True
        self.dropped += 1
        return False


def prometheus(metrics: Metrics) -> Collector:
    """A collector for `prometheus_client.REGISTRY.register(...)`.

    Figures are read when the endpoint is scraped; the engine pays nothing for it.

    :raises ConfigError: prometheus-client is not installed.
    """
    from .exposition import MetricsCollector

    return MetricsCollector(metrics)
