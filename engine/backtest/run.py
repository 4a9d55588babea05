"""The three runs of a backtest, each in a simulation of its own.

`clean` is the engine on ports in which nothing fails. `guarded` is what a campaign does to an
engine, with the user's bot and recorded prices: its ports are watched, and promises that are
broken are reported. `bare` is the bot without the engine. Faults, market, latency and fees
are the same, so what differs is what holdfast makes of it, or what its lack does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from holdfast.campaign.plan import Conditions, FaultPlan
from holdfast.campaign.process import Process, Trader
from holdfast.campaign.promises import check_events
from holdfast.campaign.run import RECOVERY_SECONDS, act, digest_of, recover, silence
from holdfast.campaign.supervisor import Supervisor
from holdfast.engine import Engine
from holdfast.journal import MemoryJournal
from holdfast.simulation import SimEscape, SimLivelock, Simulation
from holdfast.states.table import State
from holdfast.transports.sim import Market

from .account import Account
from .bare import BareLives
from .loading import MakeBot
from .recording import Recording, span
from .result import Run, RunName
from .stage import Stage
from .trader import BotTrader, fail_by_verdict

SAMPLES: Final = 600
"""Points of an equity curve; as many as a page shows."""
MAX_STEPS_PER_INSTANT: Final = 20_000
GLANCE_SECONDS: Final = 10.0
"""Between two looks of the operator at a guarded bot."""
SETTLE_SECONDS: Final = 15.0
"""After the last candle a bot may end what it has begun; longer than an order's retries."""

UNTROUBLED: Final = Conditions(lease_seconds=None, audit_seconds=86_400.0)
"""Nothing fails, so nobody needs to look, and a candle costs no timers."""


class Scene(msgspec.Struct, frozen=True):
    """What all runs have in common.

    :ivar plan: None: nothing fails, and there is the clean run alone.
    :raises ConfigError: a market does not allow the account's leverage, or a fault of the plan does
        not lie within the data.
    """

    make_bot: MakeBot
    markets: Sequence[Market]
    recordings: Sequence[Recording]
    account: Account = Account()
    plan: FaultPlan | None = None
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        self.account.check(self.markets)
        if self.plan is not None:
            self.plan.check_within(span(self.recordings).seconds)


def run(scene: Scene, name: RunName, *, told: Callable[[int], object] | None = None) -> Run:
    """One of the runs; it depends on nothing but the scene.

    :param told: called now and then with the number of rows so far.
    """
    plan = scene.plan or FaultPlan(seed=0)
    if name == "clean":
        untroubled = msgspec.structs.replace(
            UNTROUBLED, latency_seconds=plan.conditions.latency_seconds
        )
        plan = FaultPlan(
            seed=plan.seed, horizon_seconds=plan.horizon_seconds, conditions=untroubled
        )
    simulation = Simulation(
        seed=plan.seed,
        start=span(scene.recordings).first_ms * 1_000_000,
        max_steps_per_instant=MAX_STEPS_PER_INSTANT,
    )

    stage: Stage | None = None

    async def main() -> Run:
        nonlocal stage
        stage = Stage(
            plan,
            markets=scene.markets,
            recordings=scene.recordings,
            account=scene.account,
            samples=scene.samples,
            told=told,
        )
        stage.loop.set_exception_handler(stage.on_loop_error)
        wrong = await _PLAYS[name](stage, scene.make_bot)
        assert stage.feed.ended.is_set(), "a run ends with its data, or with its bot"
        return _result(stage, name, wrong)

    with silence():
        try:
            return simulation.run(main)
        except (SimEscape, SimLivelock) as verdict:
            if stage is None:
                raise
            fail_by_verdict(stage, verdict)
            return _result(stage, name, None)  # what was on its way has told nobody yet


async def _play_clean(stage: Stage, make_bot: MakeBot) -> tuple[str, ...] | None:
    settings, clock, entropy = stage.settings(), stage.clock, stage.entropy.child("process")
    stage.diary.lives = 1
    ports = stage.ports(clock=clock, entropy=entropy)
    engine = stage.new_engine(
        settings=msgspec.structs.replace(
            settings, orders=msgspec.structs.replace(settings.orders, dead_man_seconds=None)
        ),
        journal=MemoryJournal.open(
            stage.disk,
            clock=clock,
            randbits=entropy.child("journal").randbits,
            on_fault=lambda reason: None,
            segment_bytes=settings.outbox.segment_bytes,
        ),
        bus=ports.bus,
        policy=ports.store,
        exchange=ports.client,
        market=stage.new_market(),
        clock=clock,
        entropy=entropy,
    )
    stop = anyio.Event()
    async with engine, anyio.create_task_group() as tasks:
        tasks.start_soon(BotTrader(stage, make_bot).run, engine, stop)
        async with anyio.create_task_group() as people:
            people.start_soon(_adopt_liquidations, stage, engine)
            await stage.feed.ended.wait()
            await anyio.sleep(SETTLE_SECONDS)
            people.cancel_scope.cancel()
        stop.set()
    return stage.wrong_positions(engine.position)


async def _adopt_liquidations(stage: Stage, engine: Engine) -> None:
    """A person settles what the venue has closed by itself, as one does in a guarded run; without
    one the engine would wait until the data ends."""
    while True:
        await stage.liquidated.wait()
        await anyio.sleep(GLANCE_SECONDS)
        while engine.state is not State.HEALTHY:
            if any("differences" in reason for reason in engine.waiting_for):
                await engine.adopt(by="operator")
            await anyio.sleep(GLANCE_SECONDS)


class _GuardedLives(Supervisor):
    def __init__(self, stage: Stage, tasks: TaskGroup, make_bot: MakeBot) -> None:
        super().__init__(stage, tasks, glance_seconds=GLANCE_SECONDS)
        self._stage = stage
        self._make_bot = make_bot

    def _trader(self, process: Process) -> Trader:
        return BotTrader(
            self._stage,
            self._make_bot,
            main=process.copy == 0,
            alive=lambda: process.alive,
            lost=lambda: process.journal is not None and process.journal.failed,
        )


async def _play_guarded(stage: Stage, make_bot: MakeBot) -> tuple[str, ...] | None:
    async with anyio.create_task_group() as tasks:
        lives = _GuardedLives(stage, tasks, make_bot)
        tasks.start_soon(lives.operate)

        async def settle() -> None:
            await anyio.sleep(SETTLE_SECONDS)
            await recover(stage, lives)

        await act(stage, lives, tasks, until=stage.feed.ended.wait, settle=settle)
    check_events(stage)
    process = lives.process
    assert process is not None
    for client_order_id, accepted in process.witness.attempts.accepted().items():
        if accepted > 1:
            stage.breach("orders", f"{client_order_id} was accepted {accepted} times")
    return None if process.engine is None else stage.wrong_positions(process.engine.position)


async def _play_bare(stage: Stage, make_bot: MakeBot) -> tuple[str, ...] | None:
    async with anyio.create_task_group() as tasks:
        lives = BareLives(stage, tasks, make_bot)

        async def settle() -> None:
            await anyio.sleep(SETTLE_SECONDS + RECOVERY_SECONDS)
            lives.finish()

        await act(stage, lives, tasks, until=stage.feed.ended.wait, settle=settle)
    process = lives.process
    assert process is not None
    return None if process.engine is None else stage.wrong_positions(process.engine.position)


_PLAYS: Final[dict[RunName, Callable[[Stage, MakeBot], Awaitable[tuple[str, ...] | None]]]] = {
    "clean": _play_clean,
    "guarded": _play_guarded,
    "bare": _play_bare,
}


def _result(stage: Stage, name: RunName, wrong_positions: tuple[str, ...] | None) -> Run:
    venue = stage.venue
    flows = list(venue.income())
    return Run(
        name=name,
        profit=stage.worth() - stage.deposit,
        fees=-sum((flow.amount for flow in flows if flow.kind == "COMMISSION"), Decimal(0)),
        funding=sum((flow.amount for flow in flows if flow.kind == "FUNDING_FEE"), Decimal(0)),
        max_exposure=stage.max_exposure,
        max_drawdown=_drawdown(stage.equity),
        counts=stage.tally.counts(venue.order_log),
        fills=sum(len(book.trades) for book in venue.books.values()),
        stale_policy_seconds=stage.stale_seconds,
        stale_policy_orders=stage.stale_orders,
        events_published=len(stage.published),
        events_lost=stage.events_lost(),
        wrong_positions=wrong_positions,
        state_seconds=stage.states.seconds,
        states=tuple(stage.states.spans),
        equity=tuple(stage.equity),
        lives=stage.diary.lives,
        failure=stage.failure,
        breaches=tuple(map(str, stage.breaches)) if name != "bare" else (),
        digest=digest_of(stage),
        steps=stage.loop.steps,
        log=tuple(stage.log),
        liquidations=tuple(stage.liquidations()),
        refusals=stage.tally.refusals(),
    )


def _drawdown(equity: Sequence[tuple[int, float]]) -> float:
    """The deepest fall below an earlier height, or below the start."""
    height = deepest = 0.0
    for _, worth in equity:
        height = max(height, worth)
        deepest = max(deepest, height - worth)
    return deepest
