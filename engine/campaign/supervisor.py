"""The lives of a guarded bot, and the person that a rule waits for.

Both act from outside: they look at what the engine says it waits for, as a person at a
console would, and do nothing that the engine could do by itself.
"""

from __future__ import annotations

import contextlib
from typing import Final

import anyio
from anyio.abc import TaskGroup

from holdfast.broadcast import Broadcast
from holdfast.errors import EngineClosed, LinkDown, PolicyConflict, ResolveRefused
from holdfast.intent import Stage
from holdfast.journal import JournalError, MemoryDisk
from holdfast.policy import Mode, Policy
from holdfast.reconcile import Kind
from holdfast.simulation import VirtualClock

from .bot import Bot
from .diary import Diary
from .lives import Lives
from .process import Process, Trader
from .remains import check_remains
from .witness import Witness
from .world import World

GLANCE_SECONDS: Final = 1.0
"""Between two looks of the operator."""
DECISIONS_OF_A_COPY: Final = 500
"""More than any life makes."""


class Supervisor(Lives[Process]):
    """
    :param glance_seconds: between two looks of the operator.
    """

    def __init__(
        self, world: World, tasks: TaskGroup, *, glance_seconds: float = GLANCE_SECONDS
    ) -> None:
        super().__init__(world, tasks)
        self._glance_seconds = glance_seconds
        self._held = self._flatten = self._sets_policy = False
        self._stirred = Broadcast()
        """Notified when there may be something for the operator to do."""
        self._halted = False
        """The engine has confirmed that it is halted; from then on it is, whatever dies."""

    def _begin(self, before: Process | None) -> Process:
        diary = self.world.diary
        diary.births.append(self.clock.monotonic())
        self._stirred.notify()  # what it begins in it may stay in, and tells nobody
        process = Process(
            self.world,
            copy=0,
            life=diary.lives,
            disk=self.world.disk,
            clock=self.clock,
            diary=diary,
            reached=self.reached,
            others_open=self._others_open,
            halted=lambda: self._halted,
            trader=self._trader,
            on_step=self._stirred.notify,
        )
        if before is not None:
            if not before.close.is_set():  # else they may have been stopped
                process.armed |= before.armed
            process.witness.inherit(before.witness, could_write=not before.disk_is_lost)
        return process

    def _begin_copy(self, copy: int) -> Process:
        diary = Diary(first_number=DECISIONS_OF_A_COPY * copy)
        self.world.other_diaries.append(diary)
        return Process(
            self.world,
            copy=copy,
            life=1,
            disk=MemoryDisk(),
            clock=VirtualClock(),
            diary=diary,
            reached=lambda point: None,
            others_open=self._others_open,
            halted=lambda: False,
            trader=self._trader,
        )

    def _trader(self, process: Process) -> Trader:
        """Who trades in that life."""
        return Bot(
            process.diary,
            symbols=self.world.symbols,
            hedge_mode=self.world.plan.traded.hedge_mode,
            entropy=process.entropy.child("bot"),
            price=self.world.prices.__getitem__,
            alive=lambda: process.alive,
            now=process.clock.monotonic,
            refused=process.witness.refused,
            ended=process.witness.ended,
        )

    def _look_at_remains(self, process: Process, *, died_ns: int) -> None:
        check_remains(self.world, process, died_ns=died_ns)

    def stood_still(self, seconds: float) -> None:
        """What the processes know may be old."""
        lease = self.world.plan.conditions.gate_lease_seconds
        for process in (self.process, self.second):
            if process is not None and lease is not None and seconds >= lease:
                process.witness.fault(f"it stood still for {seconds:g} s")

    def _others_open(self, witness: Witness) -> list[str]:
        return [
            process.name
            for process in (self.process, self.second)
            if process is not None
            and process.witness is not witness
            and process.alive
            and process.engine is not None
            and process.engine.gate.is_open
        ]

    def reached(self, point: str) -> None:
        super().reached(point)
        if point == "unknown":
            self._stirred.notify()

    # --- the operator ----------------------------------------------------------------

    def _others_traded(self) -> bool:
        """Whether anybody but the bot can have moved what it finds at the venue; the venue itself
        has, if it has liquidated."""
        world = self.world
        return bool(world.other_diaries or world.foreign_trades or world.venue.liquidations)

    def hold(self, *, flatten: bool) -> None:
        """The bot shall stand still from now on, without a position if `flatten`."""
        self._held = True
        self._flatten = flatten
        self._stirred.notify()

    def lift_hold(self) -> None:
        self._held = self._flatten = False

    def have_policy_set(self) -> None:
        self._sets_policy = True
        self._stirred.notify()

    async def operate(self) -> None:
        """Look at the console now and then; at one that shows HEALTHY when it shows another state,
        for there is nothing else to be seen: a day of such glances costs more than what trades."""
        while True:
            await anyio.sleep(self._glance_seconds)
            process = self.process
            idle = not (self._held or self._sets_policy or _undecided(process))
            if process is not None and process.is_healthy and idle:
                await self._stirred.wait()
                continue
            if process is None or not process.alive or process.engine is None:
                continue
            try:
                await self._look(process)
            except (LinkDown, PolicyConflict, JournalError, EngineClosed):
                continue  # tried again at the next glance

    async def _settle(self, process: Process, client_order_id: str) -> None:
        """Look for a conditional order at the venue; what is there is found by the engine."""
        if any(o.client_id == client_order_id for o in self.world.venue.conditional_log):
            return
        assert process.engine is not None
        try:
            await process.engine.resolve(
                client_order_id, "not_executed", reason="it is not there", by="operator"
            )
        except ResolveRefused:
            return  # too early, or the venue has it after all
        except JournalError:
            pass  # it is settled in this life
        process.witness.saw(client_order_id)  # no more in doubt
        self.world.note(f"operator: settles {client_order_id}")

    def _is_so(self, difference: str) -> bool:
        """Whether it tells of a stop that the venue has ended by itself: it had to be filled for
        more than the market gave, or to open."""
        return difference.startswith(Kind.UNPROTECTED_POSITION) and any(
            stop.client_id in difference and not stop.waiting
            for stop in self.world.venue.conditional_log
        )

    async def _look(self, process: Process) -> None:
        engine = process.engine
        assert engine is not None
        for client_order_id in _undecided(process):
            await self._settle(process, client_order_id)
        waiting = engine.waiting_for
        on_hold = any(reason.startswith("operator:") for reason in waiting)
        if process.disk_is_lost:
            self.world.note("operator: restarts the process, whose journal has failed")
            process.kill(power_loss=False)
        elif self._held and not on_hold:
            await engine.halt("planned", by="operator")
            self._halted = process.alive
        elif self._held and self._flatten:
            self._flatten = False
            with anyio.move_on_after(self._glance_seconds), contextlib.suppress(ExceptionGroup):
                await engine.flatten(by="operator")
        elif on_hold and not self._held:
            self._halted = False
            await engine.resume(by="operator")
        elif self._sets_policy or any(reason.startswith("policy:") for reason in waiting):
            self._sets_policy = False
            self.world.note("operator: sets a policy")
            with anyio.move_on_after(self._glance_seconds):
                await engine.set_policy(Policy(Mode.NORMAL))
        elif any("differences" in reason for reason in waiting):
            if not self._others_traded():
                told = [d for d in map(str, engine.status()["differences"]) if not self._is_so(d)]
                if told:
                    what = ", ".join(told)
                    self.world.breach("books", f"nobody else has traded, a person is asked: {what}")
                    return
            self.world.note("operator: adopts what another hand has left")
            await engine.adopt(by="operator")


def _undecided(process: Process | None) -> list[str]:
    """Conditional orders of which no answer may ever tell whether the venue has them."""
    if process is None or not process.alive or process.engine is None:
        return []
    return [
        intent.client_order_id
        for intent in process.engine.pending()
        if intent.order.conditional and intent.stage is Stage.UNKNOWN
    ]
