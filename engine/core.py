"""The engine's parts, wired: what every fault, step and change of a link passes through.

The way of a fault: a transport's callback -> `LinkHealth.down` -> `Core.fault`,
which shuts the gate before anything else -> the machine -> the runner, which
cancels whatever effect was running and begins those of DEGRADED. All of it is
synchronous; when the transport's callback returns, no order that opens a position
can be written any more.

`Core` wires and passes on, and holds no behaviour of its own: transitions stand in the table,
what a state does in `effects`, what the engine says in `announcer`, what lies between an order
and the venue in `execution`, and what the user calls in `engine`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.states.guards import Facts
from holdfast.states.machine import Machine, Step
from holdfast.states.table import SHUTTING, Level, State, Trigger

from . import events, own_journal
from .announcer import Announcer
from .auditor import Auditor
from .broadcast import Broadcast
from .clock_link import ClockLink
from .execution import Execution
from .gate import Gate
from .journal import Journal, JournalError
from .lease import LeaseKeeper
from .ledger import Ledger
from .links import LinkHealth, Links
from .listeners import Listeners
from .loop_thread import LoopThread
from .loop_watch import LoopWatch
from .market import MarketEvent
from .market_feed import MarketFeed
from .metrics import Meter
from .model import Fill
from .observer import Observer
from .outbox import Outbox
from .policy import Policy
from .policy_cell import PolicyCell
from .ports import (
    Clock,
    Entropy,
    ExecutionClient,
    LeaseStore,
    Link,
    MarketData,
    MessageBus,
    PolicyStore,
)
from .reconcile import rules_from
from .reconciler import Reconciler
from .recorder import Recorder
from .records import Transitioned
from .recovery import Recovery
from .runner import Runner
from .settings import Settings
from .wording import writable

log = logging.getLogger("holdfast.engine")


class Core:
    """See the module; the arguments are those of `Engine`."""

    def __init__(
        self,
        *,
        settings: Settings,
        journal: Journal,
        bus: MessageBus,
        policy: PolicyStore,
        lease: LeaseStore | None,
        exchange: ExecutionClient,
        clock: Clock,
        entropy: Entropy,
        market: MarketData | None,
        links: Sequence[Link],
        meter: Meter,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.meter = meter
        self.bus = bus
        self.policy_store = policy
        self.exchange = exchange
        self.market = market
        self.journal = journal
        self.extra_links: tuple[Link, ...] = tuple(links)
        self.changes = Broadcast()
        """Notified after every step, every change of a link, of the lease, of a hold."""
        self.began_at = clock.monotonic()
        self.thread = LoopThread()
        self.steps: Listeners[Step] = Listeners()
        self.market_events: Listeners[MarketEvent] = Listeners()

        self.gate = Gate(
            monotonic=clock.monotonic,
            lease_seconds=settings.gate.loop_lease_seconds,
            on_blocked=self._on_blocked,
        )
        self.recovery = Recovery(self.gate.epoch)
        self.loop_watch = LoopWatch(
            gate=self.gate,
            monotonic=clock.monotonic,
            lease_seconds=settings.gate.loop_lease_seconds,
            on_stall=self._on_stall,
        )
        self.ledger = Ledger(keys_kept=settings.orders.keys_kept)
        self.recorder = Recorder(
            journal,
            self.ledger,
            segment_bytes=settings.outbox.segment_bytes,
            on_fault=self._disk_down,
        )
        self.machine = Machine(
            facts=self.facts, before_shutting=self._before_shutting, on_step=self._on_step
        )
        self._make_links(policy)
        self.outbox = Outbox(
            bot=settings.bot,
            journal=journal,
            bus=bus,
            clock=clock,
            entropy=entropy.child("trace"),
            batch_events=settings.outbox.batch_events,
            batches_in_flight=settings.outbox.batches_in_flight,
            on_fault=lambda why: self.fault("bus", why),
            on_disk_fault=self._disk_down,
            on_fenced=self._on_fenced,
            on_gap=lambda gap: self.announcer.gap(gap),
            last_of_lives=lambda: self.ledger.last_sequences,
            on_published=self.ledger.published,
        )
        self.announcer = Announcer(
            outbox=self.outbox, meter=meter, entropy=entropy.child("recovery"), thread=self.thread
        )
        self.policy = PolicyCell(
            store=policy,
            link=self.policy_link,
            recorder=self.recorder,
            clock=clock,
            settings=settings.policy,
            on_change=self._on_policy_change,
            on_reloaded=lambda seconds: meter.observe("cache_invalidation_latency", seconds),
            on_fault=lambda why: self.fault("policy", why),
        )
        self.lease = LeaseKeeper(
            store=lease if settings.lease.enabled else None,
            owner=f"{settings.bot}:{journal.incarnation:x}",
            ttl_seconds=settings.lease.ttl_seconds,
            clock=clock,
            on_lost=lambda why: self.fault("lease", why),
            on_change=self._on_lease_change,
            on_renewed=self.outbox.show_presence,
            fence=bus.fence,
        )
        self.execution = Execution(
            settings=settings,
            client=exchange,
            link=self.exchange_link,
            stream=self.stream_link,
            gate=self.gate,
            policy=self.policy,
            lease=self.lease,
            recorder=self.recorder,
            announcer=self.announcer,
            clock=clock,
            entropy=entropy.child("orders"),
            changes=self.changes,
            is_healthy=lambda: self.machine.state is State.HEALTHY,
            on_blocked=self._on_blocked,
            on_fault=lambda why: self.fault("exchange", why),
            on_diverged=lambda why: self.fire(Trigger.DIVERGED, why),
            on_awaited=lambda client_order_id: self.auditor.await_fills(client_order_id),
        )
        self._watch_the_clock()
        self.runner = Runner(
            effects=self._effects(), fire=self.machine.fire, monotonic=clock.monotonic
        )
        self.observer = Observer(
            symbols=settings.symbols,
            prefix=self.execution.orders.prefix,
            settings=settings.reconcile,
            client=exchange,
            recorder=self.recorder,
            venue_clock=self.execution.venue_clock,
            on_progress=self.runner.progress,
        )
        self.reconciler = Reconciler(
            symbols=settings.symbols,
            settings=settings.reconcile,
            rules=rules_from(settings.reconcile.rules),
            client=exchange,
            observer=self.observer,
            recorder=self.recorder,
            orders=self.execution.orders,
            outcomes=self.execution.outcomes,
            silence=self.execution.silence,
            clock=clock,
            count=self.execution.reports.count,
            meter=meter,
        )
        self.auditor = Auditor(
            symbols=settings.symbols,
            settings=settings.reconcile,
            observer=self.observer,
            ledger=self.ledger,
            clock=clock,
        )
        self.execution.fills.add(self._on_fill)

    def _make_links(self, policy: PolicyStore) -> None:
        """Everything that has to be up and proven before anything may be opened."""
        monotonic = self.clock.monotonic
        self.links = Links(
            monotonic=monotonic, on_fault=self._link_fault, on_change=self._on_link_change
        )
        self.bus_link = self.links.add("bus", probe=self.bus.probe)
        self.policy_link = self.links.add("policy", probe=policy.probe)
        self.exchange_link = self.links.add("exchange", probe=lambda: self.execution.probe())
        self.stream_link = self.links.add("exchange stream", probe=_nothing_to_ask)
        self.disk_link = self.links.add("disk", probe=_nothing_to_ask)
        self.feed: MarketFeed | None = None
        if self.market is not None:
            self.feed = MarketFeed(
                link=self.links.add("market", probe=self.market.probe),
                symbols=self.settings.symbols,
                stale_seconds=self.settings.market.stale_seconds,
                clock=self.clock,
                on_event=self.market_events.tell,
            )
        for link in self.extra_links:
            self.links.add(link.name, probe=link.probe)

    def _watch_the_clock(self) -> None:
        """One more link, whose probe needs what knows the venue's time."""
        if self.settings.links.max_clock_skew_seconds is None:
            return
        execution = self.execution
        link = ClockLink(
            execution.venue_clock,
            self.clock,
            max_skew_seconds=self.settings.links.max_clock_skew_seconds,
            timeout_seconds=self.settings.orders.timeout_seconds,
            can_ask=lambda: self.exchange_link.is_up and not execution.silence.seconds,
            wanted=lambda: self.machine.state is not State.DEGRADED,
            changes=self.changes,
        )
        self.extra_links = (link, *self.extra_links)
        self.links.add(link.name, probe=link.probe)

    def _effects(self) -> dict[Any, Callable[[], Any]]:
        from .effects import effects_of  # the other half of the wiring; needs `Core` itself

        return effects_of(self)

    def begin(self) -> None:
        """Fold the journal in and enter DEGRADED: a cold start is a recovery.

        :raises JournalDamaged: a record is not of this format.
        :raises ConfigError: it is the journal of another bot.
        """
        self.thread.begin()
        self.recorder.replay()
        own_journal.refuse_foreign(self.recorder, bot=self.settings.bot)
        own_journal.hold_if_damaged(self.recorder, clock=self.clock)
        self.outbox.recover()
        if (fill := self.ledger.untold_fill) is not None:
            self.announcer.fill_counted(fill)
        for intent in self.ledger.unknown:
            self.gate.restrict(
                intent.order.symbol,
                intent.client_order_id,
                "the outcome of an order of an earlier run is unknown",
            )
        self.disk_link.up()
        self.recovery.ticket = self.gate.shut("starting: links, events and books are being checked")
        self.refresh_floor()
        self.runner.enter(State.DEGRADED)
        own_journal.write_name(self.recorder, bot=self.settings.bot)

    # --- faults and steps ------------------------------------------------------------

    def fault(self, source: str, reason: str) -> None:
        """Something failed: shut the gate now, recover afterwards. From any thread."""
        self._link_fault(f"{source}: {reason}")

    def _link_fault(self, cause: str) -> None:
        self.fire(Trigger.FAULT, cause)

    def fire(self, trigger: Trigger, cause: str) -> None:
        """Raise a trigger. From any thread: the gate is shut in the caller's.

        Once the engine has ended the gate is all that can be shut; nothing is raised.
        """
        cause = writable(cause)
        if self.thread.has_ended:
            if trigger in SHUTTING:
                self.gate.shut(cause)
            return
        if self.thread.is_here():
            self.machine.fire(trigger, cause)
            return
        if trigger in SHUTTING:
            self.gate.shut(cause)
        self.thread.call(self.machine.fire, trigger, cause)

    def _before_shutting(self, trigger: Trigger, cause: str) -> None:
        self.gate.shut(cause)

    def _on_step(self, step: Step) -> None:
        self.recovery.took(
            step,
            gate_epoch=self.gate.epoch,
            time_ns=self.clock.time_ns(),
            monotonic=self.clock.monotonic(),
        )
        if step.trigger in SHUTTING and step.source is State.HEALTHY:
            self.announcer.begin_trace()
        if step.entered:
            log.info(
                "%s: %s -> %s (%s)",
                step.trigger,
                step.source,
                step.dest,
                step.cause,
                extra={
                    "trigger": step.trigger.value,
                    "state": step.dest.value,
                    "trace_id": self.announcer.trace_id,
                },
            )
            self._write_down(step)
            self.steps.tell(step)
            self.refresh_floor()
            self.runner.enter(step.dest)
        self.changes.notify()

    def _write_down(self, step: Step) -> None:
        number = self.ledger.transitions + 1
        fact = Transitioned(
            number, step.trigger, step.cause, step.source, step.dest, self.clock.time_ns()
        )
        try:
            self.recorder.write(fact)
        except JournalError as error:  # a step is taken whether it can be written or not
            log.error("transition not journalled", extra={"reason": str(error)})
            self.ledger.apply(fact)

    def facts(self) -> Facts:
        """What the guards decide by, as it is now."""
        ticket = self.recovery.ticket
        return Facts(
            links_unproven=self.links.unproven(ticket),
            lease_held=self.lease.held,
            hold=self.ledger.hold,
            outbox_behind=self.outbox.behind(self.recovery.replay_mark),
            policy_problem=self.policy.problem(),
            unknown_orders=len(self.ledger.unknown),
            unsettled_differences=self.recovery.unsettled_differences,
            ticket_current=ticket == self.gate.epoch and not self.loop_watch.stood_still(),
        )

    # --- links, and what stays allowed -----------------------------------------------

    def _on_link_change(self, link: LinkHealth) -> None:
        if self.thread.has_ended:
            return
        if link is self.bus_link:
            self._on_bus_change()
        elif link is self.exchange_link:
            self.execution.look_again()
        if link is self.policy_link:
            self.lease.set_connected(link.is_up)
            self.policy.changes.notify()
        self.refresh_floor()
        self.changes.notify()

    def _on_bus_change(self) -> None:
        if not self.bus_link.is_up:
            self.meter.count("redis_health_check_failures")
            if self.recovery.bus_lost_at is None:
                self.recovery.bus_lost_at = self.clock.monotonic()
                self.meter.gauge("redis_down", 1)
                self.announcer.announce(events.RedisLost(self.bus_link.reason))
        self._connect_outbox()

    def _connect_outbox(self) -> None:
        """Ship only while the lease is held: a copy that waits for it has nothing to say."""
        self.outbox.set_connected(self.bus_link.is_up and self.lease.held)

    def refresh_floor(self) -> None:
        """What stays allowed while the gate is shut."""
        if not self.exchange_link.is_up:
            self.gate.set_floor(
                Level.HALTED, f"exchange: {self.exchange_link.reason}", out_of_reach=True
            )
        elif not self.lease.held:
            self.gate.set_floor(Level.HALTED, f"lease: {self.lease.reason}")
        elif self.ledger.hold is not None:
            self.gate.set_floor(Level.HALTED, f"operator: {self.ledger.hold}", by_operator=True)
        else:
            self.gate.set_floor(Level.REDUCING, self.gate.reason)

    def _on_lease_change(self) -> None:
        if self.lease.fencing_token != self.outbox.fencing_token:
            self.execution.dead_man.forget()
        self.outbox.fencing_token = self.execution.orders.fencing_token = self.lease.fencing_token
        self._connect_outbox()
        self.refresh_floor()
        self.changes.notify()

    def _on_fenced(self, token: int) -> None:
        if token == self.lease.fencing_token:  # else it was of a lease that we gave up since
            self.lease.fenced()

    def _on_stall(self, reason: str) -> None:
        self.fault("event loop", reason)
        self.lease.renew_now()  # its timers stood still as well

    def _disk_down(self, reason: str) -> None:
        self.disk_link.down(reason)

    # --- what the parts tell ---------------------------------------------------------

    def _on_blocked(self, reason: str) -> None:
        self.announcer.blocked(reason, self.gate.epoch)

    def _on_policy_change(self, policy: Policy) -> None:
        self.announcer.policy_changed(policy)
        self.execution.look_again()
        self.changes.notify()

    def _on_fill(self, fill: Fill) -> None:
        if self.ledger.book.wants_comparison(fill.symbol):
            self.auditor.wanted.notify()


async def _nothing_to_ask() -> None:
    """A link that has no question to ask. The user stream: what happened while it was not
    connected is asked for by the reconciliation. The disk: every record proves it."""
