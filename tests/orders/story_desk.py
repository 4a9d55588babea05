"""The order parts of an engine, wired as `Core` wires them: what stands between a bot and a venue.

Real are journal, recorder, ledger, gate, links, `Execution` (way of an order, outcomes, resolver,
resting entries, reports of the user stream) and reconciler. Left out is what orders do not need:
bus, policy store, lease and machine. A hundred lives a second would cost too much with them; the
campaign plays whole engines. The way up is the engine's in short: probe, learn every outcome,
make the books equal, open the gate with the ticket taken on the way down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from holdfast.broadcast import Broadcast
from holdfast.errors import LinkDown
from holdfast.execution import Execution
from holdfast.gate import Gate
from holdfast.journal import Journal, JournalError
from holdfast.ledger import Ledger
from holdfast.links import LinkHealth, Links
from holdfast.metrics import Metrics
from holdfast.observer import Observer
from holdfast.policy import Mode, Policy
from holdfast.ports import Clock, Entropy, ExecutionClient
from holdfast.reconcile import rules_from
from holdfast.reconciler import Reconciler
from holdfast.recorder import Recorder
from holdfast.settings import Settings
from holdfast.states.table import Level

WAIT_SECONDS: Final = 0.25
"""Between two tries on the way up."""


class _Policy:
    policy = Policy(Mode.NORMAL)

    def get(self) -> Policy:
        return self.policy


class _Lease:
    held = latest_holder = True
    reason = ""


class _Mute:
    """An announcer without a bus."""

    def order_closed(self, report: Any) -> None: ...
    def order_resolved(self, intent: Any, report: Any) -> None: ...
    def fill_counted(self, fill: Any) -> None: ...


class Desk:
    """
    :param on_open: told whenever the gate was opened.
    :param on_shut: told the reason whenever it was shut.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        client: ExecutionClient,
        journal: Journal,
        clock: Clock,
        entropy: Entropy,
        on_open: Callable[[], None],
        on_shut: Callable[[str], None],
    ) -> None:
        self.changes = Broadcast()
        self._on_open = on_open
        self._on_shut = on_shut
        self._client = client
        self._timeout_seconds = settings.links.probe_timeout_seconds
        self._held_shut = 0
        self.gate = Gate(monotonic=clock.monotonic, lease_seconds=None)
        self.ledger = Ledger(keys_kept=settings.orders.keys_kept)
        self.recorder = Recorder(
            journal,
            self.ledger,
            segment_bytes=settings.outbox.segment_bytes,
            on_fault=lambda why: self.fault(f"disk: {why}"),
        )
        self.links = Links(
            monotonic=clock.monotonic, on_fault=self.fault, on_change=self._on_link_change
        )
        self.exchange = self.links.add("exchange", probe=lambda: self.execution.probe())
        stream = self.links.add("exchange stream", probe=_nothing_to_ask)
        policy: Any = _Policy()
        lease: Any = _Lease()
        announcer: Any = _Mute()
        self.execution = Execution(
            settings=settings,
            client=client,
            link=self.exchange,
            stream=stream,
            gate=self.gate,
            policy=policy,
            lease=lease,
            recorder=self.recorder,
            announcer=announcer,
            clock=clock,
            entropy=entropy,
            changes=self.changes,
            is_healthy=lambda: self.gate.is_open,
            on_blocked=lambda why: None,
            on_fault=lambda why: self.fault(f"exchange: {why}"),
            on_diverged=lambda why: self.fault(f"diverged: {why}"),
            on_awaited=lambda client_order_id: None,
        )
        self.orders = self.execution.orders
        observer = Observer(
            symbols=settings.symbols,
            prefix=self.orders.prefix,
            settings=settings.reconcile,
            client=client,
            recorder=self.recorder,
            venue_clock=self.execution.venue_clock,
            on_progress=lambda: None,
        )
        self.reconciler = Reconciler(
            symbols=settings.symbols,
            settings=settings.reconcile,
            rules=rules_from(settings.reconcile.rules),
            client=client,
            observer=observer,
            recorder=self.recorder,
            orders=self.orders,
            outcomes=self.execution.outcomes,
            silence=self.execution.silence,
            clock=clock,
            count=self.execution.reports.count,
            meter=Metrics(),
        )

    # --- down ------------------------------------------------------------------------

    def fault(self, why: str) -> None:
        """Something failed: shut the gate now, recover afterwards."""
        self.gate.shut(why)
        self._on_shut(why)
        self._refresh_floor()
        self.execution.look_again()
        self.changes.notify()

    def hold_shut(self, why: str) -> None:
        """A link that is none of ours is gone."""
        self._held_shut += 1
        self.fault(why)

    def let_open(self) -> None:
        self._held_shut -= 1
        self.changes.notify()

    def _on_link_change(self, link: LinkHealth) -> None:
        self._refresh_floor()
        if link is self.exchange:
            self.execution.look_again()
        self.changes.notify()

    def _refresh_floor(self) -> None:
        if self.exchange.is_up:
            self.gate.set_floor(Level.REDUCING, self.gate.reason)
        else:
            reason = f"exchange: {self.exchange.reason}"
            self.gate.set_floor(Level.HALTED, reason, out_of_reach=True)

    # --- a life, and the way up ------------------------------------------------------

    async def run(self) -> None:
        """From the opening of the journal on, until cancelled."""
        self.recorder.replay()
        for intent in self.ledger.unknown:
            self.gate.restrict(intent.order.symbol, intent.client_order_id, "of an earlier life")
        self.gate.shut("starting")
        self._refresh_floor()
        execution = self.execution
        async with anyio.create_task_group() as group:
            group.start_soon(self._client.run, execution.reports)
            group.start_soon(execution.resolver.run)
            group.start_soon(execution.entries.run)
            group.start_soon(self._recover)

    async def _recover(self) -> None:
        while True:
            if self.gate.is_open or self._held_shut:
                await self.changes.wait()
                continue
            await self.links.until_all_up()
            ticket = self.gate.epoch
            try:
                opened = await self._climb(ticket)
            except (LinkDown, JournalError):
                opened = False
            if not opened:
                await self.changes.wait_at_most(WAIT_SECONDS)

    async def _climb(self, ticket: int) -> bool:
        """:raises LinkDown, JournalError: not this time."""
        if await self.links.probe_all(ticket, timeout_seconds=self._timeout_seconds):
            return False
        await self.execution.instruments()
        for intent in list(self.ledger.intents.values()):
            while not intent.has_ended():
                await intent.change()
        await self.reconciler.settle(_waiting)
        if self.ledger.unknown or self._held_shut or not self.gate.open_if(ticket):
            return False
        self._on_open()
        self.changes.notify()
        return True


class BooksDiffer(Exception):
    """In what the venue can not prove and no rule settles: nobody but the bot trades here."""


@contextmanager
def _waiting(why: str) -> Iterator[None]:
    if "differences" in why:
        raise BooksDiffer(why)
    yield


async def _nothing_to_ask() -> None: ...
