"""HEALTHY is entered only if probe, replay and reconciliation each began after the last fault.

That is the oracle which tells a sound engine from one that merely looks sound: "the gate
is open exactly when HEALTHY" holds for machines that trade on a proof older than the
fault. Machine, gate and links are the real ones; the effects are played step by step, so
that a fault can fall between any two of them, and each remembers when it began.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.gate import Gate
from holdfast.states.guards import Facts
from holdfast.states.machine import Machine, Step
from holdfast.states.table import SHUTTING, State, Trigger


class Recovery(RuleBasedStateMachine):
    """Plays the engine's effects by hand; `now` numbers everything that happens."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.last_fault = 0
        self.last_divergence = 0
        self.gate = Gate(monotonic=lambda: 0.0, lease_seconds=None)
        self.ticket = self.gate.epoch
        self.divergences = 0
        self.hold: str | None = None
        self.probe_in_flight: tuple[int, int] | None = None  # (began, gate epoch)
        self.probe_done = 0
        self.proven_epoch = 0
        self.replay_in_flight: int | None = None
        self.replay_done = 0
        self.behind = 1
        self.snapshot_in_flight: tuple[int, int] | None = None  # (began, divergences)
        self.snapshot_done = 0
        self.compared: int | None = None
        self.remote_faults = 0
        self.healthy_entries = 0
        self.machine = Machine(facts=self._facts, before_shutting=self._shut, on_step=self._on_step)

    def tick(self) -> int:
        self.now += 1
        return self.now

    def _facts(self) -> Facts:
        return Facts(
            links_unproven=() if self.proven_epoch >= self.ticket else ("bus",),
            lease_held=True,
            hold=self.hold,
            outbox_behind=self.behind,
            policy_problem=None,
            unknown_orders=0,
            unsettled_differences=0 if self.compared == self.divergences else None,
            ticket_current=self.ticket == self.gate.epoch,
        )

    def _shut(self, trigger: Trigger, cause: str) -> None:
        self.gate.shut(cause)

    def _on_step(self, step: Step) -> None:
        if step.trigger in SHUTTING:
            self.ticket = self.gate.epoch
        if step.trigger is Trigger.DIVERGED:
            self.divergences += 1
        if not step.entered:
            return
        # The runner cancels what was in flight when a state is entered.
        self.probe_in_flight = self.replay_in_flight = self.snapshot_in_flight = None
        self.compared = None
        if step.dest is State.RECOVERING:
            self.behind = 1
        if step.dest is State.HEALTHY:
            assert self.gate.open_if(self.ticket)
            self.healthy_entries += 1
            # The oracle.
            assert self.snapshot_done > self.last_divergence
            assert self.snapshot_done > self.last_fault
            assert self.replay_done > self.last_fault
            assert self.probe_done > self.last_fault

    # --- what goes wrong --------------------------------------------------------------

    @rule(trigger=st.sampled_from([Trigger.FAULT, Trigger.HALT, Trigger.STALLED]))
    def fault(self, trigger: Trigger) -> None:
        if trigger is Trigger.STALLED and self.machine.state in (State.HEALTHY, State.DEGRADED):
            return  # the runner fires it in passing states only
        self.last_fault = self.tick()
        if trigger is Trigger.HALT:
            self.hold = "operator"
        self.machine.fire(trigger, "a test")
        assert self.machine.state is State.DEGRADED

    @rule()
    def fault_from_another_thread(self) -> None:
        """The gate is shut at once, the machine hears of it later."""
        self.last_fault = self.tick()
        self.gate.shut("another thread")
        self.remote_faults += 1

    @precondition(lambda self: self.remote_faults)
    @rule()
    def the_loop_hears_of_it(self) -> None:
        self.remote_faults -= 1
        self.machine.fire(Trigger.FAULT, "from another thread")

    @rule()
    def diverge(self) -> None:
        self.last_divergence = self.tick()
        self.machine.fire(Trigger.DIVERGED, "a stream gap")

    @precondition(lambda self: self.hold)
    @rule()
    def resume(self) -> None:
        self.hold = None
        self.machine.fire(Trigger.RESUME, "operator")

    # --- the effects ------------------------------------------------------------------

    def begin(self) -> int:
        """An effect takes at least one pass of the loop, and what waits in the loop's queue
        (a fault of another thread, say) is heard in that pass."""
        while self.remote_faults:
            self.the_loop_hears_of_it()
        return self.tick()

    @precondition(lambda self: self.machine.state is State.DEGRADED)
    @rule()
    def begin_probe(self) -> None:
        began = self.begin()
        self.probe_in_flight = (began, self.gate.epoch)

    @precondition(lambda self: self.probe_in_flight)
    @rule()
    def end_probe(self) -> None:
        assert self.probe_in_flight is not None
        began, epoch = self.probe_in_flight
        self.probe_in_flight = None
        self.proven_epoch, self.probe_done = epoch, began
        self.machine.fire(Trigger.LINKS_RESTORED, "answered")

    @precondition(lambda self: self.machine.state is State.RECOVERING)
    @rule()
    def begin_replay(self) -> None:
        began = self.begin()
        if self.machine.state is State.RECOVERING:
            self.replay_in_flight = began

    @precondition(lambda self: self.replay_in_flight)
    @rule()
    def end_replay(self) -> None:
        assert self.replay_in_flight is not None
        self.replay_done, self.replay_in_flight, self.behind = self.replay_in_flight, None, 0
        self.machine.fire(Trigger.REPLAYED, "drained")

    @precondition(lambda self: self.machine.state is State.RECONCILING)
    @rule()
    def begin_snapshot(self) -> None:
        began = self.begin()
        if self.machine.state is State.RECONCILING:
            self.snapshot_in_flight = (began, self.divergences)

    @precondition(lambda self: self.snapshot_in_flight)
    @rule()
    def end_snapshot(self) -> None:
        assert self.snapshot_in_flight is not None
        self.snapshot_done, self.compared = self.snapshot_in_flight
        self.snapshot_in_flight = None
        self.machine.fire(Trigger.RECONCILED, "equal")

    @rule(goal=st.sampled_from([State.RECOVERING, State.RECONCILING, State.HEALTHY]))
    def walk_up(self, goal: State) -> None:
        """Steps without a disturbance, so that faults fall on every part of the way."""
        while self.remote_faults:
            self.the_loop_hears_of_it()
        self.hold = None
        if self.machine.state is State.DEGRADED:
            self.begin_probe()
            self.end_probe()
        if self.machine.state is State.RECOVERING and goal is not State.RECOVERING:
            self.begin_replay()
            self.end_replay()
        if self.machine.state is State.RECONCILING:
            self.begin_snapshot()
            if goal is State.HEALTHY:
                self.end_snapshot()
                assert self.machine.state is State.HEALTHY

    @rule(trigger=st.sampled_from(list(Trigger)))
    def a_trigger_out_of_the_blue(self, trigger: Trigger) -> None:
        """The effects' own triggers prove nothing by themselves."""
        if trigger not in SHUTTING:
            self.machine.fire(trigger, "out of the blue")

    @invariant()
    def the_gate_is_open_only_in_healthy(self) -> None:
        if self.gate.is_open:
            assert self.machine.state is State.HEALTHY
        elif self.machine.state is State.HEALTHY:
            assert self.remote_faults, "HEALTHY, but nothing is on its way that would end it"


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


def test_a_fault_that_only_the_gate_has_heard_of_keeps_the_machine_down() -> None:
    """Another thread shuts while the snapshot is taken; the machine hears of it afterwards."""
    recovery = Recovery()
    recovery.walk_up(State.RECONCILING)
    recovery.fault_from_another_thread()
    recovery.end_snapshot()
    assert recovery.machine.state is State.RECONCILING
    recovery.the_loop_hears_of_it()
    assert recovery.machine.state is State.DEGRADED
