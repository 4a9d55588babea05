"""What a person should be told, as pure rules over the figures.

A rule sees two snapshots, the present one and the one that began the window, and
answers with a sentence or with nothing. `Alerts` turns that into edges: each
alert is raised once, when its rule begins to speak, and cleared once, when it
falls silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from .metrics import (
    DIFFERENCES_HELD,
    EVENT_REPLAY_DURATION_SECONDS,
    EVENTS_LOST_BEYOND_WINDOW,
    ORDER_RETRY_COUNT,
    POSITION_RECONCILIATION_DIVERGENCE,
    REDIS_DOWN,
    REPAIRS_CUT_SHORT,
    REPLAYED_EVENTS,
    Snapshot,
)

REDIS_UNAVAILABLE_SECONDS: Final = 60.0
RETRY_SHARE: Final = 0.10
REPLAY_EVENTS: Final = 100
WINDOW_SECONDS: Final = 300.0
"""Retries, replays and losses are judged over this long: a bad hour last week is no news."""
SAMPLE_SECONDS: Final = 10.0


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Alert(NamedTuple):
    """One edge.

    :ivar raised: False: what was raised before is over.
    :ivar message: for a person; of a cleared alert, the one it was raised with.
    """

    name: str
    severity: Severity
    raised: bool
    message: str


Judgement = Callable[[Snapshot, Snapshot], str | None]


class Rule(NamedTuple):
    """
    :ivar judge: (the present, the begin of the window) → what is wrong, or None.
    :ivar for_seconds: it must be wrong for longer than this without a break.
    """

    name: str
    severity: Severity
    judge: Judgement
    for_seconds: float = 0.0


def redis_unavailable(present: Snapshot, before: Snapshot) -> str | None:
    if not present.gauge(REDIS_DOWN):
        return None
    return f"Redis has been unavailable for more than {REDIS_UNAVAILABLE_SECONDS:.0f} s"


def events_lost(present: Snapshot, before: Snapshot) -> str | None:
    lost = present.counter(EVENTS_LOST_BEYOND_WINDOW) - before.counter(EVENTS_LOST_BEYOND_WINDOW)
    return f"{lost:.0f} events are lost; a gap marker stands in their place" if lost else None


def many_retries(present: Snapshot, before: Snapshot) -> str | None:
    orders, retries = present.histogram(ORDER_RETRY_COUNT)
    orders_before, retries_before = before.histogram(ORDER_RETRY_COUNT)
    orders, retries = orders - orders_before, retries - retries_before
    if not orders or retries <= RETRY_SHARE * orders:
        return None
    return f"{retries:.0f} retries of {orders} orders within {WINDOW_SECONDS / 60:.0f} minutes"


def long_replay(present: Snapshot, before: Snapshot) -> str | None:
    replays, _ = present.histogram(EVENT_REPLAY_DURATION_SECONDS)
    replays_before, _ = before.histogram(EVENT_REPLAY_DURATION_SECONDS)
    events = present.gauge(REPLAYED_EVENTS)
    if replays == replays_before or events <= REPLAY_EVENTS:
        return None
    return f"{events:.0f} events had to be replayed"


def waits_for_a_person(present: Snapshot, before: Snapshot) -> str | None:
    held = present.gauge(DIFFERENCES_HELD)
    return (
        f"nothing is traded: {held:.0f} differences of the books wait for a person "
        "(`holdfast status` names them)"
        if held
        else None
    )


def repairs_cut_short(present: Snapshot, before: Snapshot) -> str | None:
    short = present.counter(REPAIRS_CUT_SHORT) - before.counter(REPAIRS_CUT_SHORT)
    if not short:
        return None
    return f"{short:.0f} repairs closed less of a position than they were to close"


def diverged(present: Snapshot, before: Snapshot) -> str | None:
    found = present.gauge(POSITION_RECONCILIATION_DIVERGENCE)
    return f"the books differ from the venue's in {found:.0f} places" if found > 0 else None


RULES: Final = (
    Rule("redis_unavailable", Severity.CRITICAL, redis_unavailable, REDIS_UNAVAILABLE_SECONDS),
    Rule("events_lost", Severity.CRITICAL, events_lost),
    Rule("person_needed", Severity.CRITICAL, waits_for_a_person),
    Rule("repair_cut_short", Severity.WARNING, repairs_cut_short),
    Rule("order_retries", Severity.WARNING, many_retries),
    Rule("event_replay", Severity.INFO, long_replay),
    Rule("position_divergence", Severity.INFO, diverged),
)


class Alerts:
    """Which alerts stand, and what changed. Call `evaluate` every second or so."""

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._wrong_since: dict[str, float] = {}
        self._standing: dict[str, Alert] = {}
        # At most one snapshot in ten seconds, so that the window is bounded however often
        # evaluate is called.
        self._past: deque[tuple[float, Snapshot]] = deque(
            [(float("-inf"), Snapshot({}, {}, {}))], maxlen=int(WINDOW_SECONDS / SAMPLE_SECONDS) + 2
        )

    @property
    def standing(self) -> list[Alert]:
        """Raised and not cleared, in the order of the rules."""
        return [self._standing[rule.name] for rule in self._rules if rule.name in self._standing]

    def evaluate(self, present: Snapshot, now: float) -> list[Alert]:
        """The edges since the last call.

        :param now: monotonic seconds.
        """
        before = self._window_begin(present, now)
        edges = []
        for rule in self._rules:
            message = rule.judge(present, before)
            standing = self._standing.get(rule.name)
            if message is None:
                self._wrong_since.pop(rule.name, None)
                if standing is not None:
                    del self._standing[rule.name]
                    edges.append(standing._replace(raised=False))
            elif standing is None and self._long_enough(rule, now):
                alert = Alert(rule.name, rule.severity, True, message)
                self._standing[rule.name] = alert
                edges.append(alert)
        return edges

    def _long_enough(self, rule: Rule, now: float) -> bool:
        if not rule.for_seconds:
            return True
        return now - self._wrong_since.setdefault(rule.name, now) > rule.for_seconds

    def _window_begin(self, present: Snapshot, now: float) -> Snapshot:
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW_SECONDS:
            self._past.popleft()
        if now - self._past[-1][0] >= SAMPLE_SECONDS:
            self._past.append((now, present))
        return self._past[0][1]
