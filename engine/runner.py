"""Performs the effects of the state that was entered last; one runner, one task.

A task per entered state would starve under a storm of faults: thousands of
entries, and hardly an effect that ever starts. Here a new entry replaces the one
that is due, cancels the one that runs, and the runner goes on with the latest.

Effects stand in the table in the order they are run. Plain functions at the head
of that list are run at once, inside the trigger (opening the gate, announcing);
from the first coroutine function on, the rest is the runner's. An effect of either
sort that raises is a fault. In DEGRADED, where a fault leads nowhere new, the runner
begins the effects again after a pause: otherwise probing would stop for ever.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from holdfast.states.table import STATES, Effect, State, Trigger

from .broadcast import Broadcast

log = logging.getLogger("holdfast.runner")

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


class Runner:
    """
    :param effects: the function of each effect; checked to be complete.
    :param fire: raises a trigger, with its cause.
    :param monotonic: seconds.
    """

    def __init__(
        self,
        *,
        effects: Mapping[Effect, Callable[[], Any]],
        fire: Callable[[Trigger, str], None],
        monotonic: Callable[[], float],
    ) -> None:
        missing = [e.value for e in Effect if e not in effects]
        if missing:
            raise ValueError(f"effects without a function: {', '.join(missing)}")
        self._effects = effects
        self._fire = fire
        self._monotonic = monotonic
        self._due: tuple[State, tuple[Effect, ...]] | None = None
        self._entered = Broadcast()
        self._scope: anyio.CancelScope | None = None
        self._state = State.DEGRADED
        self._progress_at = monotonic()
        self._waiting: dict[str, int] = {}
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def enter(self, state: State) -> None:
        """`state` was entered: run its plain effects now, hand the others to the runner."""
        self._state = state
        self._due = None
        if self._scope is not None:
            self._scope.cancel()
        effects = STATES[state].effects
        at = 0
        while at < len(effects) and not inspect.iscoroutinefunction(self._effects[effects[at]]):
            try:
                self._effects[effects[at]]()
            except Exception as error:  # whatever it was, the rest of the state is still due
                self._failed(state, error)
            at += 1
        self._due = (state, effects[at:])
        self.progress()
        self._entered.notify()

    def progress(self) -> None:
        """Something moved: the state is not stalled."""
        self._progress_at = self._monotonic()

    def waiting(self, reason: str) -> _Waiting:
        """While inside, standing still is right and no stall: proof of absence, a ban, a person."""
        return _Waiting(self, reason)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    async def run(self) -> None:
        """Perform effects until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_for_stalls)
            while True:
                if self._due is None:
                    await self._entered.wait()
                await self._perform()

    async def _perform(self) -> None:
        while self._due is not None:
            state, effects = self._due
            self._due = None
            with anyio.CancelScope() as self._scope:
                try:
                    for effect in effects:
                        if self._scope.cancel_called:
                            break  # left in the moment in which the effect before this one ended
                        await self._effects[effect]()
                        self.progress()
                    self._pause_seconds = FIRST_PAUSE_SECONDS
                except Exception as error:  # whatever it could not do, the gate must not open
                    self._failed(state, error)
                    if self._due is None and self._state is State.DEGRADED:
                        await anyio.sleep(self._pause_seconds)
                        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
                        self._due = (state, effects)
            self._scope = None

    def _failed(self, state: State, error: Exception) -> None:
        log.warning("effect failed", exc_info=error, extra={"state": state.value})
        self._fire(Trigger.FAULT, f"{state} could not be carried out: {error!r}")

    async def _watch_for_stalls(self) -> None:
        while True:
            bound = STATES[self._state].stall_seconds
            if bound is None:
                await self._entered.wait()
                continue
            if self._waiting:
                self.progress()
            left = self._progress_at + bound - self._monotonic()
            if left > 0:
                await self._entered.wait_at_most(left)
            else:
                self._fire(Trigger.STALLED, f"no progress in {self._state} for {bound:g} s")


class _Waiting:
    def __init__(self, runner: Runner, reason: str) -> None:
        self._runner = runner
        self._reason = reason

    def __enter__(self) -> None:
        waiting = self._runner._waiting
        waiting[self._reason] = waiting.get(self._reason, 0) + 1

    def __exit__(self, *_: object) -> None:
        waiting = self._runner._waiting
        waiting[self._reason] -= 1
        if not waiting[self._reason]:
            del waiting[self._reason]
        self._runner.progress()
