"""The engine a bot embeds: what the user calls.

`async with engine:` starts it; it begins DEGRADED, walks up by itself, and stops
cleanly at the end of the block (`lifetime`). Nothing is decided here: each call goes to
the part that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from anyio.lowlevel import checkpoint

from holdfast.states.machine import Step
from holdfast.states.table import Level, State

from . import status
from .alerts import Alert
from .bot import Bot
from .bot_runner import BotRunner
from .clock import SystemClock, SystemEntropy
from .core import Core
from .errors import ConfigError, EngineClosed, InvalidOrder, InvalidPayload, TradingHalted
from .gate import GateView
from .intent import Intent
from .journal import Durability, Journal
from .lifetime import Lifetime
from .market import INTERVALS, Bar, MarketEvent
from .metrics import Meter, Metrics
from .model import (
    POSITION_SIDES,
    Event,
    Fill,
    Instrument,
    Order,
    OrderReport,
    OrderSnapshot,
    Position,
    PositionSide,
    is_text,
)
from .operation import Operation
from .policy import Policy
from .ports import (
    AccountComparer,
    Clock,
    Entropy,
    ExecutionClient,
    LeaseStore,
    Link,
    MarketData,
    MessageBus,
    PolicyStore,
    Replay,
)
from .reconcile import Difference
from .resolution import Verdict
from .settings import Settings
from .wording import writable

if TYPE_CHECKING:
    from holdfast.states.diagram import TextForm, Timeline

    from .blocking import BlockingEngine
    from .opening import OpeningEngine


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
        self._gate = GateView(self._core.gate)
        self._lifetime = Lifetime(self._core)
        self._operation = Operation(self._core)
        self._replay: Replay | None = market if isinstance(market, Replay) else None
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
        await self._lifetime.begin()
        self._running = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        self._running = False
        for runner in self._runners:
            runner.close()
        self._core.changes.notify()  # whoever waits for a state is told that it will not come
        return await self._lifetime.end(exc_type, exc, tb)

    def _check_running(self) -> None:
        if not self._running:
            raise EngineClosed("the engine is not running; use it inside `async with engine:`")

    # --- state -----------------------------------------------------------------------

    @property
    def gate(self) -> GateView:
        """Whether orders may be opened, and why not: to be asked, from any thread."""
        return self._gate

    @property
    def state(self) -> State:
        return self._core.machine.state

    def level(self, symbol: str | None = None) -> Level:
        """What may be written to the venue now: ACTIVE, REDUCING or HALTED."""
        return self._core.gate.level(symbol)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """What the engine waits for that only time, the venue or a person can bring."""
        return status.waiting_for(self._core)

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
        return self._core.steps.add(listener)

    def on_fill(self, listener: Callable[[Fill], None]) -> Callable[[], None]:
        """Call `listener` once with every fill of ours, after it was counted."""
        return self._core.execution.fills.add(listener)

    def on_alert(self, listener: Callable[[Alert], None]) -> Callable[[], None]:
        """Call `listener` when an alert is raised, and once more when it is over."""
        return self._core.announcer.alerts.add(listener)

    # --- the market ------------------------------------------------------------------

    def on_market(self, listener: Callable[[MarketEvent], None]) -> Callable[[], None]:
        """Call `listener` with every bar, trade, quote and gap, as they come.

        :raises ConfigError: the engine has no market data.
        """
        self._market()
        return self._core.market_events.add(listener)

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
            return (await self._core.execution.instruments())[symbol]
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
        runner = BotRunner(bot, self, replay=self._replay, listeners=self._core.market_events)
        self._runners.add(runner)
        try:
            await runner.run()
        finally:
            self._runners.discard(runner)

    # --- orders and events -----------------------------------------------------------

    async def submit(self, order: Order) -> OrderReport:
        """Send an order, at most once. There is nothing to check before calling this.

        Returns when the venue has the order (it may rest unfilled). An exit is tried until then,
        unless it has a deadline of its own: stop waiting by cancelling the call. With
        `Order(key=…)` a repeated call is the same intent and returns, or raises, the same
        outcome, also after a restart. An order that provably never left for the venue is no
        outcome: the same key may be sent later.

        :raises InvalidOrder: wrong for the venue; nothing was journalled or sent.
        :raises TradingHalted: the gate is shut for it; nothing was ever sent, and its key is
            free.
        :raises Rejected: the venue said no for good; or the policy did, before anything was
            sent, and then the key is free.
        :raises NotExecuted: attempts, deadline or the gate (an exit: an operator's halt, the loss
            of the lease) ended it after the first attempt; the venue does not have it, and the
            key is used up.
        :raises OutcomeUnknown: nobody knows yet, and the deadline has passed; await
            `error.intent.resolved()`.
        :raises JournalFull: an opening order, and the disk is full; nothing was sent.
        """
        try:
            self._check_symbol(order)
            return await self._core.execution.orders.submit(order)
        except Exception:
            await checkpoint()  # whoever asks again at once leaves the engine time to recover
            raise

    def check(self, order: Order) -> None:
        """Refuse what `submit` would refuse at this moment; for whoever has to give something
        up before. No promise that `submit` takes it: gate, policy and prices move.

        :raises InvalidOrder: wrong for the venue.
        :raises TradingHalted: the gate is shut for it.
        """
        self._check_symbol(order)
        self._core.execution.orders.check(order)
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
        if self._core.reconciler.is_repairing(order.symbol):
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
        if known is None and name.startswith(self._core.execution.orders.prefix):
            return name  # one that ended long ago
        return known

    def other_account(self, *, server: str, api_key: str) -> str:
        """As `ports.AccountComparer`; "" also where the venue's transport can not tell."""
        client = self._core.exchange
        if not isinstance(client, AccountComparer):
            return ""
        return client.other_account(server=server, api_key=api_key)

    async def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        """Cancel one order; how it stands afterwards, None if the venue does not know it.

        :raises InvalidOrder: one of the two is no name.
        :raises LinkDown: the venue could not be asked; cancelling again is harmless.
        """
        try:
            self._check_running()
            for field, name in (("symbol", symbol), ("client_order_id", client_order_id)):
                if not is_text(name):
                    raise InvalidOrder(f"{field}: {name!r} is no name")
            return await self._core.execution.orders.cancel(symbol, client_order_id)
        except Exception:
            await checkpoint()  # as in `submit`
            raise

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
        try:
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
        except Exception:
            await checkpoint()  # as in `submit`
            raise

    def position(self, symbol: str, position_side: PositionSide | None = None) -> Decimal:
        """Quantity held by our own fills, in the base asset; negative is short.

        :param position_side: in hedge mode `"LONG"` (never below zero) or `"SHORT"` (never above),
            each as orders name it. None: in one-way mode the position; in hedge mode both sides
            set off against each other, so that 0 is no proof that nothing is held.
        :raises InvalidOrder: it is no side.
        """
        book = self._core.ledger.book
        if position_side is None:
            return book.net_position(symbol)
        if position_side not in POSITION_SIDES:
            raise InvalidOrder(
                f"position_side: {position_side!r} is not one of {', '.join(POSITION_SIDES)}"
            )
        return book.position(symbol, position_side)

    def positions(self) -> list[Position]:
        """All that are not flat; in hedge mode long and short of a symbol are two."""
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

    async def set_policy(self, policy: Policy, *, replace: bool = False) -> Policy:
        """Store a new version.

        :param replace: also over something in the store that is no policy.
        :raises PolicyUnreadable: it holds something else, and `replace` was not given.
        :raises PolicyConflict: somebody else was faster.
        :raises LinkDown: the outcome is unknown; read before trying again.
        """
        self._check_running()
        return await self._core.policy.set(policy, replace=replace)

    async def confirm_policy(self) -> Policy:
        """Accept what the store holds, though it is older than what was seen. :raises LinkDown:"""
        self._check_running()
        return await self._core.policy.confirm()

    # --- the operator ----------------------------------------------------------------

    async def halt(self, reason: str, *, by: str = "api") -> None:
        """Shut the gate until `resume`, also across restarts. Works without bus and venue."""
        self._check_running()
        await self._operation.halt(reason, by=by)

    async def resume(self, *, by: str = "api") -> None:
        """End the operator's hold; the engine probes anew and walks up by itself.

        Without a hold there is nothing to end, and an open gate stays open.
        """
        self._check_running()
        await self._operation.resume(by=by)

    async def flatten(self, symbol: str | None = None, *, by: str = "api") -> list[OrderReport]:
        """Halt, cancel what could open, and close our positions with orders that only reduce.

        Works in every state as long as the venue can be reached. One that can not be closed
        does not keep the others open.

        :raises ExceptionGroup: of what `submit` raised, for each position not closed,
            and of entries that still rest.
        :raises InvalidOrder: `symbol` is not declared; nothing was done.
        """
        self._check_running()
        return await self._operation.flatten(symbol, by=by)

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
        return await self._operation.resolve(client_order_id, verdict, reason=reason, by=by)

    # --- looking in ------------------------------------------------------------------

    @property
    def history(self) -> list[Step]:
        """The latest steps, refused and ignored ones too, oldest first."""
        return [moment.step for moment in self._core.recovery.history]

    def status(self) -> dict[str, Any]:
        """Everything an operator asks first, as JSON-ready values."""
        return status.status(self._core)

    def diagram(self, form: TextForm = "svg") -> str:
        """The state machine with the current state and the last transition highlighted.

        :param form: `svg`, `mermaid` or `dot`; a PNG is bytes, see `diagram_png`.
        :raises ValueError: there is no such form.
        """
        return status.diagram(self._core, form)

    def diagram_png(self) -> bytes:
        """As `diagram`, as a picture.

        :raises RenderError: neither rsvg-convert nor Graphviz is installed.
        """
        return status.diagram_png(self._core)

    def timeline(self, *, title: str | None = None) -> Timeline:
        """This run so far (its latest steps), for `states.diagram.timeline_svg`."""
        return status.timeline(self._core, title=title)
