"""A run told in moments, and as a picture. Pure.

The moments come from the witnesses; the states between them are the engine's own
word, its `engine.transition` events as they were read back from Redis.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from holdfast.states.diagram import GateSpan, Mark, MarkKind, StateSpan, Timeline
from holdfast.states.table import INITIAL, State

from .gate_checks import first_order_after, first_refusal_ns
from .observation import Observation, StreamEntry


class Moment(msgspec.Struct, frozen=True):
    """
    :ivar at_seconds: since the bot had started; what was prepared before is below zero.
    :ivar kind: `kill`, `restart`, `pong`, `refusal`, `order`, `policy`, `state`, `lost`,
        `step` or `skipped`.
    """

    scenario: int
    run: str
    at_seconds: float
    kind: str
    text: str


def moments(seen: Observation, *, scenario: int, run: str) -> list[Moment]:
    """What happened, in order."""
    found: list[tuple[int, str, str]] = []
    for outage in seen.outages:
        found.append((outage.killed_ns, "kill", "Redis killed with SIGKILL"))
        if (refusal_ns := first_refusal_ns(seen, outage)) is not None:
            took_ms = (refusal_ns - outage.killed_ns) / 1e6
            found.append((refusal_ns, "refusal", f"first order refused, {took_ms:.1f} ms later"))
        empty = " without its data" if outage.emptied else ""
        found.append((outage.started_ns, "restart", f"Redis started again{empty}"))
        if outage.pong_ns is not None:
            found.append((outage.pong_ns, "pong", "first PONG seen by the observer"))
        if (order := first_order_after(seen, outage)) is not None:
            found.append((order.accepted_ns, "order", "first opening order accepted again"))
    found += [(c.stored_ns, "policy", f"{c.mode}, version {c.version}") for c in seen.policies]
    for request in seen.requests:
        if request.kind == "place" and request.answer in ("lost before", "lost after"):
            text = f"attempt of {request.client_order_id} {request.answer} the exchange took it"
            found.append((request.arrived_ns, "lost", text))
    for entry in _transitions(seen):
        body = entry.body
        text = f"{body.get('source')} → {body.get('dest')}: {body.get('cause')}"
        found.append((entry.happened_ns, "state", text))
    return [
        Moment(scenario, run, round((at_ns - seen.started_ns) / 1e9, 6), kind, text)
        for at_ns, kind, text in sorted(found)
    ]


def picture(seen: Observation, *, title: str) -> Timeline | None:
    """The run as states, gate and marks; None without a single transition."""
    steps = [(entry.happened_ns, _state(entry, "dest")) for entry in _transitions(seen)]
    known = [(at_ns, state) for at_ns, state in steps if state is not None]
    if not known:
        return None
    if seen.started_ns < known[0][0]:
        known.insert(0, (seen.started_ns, INITIAL))
    last_ns = max(
        [known[-1][0]]
        + [attempt.begun_ns for attempt in seen.attempts[-1:]]
        + [order.accepted_ns for order in seen.orders[-1:]]
    )

    def at(stamp_ns: int) -> float:
        return (stamp_ns - seen.started_ns) / 1e9

    known.append((last_ns, known[-1][1]))
    spans = tuple(StateSpan(state, at(a), at(b)) for (a, state), (b, _) in pairwise(known))
    gate = tuple(
        GateSpan(span.state is State.HEALTHY, span.start_seconds, span.end_seconds)
        for span in spans
    )
    marks = [Mark(MarkKind.FAULT, at(o.killed_ns), "Redis killed") for o in seen.outages]
    marks += [
        Mark(MarkKind.EVENT, at(o.started_ns), "restarted EMPTY" if o.emptied else "restarted")
        for o in seen.outages
    ]
    marks += [
        Mark(MarkKind.EVENT, at(p.stored_ns), f"{p.mode} v{p.version}") for p in seen.policies
    ]
    marks += [
        Mark(MarkKind.FAULT, at(r.arrived_ns), "attempt lost")
        for r in seen.requests
        if r.kind == "place" and r.answer in ("lost before", "lost after")
    ]
    shown = [m for m in marks if spans[0].start_seconds <= m.at_seconds <= spans[-1].end_seconds]
    return Timeline(title, spans, gate, tuple(sorted(shown, key=lambda mark: mark.at_seconds)))


def _transitions(seen: Observation) -> list[StreamEntry]:
    return sorted(
        (entry for entry in seen.stream if entry.type == "engine.transition"),
        key=lambda entry: (entry.happened_ns, entry.sequence),
    )


def _state(entry: StreamEntry, field: str) -> State | None:
    try:
        return State(str(entry.body.get(field)))
    except ValueError:
        return None
