"""The timeline of a run, read from the journal it left.

Only what was recorded is drawn: an incarnation from its first record to its last,
and between two of them a gap, in which nobody knows anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from holdfast.journal import Record
from holdfast.records import KIND_OF, Intended, Transitioned, decode
from holdfast.run_timeline import Entry, timeline
from holdfast.states.diagram import Mark, MarkKind, Timeline
from holdfast.states.table import State

from .records import shown

_MOST_ORDER_MARKS = 500


def recorded_run(records: Iterable[Record], *, title: str) -> Timeline:
    """:raises ValueError: no transition is recorded."""
    parts: list[Timeline] = []
    orders = entered = 0
    now = 0.0
    for _, incarnation in groupby(records, key=lambda record: record.incarnation):
        entries: list[Entry] = []
        marks: list[Mark] = []
        start: float | None = None
        for record in incarnation:
            time_ns = shown(record).time_ns
            if time_ns is None:
                continue
            now = max(now, time_ns / 1e9)  # a wall clock may step back, a picture's may not
            start = now if start is None else start
            if record.kind == KIND_OF[Intended]:
                orders += 1
                if orders <= _MOST_ORDER_MARKS:
                    marks.append(Mark(MarkKind.ORDER, now))
            elif record.kind == KIND_OF[Transitioned]:
                step = decode(record.kind, record.body)
                assert isinstance(step, Transitioned)
                entries.append(Entry(now, step.trigger, step.cause, State(step.dest)))
        if entries and start is not None:
            entered += len(entries)
            parts.append(
                timeline(entries, title=title, start_seconds=start, end_seconds=now, marks=marks)
            )
    if not parts:
        raise ValueError("no transition is recorded")
    return Timeline(
        title,
        states=tuple(span for part in parts for span in part.states),
        gate=tuple(span for part in parts for span in part.gate),
        marks=tuple(mark for part in parts for mark in part.marks),
        figures=(("transitions", str(entered)), ("orders", str(orders))),
    )
