"""The whole behaviour of the engine on one screen.

DEGRADED is where every run begins and every fault ends: the gate is shut and
the links are probed. From there one way leads up, and each step of it does one
job before the next may begin: RECOVERING makes the past whole (caches dropped,
policy read anew, outbox replayed), RECONCILING makes the books true (unknown
orders settled, venue and local book equal), HEALTHY trades. Nothing skips a
step, and whatever goes wrong on the way leads back to DEGRADED.

A row says: this trigger, in these states, if these guards hold, leads there. A
row without a destination is *internal*: the state stays, but the ticket taken
on the last way down is void, so a probe or snapshot begun before it proves
nothing any more. Effects belong to states and are run in order on entering.
Machine, effects, guards, diagrams and documentation are made from this file;
nothing about a transition is written anywhere else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    RECOVERING = "RECOVERING"
    RECONCILING = "RECONCILING"


class Trigger(StrEnum):
    FAULT = "fault"  # a required link failed, or an effect did
    LINKS_RESTORED = "links_restored"
    REPLAYED = "replayed"
    RECONCILED = "reconciled"
    DIVERGED = "diverged"  # the local book is no longer believed
    STALLED = "stalled"  # no progress within the state's bound
    HALT = "halt"  # the operator
    RESUME = "resume"


class Level(StrEnum):
    """What may be put on the wire."""

    ACTIVE = "ACTIVE"  # any order the policy allows
    REDUCING = "REDUCING"  # orders that can only shrink a position, and cancels
    HALTED = "HALTED"  # nothing: venue unreachable, operator, or not our lease


class Guard(StrEnum):
    """Conditions of a row; `guards` holds the function of each."""

    LINKS_PROVEN = "links_proven"  # each required link answered a probe begun after the last fault
    LEASE_HELD = "lease_held"
    NO_HOLD = "no_hold"
    OUTBOX_DRAINED = "outbox_drained"  # up to the mark taken on entering RECOVERING
    POLICY_VERIFIED = "policy_verified"  # read in this link epoch, not older than one seen
    NO_UNKNOWN_ORDER = "no_unknown_order"
    BOOKS_EQUAL = "books_equal"  # no unsettled difference, no divergence since the snapshot began
    TICKET_CURRENT = "ticket_current"  # nothing shut the gate since the way up began


class Effect(StrEnum):
    """What is done on entering a state; the engine holds the function of each."""

    ANNOUNCE = "announce"
    CANCEL_RESTING_ENTRIES = "cancel_resting_entries"
    PROBE_LINKS = "probe_links"
    INVALIDATE_CACHES = "invalidate_caches"
    RELOAD_POLICY = "reload_policy"
    REPLAY_OUTBOX = "replay_outbox"
    RESOLVE_UNKNOWN = "resolve_unknown"
    RECONCILE_BOOKS = "reconcile_books"
    OPEN_GATE = "open_gate"
    AUDIT = "audit"  # goes on for as long as the state lasts


class StateSpec(NamedTuple):
    level: Level
    """The most that is allowed here; a lost exchange link or a hold lowers it."""
    effects: tuple[Effect, ...]
    stall_seconds: float | None
    """Without progress for so long, `stalled` fires. None: the state may last."""
    meaning: str


class Row(NamedTuple):
    trigger: Trigger
    sources: tuple[State, ...]
    dest: State | None  # None: internal
    guards: tuple[Guard, ...] = ()


_H, _D, _R, _C = State.HEALTHY, State.DEGRADED, State.RECOVERING, State.RECONCILING
_G, _E = Guard, Effect

INITIAL = _D

# fmt: off
STATES: dict[State, StateSpec] = {
    _D: StateSpec(Level.REDUCING, (_E.ANNOUNCE, _E.CANCEL_RESTING_ENTRIES, _E.PROBE_LINKS), None,
                  "something failed; gate shut, links are probed"),
    _R: StateSpec(Level.REDUCING, (_E.ANNOUNCE, _E.INVALIDATE_CACHES, _E.RELOAD_POLICY, _E.REPLAY_OUTBOX), 30.0,
                  "caches dropped, policy read anew, events replayed in order"),
    _C: StateSpec(Level.REDUCING, (_E.ANNOUNCE, _E.CANCEL_RESTING_ENTRIES, _E.RESOLVE_UNKNOWN, _E.RECONCILE_BOOKS), 30.0,
                  "unknown orders settled, local book made equal to the venue's"),
    _H: StateSpec(Level.ACTIVE,   (_E.OPEN_GATE, _E.ANNOUNCE, _E.AUDIT), None,
                  "gate open; the books are audited in the background"),
}

TABLE: tuple[Row, ...] = (
    Row(Trigger.FAULT,          (_H, _R, _C),     _D),
    Row(Trigger.FAULT,          (_D,),            None),
    Row(Trigger.LINKS_RESTORED, (_D,),            _R, (_G.LINKS_PROVEN, _G.LEASE_HELD, _G.NO_HOLD)),
    Row(Trigger.REPLAYED,       (_R,),            _C, (_G.OUTBOX_DRAINED, _G.POLICY_VERIFIED)),
    Row(Trigger.RECONCILED,     (_C,),            _H, (_G.NO_UNKNOWN_ORDER, _G.BOOKS_EQUAL, _G.POLICY_VERIFIED,
                                                       _G.LEASE_HELD, _G.TICKET_CURRENT, _G.NO_HOLD)),
    Row(Trigger.DIVERGED,       (_H,),            _C),
    Row(Trigger.DIVERGED,       (_C,),            None),
    Row(Trigger.STALLED,        (_R, _C),         _D),
    Row(Trigger.HALT,           (_H, _R, _C),     _D),
    Row(Trigger.HALT,           (_D,),            None),
    Row(Trigger.RESUME,         (_D,),            None),
)
# fmt: on

SHUTTING: frozenset[Trigger] = frozenset(
    {Trigger.FAULT, Trigger.DIVERGED, Trigger.STALLED, Trigger.HALT, Trigger.RESUME}
)
"""Triggers that shut the gate and void every ticket, before anything else happens."""

LEVELS: dict[State, Level] = {state: spec.level for state, spec in STATES.items()}


class TableError(Exception):
    """The table contradicts itself; raised on import, so it never runs."""


def check(table: tuple[Row, ...] = TABLE, states: dict[State, StateSpec] = STATES) -> None:
    """Refuse a table that could leave a fault unheard or a state without a way out.

    :raises TableError: naming the row or the state, and what is wrong with it.
    """
    missing = [s.value for s in State if s not in states]
    if missing:
        raise TableError(f"states without a specification: {', '.join(missing)}")
    seen: set[tuple[Trigger, State]] = set()
    for row in table:
        for name, kind in ((row.trigger, Trigger), *((s, State) for s in row.sources)):
            if not isinstance(name, kind):
                raise TableError(f"{name!r} in row {row.trigger!s} is no {kind.__name__}")
        if row.dest is not None and not isinstance(row.dest, State):
            raise TableError(f"{row.dest!r} in row {row.trigger!s} is no State")
        if any(not isinstance(g, Guard) for g in row.guards):
            raise TableError(f"row {row.trigger!s} has a guard that is no Guard: {row.guards!r}")
        if row.guards and row.trigger in SHUTTING:
            raise TableError(f"{row.trigger!s} shuts the gate and can not be guarded")
        for source in row.sources:
            if (row.trigger, source) in seen:
                raise TableError(f"{row.trigger!s} stands twice for {source!s}")
            seen.add((row.trigger, source))
    for state, spec in states.items():
        if any(not isinstance(e, Effect) for e in spec.effects):
            raise TableError(f"{state!s} has an effect that is no Effect: {spec.effects!r}")
        for trigger in (Trigger.FAULT, Trigger.HALT):
            if (trigger, state) not in seen:
                raise TableError(f"{state!s} does not handle {trigger!s}")
        if spec.level is Level.ACTIVE and state is not State.HEALTHY:
            raise TableError(f"{state!s} must not be ACTIVE")
        if (spec.stall_seconds is None) == (state in (_R, _C)):
            raise TableError(f"{state!s}: passing states have a stall bound, resting ones none")
        if (spec.stall_seconds is not None) != ((Trigger.STALLED, state) in seen):
            raise TableError(f"{state!s}: a stall bound and a row for `stalled` go together")
    used = {g for row in table for g in row.guards}
    unused = [g.value for g in Guard if g not in used]
    unused += [e.value for e in Effect if not any(e in s.effects for s in states.values())]
    unused += [t.value for t in Trigger if not any(t is row.trigger for row in table)]
    if unused:
        raise TableError(f"named but used nowhere: {', '.join(unused)}")
    opening = [row.trigger for row in table if row.dest is _H]
    if opening != [Trigger.RECONCILED]:
        raise TableError("exactly one row, `reconciled`, may lead to HEALTHY")


check()
