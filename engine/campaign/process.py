"""One life of one copy of the bot, and its violent end."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Protocol

import anyio

from holdfast.engine import Engine
from holdfast.journal import JournalFailed, MemoryDisk
from holdfast.model import Gap
from holdfast.simulation import SeededEntropy, VirtualClock
from holdfast.states.machine import Step
from holdfast.states.table import State

from .diary import Diary
from .ports import Life, PerilousJournal, WatchedAccount, WatchedBus, WatchedStore
from .witness import Witness
from .world import World


class Trader(Protocol):
    """What trades on the engine of one life."""

    @property
    def journal_failed(self) -> bool:
        """Whether it knows that the journal has failed; only a new process can help."""

    async def run(self, engine: Engine, stop: anyio.Event) -> None:
        """Trade until `stop`; returns when every call into the engine has ended."""


class Process:
    """
    :param copy: 0 is the bot that is meant to run; others are copies somebody started.
    :param clock: of its machine.
    :param diary: where its bot writes.
    :param reached: told of moments at which a kill may have been planned.
    :param others_open: names of the other processes whose gate is open now.
    :param halted: whether the operator has halted this copy.
    :param on_step: called with every step of its machine.
    :param trader: makes what trades in this life, once all else of it is there.
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
        trader: Callable[[Process], Trader],
        on_step: Callable[[], object] = lambda: None,
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
        self.armed: set[str] = set()
        """Symbols whose countdown was begun by this bot, in this life or one that was killed."""
        self.killed_at: float | None = None
        """By the loop."""
        self._on_step = on_step
        self.name = f"copy {copy}, life {life}"
        self.entropy: SeededEntropy = world.entropy.child(self.name)
        self._settings = world.settings()
        self._producer = ""
        self.witness = Witness(
            breach=world.breach,
            in_store=lambda: world.store_server.policy,
            books_differ=world.books_differ,
            venue_moved=lambda: world.venue_events,
            in_force=world.policy_in_force,
            others_open=others_open,
            counts_down=lambda symbol: world.counts_down(symbol) or world.venue_clock_jumps,
            halted=halted,
            unnamed=world.unnamed,
            names_orders=world.names_orders,
            published=self._last_published,
            on_bus=lambda: world.bus_server.log.last_sequences.get(self._producer, 0),
            orders=self._settings.orders,
            lease=self._settings.lease,
            now=clock.monotonic,
        )
        self.life = Life(self.witness, reached)
        self.engine: Engine | None = None
        self.journal: PerilousJournal | None = None
        self._bot = trader(self)
        self._scope = anyio.CancelScope()

    @property
    def alive(self) -> bool:
        return self.life.alive

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
        world = self.world
        settings = self._settings
        journal = PerilousJournal.open(
            self.disk,
            clock=self.clock,
            randbits=self.entropy.child("journal").randbits,
            on_fault=self._on_disk_fault,
            segment_bytes=world.segment_bytes,
            retain_acked_seconds=settings.outbox.retain_acked_seconds,
        )
        assert isinstance(journal, PerilousJournal)
        self.journal = journal
        journal.reached = self.life.reached
        self._producer = f"{settings.bot}:{journal.incarnation:x}"
        ports = world.ports(clock=self.clock, entropy=self.entropy)
        watched = WatchedStore(ports.store, ports.lease, self.life)
        return world.new_engine(
            settings=settings,
            journal=journal,
            bus=WatchedBus(ports.bus, self.life, on_gap=self._on_gap),
            policy=watched,
            lease=watched,
            exchange=WatchedAccount(
                ports.client,
                self.life,
                venue_ms=world.venue.now_ms,
                on_untold=self._on_untold,
                on_armed=self.armed.add,
            ),
            market=world.new_market(),
            clock=self.clock,
            entropy=self.entropy,
        )

    def _last_published(self) -> int:
        """Number of the last event of this life that its bot was told to be published."""
        latest = self.diary.published[-1:]
        return next((p.sequence for p in latest if p.producer == self._producer), 0)

    def _on_untold(self) -> None:
        self.world.history_untold = True

    def _on_gap(self, gap: Gap) -> None:
        self.world.note(f"{self.name}: {gap}")
        self.diary.gaps.append((gap, self.clock.monotonic()))

    def _on_disk_fault(self, reason: str) -> None:
        if self.journal is not None and self.journal.failed:
            self.diary.journal_failures.append(self.clock.monotonic())
        if self.life.alive and self.engine is not None:
            self.witness.fault(f"disk: {reason}")
            self.engine.fault("disk", reason)

    def _on_transition(self, step: Step) -> None:
        if not self.life.alive:
            return
        self.world.note(f"{self.name}: {step.source} -> {step.dest} ({step.trigger}: {step.cause})")
        self.witness.stepped(step)
        self._on_step()

    @property
    def is_healthy(self) -> bool:
        """Whether it runs, and trades."""
        return self.alive and self.engine is not None and self.engine.state is State.HEALTHY

    @property
    def disk_is_lost(self) -> bool:
        """Whether its bot knows that the journal has failed; only a new process can help."""
        return self._bot.journal_failed

    def kill(self, *, power_loss: bool) -> None:
        """As kill -9 does, or the loss of the machine's power. Synchronous: it is over at once."""
        if not self.life.alive:
            return
        self.life.alive = False
        self.killed_at = self.world.now()
        self.witness.killed(at_seconds=self.world.loop.time())
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
