"""The machine does what the table says, one trigger at a time, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from holdfast.states import machine as machine_module
from holdfast.states.guards import Facts
from holdfast.states.machine import Machine, Step
from holdfast.states.table import SHUTTING, TABLE, State, Trigger

OPEN_FACTS = Facts((), True, None, 0, None, 0, 0, True)

WAY: dict[State, tuple[Trigger, ...]] = {
    State.DEGRADED: (),
    State.RECOVERING: (Trigger.LINKS_RESTORED,),
    State.RECONCILING: (Trigger.LINKS_RESTORED, Trigger.REPLAYED),
    State.HEALTHY: (Trigger.LINKS_RESTORED, Trigger.REPLAYED, Trigger.RECONCILED),
}
EVERY_PAIR = list(itertools.product(Trigger, State))
ROWS = {(row.trigger, source): row for row in TABLE for source in row.sources}


class Driver:
    """A machine, what it told, and the facts it is given."""

    def __init__(self) -> None:
        self.facts = OPEN_FACTS
        self.facts_error: Exception | None = None
        self.told: list[tuple[str, object]] = []
        self.steps: list[Step] = []
        self.listener: Callable[[Step], None] = lambda step: None
        self.machine = Machine(facts=self._facts, before_shutting=self._shut, on_step=self._on_step)

    def _facts(self) -> Facts:
        if self.facts_error is not None:
            raise self.facts_error
        return self.facts

    def _shut(self, trigger: Trigger, cause: str) -> None:
        self.told.append(("shut", trigger))

    def _on_step(self, step: Step) -> None:
        self.told.append(("step", step.trigger))
        self.steps.append(step)
        self.listener(step)

    def walk_to(self, state: State) -> None:
        for trigger in WAY[state]:
            self.machine.fire(trigger, "on the way")
        assert self.machine.state is state
        self.told.clear()
        self.steps.clear()


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_the_first_state_is_degraded(driver: Driver) -> None:
    assert driver.machine.state is State.DEGRADED


@pytest.mark.parametrize(("trigger", "state"), EVERY_PAIR)
def test_every_trigger_in_every_state_with_guards_content(
    driver: Driver, trigger: Trigger, state: State
) -> None:
    driver.walk_to(state)
    driver.machine.fire(trigger, "a test")
    (step,) = driver.steps
    row = ROWS.get((trigger, state))
    expected = state if row is None or row.dest is None else row.dest
    assert driver.machine.state is step.dest is expected
    assert step.source is state
    assert step.ignored is (row is None)
    assert step.entered is (row is not None and row.dest is not None)
    assert step.refused == ()
    assert (step.trigger, step.cause) == (trigger, "a test")


@pytest.mark.parametrize(("trigger", "state"), EVERY_PAIR)
def test_every_trigger_in_every_state_with_guards_refusing(
    driver: Driver, trigger: Trigger, state: State
) -> None:
    driver.walk_to(state)
    driver.facts = Facts()
    driver.machine.fire(trigger, "a test")
    (step,) = driver.steps
    row = ROWS.get((trigger, state))
    if row is not None and row.guards:
        assert driver.machine.state is state
        assert len(step.refused) == len(row.guards), "every reason is told, not only the first"
        assert not step.entered
    else:
        assert step.refused == ()
        assert driver.machine.state is (state if row is None or row.dest is None else row.dest)


@pytest.mark.parametrize(("trigger", "state"), EVERY_PAIR)
def test_the_gate_is_shut_before_anything_else(
    driver: Driver, trigger: Trigger, state: State
) -> None:
    driver.walk_to(state)
    driver.machine.fire(trigger, "a test")
    step = ("step", trigger)
    shuts = trigger in SHUTTING and (trigger, state) in ROWS
    assert driver.told == ([("shut", trigger), step] if shuts else [step])


def test_triggers_of_listeners_wait_their_turn_and_are_all_processed(driver: Driver) -> None:
    states_seen: list[State] = []

    def listener(step: Step) -> None:
        states_seen.append(driver.machine.state)
        if step.trigger is Trigger.LINKS_RESTORED:
            driver.machine.fire(Trigger.REPLAYED, "from a listener")
            driver.machine.fire(Trigger.FAULT, "from the same listener")
            assert driver.machine.state is State.RECOVERING, "run to completion, not nested"

    driver.listener = listener
    driver.machine.fire(Trigger.LINKS_RESTORED, "outermost")
    assert driver.machine.state is State.DEGRADED
    assert states_seen == [State.RECOVERING, State.RECONCILING, State.DEGRADED]
    assert [s.number for s in driver.steps] == [1, 2, 3]


def test_a_fault_that_waits_has_shut_the_gate_already(driver: Driver) -> None:
    driver.walk_to(State.RECONCILING)

    def listener(step: Step) -> None:
        if step.trigger is Trigger.RECONCILED:
            before = len(driver.told)
            driver.machine.fire(Trigger.FAULT, "while HEALTHY is being entered")
            assert driver.told[before:] == [("shut", Trigger.FAULT)]

    driver.listener = listener
    driver.machine.fire(Trigger.RECONCILED, "books equal")
    assert driver.machine.state is State.DEGRADED


def test_a_listener_that_raises_loses_no_trigger(driver: Driver) -> None:
    """`transitions` empties its queue when a callback raises; this one must not."""
    driver.walk_to(State.HEALTHY)

    def listener(step: Step) -> None:
        if step.trigger is Trigger.DIVERGED:
            driver.machine.fire(Trigger.FAULT, "must not be lost")
            raise LookupError("a broken listener")

    driver.listener = listener
    with pytest.raises(LookupError):
        driver.machine.fire(Trigger.DIVERGED, "audit")
    driver.machine.fire(Trigger.REPLAYED, "the next one")
    assert [s.trigger for s in driver.steps] == [Trigger.DIVERGED, Trigger.FAULT, Trigger.REPLAYED]
    assert driver.machine.state is State.DEGRADED


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        (State.DEGRADED, Trigger.LINKS_RESTORED),
        (State.RECOVERING, Trigger.REPLAYED),
        (State.RECONCILING, Trigger.RECONCILED),
    ],
)
def test_a_guard_that_raises_is_a_fault(driver: Driver, state: State, trigger: Trigger) -> None:
    driver.walk_to(state)
    driver.facts_error = ZeroDivisionError("no such fact")
    driver.machine.fire(trigger, "a test")
    assert driver.machine.state is State.DEGRADED
    refused, fault = driver.steps
    assert "ZeroDivisionError" in refused.refused[0]
    assert fault.trigger is Trigger.FAULT
    assert ("shut", Trigger.FAULT) in driver.told


def test_a_listener_that_feeds_itself_is_stopped_with_the_gate_shut(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "MAX_PENDING", 8)

    def listener(step: Step) -> None:
        for _ in range(2):
            driver.machine.fire(Trigger.FAULT, "and again")

    driver.listener = listener
    with pytest.raises(RuntimeError, match="a listener feeds itself"):
        driver.machine.fire(Trigger.FAULT, "first")
    assert driver.told[-1] == ("shut", Trigger.FAULT)


def test_the_library_below_offers_no_way_around_the_guards(driver: Driver) -> None:
    """`auto_transitions` would generate `to_HEALTHY()`, which skips every guard."""
    assert not [name for name in dir(driver.machine._model) if name.startswith("to_")]
