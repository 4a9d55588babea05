"""The runner: latest state wins, effects never overlap, and a failure never ends the probing."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from holdfast.runner import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Runner
from holdfast.simulation import SimLoop, run
from holdfast.states.table import STATES, Effect, State, Trigger


class Rig:
    """A runner with an effect of ours in the place of each of the table's."""

    def __init__(self) -> None:
        self.loop = SimLoop.current()
        self.log: list[str] = []
        self.fired: list[tuple[Trigger, str]] = []
        self.running: list[Effect] = []
        self.bodies: dict[Effect, Callable[[], Awaitable[None]]] = {}
        self.plain_bodies: dict[Effect, Callable[[], None]] = {}
        self.on_fire: Callable[[Trigger, str], None] = lambda trigger, cause: None
        plain = {Effect.ANNOUNCE, Effect.OPEN_GATE}
        self.runner = Runner(
            effects={e: self.plain(e) if e in plain else self.effect(e) for e in Effect},
            fire=self.fire,
            monotonic=self.loop.time,
        )

    def fire(self, trigger: Trigger, cause: str) -> None:
        self.fired.append((trigger, cause))
        self.on_fire(trigger, cause)

    def plain(self, effect: Effect) -> Callable[[], None]:
        def perform() -> None:
            self.log.append(f"{effect} done")
            body = self.plain_bodies.get(effect)
            if body is not None:
                body()

        return perform

    def effect(self, effect: Effect) -> Callable[[], Awaitable[None]]:
        async def perform() -> None:
            assert not self.running, f"{effect} overlaps {self.running}"
            self.running.append(effect)
            self.log.append(f"{effect} begun")
            try:
                body = self.bodies.get(effect)
                await (anyio.sleep(0.001) if body is None else body())
                self.log.append(f"{effect} done")
            finally:
                self.running.remove(effect)

        return perform

    def done(self) -> list[str]:
        return [line.removesuffix(" done") for line in self.log if line.endswith(" done")]


def with_runner(body: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = Rig()
        async with anyio.create_task_group() as group:
            group.start_soon(rig.runner.run)
            await anyio.sleep(0.001)
            await body(rig)
            group.cancel_scope.cancel()

    run(main)


def names(state: State) -> list[str]:
    return [e.value for e in STATES[state].effects]


@pytest.mark.parametrize("state", list(State))
def test_effects_run_in_the_order_of_the_table(state: State) -> None:
    async def body(rig: Rig) -> None:
        rig.runner.enter(state)
        await anyio.sleep(1)
        assert rig.done() == names(state)

    with_runner(body)


def test_plain_effects_are_done_when_enter_returns() -> None:
    async def body(rig: Rig) -> None:
        rig.runner.enter(State.HEALTHY)
        assert rig.log == ["open_gate done", "announce done"]

    with_runner(body)


def test_an_effect_without_a_function_is_refused() -> None:
    effects: dict[Effect, Callable[[], Any]] = {e: lambda: None for e in Effect}
    del effects[Effect.AUDIT]
    with pytest.raises(ValueError, match="audit"):
        Runner(effects=effects, fire=lambda trigger, cause: None, monotonic=lambda: 0.0)


def test_a_storm_of_faults_starves_nobody_and_the_latest_state_wins() -> None:
    """A task for each entered state started 3 effects in a storm of 20,000 faults."""

    async def body(rig: Rig) -> None:
        states = list(State)
        for number in range(20_000):
            rig.runner.enter(states[number % len(states)])
            if number % 4 == 0:
                await anyio.sleep(0.0015 if number % 40 == 0 else 0)
        begun = sum(line.endswith("begun") for line in rig.log)
        assert begun > 1000, f"only {begun} effects started"
        rig.log.clear()
        rig.runner.enter(State.RECOVERING)
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(1)
        assert rig.done()[-3:] == names(State.DEGRADED)
        assert "replay_outbox begun" not in rig.log
        assert rig.fired == []

    with_runner(body)


def test_a_new_state_cancels_the_effect_that_runs() -> None:
    cancelled = []

    async def body(rig: Rig) -> None:
        async def long() -> None:
            try:
                await anyio.sleep(100)
            except anyio.get_cancelled_exc_class():
                cancelled.append(rig.loop.time())
                raise

        rig.bodies[Effect.RELOAD_POLICY] = long
        rig.runner.enter(State.RECOVERING)
        await anyio.sleep(5)
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(1)
        assert len(cancelled) == 1
        assert cancelled[0] == pytest.approx(5, abs=0.1)
        assert rig.done()[-3:] == names(State.DEGRADED)

    with_runner(body)


def test_no_effect_of_a_state_left_behind_begins() -> None:
    """The effect before it had ended in the very moment in which the state was left."""

    async def body(rig: Rig) -> None:
        async def ends_as_the_state_is_left() -> None:
            await anyio.sleep(0.5)
            rig.runner.enter(State.DEGRADED)

        rig.bodies[Effect.RELOAD_POLICY] = ends_as_the_state_is_left
        rig.runner.enter(State.RECOVERING)
        await anyio.sleep(2)
        assert "replay_outbox begun" not in rig.log
        assert rig.done()[-2:] == names(State.DEGRADED)[1:]

    with_runner(body)


def test_a_failed_effect_is_a_fault() -> None:
    async def body(rig: Rig) -> None:
        async def fail() -> None:
            raise LookupError("no such thing")

        def on_fire(trigger: Trigger, cause: str) -> None:
            rig.runner.enter(State.DEGRADED)

        rig.on_fire = on_fire
        rig.bodies[Effect.REPLAY_OUTBOX] = fail
        rig.runner.enter(State.RECOVERING)
        await anyio.sleep(1)
        assert len(rig.fired) == 1
        trigger, cause = rig.fired[0]
        assert trigger is Trigger.FAULT
        assert "RECOVERING" in cause
        assert "no such thing" in cause
        assert rig.done()[-3:] == names(State.DEGRADED)

    with_runner(body)


def test_a_failure_in_degraded_begins_again_with_growing_pauses() -> None:
    """There a fault leads nowhere new: without this, probing would stop for ever."""
    begun: list[float] = []

    async def body(rig: Rig) -> None:
        async def fail() -> None:
            begun.append(rig.loop.time())
            raise ConnectionError("not yet")

        rig.bodies[Effect.PROBE_LINKS] = fail
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(20)
        pauses = [b - a for a, b in itertools.pairwise(begun)]
        assert pauses[0] == pytest.approx(FIRST_PAUSE_SECONDS, abs=0.01)
        assert pauses[1] == pytest.approx(2 * FIRST_PAUSE_SECONDS, abs=0.01)
        assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS, abs=0.01)
        assert len(rig.fired) == len(begun)

        del rig.bodies[Effect.PROBE_LINKS]
        await anyio.sleep(3)
        assert rig.done()[-1] == "probe_links"

    with_runner(body)


def test_an_entry_during_that_pause_wins() -> None:
    async def body(rig: Rig) -> None:
        async def fail() -> None:
            raise ConnectionError("not yet")

        rig.bodies[Effect.PROBE_LINKS] = fail
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(10.5)
        rig.log.clear()
        rig.runner.enter(State.RECOVERING)
        await anyio.sleep(10)
        assert rig.done() == names(State.RECOVERING)

    with_runner(body)


def test_a_plain_effect_that_raises_is_a_fault_and_the_others_are_done() -> None:
    """Else the state would have been entered and nothing of it would ever happen."""

    async def body(rig: Rig) -> None:
        def fail() -> None:
            raise ValueError("can not be encoded")

        rig.plain_bodies[Effect.ANNOUNCE] = fail
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(1)
        assert [t for t, _ in rig.fired] == [Trigger.FAULT]
        assert "can not be encoded" in rig.fired[0][1]
        assert rig.done()[-1] == "probe_links"

    with_runner(body)


@pytest.mark.parametrize("state", [State.RECOVERING, State.RECONCILING])
def test_a_state_without_progress_stalls(state: State) -> None:
    bound = STATES[state].stall_seconds
    assert bound is not None

    async def body(rig: Rig) -> None:
        rig.bodies[STATES[state].effects[-1]] = anyio.sleep_forever
        rig.on_fire = lambda trigger, cause: rig.runner.enter(State.DEGRADED)
        rig.runner.enter(state)
        await anyio.sleep(bound - 1)
        assert rig.fired == []
        await anyio.sleep(2)
        assert [t for t, _ in rig.fired] == [Trigger.STALLED]
        await anyio.sleep(10 * bound)
        assert len(rig.fired) == 1, "DEGRADED may last"

    with_runner(body)


def test_progress_puts_the_stall_off() -> None:
    async def body(rig: Rig) -> None:
        async def slowly() -> None:
            for _ in range(10):
                await anyio.sleep(20)
                rig.runner.progress()

        rig.bodies[Effect.REPLAY_OUTBOX] = slowly
        rig.runner.enter(State.RECOVERING)
        await anyio.sleep(205)
        assert rig.fired == []

    with_runner(body)


def test_waiting_is_no_stall_and_is_named() -> None:
    async def body(rig: Rig) -> None:
        async def wait() -> None:
            with rig.runner.waiting("the operator"), rig.runner.waiting("the operator"):
                await anyio.sleep(3590)
            await anyio.sleep_forever()

        rig.on_fire = lambda trigger, cause: rig.runner.enter(State.DEGRADED)
        rig.bodies[Effect.RECONCILE_BOOKS] = wait
        rig.runner.enter(State.RECONCILING)
        await anyio.sleep(3500)
        assert rig.runner.waiting_for == ("the operator",)
        assert rig.fired == []
        await anyio.sleep(110)
        assert rig.runner.waiting_for == ()
        assert rig.fired == [], "the bound counts from the end of the waiting"
        await anyio.sleep(60)
        assert [t for t, _ in rig.fired] == [Trigger.STALLED]

    with_runner(body)


def test_a_wait_that_is_cancelled_is_over() -> None:
    async def body(rig: Rig) -> None:
        async def wait() -> None:
            with rig.runner.waiting("the operator"):
                await anyio.sleep_forever()

        rig.bodies[Effect.RECONCILE_BOOKS] = wait
        rig.runner.enter(State.RECONCILING)
        await anyio.sleep(100)
        rig.runner.enter(State.DEGRADED)
        await anyio.sleep(1)
        assert rig.runner.waiting_for == ()

    with_runner(body)
