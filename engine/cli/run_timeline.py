"""The timeline of a run, read from the journal: what the machine did, and when.

Only what was recorded is drawn. Between two incarnations nobody knows anything, so
there is a gap; an incarnation begins in the state that its first transition left.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from holdfast.journal import Record
from holdfast.records import KIND_OF, Intended, Transitioned, decode
from holdfast.states.diagram import GateSpan, Mark, MarkKind, StateSpan, Timeline
from holdfast.states.table import State

from .records import shown

_MOST_ORDER_MARKS = 500
_FAULTS = frozenset({"fault", "stalled", "halt", "diverged"})


def run_timeline(records: Iterable[Record], *, title: str) -> Timeline:
    """:raises ValueError: no transition is recorded."""
    spans: list[StateSpan] = []
    marks: list[Mark] = []
    orders: list[Mark] = []
    transitions = 0
    for _, group in groupby(records, key=lambda record: record.incarnation):
        state: State | None = None
        since = now = 0.0
        for record in group:
            at = shown(record).time_ns
            if at is None:
                continue
            # A wall clock may step back; a picture's time may not.
            now = max(now, at / 1e9)
            since = since or now
            if record.kind == KIND_OF[Intended]:
                orders.append(Mark(MarkKind.ORDER, now))
            if record.kind != KIND_OF[Transitioned]:
                continue
            step = decode(record.kind, record.body)
            assert isinstance(step, Transitioned)
            transitions += 1
            spans.append(StateSpan(State(step.source), since, now))
            state, since = State(step.dest), now
            if step.trigger in _FAULTS:
                marks.append(Mark(MarkKind.FAULT, now, step.cause))
        if state is not None:
            spans.append(StateSpan(state, since, now))
    if not transitions:
        raise ValueError("no transition is recorded")
    gate = tuple(
        GateSpan(span.state is State.HEALTHY, span.start_seconds, span.end_seconds)
        for span in spans
    )
    return Timeline(
        title=title,
        states=tuple(spans),
        gate=gate,
        marks=(*marks, *orders[-_MOST_ORDER_MARKS:]),
        figures=(("transitions", str(transitions)), ("orders", str(len(orders)))),
    )
