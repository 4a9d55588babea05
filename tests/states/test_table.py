"""The table refuses to be wrong: every kind of broken table is named on import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from holdfast.states.guards import GUARDS, Facts
from holdfast.states.table import (
    LEVELS,
    SHUTTING,
    STATES,
    TABLE,
    Effect,
    Guard,
    Level,
    Row,
    State,
    StateSpec,
    TableError,
    Trigger,
    check,
)

OPEN_FACTS = Facts(
    links_unproven=(),
    lease_held=True,
    hold=None,
    outbox_behind=0,
    policy_problem=None,
    unknown_orders=0,
    unsettled_differences=0,
    ticket_current=True,
)
CLOSED_FACTS: dict[Guard, dict[str, Any]] = {
    Guard.LINKS_PROVEN: {"links_unproven": ("bus", "policy")},
    Guard.LEASE_HELD: {"lease_held": False},
    Guard.NO_HOLD: {"hold": "the operator sleeps"},
    Guard.OUTBOX_DRAINED: {"outbox_behind": 3},
    Guard.POLICY_VERIFIED: {"policy_problem": "the policy is stale"},
    Guard.NO_UNKNOWN_ORDER: {"unknown_orders": 2},
    Guard.BOOKS_EQUAL: {"unsettled_differences": 1},
    Guard.TICKET_CURRENT: {"ticket_current": False},
}


def without(trigger: Trigger, state: State | None = None) -> tuple[Row, ...]:
    """The table less one trigger, or less that trigger in one state."""
    rows = []
    for row in TABLE:
        if row.trigger is trigger:
            if state is None:
                continue
            row = row._replace(sources=tuple(s for s in row.sources if s is not state))
        rows.append(row)
    return tuple(rows)


def states_with(state: State, **changes: Any) -> dict[State, StateSpec]:
    return {**STATES, state: STATES[state]._replace(**changes)}


@dataclass
class Broken:
    complaint: str
    table: tuple[Row, ...] = TABLE
    states: dict[State, StateSpec] | None = None


NOT_A: Any = "typo"
BROKEN = {
    "a state is missing": Broken(
        "states without a specification: RECOVERING",
        states={s: spec for s, spec in STATES.items() if s is not State.RECOVERING},
    ),
    "a trigger is a typo": Broken("is no Trigger", (*TABLE, Row(NOT_A, (State.HEALTHY,), None))),
    "a source is a typo": Broken("is no State", (*TABLE, Row(Trigger.RESUME, (NOT_A,), None))),
    "a destination is a typo": Broken(
        "is no State", (*TABLE, Row(Trigger.RESUME, (State.HEALTHY,), NOT_A))
    ),
    "a guard is a typo": Broken(
        "has a guard that is no Guard",
        (*TABLE, Row(Trigger.REPLAYED, (State.DEGRADED,), State.RECONCILING, (NOT_A,))),
    ),
    "a fault is guarded": Broken(
        "shuts the gate and can not be guarded",
        (
            *without(Trigger.STALLED),
            Row(
                Trigger.STALLED,
                (State.RECOVERING, State.RECONCILING),
                State.DEGRADED,
                (Guard.LEASE_HELD,),
            ),
        ),
    ),
    "a trigger stands twice for a state": Broken(
        "stands twice for HEALTHY", (*TABLE, Row(Trigger.FAULT, (State.HEALTHY,), None))
    ),
    "an effect is a typo": Broken(
        "has an effect that is no Effect",
        states=states_with(State.HEALTHY, effects=(*STATES[State.HEALTHY].effects, NOT_A)),
    ),
    "a state is deaf to faults": Broken(
        "RECONCILING does not handle fault", without(Trigger.FAULT, State.RECONCILING)
    ),
    "a state is deaf to the operator": Broken(
        "HEALTHY does not handle halt", without(Trigger.HALT, State.HEALTHY)
    ),
    "another state may open positions": Broken(
        "RECOVERING must not be ACTIVE", states=states_with(State.RECOVERING, level=Level.ACTIVE)
    ),
    "a passing state may last for ever": Broken(
        "RECONCILING: passing states have a stall bound",
        states=states_with(State.RECONCILING, stall_seconds=None),
    ),
    "a resting state has a bound": Broken(
        "HEALTHY: passing states have a stall bound",
        states=states_with(State.HEALTHY, stall_seconds=1.0),
    ),
    "a bound that nobody hears": Broken(
        "a stall bound and a row for `stalled` go together",
        without(Trigger.STALLED, State.RECOVERING),
    ),
    "a guard is used nowhere": Broken(
        "named but used nowhere: outbox_drained",
        (
            *without(Trigger.REPLAYED),
            Row(Trigger.REPLAYED, (State.RECOVERING,), State.RECONCILING, (Guard.POLICY_VERIFIED,)),
        ),
    ),
    "an effect is used nowhere": Broken(
        "named but used nowhere: audit",
        states=states_with(State.HEALTHY, effects=(Effect.OPEN_GATE, Effect.ANNOUNCE)),
    ),
    "a trigger is used nowhere": Broken("named but used nowhere: resume", without(Trigger.RESUME)),
    "a second way up": Broken(
        "exactly one row, `reconciled`, may lead to HEALTHY",
        (*TABLE, Row(Trigger.REPLAYED, (State.DEGRADED,), State.HEALTHY)),
    ),
    "another way up": Broken(
        "exactly one row, `reconciled`, may lead to HEALTHY",
        tuple(
            row._replace(dest=State.RECONCILING) if row.trigger is Trigger.RECONCILED else row
            for row in TABLE
        ),
    ),
}


def test_the_table_as_it_stands_is_sound() -> None:
    check(TABLE, STATES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_refused_and_says_what_is_wrong(name: str) -> None:
    broken = BROKEN[name]
    with pytest.raises(TableError) as refused:
        check(broken.table, STATES if broken.states is None else broken.states)
    assert broken.complaint in str(refused.value)


def test_only_healthy_may_open_positions() -> None:
    assert [s for s, level in LEVELS.items() if level is Level.ACTIVE] == [State.HEALTHY]


def test_every_trigger_that_leads_away_from_healthy_shuts_the_gate() -> None:
    leaving = {row.trigger for row in TABLE if State.HEALTHY in row.sources}
    assert leaving <= SHUTTING


def test_what_is_not_known_is_closed() -> None:
    """Facts nobody has filled in: every single guard refuses."""
    assert [g for g in Guard if GUARDS[g](Facts()) is None] == []


def test_every_guard_lets_pass_what_is_in_order() -> None:
    assert [why for g in Guard if (why := GUARDS[g](OPEN_FACTS)) is not None] == []


@pytest.mark.parametrize("guard", list(Guard))
def test_a_guard_judges_by_its_own_fact_and_says_why(guard: Guard) -> None:
    facts = OPEN_FACTS._replace(**CLOSED_FACTS[guard])
    refusing = [g for g in Guard if GUARDS[g](facts) is not None]
    assert refusing == [guard]
    why = GUARDS[guard](facts)
    assert why
    assert " " in why, "a person must be able to read it"


def test_not_compared_is_not_equal() -> None:
    """None (not observed) is never taken for zero (observed: nothing)."""
    assert GUARDS[Guard.BOOKS_EQUAL](OPEN_FACTS._replace(unsettled_differences=None)) is not None
