"""The lives of a bot without holdfast, under the same faults."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from holdfast.campaign.lives import Lives
from holdfast.errors import LinkDown
from holdfast.simulation import SeededEntropy, VirtualClock

from .bare_engine import BareEngine
from .feed import RecordedMarket
from .loading import MakeBot
from .stage import Stage
from .trader import told


class BareProcess:
    """One life; see `campaign.lives.Mortal`."""

    def __init__(
        self,
        stage: Stage,
        make_bot: MakeBot,
        *,
        copy: int,
        life: int,
        clock: VirtualClock,
        lives: BareLives,
    ) -> None:
        self.clock = clock
        self.stop = anyio.Event()
        self.close = anyio.Event()
        self.alive = True
        self.engine: BareEngine | None = None
        self._stage = stage
        self._make_bot = make_bot
        self._main = copy == 0
        self._name = f"bare{copy}-{life}"
        self._entropy: SeededEntropy = stage.entropy.child(f"copy {copy}, life {life}")
        self._lives = lives
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        stage = self._stage
        engine = self.engine = BareEngine(
            stage,
            name=self._name,
            clock=self.clock,
            ports=stage.ports(clock=self.clock, entropy=self._entropy),
            market=RecordedMarket(stage.feed),
            reached=self._reached,
        )
        if self._main:
            stage.policy_in_use = lambda: engine.policy
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._end_on_request, group.cancel_scope)
                    await self._trade(engine)
                    await self.close.wait()
                    group.cancel_scope.cancel()
        finally:
            self.alive = False

    async def _trade(self, engine: BareEngine) -> None:
        with told(self._stage, alive=lambda: self.alive):
            await engine.live(self._make_bot())

    async def _end_on_request(self, scope: anyio.CancelScope) -> None:
        await self.close.wait()
        scope.cancel()

    def _reached(self, point: str) -> None:
        if not self.alive:
            raise LinkDown("the process was killed")  # the dead do nothing any more
        if self._main:
            self._lives.reached(point)

    def kill(self, *, power_loss: bool) -> None:
        if not self.alive:
            return
        self.alive = False
        self._stage.note(f"{self._name}: killed{' with its power' if power_loss else ''}")
        self._scope.cancel()


class BareLives(Lives[BareProcess]):
    def __init__(self, stage: Stage, tasks: TaskGroup, make_bot: MakeBot) -> None:
        super().__init__(stage, tasks)
        self._stage = stage
        self._make_bot = make_bot

    def _begin(self, before: BareProcess | None) -> BareProcess:
        return BareProcess(
            self._stage,
            self._make_bot,
            copy=0,
            life=self._stage.diary.lives,
            clock=self.clock,
            lives=self,
        )

    def _begin_copy(self, copy: int) -> BareProcess:
        return BareProcess(
            self._stage, self._make_bot, copy=copy, life=1, clock=VirtualClock(), lives=self
        )
