"""Starts a bot again when it has died: one life after the other, on the same disk.

What a life is made of is for others to say (`Supervisor`: the engine, watched; a backtest's
bare bot: no engine at all). Here is when it begins, how it is hit, and when it ends.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from holdfast.broadcast import Broadcast
from holdfast.simulation import VirtualClock

from .plan import Kill
from .world import World

RESTART_AFTER_CRASH_SECONDS: Final = 0.5


class Mortal(Protocol):
    """One life of one copy of a bot.

    :ivar stop: set: it is to end its trading; `close`: and itself, as it would for an operator.
    """

    clock: VirtualClock
    stop: anyio.Event
    close: anyio.Event

    @property
    def alive(self) -> bool: ...

    async def run(self) -> None:
        """From start to end, whichever way it ends."""

    def kill(self, *, power_loss: bool) -> None:
        """As kill -9 does, or the loss of the machine's power; over at once."""


_P = TypeVar("_P", bound=Mortal)


class Lives(ABC, Generic[_P]):
    """
    :ivar clock: of the machine that the bot runs on; it outlives its processes.
    :ivar process: the life that is lived now, or was last.
    :ivar second: a further copy that somebody started.
    """

    def __init__(self, world: World, tasks: TaskGroup) -> None:
        self.world = world
        self.clock = VirtualClock()
        self.process: _P | None = None
        self.second: _P | None = None
        self._tasks = tasks
        self._plans: list[tuple[str, Callable[[], object]]] = []
        """Moments that are waited for, and what happens then."""
        self._down_seconds = RESTART_AFTER_CRASH_SECONDS
        self._calm = Broadcast()
        """Notified when nothing more goes wrong."""
        self._copies = 0
        self._finishing = False

    # --- what a life is ----------------------------------------------------------------

    @abstractmethod
    def _begin(self, before: _P | None) -> _P:
        """The next life of the bot that is meant to run."""

    @abstractmethod
    def _begin_copy(self, copy: int) -> _P:
        """The life of a further copy, on a machine of its own."""

    def _look_at_remains(self, process: _P, *, died_ns: int) -> None:
        """It is dead, and about to be started again."""

    def stood_still(self, seconds: float) -> None:
        """No process has run for so long."""

    def hold(self, *, flatten: bool) -> None:
        """The operator wants the bot to stand still, without a position if `flatten`."""

    def lift_hold(self) -> None:
        """He does not any more."""

    def have_policy_set(self) -> None:
        """The operator wants another policy, and sets it at the bot's console."""

    # --- one after the other -------------------------------------------------------------

    async def run(self) -> None:
        """One life after the other, until one ends as it should."""
        while True:
            self.world.diary.lives += 1
            self._down_seconds = RESTART_AFTER_CRASH_SECONDS
            process = self.process = self._begin(self.process)
            await process.run()
            died_ns = self.world.clock.time_ns()
            if not self._finishing:
                await self._calm.wait_at_most(self._down_seconds)
                self._look_at_remains(process, died_ns=died_ns)
            if self._finishing:
                return

    def restart(self, seconds: float) -> None:
        """Stop the process as a careful operator would; it is started again `seconds` later."""
        if self.process is not None and self.process.alive:
            self._down_seconds = seconds
            self.process.stop.set()
            self.process.close.set()

    def finish(self) -> None:
        """Stop the process for good."""
        self._finishing = True
        self.restart(0)

    def plan_kill(self, fault: Kill) -> None:
        if fault.point == "now":
            self._kill(fault)
        else:
            self.plan(fault.point, partial(self._kill, fault))

    def stall(self, seconds: float) -> None:
        """Nothing runs for so long."""
        self.stood_still(seconds)
        self.world.loop.stall(seconds)

    def plan(self, point: str, strike: Callable[[], object]) -> None:
        """Have `strike` called when the next moment of that kind comes."""
        self._plans.append((point, strike))

    def reached(self, point: str) -> None:
        for plan in self._plans:
            awaited, strike = plan
            if awaited == point:
                self._plans.remove(plan)
                strike()
                return

    def _kill(self, fault: Kill) -> None:
        process = self.process
        if process is None:
            return
        loop = asyncio.get_running_loop()

        def count_down(passes: int) -> None:
            if passes:
                loop.call_soon(count_down, passes - 1)
            elif process.alive:
                self._down_seconds = fault.seconds
                process.kill(power_loss=fault.power_loss)

        count_down(fault.passes)

    def disarm(self) -> None:
        """Nothing is waited for any more; who is down comes up, the second copy is stopped, the
        hold is lifted."""
        self._plans.clear()
        self._calm.notify()
        self.stop_second_copy()
        self.lift_hold()

    @property
    def clocks(self) -> list[VirtualClock]:
        """Of the machines that the copies run on."""
        return [self.clock] if self.second is None else [self.clock, self.second.clock]

    # --- a second copy -------------------------------------------------------------------

    def start_second_copy(self) -> None:
        if self.second is not None:
            return
        self._copies += 1
        self.second = self._begin_copy(self._copies)
        self._tasks.start_soon(self._live_as_copy, self.second)

    async def _live_as_copy(self, second: _P) -> None:
        await second.run()
        if self.second is second:
            self.second = None

    def stop_second_copy(self, *, cleanly: bool = False) -> None:
        """
        :param cleanly: it is asked to stop, and does so in its own time.
        """
        if self.second is None:
            return
        if cleanly:
            self.second.stop.set()
            self.second.close.set()
        else:
            self.second.kill(power_loss=False)
            self.second = None
