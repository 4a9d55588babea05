"""The same engine for synchronous scripts, in a thread of its own.

`gate` can be asked from the script's thread directly; everything that waits goes
through a portal and blocks the caller, never the engine: a script that sleeps for
a minute between two orders does not stop the loop that watches the links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from holdfast.states.table import Level, State

from .engine import Engine
from .errors import EngineClosed
from .gate import GateView
from .intent import Intent
from .journal import Durability
from .model import Event, Order, OrderReport, OrderSnapshot
from .opening import OpeningEngine
from .policy import Policy
from .resolution import Verdict
from .termination import on_sigterm_exit


class BlockingEngine:
    """`with Engine.open_blocking("holdfast.toml") as engine: engine.submit(…)`."""

    def __init__(self, source: str | PathLike[str] | Mapping[str, Any]) -> None:
        self._opening = OpeningEngine(source)
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

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._portal is None:
            raise EngineClosed("the engine is not running; use it inside `with`")
        return self._portal.call(function, *args)

    @property
    def gate(self) -> GateView:
        return self.engine.gate

    @property
    def state(self) -> State:
        return self.engine.state

    def level(self, symbol: str | None = None) -> Level:
        return self.engine.level(symbol)

    @property
    def policy(self) -> Policy | None:
        return self.engine.policy

    def until_healthy(self) -> None:
        self._call(self.engine.until_healthy)

    def fault(self, source: str, reason: str) -> None:
        self.engine.fault(source, reason)

    def submit(self, order: Order) -> OrderReport:
        """See `Engine.submit`; raises the same."""
        report: OrderReport = self._call(self.engine.submit, order)
        return report

    def check(self, order: Order) -> None:
        self._call(self.engine.check, order)

    def outcome(self, key: str) -> OrderReport | None:
        report: OrderReport | None = self._call(self.engine.outcome, key)
        return report

    def pending(self, symbol: str | None = None) -> list[Intent]:
        intents: list[Intent] = self._call(self.engine.pending, symbol)
        return intents

    def identify(self, symbol: str, name: str) -> str | None:
        client_order_id: str | None = self._call(self.engine.identify, symbol, name)
        return client_order_id

    def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        snapshot: OrderSnapshot | None = self._call(self.engine.cancel, symbol, client_order_id)
        return snapshot

    def publish(
        self,
        type_: str,
        body: Any,
        *,
        durability: Durability | Literal["memory", "process", "power"] = Durability.PROCESS,
        trace_id: str | None = None,
    ) -> Event:
        async def publish() -> Event:
            return await self.engine.publish(type_, body, durability=durability, trace_id=trace_id)

        event: Event = self._call(publish)
        return event

    def position(self, symbol: str) -> Decimal:
        return self.engine.position(symbol)

    def open_orders(self) -> list[OrderSnapshot]:
        orders: list[OrderSnapshot] = self._call(self.engine.open_orders)
        return orders

    def halt(self, reason: str) -> None:
        self._call(self.engine.halt, reason)

    def resume(self) -> None:
        self._call(self.engine.resume)

    def flatten(self, symbol: str | None = None) -> list[OrderReport]:
        reports: list[OrderReport] = self._call(self.engine.flatten, symbol)
        return reports

    def resolve(
        self, client_order_id: str, verdict: Verdict, *, reason: str, by: str = "api"
    ) -> OrderReport:
        """See `Engine.resolve`."""

        async def resolve() -> OrderReport:
            return await self.engine.resolve(client_order_id, verdict, reason=reason, by=by)

        report: OrderReport = self._call(resolve)
        return report

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._call(self.engine.status)
        return status
