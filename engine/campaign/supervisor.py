"""Starts the bot again when it has died, and is the person that a rule waits for.

Both act from outside: they look at what the engine says it waits for, as a person at a
console would, and do nothing that the engine could do by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import anyio
from anyio.abc import TaskGroup

from holdfast.errors import EngineClosed, LinkDown, PolicyConflict
from holdfast.journal import JournalError, MemoryDisk
from holdfast.policy import Mode, Policy
from holdfast.simulation import VirtualClock

from .diary import Diary
from .plan import Kill
from .process import Process
from .remains import check_remains
from .witness import Witness
from .world import World

GLANCE_SECONDS: Final = 1.0
"""Between two looks of the operator."""
DECISIONS_OF_A_COPY: Final = 500
"""More than any life makes."""
RESTART_AFTER_CRASH_SECONDS: Final = 0.5


class Supervisor:
    """
    :ivar clock: of the machine that the bot runs on; it outlives its processes.
    """

    def __init__(self, world: World, tasks: TaskGroup) -> None:
        self.world = world
        self.clock = VirtualClock()
        self.process: Process | None = None
        self.second: Process | None = None
        self._tasks = tasks
        self._kills: list[Kill] = []
        self._down_seconds = RESTART_AFTER_CRASH_SECONDS
        self._copies = 0
        self._finishing = False
        self._held = self._flatten = False
        self._halted = False
        """The engine has confirmed that it is halted; from then on it is, whatever dies."""

    # --- lives -----------------------------------------------------------------------

    async def run(self) -> None:
        """One life after the other, until one ends as it should."""
        diary = self.world.diary
        while True:
            diary.lives += 1
            before = self.process
            self._down_seconds = RESTART_AFTER_CRASH_SECONDS
            process = self.process = Process(
                self.world,
                copy=0,
                life=diary.lives,
                disk=self.world.disk,
                clock=self.clock,
                diary=diary,
                reached=self._reached,
                others_open=self._others_open,
                halted=lambda: self._halted,
            )
            if before is not None:
                process.witness.inherit(before.witness, could_write=not before.disk_is_lost)
            await process.run()
            died_ns = self.world.clock.time_ns()
            if not self._finishing:
                await anyio.sleep(self._down_seconds)
                check_remains(self.world, process, died_ns=died_ns)
            if self._finishing:
                return

    def restart(self, seconds: float) -> None:
        """Stop the process as a careful operator would; it is started again `seconds` later."""
        if self.process is not None and self.process.life.alive:
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
            self._kills.append(fault)

    def _reached(self, point: str) -> None:
        for fault in self._kills:
            if fault.point == point:
                self._kills.remove(fault)
                self._kill(fault)
                return

    def _kill(self, fault: Kill) -> None:
        process = self.process
        if process is None:
            return
        loop = asyncio.get_running_loop()

        def count_down(passes: int) -> None:
            if passes:
                loop.call_soon(count_down, passes - 1)
            elif process.life.alive:
                self._down_seconds = fault.seconds
                process.kill(power_loss=fault.power_loss)

        count_down(fault.passes)

    def disarm(self) -> None:
        """No more kills; the second copy is stopped, the hold is lifted."""
        self._kills.clear()
        self.stop_second_copy()
        self.lift_hold()

    @property
    def clocks(self) -> list[VirtualClock]:
        """Of the machines that the copies run on."""
        return [self.clock] if self.second is None else [self.clock, self.second.clock]

    def stood_still(self, seconds: float) -> None:
        """No process has run for so long: what they know may be old."""
        lease = self.world.plan.conditions.gate_lease_seconds
        for process in (self.process, self.second):
            if process is not None and lease is not None and seconds >= lease:
                process.witness.fault(f"it stood still for {seconds:g} s")

    # --- a second copy ---------------------------------------------------------------

    def start_second_copy(self) -> None:
        if self.second is not None:
            return
        self._copies += 1
        self.second = Process(
            self.world,
            copy=self._copies,
            life=1,
            disk=MemoryDisk(),
            clock=VirtualClock(),
            diary=self._diary_of_copy(),
            reached=lambda point: None,
            others_open=self._others_open,
            halted=lambda: False,
        )
        self._tasks.start_soon(self.second.run)

    def _diary_of_copy(self) -> Diary:
        diary = Diary(first_number=DECISIONS_OF_A_COPY * self._copies)
        self.world.other_diaries.append(diary)
        return diary

    def _others_open(self, witness: Witness) -> list[str]:
        return [
            process.name
            for process in (self.process, self.second)
            if process is not None
            and process.witness is not witness
            and process.life.alive
            and process.engine is not None
            and process.engine.gate.is_open
        ]

    def stop_second_copy(self) -> None:
        if self.second is not None:
            self.second.kill(power_loss=False)
            self.second = None

    # --- the operator ----------------------------------------------------------------

    def _others_traded(self) -> bool:
        """Whether anybody but the bot can have moved what it finds at the venue."""
        return bool(self.world.other_diaries or self.world.foreign_trades)

    def hold(self, *, flatten: bool) -> None:
        """The bot shall stand still from now on, without a position if `flatten`."""
        self._held = True
        self._flatten = flatten

    def lift_hold(self) -> None:
        self._held = self._flatten = False

    async def operate(self) -> None:
        """Look at the console now and then."""
        while True:
            await anyio.sleep(GLANCE_SECONDS)
            process = self.process
            if process is None or not process.life.alive or process.engine is None:
                continue
            try:
                await self._look(process)
            except (LinkDown, PolicyConflict, JournalError, EngineClosed):
                continue  # tried again at the next glance

    async def _look(self, process: Process) -> None:
        engine = process.engine
        assert engine is not None
        waiting = engine.waiting_for
        on_hold = any(reason.startswith("operator:") for reason in waiting)
        if process.disk_is_lost:
            self.world.note("operator: restarts the process, whose journal has failed")
            process.kill(power_loss=False)
        elif self._held and not on_hold:
            await engine.halt("planned", by="campaign")
            self._halted = process.life.alive
        elif self._held and self._flatten:
            self._flatten = False
            with anyio.move_on_after(GLANCE_SECONDS), contextlib.suppress(ExceptionGroup):
                await engine.flatten(by="campaign")
        elif on_hold and not self._held:
            self._halted = False
            await engine.resume(by="campaign")
        elif any(reason.startswith("policy:") for reason in waiting):
            self.world.note("operator: sets a policy")
            with anyio.move_on_after(GLANCE_SECONDS):
                await engine.set_policy(Policy(Mode.NORMAL))
        elif any("differences" in reason for reason in waiting) and self._others_traded():
            self.world.note("operator: adopts what another hand has left")
            await engine.adopt(by="campaign")
