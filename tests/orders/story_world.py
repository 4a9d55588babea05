"""Plays one story, and judges it from outside: by the venue's log and by what callers were told.

Two phases, as in the campaign. Until the horizon anything may fail; then everything outside
works again, and every decision has to be decided within a bound of time: asked for once more
under its key, it ends as the venue's log has it. What is watched for all along stands in
`story_witness`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import anyio
import msgspec
from stories import (
    CONDITIONAL,
    EXITS,
    HELD_NUMBER,
    HORIZON_SECONDS,
    STEP,
    AnyPart,
    Conditions,
    Crash,
    Story,
    Submit,
    seeded,
)
from story_desk import Desk
from story_stage import PRICE, LocalStage, Stage
from story_witness import StoryClient, Witness

from holdfast.campaign.diary import Decision, number_of
from holdfast.campaign.ports import Life, PerilousJournal
from holdfast.campaign.promises import broken_orders
from holdfast.campaign.world import Breach
from holdfast.errors import (
    EngineClosed,
    InvalidOrder,
    LinkDown,
    NotExecuted,
    OutcomeUnknown,
    Rejected,
    ResolveRefused,
    TradingHalted,
)
from holdfast.journal import JournalError, MemoryDisk
from holdfast.model import Order, OrderReport
from holdfast.settings import GateSettings, OrderSettings, ReconcileSettings, Settings
from holdfast.simulation import SeededEntropy, Simulation, SimulationError

SYMBOL: Final = "BTC/USDT:USDT"
BELOW, ABOVE = Decimal(60_000), Decimal(70_000)
"""Beyond where the market ever goes."""
LOWER, UPPER = Decimal(63_000), Decimal(65_000)
"""Where it triggers what waits for that."""
OPERATOR_SECONDS: Final = 4.0
"""Between two looks of the person who settles what no answer of the venue can."""
MAX_STEPS: Final = 200_000
MAX_STEPS_PER_INSTANT: Final = 5_000


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one story.

    :ivar log: what happened, in order, with its time.
    """

    story: Story
    breaches: tuple[Breach, ...]
    log: tuple[tuple[float, object], ...]
    attempts: int = 0
    lives: int = 0

    @property
    def plan(self) -> Story:
        return self.story

    @property
    def kept(self) -> bool:
        return not self.breaches

    def __str__(self) -> str:
        timeline = "\n".join(f"{at:9.3f} s  {str(what).strip()}" for at, what in self.log)
        broken = "\n".join(f"broken: {breach}" for breach in self.breaches)
        return f"{self.story}\n\n{timeline}\n{broken}"


class World:
    """One story under way. Its clock and venue are the stage's."""

    def __init__(self, story: Story, stage: Stage) -> None:
        self.story = story
        self.stage = stage
        self.entropy = SeededEntropy(story.seed, "told")
        self.disk = MemoryDisk()
        self.breaches: list[Breach] = []
        self.log: list[tuple[float, object]] = []
        self.decisions: dict[int, Decision] = {}
        self.power_losses: list[float] = []
        self.lives = 0
        self.process: Process | None = None
        self.settings = _settings(story.conditions, type(stage))
        self.witness = Witness(
            settings=self.settings.orders,
            now=stage.clock.monotonic,
            breach=self.breach,
            slack_seconds=stage.slack_seconds,
        )
        self.told: dict[int, OrderReport] = {}
        """The latest report of each decision that was said to be accepted."""
        self.given_up: set[int] = set()
        self.exits: set[int] = set()
        """Numbers of the decisions that only close."""
        self.upsets_before: dict[int, int] = {}
        self._callers: dict[int, list[anyio.CancelScope]] = {}
        self._crashes: list[list[Any]] = []
        self._began = stage.clock.monotonic()

    def now(self) -> float:
        return self.stage.clock.monotonic() - self._began

    def note(self, what: object) -> None:
        self.log.append((self.now(), what))

    def breach(self, promise: str, what: str) -> None:
        self.breaches.append(Breach(promise, self.now(), what))
        self.note(f"BROKEN {promise}: {what}")

    def on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.breach("crash", f"{context.get('message')}: {context.get('exception')!r}")

    # --- the story -------------------------------------------------------------------

    async def play(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._live, tasks)
            if any(getattr(part, "want", "") in CONDITIONAL for part in self.story.parts):
                tasks.start_soon(self._operate)
            await self._begin(tasks)
            began = self.now()
            for part in self.story.parts:
                await anyio.sleep(max(0.0, began + part.at_seconds * self.stage.pace - self.now()))
                self.note(part)
                await self._act(tasks, part)
            left = began + HORIZON_SECONDS * self.stage.pace - self.now()
            await anyio.sleep(max(0.0, left))
            await self._end()
            tasks.cancel_scope.cancel()

    async def _begin(self, tasks: Any) -> None:
        """What every story begins with: a position to reduce."""
        with anyio.fail_after(self.stage.recovery_seconds):
            await self._until_open()
        await self._call(self._decide(HELD_NUMBER, "market", None))
        if self.story.conditions.hedged and any(
            part.number % 2 == 1 and part.want in EXITS
            for part in self.story.parts
            if isinstance(part, Submit)
        ):
            await self._call(self._decide(HELD_NUMBER + 1, "market", None))

    async def _act(self, tasks: Any, part: AnyPart) -> None:
        match part.__struct_config__.tag:
            case "submit":
                decision = self._decide(part.number, part.want, part.deadline_seconds)
                tasks.start_soon(self._call, decision)
            case "again" if (decision := self.decisions.get(part.number)) is not None:
                tasks.start_soon(self._call, decision)
            case "give_up":
                self.given_up.add(part.number)
                for scope in self._callers.get(part.number, ()):
                    scope.cancel()
            case "cancel" if (decision := self.decisions.get(part.number)) is not None:
                tasks.start_soon(self._cancel, decision)
            case "shut":
                self._shut(part.seconds * self.stage.pace)
            case "disk_full":
                self.disk.full = True
                self._later(part.seconds, lambda: setattr(self.disk, "full", False))
            case "crash" if part.point == "now":
                self._crash(part)
            case "crash":
                self._crashes.append([part, part.number])
            case "again" | "cancel":
                pass  # of a decision that was left out
            case _:
                await self.stage.fail(part)

    def _later(self, seconds: float, act: Any) -> None:
        asyncio.get_running_loop().call_later(seconds * self.stage.pace, act)

    def _shut(self, seconds: float) -> None:
        process = self.process
        if process is None or not process.life.alive:
            return
        process.desk.hold_shut("bus: it is gone")

        def let_open() -> None:
            if process.life.alive:
                process.desk.let_open()

        asyncio.get_running_loop().call_later(seconds, let_open)

    async def _end(self) -> None:
        """Everything outside works from now on: nothing may be left undecided."""
        await self.stage.mend()
        self.disk.full = False
        self._crashes.clear()
        self.note("the faults stop")
        with anyio.move_on_after(self.stage.recovery_seconds) as scope:
            await self._until_open()
            for decision in self.decisions.values():
                await self._call(decision)
                while decision.end is None:
                    await anyio.sleep(5 * self.stage.glance_seconds)
                    await self._call(decision)
            await self._until_open()
            assert self.process is not None
            self.process.desk.fault("audit: all is compared once more")
            await self._until_open()
            for decision in self.decisions.values():
                await self._call(decision)
        if scope.cancelled_caught:
            self.breach("liveness", self._stands())
        assert self.process is not None
        self.process.kill(power_loss=False)
        await self._judge()

    def _stands(self) -> str:
        process = self.process
        undecided = [d.order.key for d in self.decisions.values() if d.end is None]
        if process is None or not process.life.alive:
            return f"not running; undecided: {undecided}"
        desk = process.desk
        down = [f"{link.name} ({link.reason})" for link in desk.links if not link.is_up]
        return (
            f"gate: {desk.gate.reason or 'open'}; links down: {down}; undecided: {undecided}; "
            f"intents: {[(i, i.doubt, i.answer) for i in desk.ledger.intents.values()]}"
        )

    async def _until_open(self) -> None:
        """Until a process lives that trades; one that dies meanwhile is followed by another."""
        while True:
            process = self.process
            if process is None or not process.life.alive:
                await anyio.sleep(self.stage.glance_seconds)
            elif process.desk.gate.is_open:
                return
            else:
                await process.desk.changes.wait_at_most(1.0)

    async def _judge(self) -> None:
        taken = await self.stage.order_log()
        for what in broken_orders(taken, self.decisions):
            self.breach("orders", what)
        for cid, accepted in self.witness.attempts.accepted().items():
            if accepted > 1:
                self.breach("orders", f"{cid} was accepted {accepted} times")
        filled = {number_of(o.quantity): o.filled for o in taken}
        for decision in self.decisions.values():
            told = self.told.get(decision.number)
            if told is not None and told.filled != filled.get(decision.number):
                self.breach(
                    "truth",
                    f"{decision.order.key} was said to be filled {told.filled:f}; by the venue's "
                    f"log it is {filled.get(decision.number)}",
                )
            if decision.end is None:
                self.breach("orders", f"{decision.order.key} was never decided")

    # --- lives -----------------------------------------------------------------------

    async def _live(self, tasks: Any) -> None:
        while True:
            self.lives += 1
            process = self.process = Process(self)
            try:
                await process.run()
            except Exception as error:
                if process.life.alive:
                    promise = "books" if "BooksDiffer" in _leaves(error) else "crash"
                    self.breach(promise, f"life {self.lives} ended by itself: {_leaves(error)}")
                    process.kill(power_loss=False)
                    tasks.cancel_scope.cancel()  # the next life would end the same way
            await anyio.sleep(process.down_seconds * self.stage.pace)

    def reached(self, point: str) -> None:
        for waiting in self._crashes:
            part, left = waiting
            if part.point == point:
                waiting[1] = left - 1
                if left == 1:
                    self._crashes.remove(waiting)
                    self._crash(part)
                return

    def _crash(self, part: Crash) -> None:
        process, loop = self.process, asyncio.get_running_loop()
        assert process is not None

        def count_down(passes: int) -> None:
            if passes:
                loop.call_soon(count_down, passes - 1)
            elif process.life.alive:
                process.down_seconds = part.seconds
                process.kill(power_loss=part.power_loss)

        count_down(part.passes)

    # --- callers ---------------------------------------------------------------------

    def _decide(self, number: int, want: str, deadline_seconds: float | None) -> Decision:
        exits, hedged = want in EXITS, self.story.conditions.hedged
        if exits:
            self.exits.add(number)
        short = hedged and number % 2 == 1
        low, high = (BELOW, ABOVE) if not short else (ABOVE, BELOW)
        under, over = (LOWER, UPPER) if not short else (UPPER, LOWER)
        if deadline_seconds is not None:
            deadline_seconds *= self.stage.pace
        order = Order(
            SYMBOL,
            "sell" if exits is not short else "buy",
            number * STEP,
            price={
                "limit": PRICE, "ioc": PRICE, "exit limit": PRICE, "rest": low, "exit rest": high
            }.get(want),
            key=f"decision-{number}",
            reduce_only=exits and not hedged,
            position_side=("SHORT" if short else "LONG") if hedged else "BOTH",
            time_in_force="IOC" if want == "ioc" else None,
            deadline_seconds=deadline_seconds,
            trigger={"stop": "stop", "stop entry": "stop", "take profit": "take_profit"}.get(want),  # type: ignore[arg-type]
            trigger_price={"stop": under, "stop entry": over, "take profit": over}.get(want),
        )  # fmt: skip
        self.upsets_before[number] = self.witness.upsets
        decision = self.decisions[number] = Decision(number, order)
        return decision

    async def _call(self, decision: Decision) -> None:
        """One caller of `submit`, in the process that lives now; it may die with that."""
        process = self.process
        if process is None or not process.life.alive:
            return
        with anyio.CancelScope() as scope, process.inside(scope):
            self._callers.setdefault(decision.number, []).append(scope)
            try:
                await Caller(self, process, decision).call()
            except Exception as error:
                if process.life.alive:  # a dead one may say what it likes
                    self.breach("crash", f"{decision.order.key}: {_leaves(error)}")
            finally:
                self._callers[decision.number].remove(scope)

    async def _operate(self) -> None:
        """A person looks at the venue now and then, for the sake of conditional orders: no answer
        proves that one is absent, and nothing goes on before it is decided."""
        while True:
            await anyio.sleep(OPERATOR_SECONDS * self.stage.pace)
            process = self.process
            if process is None or not process.life.alive:
                continue
            with anyio.CancelScope() as scope, process.inside(scope):
                for intent in process.desk.ledger.unknown:
                    cid = intent.client_order_id
                    if intent.order.conditional and await self.stage.status_of(cid) is None:
                        await self._settle(process, cid)

    async def _settle(self, process: Process, cid: str) -> None:
        resolver = process.desk.execution.resolver
        try:
            await resolver.decide(cid, "not_executed", by="owner", reason="it is not there")
        except (ResolveRefused, LinkDown, JournalError):
            return  # too early, or the venue has it after all
        self.witness.saw(cid)  # no more in doubt, also if the process died of writing it down
        self.note(f"{cid} is settled by a person")

    async def _cancel(self, decision: Decision) -> None:
        process = self.process
        if process is None or not process.life.alive:
            return
        assert decision.order.key is not None
        cid = process.desk.ledger.client_order_id(SYMBOL, decision.order.key)
        if cid is None:
            return
        with anyio.CancelScope() as scope, process.inside(scope):
            try:
                order = await process.desk.orders.cancel(SYMBOL, cid)
            except (LinkDown, OutcomeUnknown, JournalError):
                return
            except Exception as error:
                self.breach("crash", f"cancel of {cid}: {_leaves(error)}")
                return
            if not process.life.alive:
                return
            self.note(f"{decision.order.key}: after the cancel it is {order and order.status}")
            at_venue = await self.stage.status_of(cid)
            if at_venue is not None and not at_venue.final:
                self.breach("truth", f"{cid} was said to be cancelled; the venue has it open")


class Caller:
    """One call of `submit`, and whether what it says is true."""

    def __init__(self, world: World, process: Process, decision: Decision) -> None:
        self.world = world
        self.process = process
        self.decision = decision
        self.name = f"{decision.order.quantity:f}"
        witness = world.witness
        self.before = (witness.writes_of.get(self.name, 0), witness.clock_unread)

    async def call(self) -> None:
        desk, decision = self.process.desk, self.decision
        try:
            report = await desk.orders.submit(decision.order)
        except OutcomeUnknown as unknown:
            self._say(f"unknown: {unknown.reason}")
            try:
                self._ended(await unknown.resolved())
            except EngineClosed:
                return
        except NotExecuted as error:
            self._say(f"not executed: {error.reason}")
            self._judge_not_executed(error)
            self._ended(error.intent.report)
        except Rejected as no:
            self._say(f"rejected: {no.reason}")
            if self.process.life.alive:
                decision.refused(self.world.stage.clock.monotonic())
        except (TradingHalted, JournalError, InvalidOrder) as halted:
            self._say(f"{type(halted).__name__}: {halted}")
            self._judge_halted(halted)
        else:
            self._ended(report)

    def _say(self, what: str) -> None:
        if self.process.life.alive:
            self.world.note(f"{self.decision.order.key} {what}")

    def _ended(self, report: OrderReport | None) -> None:
        if report is None or not self.process.life.alive:
            return
        self._say(f"{report.status} in {report.attempts} attempts: {report.evidence}")
        if self.decision.end == "rejected" and not self.decision.client_order_id:
            self.decision.client_order_id = report.client_order_id  # `Rejected` does not name it
        self.decision.learn(
            report,
            at_seconds=self.world.stage.clock.monotonic(),
            may_be_forgotten=lambda said: any(lost >= said for lost in self.world.power_losses),
        )
        if report.status == "accepted":
            self.world.told[self.decision.number] = report

    def _judge_not_executed(self, error: NotExecuted) -> None:
        """An exit without a deadline of its own is tried on, unless nothing can be sent."""
        world, order, number = self.world, self.decision.order, self.decision.number
        if (
            self.process.life.alive
            and number in world.exits
            and not order.conditional  # a person may have settled it
            and order.deadline_seconds is None
            and number not in world.given_up
            and world.witness.upsets == world.upsets_before[number]
        ):
            world.breach("exits", f"{order.key}, an exit, was given up: {error.reason}")

    def _judge_halted(self, error: Exception) -> None:
        """Nothing of it was ever sent, and an exit is only halted where nothing can be sent."""
        world, order = self.world, self.decision.order
        if not self.process.life.alive:
            return
        writes, unread = self.before
        if world.witness.writes_of.get(self.name, 0) > writes and self.alone:
            world.breach("truth", f"{order.key} was said never to have been sent: {error}")
        witness = world.witness
        may_be_sent = (
            witness.link_is_up
            and witness.silent_until <= world.stage.clock.monotonic()
            and witness.clock_unread == unread
        )
        halted_exit = isinstance(error, TradingHalted) and self.decision.number in world.exits
        if halted_exit and may_be_sent and order.deadline_seconds is None:
            world.breach("exits", f"{order.key}, an exit, was halted: {error}")

    @property
    def alone(self) -> bool:
        return len(self.world._callers[self.decision.number]) == 1


class Process:
    """One life: a desk on the story's disk, and all that runs inside it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down_seconds = 0.1
        self.life = Life(world.witness, world.reached)  # type: ignore[arg-type]
        self._scope = anyio.CancelScope()
        self._inside: list[anyio.CancelScope] = []
        stage, entropy = world.stage, world.entropy.child(f"life {world.lives}")
        journal = PerilousJournal.open(
            world.disk,
            clock=stage.clock,
            randbits=entropy.child("journal").randbits,
            on_fault=lambda why: self.desk.fault(f"disk: {why}"),
            segment_bytes=64 << 10,
        )
        journal.reached = self.life.reached  # type: ignore[attr-defined]
        self.desk = Desk(
            settings=world.settings,
            client=StoryClient(
                stage.client(entropy),
                self.life,
                world.witness,
                venue_ms=stage.venue_ms,
                stream_seconds=world.story.conditions.stream_seconds * stage.pace,
            ),
            journal=journal,
            clock=stage.clock,
            entropy=entropy,
            on_open=self._on_open,
            on_shut=self._on_shut,
        )

    async def run(self) -> None:
        with self._scope:
            await self.desk.run()

    @contextlib.contextmanager
    def inside(self, scope: anyio.CancelScope) -> Iterator[None]:
        """What `scope` holds dies with the process."""
        self._inside.append(scope)
        try:
            yield
        finally:
            self._inside.remove(scope)

    def kill(self, *, power_loss: bool) -> None:
        """Synchronous: it is over at once. No more harm is done while tasks are unwound."""
        if not self.life.alive:
            return
        self.life.alive = False
        self.world.disk.crash(lose_unsynced=power_loss)
        if power_loss:
            self.world.power_losses.append(self.world.stage.clock.monotonic())
        self.world.note(f"killed{' with its power' if power_loss else ''}")
        self.world.witness.died()
        self._scope.cancel()
        for scope in self._inside:
            scope.cancel()

    def _on_open(self) -> None:
        if self.life.alive:
            self.world.note("the gate is open")
            self.world.witness.gate_opened()

    def _on_shut(self, why: str) -> None:
        if self.life.alive:
            self.world.note(f"the gate is shut: {why}")
            self.world.witness.gate_shut(why)


@functools.cache
def _settings(conditions: Conditions, stage: type[Stage]) -> Settings:
    """Checking them costs more than telling the story."""
    return Settings(
        bot="alpha",
        symbols=(SYMBOL,),
        gate=GateSettings(loop_lease_seconds=None),
        orders=OrderSettings(
            **stage.order_settings(conditions),
            backoff_jitter=conditions.backoff_jitter,
            durability="power" if conditions.power else "process",  # type: ignore[arg-type]
            on_leaving_active="keep" if conditions.keep_resting else "cancel",
            dead_man_seconds=None,
        ),
        # A cut of the power may take the record of a stop's cancel, and a person has to look.
        reconcile=ReconcileSettings(settle_seconds=0.1, rules={"unprotected_position": "adopt"}),
    )


def _leaves(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(inner) for inner in error.exceptions)
    return repr(error)


def play_seed(seed: int) -> Verdict:
    """Draw the story of `seed` and play it."""
    return play(seeded(seed))


def play(story: Story) -> Verdict:
    """Play `story` in virtual time; nothing in it depends on anything but the story."""
    simulation = Simulation(
        seed=story.seed, max_steps=MAX_STEPS, max_steps_per_instant=MAX_STEPS_PER_INSTANT
    )
    worlds: list[World] = []

    async def main() -> None:
        world = World(story, LocalStage(story))
        worlds.append(world)
        asyncio.get_running_loop().set_exception_handler(world.on_loop_error)
        await world.play()

    with silence():
        try:
            simulation.run(main)
        except SimulationError as error:
            worlds[0].breach("liveness", f"{type(error).__name__}: {error}")
    return verdict_of(worlds[0])


def verdict_of(world: World) -> Verdict:
    return Verdict(
        story=world.story,
        breaches=tuple(world.breaches),
        log=tuple(world.log),
        attempts=sum(world.witness.writes_of.values()),
        lives=world.lives,
    )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Formatting thousands of planned warnings would cost more than the stories."""
    logger = logging.getLogger("holdfast")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
