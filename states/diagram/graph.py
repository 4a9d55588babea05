"""The table as a graph to draw: a spine that leads up, and arcs that fall back.

Every picture is made from this and from nothing else, so the formats can not
disagree with one another or with the table. Rows that share source, destination
and kind become one arc with several triggers: three lines fall to DEGRADED, not
six. Internal rows are no arcs; they belong to their state's card.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from holdfast.states.table import INITIAL, SHUTTING, TABLE, Guard, State, Trigger

Last = tuple[State, Trigger, State | None]
"""A transition to highlight: source, trigger, destination.

An internal one has no destination, or its source for one (as `machine.Step` has).
"""


class Kind(StrEnum):
    RECOVERY = "recovery"  # one step up the spine
    FAULT = "fault"  # down: a link, an effect or the operator said so
    BACKSLIDE = "backslide"  # down: the way up got stuck, or the books are no longer believed


class Arc(NamedTuple):
    source: State
    dest: State
    kind: Kind
    triggers: tuple[Trigger, ...]
    guards: tuple[Guard, ...]


class Graph(NamedTuple):
    spine: tuple[State, ...]
    """From the state every run begins in to the one that trades."""
    arcs: tuple[Arc, ...]
    internal: dict[State, tuple[Trigger, ...]]


def graph() -> Graph:
    """Read the table.

    :raises ValueError: when a state is not on the one way up; such a table
        needs another picture, and leaving the state out would be a lie.
    """
    spine = _spine()
    merged: dict[tuple[State, State, Kind, tuple[Guard, ...]], list[Trigger]] = {}
    internal: dict[State, list[Trigger]] = {state: [] for state in spine}
    for row in TABLE:
        for source in row.sources:
            if row.dest is None:
                internal[source].append(row.trigger)
                continue
            kind = _kind(row.trigger)
            if kind is Kind.RECOVERY and spine.index(row.dest) != spine.index(source) + 1:
                raise ValueError(f"{row.trigger} is no single step up from {source}")
            merged.setdefault((source, row.dest, kind, row.guards), []).append(row.trigger)
    arcs = tuple(
        Arc(source, dest, kind, tuple(triggers), guards)
        for (source, dest, kind, guards), triggers in merged.items()
    )
    return Graph(spine, arcs, {state: tuple(names) for state, names in internal.items()})


def check_last(last: Last | None) -> None:
    """Refuse to highlight what the table does not contain.

    :raises ValueError: naming the transition.
    """
    if last is None:
        return
    source, trigger, dest = last
    for row in TABLE:
        if row.trigger is trigger and source in row.sources:
            if row.dest is dest or (row.dest is None and dest is source):
                return
            break
    raise ValueError(f"the table has no row {source} --{trigger}--> {dest or source}")


def is_last(last: Last | None, source: State, trigger: Trigger, dest: State | None) -> bool:
    """Whether this row (internal: `dest` is None) is the one to highlight."""
    return last in ((source, trigger, dest), (source, trigger, dest or source))


def _spine() -> tuple[State, ...]:
    up = {row.sources: row.dest for row in TABLE if row.trigger not in SHUTTING}
    order = [INITIAL]
    while (above := up.get((order[-1],))) is not None and above not in order:
        order.append(above)
    if len(order) != len(State):
        raise ValueError(f"not on the way up: {', '.join(s for s in State if s not in order)}")
    return tuple(order)


def _kind(trigger: Trigger) -> Kind:
    if trigger not in SHUTTING:
        return Kind.RECOVERY
    return Kind.FAULT if trigger in (Trigger.FAULT, Trigger.HALT) else Kind.BACKSLIDE
