"""The engine's parts, wired: what every fault, report and step passes through.

The way of a fault: a transport's callback -> `LinkHealth.down` -> `Core.fault`,
which shuts the gate before anything else -> the machine -> the runner, which
cancels whatever effect was running and begins those of DEGRADED. All of it is
synchronous; when the transport's callback returns, no order that opens a position
can be written any more.

`Core` wires and holds no behaviour of its own: transitions stand in the table,
what a state does in `effects`, and what the user calls in `engine`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import inf
from typing import Any, Final, NamedTuple, TypeVar

import anyio

from holdfast.states.guards import Facts
from holdfast.states.machine import Machine, Step
from holdfast.states.table import SHUTTING, Level, State, Trigger

from . import events
from . import policy as policy_rules
from .alerts import Alert, Severity
from .broadcast import Broadcast
from .dead_man import DeadManSwitch
from .entries import RestingEntries
from .errors import ConfigError, LinkDown, Rejected, TradingHalted
from .gate import Gate
from .intent import Intent
from .journal import Journal, JournalError
from .lease import LeaseKeeper
from .ledger import Ledger
from .links import LinkHealth, Links
from .market import MarketEvent
from .market_feed import MarketFeed
from .metrics import Meter
from .model import Event, ExecutionReport, Fill, Gap, Instrument, Order, OrderReport
from .orders import OrderPath
from .outbox import Outbox
from .outcomes import Outcomes
from .policy import Policy
from .policy_cell import PolicyCell
from .ports import (
    Clock,
    CountsDown,
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
from .records import Filled, Held, Named, Probed, Transitioned
from .resolver import Resolver
from .runner import Runner
from .settings import Settings
from .silence import Silence
from .venue_clock import VenueClock
from .wording import writable

log = logging.getLogger("holdfast.engine")

HISTORY: Final = 1000
"""Steps kept in memory; the journal has all of them."""


DISK_RETRY_SECONDS: Final = 1.0
FIRST_RESTART_SECONDS: Final = 0.1
LONGEST_RESTART_SECONDS: Final = 5.0
PRICE_SECONDS: Final = 10.0
"""A price older than this judges no notional limit."""


_LOG_LEVELS: Final = {
    Severity.CRITICAL: logging.CRITICAL,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}


_T = TypeVar("_T")


class Moment(NamedTuple):
    """A step and when it was made."""

    time_ns: int
    monotonic: float
    step: Step


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
        self.entropy = entropy
        self.meter = meter
        self.bus = bus
        self.exchange = exchange
        self.market = market
        self.journal = journal
        self.extra_links = tuple(links)
        self.changes = Broadcast()
        """Notified after every step, every change of a link, of the lease, of a hold."""
        self.history: deque[Moment] = deque(maxlen=HISTORY)
        self.failed_climbs = 0
        """Ways up since HEALTHY that ended in DEGRADED again."""
        self.divergences = 0
        """Counts the times the books were found not to be believed."""
        self.compared: tuple[int, int] | None = None
        """(value of `divergences`, unsettled differences) of the last comparison."""
        self.began_at = clock.monotonic()
        self.bus_down_since: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._listeners: list[Callable[[Step], None]] = []
        self._fill_listeners: list[Callable[[Fill], None]] = []
        self._alert_listeners: list[Callable[[Alert], None]] = []
        self._market_listeners: list[Callable[[MarketEvent], None]] = []
        self._blocked_epoch = 0
        self._prices: dict[str, tuple[Decimal, float]] = {}
        """Per symbol, what it last traded at, and when that was learnt."""

        self.gate = Gate(
            monotonic=clock.monotonic,
            lease_seconds=settings.gate.loop_lease_seconds,
            on_blocked=self._on_blocked,
        )
        self.ticket = self.gate.epoch
        self._traces = entropy.child("recovery")
        self.trace_id = self._new_trace_id()
        """Of the fall and recovery under way (or the last one)."""
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
        self.links = Links(
            monotonic=clock.monotonic, on_fault=self._link_fault, on_change=self._on_link_change
        )
        self.bus_link = self.links.add("bus", probe=bus.probe)
        self.policy_link = self.links.add("policy", probe=policy.probe)
        self.exchange_link = self.links.add("exchange", probe=self._probe_exchange)
        self.stream_link = self.links.add("exchange stream", probe=_nothing_to_ask)
        self.disk_link = self.links.add("disk", probe=_nothing_to_ask)
        self.feed: MarketFeed | None = None
        if market is not None:
            self.feed = MarketFeed(
                link=self.links.add("market", probe=market.probe),
                symbols=settings.symbols,
                stale_seconds=settings.market.stale_seconds,
                clock=clock,
                on_event=self._on_market_event,
            )
        for link in self.extra_links:
            self.links.add(link.name, probe=link.probe)

        self.venue_clock = VenueClock(exchange, clock)
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
            on_gap=self._on_gap,
            last_of_lives=lambda: self.ledger.last_sequences,
            on_published=self.ledger.published,
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
        )
        self.silence = Silence(clock.monotonic)
        self.outcomes = Outcomes(
            gate=self.gate,
            recorder=self.recorder,
            clock=clock,
            on_resolved=self._on_resolved,
            on_closed=self._on_closed,
        )
        self.resolver = Resolver(
            settings=settings.orders,
            client=exchange,
            ledger=self.ledger,
            outcomes=self.outcomes,
            silence=self.silence,
            venue_clock=self.venue_clock,
            clock=clock,
            can_ask=lambda: self.exchange_link.is_up,
        )
        self.orders = OrderPath(
            bot=settings.bot,
            settings=settings.orders,
            client=exchange,
            gate=self.gate,
            recorder=self.recorder,
            outcomes=self.outcomes,
            silence=self.silence,
            venue_clock=self.venue_clock,
            clock=clock,
            entropy=entropy.child("orders"),
            before_admitting=self._learn_price,
            admit=self._admit,
            on_refused_by_venue=lambda why: self.fault("exchange", why),
        )
        self.entries = RestingEntries(
            orders=self.orders,
            changes=self.outcomes.changes,
            resting=lambda: self.ledger.book.resting(),
            unwanted=self._entries_are_unwanted,
            epoch=lambda: self.gate.epoch,
        )
        self.dead_man = DeadManSwitch(
            venue=exchange if isinstance(exchange, CountsDown) else None,
            symbols=settings.symbols,
            countdown_seconds=settings.orders.dead_man_seconds,
            timeout_seconds=settings.orders.timeout_seconds,
            clock=clock,
            may_renew=lambda: (
                self.exchange_link.is_up and self.lease.latest_holder and not self.silence.seconds
            ),
            changes=self.changes,
        )
        self.runner = Runner(
            effects=self._effects(), fire=self.machine.fire, monotonic=clock.monotonic
        )
        try:
            rules = rules_from(settings.reconcile.rules)
        except ValueError as error:
            raise ConfigError(f"reconcile.rules: {error}") from None
        self.reconciler = Reconciler(
            symbols=settings.symbols,
            settings=settings.reconcile,
            rules=rules,
            client=exchange,
            recorder=self.recorder,
            orders=self.orders,
            outcomes=self.outcomes,
            clock=clock,
            count=self.count_fill,
            on_progress=self.runner.progress,
        )

    def _effects(self) -> dict[Any, Callable[[], Any]]:
        from .effects import effects_of  # the other half of the wiring; needs `Core` itself

        return effects_of(self)

    def _entries_are_unwanted(self) -> bool:
        policy = self.policy.get()
        may_open = self.machine.state is State.HEALTHY and (
            policy is None or policy.active_mode is not policy_rules.Mode.HALT
        )
        return (
            self.settings.orders.on_leaving_active == "cancel"
            and not may_open
            and self.exchange_link.is_up
        )

    def _new_trace_id(self) -> str:
        return f"{self._traces.randbits(64):016x}"

    def begin(self) -> None:
        """Fold the journal in and enter DEGRADED: a cold start is a recovery.

        :raises JournalDamaged: a record is not of this format.
        :raises ConfigError: it is the journal of another bot.
        """
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.recorder.replay()
        self._refuse_foreign_journal()
        self._hold_if_damaged()
        self.outbox.recover()
        for intent in self.ledger.unknown:
            self.gate.restrict(
                intent.order.symbol,
                intent.client_order_id,
                "the outcome of an order of an earlier run is unknown",
            )
        self.disk_link.up()
        self.ticket = self.gate.shut("starting: links, events and books are being checked")
        self.refresh_floor()
        self.runner.enter(State.DEGRADED)
        self._name_journal()

    def _refuse_foreign_journal(self) -> None:
        if self.ledger.bot not in ("", self.settings.bot):
            raise ConfigError(
                f"the journal is that of bot {self.ledger.bot!r}, the configuration names "
                f"{self.settings.bot!r}: what it holds would be sent again under the new name; "
                "put the old name back, or give the new bot a state_dir of its own"
            )

    def _name_journal(self) -> None:
        if not self.ledger.bot:
            try:
                self.recorder.write(Named(self.settings.bot))
            except JournalError as error:  # the recorder has told; the next start names it
                log.warning("journal not named", extra={"reason": str(error)})

    def _hold_if_damaged(self) -> None:
        """Leave it to a person to trade on when the journal has lost what it knew.

        Among the lost records may be a key, which would be executed again, or a halt, which
        would be over; the reconciliation sees neither.
        """
        lost = self.journal.report.missing_since_checkpoint
        if not lost or self.ledger.hold is not None:
            return
        fact = Held(
            f"{lost} records of the journal are lost to damage, perhaps orders or a halt: see "
            "`holdfast journal verify`, compare with the venue, then `holdfast resume`",
            "journal",
            self.clock.time_ns(),
        )
        try:
            self.recorder.write(fact)
        except JournalError:  # the next opening finds the same damage, and holds again
            self.ledger.apply(fact)

    # --- faults and steps ------------------------------------------------------------

    def fault(self, source: str, reason: str) -> None:
        """Something failed: shut the gate now, recover afterwards. From any thread."""
        self._link_fault(f"{source}: {reason}")

    def _link_fault(self, cause: str) -> None:
        self.fire(Trigger.FAULT, cause)

    def fire(self, trigger: Trigger, cause: str) -> None:
        """Raise a trigger. From any thread: the gate is shut in the caller's."""
        cause = writable(cause)
        if self._loop is None or threading.get_ident() == self._thread:
            self.machine.fire(trigger, cause)
            return
        if trigger in SHUTTING:
            self.gate.shut(cause)
        self._loop.call_soon_threadsafe(self.machine.fire, trigger, cause)

    def _before_shutting(self, trigger: Trigger, cause: str) -> None:
        self.gate.shut(cause)

    def _on_step(self, step: Step) -> None:
        if step.trigger in SHUTTING:
            self.ticket = self.gate.epoch
            if step.source is State.HEALTHY:
                self.trace_id = self._new_trace_id()
        if step.trigger is Trigger.DIVERGED:
            self.divergences += 1
        self.history.append(Moment(self.clock.time_ns(), self.clock.monotonic(), step))
        if step.entered and step.source in (State.RECOVERING, State.RECONCILING):
            if step.dest is State.DEGRADED:
                self.failed_climbs += 1
            elif step.dest is State.HEALTHY:
                self.failed_climbs = 0
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
                    "trace_id": self.trace_id,
                },
            )
            self._write_down(step)
            for listener in tuple(self._listeners):
                self._tell(listener, step)
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

    def _tell(self, listener: Callable[[Any], None], value: object) -> None:
        """Call a user's listener; what it raises is its own affair and stops nothing."""
        try:
            listener(value)
        except Exception:
            log.exception("a listener failed")

    def facts(self) -> Facts:
        """What the guards decide by, as it is now."""
        compared = self.compared
        return Facts(
            links_unproven=self.links.unproven(self.ticket),
            lease_held=self.lease.held,
            hold=self.ledger.hold,
            outbox_behind=self.outbox.behind(self.replay_mark),
            policy_problem=self.policy.problem(),
            unknown_orders=len(self.ledger.unknown),
            unsettled_differences=(
                compared[1] if compared is not None and compared[0] == self.divergences else None
            ),
            ticket_current=self.ticket == self.gate.epoch and not self.stood_still(),
        )

    beat_at = inf
    """Monotonic moment at which the event loop was last seen to run; see `stood_still`."""

    def stood_still(self) -> bool:
        """Whether the loop has not run for longer than the gate's lease.

        An open gate runs out by itself then. On the way up it is this that tells: what was
        asked before the loop stood still may be as old as that, and may not open the gate.
        """
        lease = self.settings.gate.loop_lease_seconds
        return lease is not None and self.clock.monotonic() - self.beat_at >= lease

    replay_mark = 0
    """Newest event when RECOVERING was entered: what has to be on the bus before going on."""

    # --- links -----------------------------------------------------------------------

    def _on_link_change(self, link: LinkHealth) -> None:
        if link is self.bus_link:
            self._on_bus_change()
        elif link is self.exchange_link:
            self.outcomes.changes.notify()
        if link is self.policy_link:
            self.lease.set_connected(link.is_up)
            self.policy.changes.notify()
        self.refresh_floor()
        self.changes.notify()

    def _on_bus_change(self) -> None:
        if not self.bus_link.is_up:
            self.meter.count("redis_health_check_failures")
            if self.bus_down_since is None:
                self.bus_down_since = self.clock.monotonic()
                self.meter.gauge("redis_down", 1)
                self.announce(events.RedisLost(self.bus_link.reason))
        self._connect_outbox()

    def _connect_outbox(self) -> None:
        """Ship only while the lease is held: a copy that waits for it has nothing to say."""
        self.outbox.set_connected(self.bus_link.is_up and self.lease.held)

    def refresh_floor(self) -> None:
        """What stays allowed while the gate is shut."""
        if not self.exchange_link.is_up:
            self.gate.set_floor(Level.HALTED, f"exchange: {self.exchange_link.reason}")
        elif not self.lease.held:
            self.gate.set_floor(Level.HALTED, f"lease: {self.lease.reason}")
        elif self.ledger.hold is not None:
            self.gate.set_floor(Level.HALTED, f"operator: {self.ledger.hold}", by_operator=True)
        else:
            self.gate.set_floor(Level.REDUCING, self.gate.reason)

    def _on_lease_change(self) -> None:
        self.outbox.fencing_token = self.orders.fencing_token = self.lease.fencing_token
        self._connect_outbox()
        self.refresh_floor()
        self.changes.notify()

    async def _probe_exchange(self) -> None:
        if self.silence.seconds:
            raise LinkDown(self.silence.reason)
        await self.exchange.probe()
        await self.venue_clock.sync(timeout_seconds=self.settings.orders.timeout_seconds)

    async def instruments(self) -> dict[str, Instrument]:
        """What the venue lists; asked for once. :raises LinkDown:"""
        if not self.orders.instruments:
            self.orders.instruments = await self.exchange.instruments(
                timeout_seconds=self.settings.reconcile.snapshot_timeout_seconds
            )
        return self.orders.instruments

    def _disk_down(self, reason: str) -> None:
        self.disk_link.down(reason)

    async def keep_running(self, link: Link) -> None:
        """Run a link of the user's. One that ends or fails is down, and is begun again."""
        health, pause = self.links[link.name], FIRST_RESTART_SECONDS
        while True:
            try:
                await link.run(health)
            except Exception as error:  # the user's code: whatever it was, the link is not watched
                log.exception("link %s failed", link.name)
                health.down(f"its run failed: {error!r}")
            else:
                health.down("its run ended")
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_RESTART_SECONDS)

    async def watch_disk(self) -> None:
        """While the journal takes no entries, try now and then whether there is room again."""
        while True:
            if self.disk_link.is_up:
                await self.changes.wait()
                continue
            await anyio.sleep(DISK_RETRY_SECONDS)
            # Room may be had by letting go of the past, which takes a checkpoint first.
            self.recorder.checkpoint_if_due()
            try:
                self.recorder.write_within_limits(Probed(self.clock.time_ns()))
            except JournalError as error:
                log.info("still no room", extra={"reason": str(error)})
            else:
                self.disk_link.up()

    def _on_fenced(self) -> None:
        if self.lease.held:  # we believed so; the store knows better
            self.lease.renew_now()
            self.fault("lease", "a newer holder of it writes to the bus")

    # --- what the parts tell ---------------------------------------------------------

    def announce(self, body: events.Body, *, trace_id: str | None = None) -> Event | None:
        """Publish an event of the engine's own. Needs no bus, and never fails an effect.

        :param trace_id: the order's; by default that of the recovery under way.
        :returns: the event; None if it could not be journalled, or not yet.
        """
        trace_id = trace_id or self.trace_id
        if self.outbox.is_appending and self._loop is not None:
            # The journal reports a fault in the middle of an append. That event has its
            # sequence already, so this one has to wait until it is written.
            self._loop.call_soon(functools.partial(self.announce, body, trace_id=trace_id))
            return None
        type_ = events.type_of(body)
        try:
            return self.outbox.publish_nowait(type_, body, trace_id=trace_id, reserve=True)
        except JournalError as error:
            log.error("%s not journalled", type_, extra={"reason": str(error)})
            return None

    def _on_blocked(self, reason: str) -> None:
        self.meter.count("trading_gate_blocks")
        if threading.get_ident() == self._thread and self._blocked_epoch != self.gate.epoch:
            self._blocked_epoch = self.gate.epoch  # one event a shut, not one an order
            self.announce(events.GateBlocked(reason, self._blocked_epoch))

    def _on_gap(self, gap: Gap) -> None:
        log.error("events lost by the bus and no longer kept here: %s", gap)
        self.meter.count("events_lost_beyond_window", gap.last - gap.first + 1)

    def _on_policy_change(self, policy: Policy) -> None:
        self.announce(
            events.PolicyChanged(policy.active_mode.value, policy.version, policy.updated_by)
        )
        self.outcomes.changes.notify()  # under the mode HALT no entry may rest
        self.changes.notify()

    def _on_closed(self, report: OrderReport) -> None:
        if report.sent:
            self.meter.observe("order_retry_count", report.attempts - 1)

    def _on_resolved(self, intent: Intent, report: OrderReport) -> None:
        self.announce(
            events.OrderResolved(
                client_order_id=report.client_order_id,
                symbol=report.symbol,
                status=report.status,
                doubt=intent.doubt,
                evidence=report.evidence,
                attempts=report.attempts,
            ),
            trace_id=report.client_order_id,
        )
        self.changes.notify()

    async def _learn_price(self, order: Order) -> None:
        """Ask for a price, where the order's own says nothing of what it may be worth.

        A market order has none, and a sell is filled at its limit or above. Without an
        answer a market order meets the objection of the notional limit.
        """
        policy = self.policy.get()
        has_bound = order.price is not None and order.side == "buy"
        if has_bound or policy is None or not policy.limits.on_notional:
            return
        try:
            price = await self.exchange.last_price(
                order.symbol, timeout_seconds=self.settings.orders.timeout_seconds
            )
        except LinkDown as error:
            log.info("no price", extra={"symbol": order.symbol, "reason": str(error)})
        else:
            self._prices[order.symbol] = (price, self.clock.monotonic())

    def _admit(self, order: Order, client_order_id: str) -> None:
        """The word of lease and policy on an order, at its making and at its write.

        The lease is judged by the clock here, also for an order that only reduces: its
        keeper's timers may lag behind it, for those of a machine that slept have slept as
        well, and the position may be another instance's by now.
        """
        if not self.lease.held:
            reason = self.lease.reason or "it ran out before it could be renewed"
            self._on_blocked(reason)
            raise TradingHalted(f"lease: {reason}")
        if not order.opening:
            return
        policy = self.policy.get()
        if policy is None:
            reason = self.policy.problem() or "no policy"
            self._on_blocked(reason)
            raise TradingHalted(f"policy: {reason}")
        price, learnt_at = self._prices.get(order.symbol, (None, -inf))
        if self.clock.monotonic() - learnt_at > PRICE_SECONDS:
            price = None
        exposure = self.ledger.exposure(order.symbol, order.side, price, without=client_order_id)
        objection = policy_rules.objection(policy, order, exposure)
        if objection is None:
            return
        if policy.active_mode is policy_rules.Mode.HALT:
            self._on_blocked(objection)
            raise TradingHalted(f"policy: {objection}")
        raise Rejected(f"policy: {objection}")

    def on_report(self, report: ExecutionReport) -> None:
        """A message of the venue's user stream."""
        order, fill = report.order, report.fill
        ours = order.client_order_id.startswith(self.orders.prefix)
        try:
            if ours:
                self.outcomes.saw(order, "the venue's user stream")
                if order.protective and order.status.final and self.ledger.book.unprotected():
                    self.fire(Trigger.DIVERGED, f"the stop {order.client_order_id} is gone")
            if fill is not None:
                self._on_fill(fill, ours=ours)
        except JournalError as error:
            # What happened is not written down: only asking the venue again can make it so.
            self.fire(Trigger.DIVERGED, f"a report could not be journalled: {error}")

    def _on_fill(self, fill: Fill, *, ours: bool) -> None:
        if fill.symbol not in self.settings.symbols or self.ledger.book.has_counted(fill):
            return
        if not ours:
            self.fire(Trigger.DIVERGED, f"a fill of another hand in {fill.symbol}")
            return
        expected = fill.client_order_id in self.ledger.book.orders
        if not expected and not self.lease.held:
            return  # of the instance that holds the lease; after a takeover it is asked for
        self.count_fill(fill)
        if not expected:
            self.fire(Trigger.DIVERGED, f"a fill of {fill.client_order_id}, which nobody expected")

    def count_fill(self, fill: Fill) -> None:
        """Count a fill of ours once: journal, listeners, event."""
        if self.ledger.book.has_counted(fill):
            return
        self.recorder.write(Filled(fill))
        self._prices[fill.symbol] = (fill.price, self.clock.monotonic())
        for listener in tuple(self._fill_listeners):
            self._tell(listener, fill)
        self.announce(
            events.FillCounted(
                symbol=fill.symbol,
                trade_id=fill.trade_id,
                client_order_id=fill.client_order_id,
                side=fill.side,
                quantity=f"{fill.quantity:f}",
                price=f"{fill.price:f}",
            ),
            trace_id=fill.client_order_id,
        )

    def tell_alert(self, alert: Alert) -> None:
        log.log(
            _LOG_LEVELS[alert.severity] if alert.raised else logging.INFO,
            "alert %s: %s",
            "raised" if alert.raised else "cleared",
            alert.message,
            extra={"alert": alert.name},
        )
        for listener in tuple(self._alert_listeners):
            self._tell(listener, alert)
        self.announce(
            events.AlertChanged(alert.name, alert.severity.value, alert.raised, alert.message)
        )

    def _on_market_event(self, event: MarketEvent) -> None:
        for listener in tuple(self._market_listeners):
            self._tell(listener, event)

    def on_market(self, listener: Callable[[MarketEvent], None]) -> Callable[[], None]:
        return _register(self._market_listeners, listener)

    def on_alert(self, listener: Callable[[Alert], None]) -> Callable[[], None]:
        return _register(self._alert_listeners, listener)

    def on_transition(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        return _register(self._listeners, listener)

    def on_fill(self, listener: Callable[[Fill], None]) -> Callable[[], None]:
        return _register(self._fill_listeners, listener)


def _register(listeners: list[_T], listener: _T) -> Callable[[], None]:
    """Add a listener; returns what takes it away again.

    :raises TypeError: it can not be called, or it is asynchronous: called in the callback that
        saw the fault, it would make a coroutine that nobody awaits, and never run.
    """
    if not callable(listener):
        raise TypeError(f"{listener!r} can not be called; give a function")
    if inspect.iscoroutinefunction(listener):
        raise TypeError(
            f"{listener!r} is asynchronous; listeners are called at once and are plain functions: "
            "put what you are told into a queue of your own, or use a Bot (Engine.run)"
        )
    listeners.append(listener)
    return lambda: listeners.remove(listener)


class ExchangeWatch:
    """`ports.ExecutionWatch`: the two links of the venue and its reports."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def up(self) -> None:
        self._core.exchange_link.up()

    def down(self, reason: str) -> None:
        self._core.exchange_link.down(reason)

    def stream_up(self) -> None:
        again = self._core.stream_link.is_up
        self._core.stream_link.up()
        if again:  # replaced without having been reported lost: there may be a hole between
            self._core.fire(Trigger.DIVERGED, "the user stream was replaced")

    def stream_down(self, reason: str) -> None:
        self._core.stream_link.down(reason)

    def report(self, report: ExecutionReport) -> None:
        self._core.on_report(report)


async def _nothing_to_ask() -> None:
    """A link that has no question to ask. The user stream: what happened while it was not
    connected is asked for by the reconciliation. The disk: every record proves it."""
