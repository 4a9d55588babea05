"""One life of one copy of the bot, and its violent end."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import anyio

from holdfast.engine import Engine
from holdfast.journal import JournalFailed, MemoryDisk
from holdfast.model import Gap
from holdfast.ports import LeaseStore, MessageBus, PolicyStore
from holdfast.reconcile import Kind
from holdfast.settings import (
    GateSettings,
    LeaseSettings,
    LinkSettings,
    OrderSettings,
    OutboxSettings,
    PolicySettings,
    ReconcileSettings,
    Settings,
)
from holdfast.simulation import SeededEntropy, VirtualClock
from holdfast.states.machine import Step
from holdfast.states.table import State
from holdfast.transports.faults import (
    CountingClient,
    FaultyBus,
    FaultyExecutionClient,
    FaultyStore,
)
from holdfast.transports.memory import MemoryBus
from holdfast.transports.sim import SimExecutionClient

from .bot import Bot
from .diary import Diary
from .leases import TimedStore
from .plan import Conditions
from .ports import Life, PerilousJournal, WatchedBus, WatchedClient, WatchedStore
from .witness import Witness
from .world import FRESHNESS_SECONDS, LEASE_SECONDS, SYMBOL, World

SEGMENT_BYTES = 64 << 10
"""Small, so that segments are closed, checkpointed and dropped within one run."""
AUDIT_SECONDS = 5.0
POSITIONS = (
    Kind.ORPHAN_POSITION,
    Kind.PHANTOM_POSITION,
    Kind.SIZE_MISMATCH,
    Kind.SIDE_FLIP,
)
BOT_NAME = "alpha"


def settings_for(conditions: Conditions) -> Settings:
    return Settings(
        bot=BOT_NAME,
        orders=OrderSettings(
            on_leaving_active="keep" if conditions.keep_resting else "cancel",
            dead_man_seconds=conditions.dead_man_seconds,
        ),
        symbols=(SYMBOL,),
        gate=GateSettings(loop_lease_seconds=conditions.gate_lease_seconds),
        policy=PolicySettings(on_empty=conditions.on_empty, freshness_seconds=FRESHNESS_SECONDS),
        lease=LeaseSettings(ttl_seconds=LEASE_SECONDS),
        outbox=OutboxSettings(
            segment_bytes=SEGMENT_BYTES,
            retain_acked_seconds=conditions.retain_acked_seconds,
        ),
        reconcile=ReconcileSettings(
            audit_seconds=AUDIT_SECONDS,
            rules=dict.fromkeys(POSITIONS, "adopt") if conditions.adopt_positions else {},
        ),
        # A wall clock that jumps stays wrong here, since nobody sets it right; the promises
        # have to hold although it does.
        links=LinkSettings(max_clock_skew_seconds=None),
    )


class Process:
    """
    :param copy: 0 is the bot that is meant to run; others are copies somebody started.
    :param clock: of its machine.
    :param diary: where its bot writes.
    :param reached: told of moments at which a kill may have been planned.
    :param others_open: names of the other processes whose gate is open now.
    :param halted: whether the operator has halted this copy.
    """

    def __init__(
        self,
        world: World,
        *,
        copy: int,
        life: int,
        disk: MemoryDisk,
        clock: VirtualClock,
        diary: Diary,
        reached: Callable[[str], None],
        others_open: Callable[[Witness], list[str]],
        halted: Callable[[], bool],
    ) -> None:
        self.world = world
        self.copy = copy
        self.disk = disk
        self.clock = clock
        self.diary = diary
        self.stop = anyio.Event()
        """Set: the bot stops trading; its engine goes on."""
        self.close = anyio.Event()
        """Set: the process ends as a careful operator would end it."""
        self.ended = anyio.Event()
        self.killed = False
        self.name = f"copy {copy}, life {life}"
        self.entropy: SeededEntropy = world.entropy.child(self.name)
        self.witness = Witness(
            breach=world.breach,
            in_store=lambda: world.store_server.policy,
            books_differ=world.books_differ,
            venue_moved=lambda: world.venue_events,
            in_force=world.policy_in_force,
            others_open=others_open,
            counts_down=lambda: world.venue.counting_down or world.venue_clock_jumps,
            halted=halted,
            unnamed=world.unnamed,
        )
        self.life = Life(self.witness, reached)
        self.engine: Engine | None = None
        self._bot = Bot(
            diary,
            symbol=SYMBOL,
            entropy=self.entropy.child("bot"),
            price=lambda: world.price,
            alive=lambda: self.life.alive,
            now=clock.monotonic,
        )
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """From start to end, whichever way it ends."""
        try:
            with self._scope:
                await self._live()
        except Exception as error:
            # Whatever ended it: a bot that dies of itself guards nothing. A dead one may say
            # what it likes.
            # That the last sync failed is an honest answer to being stopped.
            told = self.close.is_set() and isinstance(error, JournalFailed)
            if self.life.alive and not told:
                self.world.breach("crash", f"{self.name} ended by itself: {_leaves(error)}")
                self.disk.crash(lose_unsynced=False)
        finally:
            self.life.alive = False
            self.ended.set()

    async def _live(self) -> None:
        engine = self.engine = self.witness.engine = self._engine()
        engine.on_transition(self._on_transition)
        if engine.state is not State.DEGRADED or engine.gate.is_open:
            self.world.breach("recovery", f"{self.name} began {engine.state}, not DEGRADED")
        async with engine:
            await self._bot.run(engine, self.stop)
            await self.close.wait()

    def _engine(self) -> Engine:
        world, plan, entropy = self.world, self.world.plan, self.entropy
        journal = PerilousJournal.open(
            self.disk,
            clock=self.clock,
            randbits=entropy.child("journal").randbits,
            on_fault=self._on_disk_fault,
            segment_bytes=SEGMENT_BYTES,
            retain_acked_seconds=plan.conditions.retain_acked_seconds,
        )
        assert isinstance(journal, PerilousJournal)
        journal.reached = self.life.reached
        timed = TimedStore(world.store_server, clock=self.clock)
        bus: MessageBus = MemoryBus(world.bus_server)
        store: PolicyStore = timed
        lease: LeaseStore = timed
        client: CountingClient = SimExecutionClient(
            world.line, latency_seconds=plan.conditions.latency_seconds
        )
        if not plan.noise.silent:
            noise = entropy.child("noise")
            bus = FaultyBus(bus, world.noise["bus"], noise.child("bus"))
            store = lease = FaultyStore(timed, timed, world.noise["store"], noise.child("store"))
            client = FaultyExecutionClient(client, world.noise["exchange"], noise.child("exchange"))
        watched = WatchedStore(store, lease, self.life)
        return Engine(
            settings=settings_for(plan.conditions),
            journal=journal,
            bus=WatchedBus(bus, self.life, on_gap=self._on_gap),
            policy=watched,
            lease=watched,
            exchange=WatchedClient(client, self.life, venue_ms=world.venue.now_ms),
            clock=self.clock,
            entropy=entropy,
        )

    def _on_gap(self, gap: Gap) -> None:
        self.world.note(f"{self.name}: {gap}")
        self.diary.gaps.append((gap, self.clock.monotonic()))

    def _on_disk_fault(self, reason: str) -> None:
        if self.life.alive and self.engine is not None:
            self.witness.fault(f"disk: {reason}")
            self.engine.fault("disk", reason)

    def _on_transition(self, step: Step) -> None:
        if not self.life.alive:
            return
        self.world.note(f"{self.name}: {step.source} -> {step.dest} ({step.trigger}: {step.cause})")
        self.witness.stepped(step)

    @property
    def disk_is_lost(self) -> bool:
        """Whether its bot was told that the journal has failed; only a new process can help."""
        return self._bot.journal_failed

    def kill(self, *, power_loss: bool) -> None:
        """As kill -9 does, or the loss of the machine's power. Synchronous: it is over at once."""
        if not self.life.alive:
            return
        self.life.alive = False
        self.killed = True
        self.disk.crash(lose_unsynced=power_loss)
        if power_loss:
            self.diary.power_losses.append(self.clock.monotonic())
        self.world.note(f"{self.name}: killed{' with its power' if power_loss else ''}")
        self._scope.cancel()


def _leaves(error: BaseException) -> str:
    """The errors inside of the groups, in words."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(inner) for inner in error.exceptions)
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{error!r} in {', '.join(f'{f.filename}:{f.lineno} {f.name}' for f in frame)}"
