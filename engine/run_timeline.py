"""Turns the steps of a run into the timeline that `states.diagram` draws.

Pure, so that a living engine, its journal after the fact and a campaign's seed are
drawn by the same code. The gate is drawn open for HEALTHY, the only state in which
it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.states.diagram import GateSpan, Mark, MarkKind, StateSpan, Timeline
from holdfast.states.table import INITIAL, SHUTTING, State, Trigger


class Entry(NamedTuple):
    """A state was entered."""

    at_seconds: float
    trigger: str
    cause: str
    dest: State


def timeline(
    entries: Sequence[Entry],
    *,
    title: str,
    start_seconds: float,
    end_seconds: float,
    marks: Iterable[Mark] = (),
) -> Timeline:
    """The run from `start_seconds`, when it was in the initial state, to `end_seconds`.

    :raises ValueError: the entries are not in order of time.
    """
    spans: list[StateSpan] = []
    state, since = INITIAL, start_seconds
    for entry in entries:
        if entry.at_seconds < since:
            raise ValueError(f"entries out of order: {entry}")
        spans.append(StateSpan(state, since, entry.at_seconds))
        state, since = entry.dest, entry.at_seconds
    spans.append(StateSpan(state, since, max(end_seconds, since)))
    down = [
        Mark(MarkKind.FAULT, e.at_seconds, e.cause)
        for e in entries
        if e.trigger in SHUTTING and e.trigger != Trigger.RESUME
    ]
    return Timeline(
        title,
        tuple(spans),
        tuple(GateSpan(s.state is State.HEALTHY, s.start_seconds, s.end_seconds) for s in spans),
        tuple(sorted([*down, *marks], key=lambda mark: mark.at_seconds)),
    )
