"""What happened when: the record of a run, and the figures that follow from it.

Times are seconds on any one clock; only differences matter.
"""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from holdfast.states.table import State

from .curves import Curve


class StateSpan(NamedTuple):
    state: State
    start_seconds: float
    end_seconds: float


class GateSpan(NamedTuple):
    is_open: bool
    start_seconds: float
    end_seconds: float


class MarkKind(StrEnum):
    FAULT = "fault"
    ORDER = "order"
    EVENT = "event"


class Mark(NamedTuple):
    kind: MarkKind
    at_seconds: float
    label: str = ""


_Span = StateSpan | GateSpan


class Timeline(NamedTuple):
    title: str
    states: tuple[StateSpan, ...]
    """In order of time, without overlap; gaps are drawn as gaps."""
    gate: tuple[GateSpan, ...]
    """In order of time, without overlap."""
    marks: tuple[Mark, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    """Further key figures: what it is, and its value with the unit."""
    curves: tuple[Curve, ...] = ()
    """Drawn above the lanes, on the same axis of time."""

    @property
    def start_seconds(self) -> float:
        return min(span.start_seconds for span in self._spans())

    @property
    def end_seconds(self) -> float:
        """Of what is drawn: a run that ended early stands beside one that went on."""
        drawn = (curve.points[-1][0] for curve in self.curves if curve.points)
        return max(*(span.end_seconds for span in self._spans()), *drawn, -math.inf)

    @property
    def open_seconds(self) -> float:
        return math.fsum(s.end_seconds - s.start_seconds for s in self.gate if s.is_open)

    @property
    def downtime_seconds(self) -> float:
        """How long the gate was known to be shut."""
        return math.fsum(s.end_seconds - s.start_seconds for s in self.gate if not s.is_open)

    @property
    def open_share(self) -> float | None:
        """The share of the recorded time with the gate open; None: nothing recorded."""
        known = self.open_seconds + self.downtime_seconds
        return self.open_seconds / known if known > 0 else None

    @property
    def longest_shut_seconds(self) -> float:
        """The longest unbroken time with the gate shut."""
        longest = shut_for = 0.0
        before: GateSpan | None = None
        for span in self.gate:
            if before is None or before.end_seconds != span.start_seconds:
                shut_for = 0.0
            shut_for = 0.0 if span.is_open else shut_for + span.end_seconds - span.start_seconds
            longest = max(longest, shut_for)
            before = span
        return longest

    def _spans(self) -> tuple[_Span, ...]:
        return (*self.states, *self.gate)

    def check(self) -> None:
        """Refuse a record that can not have happened.

        :raises ValueError: no span at all, a span that ends before it begins or
            overlaps the one before, or a time that is no finite number.
        """
        if not self.states and not self.gate:
            raise ValueError("a timeline needs at least one span")
        lanes: tuple[tuple[str, tuple[_Span, ...]], ...] = (
            ("state", self.states),
            ("gate", self.gate),
        )
        for name, spans in lanes:
            for span in spans:
                if not (math.isfinite(span.start_seconds) and math.isfinite(span.end_seconds)):
                    raise ValueError(f"{name} span with a time that is no finite number: {span}")
                if span.end_seconds < span.start_seconds:
                    raise ValueError(f"{name} span ends before it begins: {span}")
            for before, after in pairwise(spans):
                if after.start_seconds < before.end_seconds:
                    raise ValueError(f"{name} spans overlap: {before} and {after}")
        for mark in self.marks:
            if not math.isfinite(mark.at_seconds):
                raise ValueError(f"mark with a time that is no finite number: {mark}")


_STEPS_SECONDS = (
    *(m * 10.0**e for e in range(-6, 1) for m in (1, 2, 5)),
    10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
    3600.0, 7200.0, 10800.0, 21600.0, 43200.0, 86400.0,
)  # fmt: skip
_DAY_SECONDS = 86400.0


def axis_step(span_seconds: float, most: int) -> float:
    """The finest round step that puts at most `most` ticks on an axis of this length."""
    for step in _STEPS_SECONDS:
        if span_seconds / step <= most:
            return step
    return _DAY_SECONDS * math.ceil(span_seconds / _DAY_SECONDS / most)


def duration(seconds: float) -> str:
    """A time for people: two units at most, three digits of a second at most."""
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 0.9995:
        text = f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    elif seconds < 59.95:
        text = f"{seconds:.3g} s"
    else:
        whole = round(seconds)
        units = (
            (whole // 86400, "d"),
            (whole // 3600 % 24, "h"),
            (whole // 60 % 60, "min"),
            (whole % 60, "s"),
        )
        first = next(i for i, (count, _) in enumerate(units) if count)
        text = " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)
    return sign + text
