"""The same engine for synchronous scripts, in a thread of its own.

`gate` can be asked from the script's thread directly; everything that waits goes
through a portal and blocks the caller, never the engine: a script that sleeps for
a minute between two orders does not stop the loop that watches the links.

Every method is the one of `Engine`, with its arguments, its answer and its errors. A bot and
listeners are called in the engine's thread: they must not block, and must not call the
engine's blocking methods (which refuse that).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from holdfast.states.machine import Step
from holdfast.states.table import Level, State

from .alerts import Alert
from .bot import Bot
from .engine import Engine
from .errors import EngineClosed
from .gate import GateView
from .intent import Intent
from .journal import Durability
from .market import Bar, MarketEvent
from .metrics import Meter
from .model import (
    Event,
    Fill,
    Instrument,
    Order,
    OrderReport,
    OrderSnapshot,
    Position,
    PositionSide,
)
from .opening import OpeningEngine
from .policy import Policy
from .ports import Link
from .reconcile import Difference
from .resolution import Verdict
from .settings import Settings
from .termination import on_sigterm_exit

if TYPE_CHECKING:
    from holdfast.states.diagram import TextForm, Timeline

P = ParamSpec("P")
T = TypeVar("T")


class BlockingEngine:
    """`with Engine.open_blocking("holdfast.toml") as engine: engine.submit(…)`."""

    def __init__(
        self, source: str | PathLike[str] | Mapping[str, Any], *, links: Sequence[Link] = ()
    ) -> None:
        self._opening = OpeningEngine(source, links=links)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(on_sigterm_exit())
            self._portal = stack.enter_context(start_blocking_portal())
            self._engine = stack.enter_context(
                self._portal.wrap_async_context_manager(self._opening)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        try:
            return self._stack.__exit__(exc_type, exc, tb)
        finally:
            self._engine = self._portal = None

    @property
    def engine(self) -> Engine:
        """The engine itself; only its `gate`, `fault` and plain properties are thread-safe."""
        if self._engine is None:
            raise EngineClosed("the engine is not running; use it inside `with`")
        return self._engine

    def _wait(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` answers in the engine's thread, in the end."""
        return self._running().call(partial(function, *args, **kwargs))

    def _ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` answers in the engine's thread, where nothing moves meanwhile."""
        return self._running().call(partial(function, *args, **kwargs))

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise EngineClosed("the engine is not running; use it inside `with`")
        return self._portal

    # --- state -----------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        return self.engine.settings

    @property
    def metrics(self) -> Meter:
        return self.engine.metrics

    @property
    def gate(self) -> GateView:
        return self.engine.gate

    @property
    def state(self) -> State:
        return self.engine.state

    def level(self, symbol: str | None = None) -> Level:
        return self.engine.level(symbol)

    @property
    def waiting_for(self) -> tuple[str, ...]:
        return self._ask(lambda: self.engine.waiting_for)

    def until_healthy(self) -> None:
        self._wait(self.engine.until_healthy)

    def until(self, state: State) -> None:
        self._wait(self.engine.until, state)

    def fault(self, source: str, reason: str) -> None:
        if self._engine is not None:  # else there is nothing left to shut
            self._engine.fault(source, reason)

    def on_transition(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        return self._listening(self.engine.on_transition, listener)

    def on_fill(self, listener: Callable[[Fill], None]) -> Callable[[], None]:
        return self._listening(self.engine.on_fill, listener)

    def on_alert(self, listener: Callable[[Alert], None]) -> Callable[[], None]:
        return self._listening(self.engine.on_alert, listener)

    def on_market(self, listener: Callable[[MarketEvent], None]) -> Callable[[], None]:
        return self._listening(self.engine.on_market, listener)

    def _listening(
        self,
        register: Callable[[Callable[[T], None]], Callable[[], None]],
        listener: Callable[[T], None],
    ) -> Callable[[], None]:
        end = self._ask(register, listener)

        def end_it() -> None:
            if self._portal is not None:  # else nobody is told any more
                self._ask(end)

        return end_it

    # --- the market ------------------------------------------------------------------

    def bars(self, symbol: str, *, interval: str = "1m", limit: int = 500) -> list[Bar]:
        return self._wait(self.engine.bars, symbol, interval=interval, limit=limit)

    def instrument(self, symbol: str) -> Instrument:
        return self._wait(self.engine.instrument, symbol)

    def run(self, bot: Bot) -> None:
        self._wait(self.engine.run, bot)

    # --- orders and events -----------------------------------------------------------

    def submit(self, order: Order) -> OrderReport:
        return self._wait(self.engine.submit, order)

    def check(self, order: Order) -> None:
        self._ask(self.engine.check, order)

    def outcome(self, key: str) -> OrderReport | None:
        return self._ask(self.engine.outcome, key)

    def pending(self, symbol: str | None = None) -> list[Intent]:
        return self._ask(self.engine.pending, symbol)

    def identify(self, symbol: str, name: str) -> str | None:
        return self._ask(self.engine.identify, symbol, name)

    def other_account(self, *, server: str, api_key: str) -> str:
        return self._ask(self.engine.other_account, server=server, api_key=api_key)

    def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        return self._wait(self.engine.cancel, symbol, client_order_id)

    def publish(
        self,
        type_: str,
        body: Any,
        *,
        durability: Durability | Literal["memory", "process", "power"] = Durability.PROCESS,
        trace_id: str | None = None,
    ) -> Event:
        return self._wait(
            self.engine.publish, type_, body, durability=durability, trace_id=trace_id
        )

    def position(self, symbol: str, position_side: PositionSide | None = None) -> Decimal:
        return self._ask(self.engine.position, symbol, position_side)

    def positions(self) -> list[Position]:
        return self._ask(self.engine.positions)

    def open_orders(self) -> list[OrderSnapshot]:
        return self._ask(self.engine.open_orders)

    # --- policy ----------------------------------------------------------------------

    @property
    def policy(self) -> Policy | None:
        return self._ask(lambda: self.engine.policy)

    @property
    def policy_problem(self) -> str | None:
        return self._ask(lambda: self.engine.policy_problem)

    def set_policy(self, policy: Policy, *, replace: bool = False) -> Policy:
        return self._wait(self.engine.set_policy, policy, replace=replace)

    def confirm_policy(self) -> Policy:
        return self._wait(self.engine.confirm_policy)

    # --- the operator ----------------------------------------------------------------

    def halt(self, reason: str, *, by: str = "api") -> None:
        self._wait(self.engine.halt, reason, by=by)

    def resume(self, *, by: str = "api") -> None:
        self._wait(self.engine.resume, by=by)

    def flatten(self, symbol: str | None = None, *, by: str = "api") -> list[OrderReport]:
        return self._wait(self.engine.flatten, symbol, by=by)

    def reconcile(self) -> list[Difference]:
        return self._wait(self.engine.reconcile)

    def adopt(self, *, by: str = "api") -> list[Difference]:
        return self._wait(self.engine.adopt, by=by)

    def resolve(
        self, client_order_id: str, verdict: Verdict, *, reason: str, by: str = "api"
    ) -> OrderReport:
        return self._wait(self.engine.resolve, client_order_id, verdict, reason=reason, by=by)

    # --- looking in ------------------------------------------------------------------

    @property
    def history(self) -> list[Step]:
        return self._ask(lambda: self.engine.history)

    def status(self) -> dict[str, Any]:
        return self._ask(self.engine.status)

    def diagram(self, form: TextForm = "svg") -> str:
        return self._ask(self.engine.diagram, form)

    def diagram_png(self) -> bytes:
        return self._ask(self.engine.diagram_png)

    def timeline(self, *, title: str | None = None) -> Timeline:
        return self._ask(self.engine.timeline, title=title)


for _name, _member in vars(BlockingEngine).items():
    if _member.__doc__ is None and not _name.startswith("_"):
        _member.__doc__ = getattr(getattr(Engine, _name, None), "__doc__", None)
