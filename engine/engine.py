"""The engine a bot embeds: what the user calls.

`async with engine:` starts it; it begins DEGRADED, walks up by itself, and stops
cleanly at the end of the block: gate shut, resting entries by rule, events shipped
as far as the bus takes them, journal closed. Nothing it starts outlives the block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict

import anyio
from anyio.abc import TaskGroup

from holdfast.states.machine import Step
from holdfast.states.table import Level, State, Trigger

from .alerts import Alert, Alerts
from .bot import Bot
from .bot_runner import BotRunner
from .cleanup import beside
from .clock import SystemClock, SystemEntropy
from .core import Core, ExchangeWatch
from .errors import (
    ConfigError,
    EngineClosed,
    HoldfastError,
    InvalidOrder,
    InvalidPayload,
    LinkDown,
    TradingHalted,
)
from .gate import Gate
from .intent import Intent
from .journal import Durability, Journal, JournalError
from .market import INTERVALS, Bar, MarketEvent
from .metrics import Meter, Metrics
from .model import Event, Fill, Instrument, Order, OrderReport, OrderSnapshot, Position, is_text
from .policy import Policy
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
from .reconcile import Difference
from .records import Held
from .resolution import Verdict, remedy
from .settings import Settings
from .suggestion import did_you_mean
from .wording import writable

if TYPE_CHECKING:
    from holdfast.states.diagram import TextForm, Timeline

    from .blocking import BlockingEngine
    from .opening import OpeningEngine

log = logging.getLogger("holdfast.engine")

STOP_SECONDS: Final = 3.0
"""Most that a clean stop waits for the venue (cancels) and for the bus (last events)."""


class Engine:
    """Guards one bot.

    :param journal: open already; closed by the engine at the end.
    :param lease: None: no single-instance lease is taken.
    :param market: market data for `run`; None: the bot looks after them itself.
    :param links: further links without which the bot must not trade.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        journal: Journal,
        bus: MessageBus,
        policy: PolicyStore,
        exchange: ExecutionClient,
        lease: LeaseStore | None = None,
        market: MarketData | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        links: Sequence[Link] = (),
        meter: Meter | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = meter if meter is not None else Metrics()
        self._core = Core(
            settings=settings,
            journal=journal,
            bus=bus,
            policy=policy,
            lease=lease,
            exchange=exchange,
            market=market,
            clock=clock if clock is not None else SystemClock(),
            entropy=entropy if entropy is not None else SystemEntropy(),
            links=links,
            meter=self.metrics,
        )
        self._policy_store = policy
        self._group: TaskGroup | None = None
        self._running = False
        self._runners: set[BotRunner] = set()

    @classmethod
    def open(
        cls, config: str | PathLike[str] | Mapping[str, Any], *, links: Sequence[Link] = ()
    ) -> OpeningEngine:
        """An engine from a configuration file (or the same as a mapping).

        Use as `async with Engine.open("holdfast.toml") as engine:`.

        :param links: further links without which the bot must not trade.

        :raises ConfigError: naming file, line or key, and the remedy.
        """
        from .opening import OpeningEngine

        return OpeningEngine(config, links=links)

    @classmethod
    def open_blocking(
        cls, config: str | PathLike[str] | Mapping[str, Any], *, links: Sequence[Link] = ()
    ) -> BlockingEngine:
        """The same engine for a synchronous script: `with Engine.open_blocking(…) as engine:`.

        :param links: as of `open`.
        :raises ConfigError: as `open`.
        """
        from .blocking import BlockingEngine

        return BlockingEngine(config, links=links)

    # --- life ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        core = self._core
        try:
            core.begin()
        except BaseException as error:
            with beside(error):
                await core.journal.aclose()
            raise
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._running = True
        start = self._group.start_soon
        start(core.runner.run)
        start(core.bus.run, core.bus_link)
        start(self._policy_store.run, core.policy)
        start(core.exchange.run, ExchangeWatch(core))
        if core.market is not None and core.feed is not None:
            start(core.market.run, core.feed, self.settings.subscription)
            start(core.feed.run)
        for link in core.extra_links:
            start(core.keep_running, link)
        start(core.outbox.run)
        start(core.resolver.run)
        start(core.entries.run)
        start(core.dead_man.run)
        start(core.policy.run)
        start(core.lease.run)
        start(core.watch_disk)
        if self.settings.alerts.sample_seconds is not None and isinstance(self.metrics, Metrics):
            start(self._watch_alerts, self.metrics, self.settings.alerts.sample_seconds)
        if self.settings.gate.loop_lease_seconds is not None:
            start(self._renew_lease, self.settings.gate.loop_lease_seconds)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        assert self._group is not None
        self._running = False
        for runner in self._runners:
            runner.close()
        self._core.changes.notify()  # whoever waits for a state is told that it will not come
        try:
            with beside(exc), anyio.CancelScope(shield=True):
                await self._wind_down()
        finally:
            suppress = await self._end_tasks(self._group, exc_type, exc, tb)
        return suppress

    async def _end_tasks(
        self,
        group: TaskGroup,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        group.cancel_scope.cancel()
        first = exc
        try:
            if isinstance(exc, anyio.get_cancelled_exc_class()):
                return await group.__aexit__(exc_type, exc, tb)
            # An error of the caller's own block passes as it is, not wrapped in a group.
            with beside(exc):
                await group.__aexit__(None, None, None)
            return None
        except BaseException as error:
            first = error
            raise
        finally:
            self._core.outcomes.abandon()
            with beside(first), anyio.CancelScope(shield=True):
                await self._core.journal.aclose()

    async def _wind_down(self) -> None:
        """Leave the venue and the bus as a successor would like to find them."""
        core = self._core
        core.gate.shut("stopping")
        if self.settings.orders.on_leaving_active == "cancel" and core.exchange_link.is_up:
            with anyio.move_on_after(STOP_SECONDS):
                await core.entries.cancel()
        with anyio.move_on_after(STOP_SECONDS):
            await core.dead_man.release()
        if core.bus_link.is_up:
            with anyio.move_on_after(STOP_SECONDS):
                while core.outbox.behind(core.outbox.mark):
                    await core.outbox.changes.wait()
        await core.lease.release()

    async def _renew_lease(self, lease_seconds: float) -> None:
        core = self._core
        while True:
            core.beat_at = core.clock.monotonic()
            await anyio.sleep(lease_seconds / 4)
            if core.stood_still() or (not core.gate.renew() and core.gate.expired()):
                core.fault("event loop", f"it did not run for {lease_seconds:g} s")
                core.lease.renew_now()  # its timers stood still as well

    async def _watch_alerts(self, metrics: Metrics, sample_seconds: float) -> None:
        rules = Alerts()
        while True:
            await anyio.sleep(sample_seconds)
            for alert in rules.evaluate(metrics.snapshot(), self._core.clock.monotonic()):
                self._core.tell_alert(alert)

    def _check_running(self) -> None:
        if not self._running:
            raise EngineClosed("the engine is not running; use it inside `async with engine:`")

    # --- state -----------------------------------------------------------------------

    @property
    def gate(self) -> Gate:
        return self._core.gate

    @property
    def state(self) -> State:
        return self._core.machine.state

    def level(self, symbol: str | None = None) -> Level:
        """What may be written to the venue now: ACTIVE, REDUCING or HALTED."""
        return self._core.gate.level(symbol)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """What the engine waits for that only time, the venue or a person can bring."""
        core = self._core
        hold = () if core.ledger.hold is None else (f"operator: {core.ledger.hold}",)
        lease = () if core.lease.held else (f"lease: {core.lease.reason}",)
        silence = core.silence.reason
        venue = (f"exchange: {silence}",) if silence else ()
        return hold + lease + venue + core.runner.waiting_for

    async def until_healthy(self) -> None:
        """Wait until orders may be opened. Ends at once if they may.

        :raises EngineClosed: the engine was stopped before that.
        """
        await self.until(State.HEALTHY)

    async def until(self, state: State) -> None:
        """Wait until the machine is in `state`. :raises EngineClosed: it was stopped before."""
        state = State(state)  # compared by identity: its name alone would be waited for in vain
        while self.state is not state:
            self._check_running()
            await self._core.changes.wait()

    def fault(self, source: str, reason: str) -> None:
        """Report a fault of your own: the gate is shut when this returns. From any thread."""
        self._core.fault(source, reason)

    def on_transition(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        """Call `listener` with every step that enters a state, before its effects.

        :returns: what ends that; so do the other `on_…`.
        :raises TypeError: it is asynchronous, which none of them may be.
        """
        return self._core.on_transition(listener)

    def on_fill(self, listener: Callable[[Fill], None]) -> Callable[[], None]:
        """Call `listener` once with every fill of ours, after it was counted."""
        return self._core.on_fill(listener)

    def on_alert(self, listener: Callable[[Alert], None]) -> Callable[[], None]:
        """Call `listener` when an alert is raised, and once more when it is over."""
        return self._core.on_alert(listener)

    # --- the market ------------------------------------------------------------------

    def on_market(self, listener: Callable[[MarketEvent], None]) -> Callable[[], None]:
        """Call `listener` with every bar, trade, quote and gap, as they come.

        :raises ConfigError: the engine has no market data.
        """
        self._market()
        return self._core.on_market(listener)

    def _market(self) -> MarketData:
        if self._core.market is None:
            raise ConfigError(
                "market: the engine has no market data; give a section [market] with url, such as "
                '"sim://127.0.0.1:9000", or Engine(market=…)'
            )
        return self._core.market

    async def bars(self, symbol: str, *, interval: str = "1m", limit: int = 500) -> list[Bar]:
        """The latest bars that have ended, oldest first: to warm up a strategy.

        :raises LinkDown: the venue could not be asked.
        :raises ConfigError: the engine has no market data, or bars have no such length.
        """
        if interval not in INTERVALS:
            raise ConfigError(f"interval: {interval!r} is not one of {', '.join(INTERVALS)}")
        if not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"limit: {limit!r} is not a whole number from 1 up")
        return await self._market().bars(
            symbol,
            interval=interval,
            limit=limit,
            timeout_seconds=self.settings.orders.timeout_seconds,
        )

    async def instrument(self, symbol: str) -> Instrument:
        """What the venue accepts for `symbol`: its ticks, steps and minima.

        :raises LinkDown: not known yet, and the venue could not be asked.
        :raises InvalidOrder: the venue does not list it.
        """
        try:
            return (await self._core.instruments())[symbol]
        except (KeyError, TypeError):  # not there, or nothing that could be
            raise InvalidOrder(f"symbol: the venue does not list {symbol!r}") from None

    async def run(self, bot: Bot) -> None:
        """Let `bot` live on this engine: see `Bot` for what it is told.

        :raises EngineClosed: the engine was stopped.
        :raises ConfigError: the engine has no market data.
        :raises BotFellBehind: thousands of fills and states wait for the bot.
        """
        self._check_running()
        if not isinstance(bot, Bot):
            raise TypeError(f"{bot!r} is no Bot; make a class of yours from holdfast.Bot")
        runner = BotRunner(bot, self)
        self._runners.add(runner)
        try:
            await runner.run()
        finally:
            self._runners.discard(runner)

    # --- orders and events -----------------------------------------------------------

    async def submit(self, order: Order) -> OrderReport:
        """Send an order, at most once. There is nothing to check before calling this.

        Returns when the venue has the order (it may rest unfilled). With `Order(key=…)`
        a repeated call is the same intent and returns, or raises, the same outcome, also
        after a restart. An order that provably never left for the venue is no outcome: the
        same key may be sent later.

        :raises InvalidOrder: wrong for the venue; nothing was journalled or sent.
        :raises TradingHalted: the gate is shut for it; nothing was ever sent, and its key is
            free.
        :raises Rejected: the venue said no for good; or the policy did, before anything was
            sent, and then the key is free.
        :raises NotExecuted: attempts, deadline or the gate ended it after the first attempt;
            the venue does not have it, and the key is used up.
        :raises OutcomeUnknown: nobody knows yet; await `error.intent.resolved()`.
        :raises JournalFull: an opening order, and the disk is full; nothing was sent.
        """
        self._check_symbol(order)
        return await self._core.orders.submit(order)

    def check(self, order: Order) -> None:
        """Refuse what `submit` would refuse at this moment; for whoever has to give something
        up before. No promise that `submit` takes it: gate, policy and prices move.

        :raises InvalidOrder: wrong for the venue.
        :raises TradingHalted: the gate is shut for it.
        """
        self._check_symbol(order)
        self._core.orders.check(order)
        self._core.gate.permit(order.symbol, opening=order.opening)

    def _check_symbol(self, order: Order) -> None:
        self._check_running()
        if not isinstance(order, Order):
            raise InvalidOrder(f"order: {order!r} is no Order(…)")
        if order.symbol not in self.settings.symbols:
            raise InvalidOrder(
                f"symbol: {order.symbol!r} is not declared; add it to engine.symbols, so that "
                "its position is reconciled"
            )
        if order.symbol in self._core.reconciler.repairing:
            raise TradingHalted(f"a repair of the position in {order.symbol} is under way")

    def outcome(self, key: str) -> OrderReport | None:
        """How the order with this key ended, or stands; None if it is not known (any more).

        Of an order that is still on its way or in doubt, `pending` tells.
        """
        return self._core.ledger.keyed.get(key)

    def pending(self, symbol: str | None = None) -> list[Intent]:
        """Orders on their way to the venue, and those whose outcome is unknown."""
        intents = self._core.ledger.intents.values()
        return [intent for intent in intents if symbol in (None, intent.order.symbol)]

    def identify(self, symbol: str, name: str) -> str | None:
        """The client order id of an order of ours, given any name it goes by; else None.

        :param name: its key, its client order id, or, while it rests, the venue's number.
        """
        known = self._core.ledger.client_order_id(symbol, name)
        if known is None and name.startswith(self._core.orders.prefix):
            return name  # one that ended long ago
        return known

    async def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        """Cancel one order; how it stands afterwards, None if the venue does not know it.

        :raises InvalidOrder: one of the two is no name.
        :raises LinkDown: the venue could not be asked; cancelling again is harmless.
        """
        self._check_running()
        for field, name in (("symbol", symbol), ("client_order_id", client_order_id)):
            if not is_text(name):
                raise InvalidOrder(f"{field}: {name!r} is no name")
        return await self._core.orders.cancel(symbol, client_order_id)

    async def publish(
        self,
        type_: str,
        body: Any,
        *,
        durability: Durability | Literal["memory", "process", "power"] = Durability.PROCESS,
        trace_id: str | None = None,
    ) -> Event:
        """Append an event; it reaches the bus exactly once and in order, whatever dies.

        :param type_: e.g. `trade.opened`.
        :param body: what msgpack can hold: text, numbers, Decimal, lists, mappings, structs.
        :param durability: what the event has survived when this returns: `process` a
            kill -9, `power` a power cut.
        :raises InvalidPayload: it can not be right or be encoded; the outbox is as before.
        :raises JournalFull: the disk is full; nothing was appended.
        """
        self._check_running()
        if durability not in Durability.__members__.values():
            raise InvalidPayload(
                f"durability: {durability!r} is not one of {', '.join(Durability)}"
            )
        try:
            return await self._core.outbox.publish(
                type_, body, durability=Durability(durability), trace_id=trace_id
            )
        finally:  # a bot that only publishes begins new segments too
            self._core.recorder.checkpoint_if_due()

    def position(self, symbol: str) -> Decimal:
        """Net quantity by our own fills; negative is short. One-way mode."""
        return self._core.ledger.book.position(symbol)

    def positions(self) -> list[Position]:
        return self._core.ledger.book.positions()

    def open_orders(self) -> list[OrderSnapshot]:
        """Our orders that rest at the venue, as last heard of."""
        return self._core.ledger.book.resting()

    # --- policy ----------------------------------------------------------------------

    @property
    def policy(self) -> Policy | None:
        """The policy that may be traded on; None when `policy_problem` says why there is none."""
        return self._core.policy.get()

    @property
    def policy_problem(self) -> str | None:
        return self._core.policy.problem()

    async def set_policy(self, policy: Policy) -> Policy:
        """Store a new version. :raises PolicyConflict: :raises LinkDown:"""
        self._check_running()
        return await self._core.policy.set(policy)

    async def confirm_policy(self) -> Policy:
        """Accept what the store holds, though it is older than what was seen. :raises LinkDown:"""
        self._check_running()
        return await self._core.policy.confirm()

    # --- the operator ----------------------------------------------------------------

    async def halt(self, reason: str, *, by: str = "api") -> None:
        """Shut the gate until `resume`, also across restarts. Works without bus and venue."""
        self._check_running()
        core = self._core
        by, reason = writable(by), writable(reason)
        core.gate.shut(f"halted by {by}: {reason}")
        held = Held(reason, by, core.clock.time_ns())
        try:
            core.recorder.write(held)
        except JournalError:
            core.ledger.apply(held)
            core.fire(Trigger.HALT, f"{by}: {reason} (not journalled: it ends with this process)")
            raise
        else:
            core.fire(Trigger.HALT, f"{by}: {reason}")
        finally:
            core.refresh_floor()
        await core.journal.sync()

    async def resume(self, *, by: str = "api") -> None:
        """End the operator's hold; the engine probes anew and walks up by itself.

        Without a hold there is nothing to end, and an open gate stays open.
        """
        self._check_running()
        core = self._core
        if core.ledger.hold is None:
            return
        by = writable(by)
        core.recorder.write(Held(None, by, core.clock.time_ns()))
        core.refresh_floor()
        core.fire(Trigger.RESUME, by)

    async def flatten(self, symbol: str | None = None, *, by: str = "api") -> list[OrderReport]:
        """Halt, cancel what could open, and close our positions with orders that only reduce.

        Works in every state as long as the venue can be reached. One that can not be closed
        does not keep the others open.

        :raises ExceptionGroup: of what `submit` raised, for each position not closed,
            and of entries that still rest.
        :raises InvalidOrder: `symbol` is not declared; nothing was done.
        """
        self._check_running()
        core = self._core
        if symbol is not None and symbol not in self.settings.symbols:
            raise InvalidOrder(
                f"symbol: {symbol!r} is not declared, nothing was closed"
                f"{did_you_mean(str(symbol), self.settings.symbols)}; declared: "
                f"{', '.join(self.settings.symbols)}"
            )
        if core.ledger.hold is None:
            await self.halt("flatten", by=by)
        reports: list[OrderReport] = []
        failures: list[Exception] = []
        if resting := await core.entries.cancel():
            failures.append(LinkDown(f"{resting} resting entries could not be cancelled yet"))
        with core.gate.operator():
            for held in await self._to_close():
                if symbol in (None, held.symbol):
                    try:
                        report = await core.orders.submit(_closing(held), held=abs(held.quantity))
                        reports.append(report)
                        left = report.quantity - report.filled
                        if left and report.order_status is not None and report.order_status.final:
                            failures.append(HoldfastError(f"{left:f} {held.symbol} remain"))
                    except (HoldfastError, JournalError) as error:
                        error.add_note(f"position {held.quantity:f} {held.symbol}")
                        failures.append(error)
        if failures:
            raise ExceptionGroup(f"{len(failures)} positions or entries were not closed", failures)
        return reports

    async def _to_close(self) -> list[Position]:
        """What the venue holds of our symbols; what the book says, if the venue does not tell.

        The book may be wrong exactly when somebody reaches for `flatten`.
        """
        core = self._core
        try:
            at_venue = await core.exchange.positions(
                timeout_seconds=self.settings.reconcile.snapshot_timeout_seconds
            )
        except LinkDown as error:
            log.warning("flatten goes by the local book", extra={"reason": str(error)})
            return core.ledger.book.positions()
        return [p for p in at_venue if p.symbol in self.settings.symbols and p.quantity != 0]

    async def reconcile(self) -> list[Difference]:
        """A dry run: what differs between the local book and the venue now. :raises LinkDown:"""
        self._check_running()
        return await self._core.reconciler.compare()

    async def adopt(self, *, by: str = "api") -> list[Difference]:
        """Take the venue's positions and foreign orders for true. :raises LinkDown:"""
        self._check_running()
        return await self._core.reconciler.adopt(by=writable(by))

    async def resolve(
        self, client_order_id: str, verdict: Verdict, *, reason: str, by: str = "api"
    ) -> OrderReport:
        """Settle an order of unknown outcome by a person's word, where the venue can not tell.

        The way out for an order of a symbol that the venue does not list any more, and for a
        conditional order that it does not show. Look at the venue first: the word becomes the
        evidence in the journal, the order's key stays used up, and the books are compared
        again, so that fills nobody has counted are found. It is never sent again.

        :param client_order_id: one of `status()["unknown_orders"]`.
        :param verdict: `accepted`: the venue had it, whatever became of it; `not_executed`.
        :param reason: how it is known.
        :param by: who says so.
        :returns: the report that everybody is told who waits for the order.
        :raises ResolveRefused: its outcome is not unknown, the venue may still accept it (try
            again after the time that is told), or the venue has answered after all.
        :raises JournalError: it is settled in this life, and unknown again in the next.
        """
        self._check_running()
        core = self._core
        by, reason = writable(by), writable(reason)
        report = await core.resolver.decide(client_order_id, verdict, by=by, reason=reason)
        core.fire(Trigger.DIVERGED, f"{by} has settled {client_order_id}: {verdict}")
        await core.journal.sync()
        return report

    # --- looking in ------------------------------------------------------------------

    @property
    def history(self) -> list[Step]:
        """The latest steps, refused and ignored ones too, oldest first."""
        return [moment.step for moment in self._core.history]

    def status(self) -> dict[str, Any]:
        """Everything an operator asks first, as JSON-ready values."""
        core = self._core
        policy = core.policy.get()
        return {
            "bot": self.settings.bot,
            "state": self.state.value,
            "level": self.level().value,
            "gate": {
                "open": core.gate.is_open,
                "epoch": core.gate.epoch,
                "reason": core.gate.reason,
            },
            "waiting_for": list(self.waiting_for),
            "links": [
                {"name": s.name, "up": s.up, "link_epoch": s.link_epoch, "reason": s.reason}
                for s in core.links.statuses()
            ],
            "lease": {"held": core.lease.held, "reason": core.lease.reason},
            "hold": core.ledger.hold,
            "policy": None
            if policy is None
            else {"mode": policy.active_mode.value, "version": policy.version},
            "policy_problem": core.policy.problem(),
            "outbox": {"behind": core.outbox.behind(core.outbox.mark)},
            "positions": {_name(p): f"{p.quantity:f}" for p in self.positions()},
            "open_orders": len(self.open_orders()),
            "unknown_orders": [i.client_order_id for i in core.ledger.unknown],
            "remedies": [remedy(i) for i in core.ledger.unknown],
            "differences": [str(d) for d in core.reconciler.held],
            "undeclared_orders": list(core.reconciler.undeclared),
            "journal": {"records": core.journal.last_seq, "report": str(core.journal.report)},
        }

    def diagram(self, form: TextForm = "svg") -> str:
        """The state machine with the current state and the last transition highlighted.

        :param form: `svg`, `mermaid` or `dot`; a PNG is bytes, see `diagram_png`.
        :raises ValueError: there is no such form.
        """
        from holdfast.states import diagram

        return diagram.text(form, **self._highlight())

    def diagram_png(self) -> bytes:
        """As `diagram`, as a picture.

        :raises RenderError: neither rsvg-convert nor Graphviz is installed.
        """
        from holdfast.states import diagram

        return diagram.png(**self._highlight())

    def _highlight(self) -> _Highlight:
        entered = [step for step in self.history if step.entered]
        last = (entered[-1].source, entered[-1].trigger, entered[-1].dest) if entered else None
        return {"current": self.state, "last": last}

    def timeline(self, *, title: str | None = None) -> Timeline:
        """This run so far (its latest steps), for `states.diagram.timeline_svg`."""
        from .run_timeline import Entry, timeline

        core = self._core
        return timeline(
            [
                Entry(m.monotonic, m.step.trigger, m.step.cause, m.step.dest)
                for m in core.history
                if m.step.entered
            ],
            title=title or f"{self.settings.bot}: the run so far",
            start_seconds=core.began_at,
            end_seconds=core.clock.monotonic(),
        )


class _Highlight(TypedDict):
    current: State
    last: tuple[State, Trigger, State] | None


def _name(held: Position) -> str:
    """Of a position, with its side in hedge mode."""
    return held.symbol if held.position_side == "BOTH" else f"{held.symbol} {held.position_side}"


def _closing(held: Position) -> Order:
    return Order(
        held.symbol,
        "sell" if held.quantity > 0 else "buy",
        abs(held.quantity),
        reduce_only=held.position_side == "BOTH",
        position_side=held.position_side,
    )
