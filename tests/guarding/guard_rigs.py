"""A bot with a guarded exchange of the real ccxt, of each kind, at a venue behind real sockets.

The venue is served from a thread of its own, so that a synchronous exchange can trade
there; the engine has its own connection to it. A scenario is written once, as a coroutine:
for a synchronous exchange it never suspends.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import ccxt
import ccxt.async_support
import ccxt.pro
from anyio.from_thread import BlockingPortal, start_blocking_portal

import holdfast
from holdfast import Engine
from holdfast.blocking import BlockingEngine
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.guarding.session import finished
from holdfast.transports.sim import Fault, OrderTicket, SimulatedVenue
from holdfast.transports.sim.requests import SeenRequest
from holdfast.transports.sim.server import VenueServer

BTC = "BTC/USDT:USDT"
PATIENCE_SECONDS = 20.0

QUICK: dict[str, dict[str, Any]] = {
    "orders": {
        "timeout_seconds": 0.4,
        "recv_window_ms": 500,
        "absence_margin_ms": 150,
        "absence_spacing_seconds": 0.1,
        "backoff_seconds": [0.05, 0.1],
        "deadline_seconds": 5.0,
        "durability": "process",
        "on_leaving_active": "keep",
    },
    "policy": {
        "url": "memory://policy",
        "initial": {"active_mode": "NORMAL"},
        "on_empty": "restore",  # what is kept in memory is gone in the next life
    },
    "lease": {"enabled": False},
    "reconcile": {"settle_seconds": 0.05, "audit_seconds": 60.0},
    # A machine that is busy with other tests stalls a loop for longer than the default.
    "gate": {"loop_lease_seconds": 60.0},
}


class ServedVenue:
    """A simulated venue on a port, and the observer's hand on it from any thread."""

    def __init__(self, portal: BlockingPortal, server: VenueServer, port: int) -> None:
        self._portal = portal
        self._server = server
        self.venue = server.venue
        self.port = port

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[ServedVenue]:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        venue.on_price(BTC, Decimal(50_000))
        server = VenueServer(venue, key="demo", secret="demo", entropy=SystemEntropy())
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(server.serve()) as port,
        ):
            yield cls(portal, server, port)

    def price(self, price: str, quantity: str | None = None) -> None:
        """A trade of the market; `quantity` bounds what resting orders get of it."""
        liquidity = None if quantity is None else Decimal(quantity)
        self._portal.call(self.venue.on_price, BTC, Decimal(price), liquidity)

    def arm(self, kind: Any, fault: Fault, *, count: int = 1) -> None:
        self._portal.call(lambda: self.venue.faults.arm(kind, fault, count=count))

    def lose_an_order(self, fault: Fault) -> None:
        """The next order meets `fault`, and nothing tells of it until `mend`."""
        self.arm("place", fault)
        self.arm("query", Fault.lost_request(), count=10_000)
        self._portal.call(lambda: self.venue.faults.arm_stream("drop", count=10_000))

    def lag(self, milliseconds: int) -> None:
        """A new order is not shown for so long."""
        self._portal.call(setattr, self.venue.faults, "query_lag_ms", milliseconds)

    def mend(self) -> None:
        self._portal.call(self.venue.faults.clear)

    def foreign_order(self, price: str) -> str:
        """The number of an order that another hand has placed on the account."""
        ticket = OrderTicket(
            symbol=BTC,
            client_order_id=f"web_{len(self.venue.order_log)}",
            side="buy",
            quantity=Decimal("0.010"),
            price=Decimal(price),
            foreign=True,
        )
        return str(self._portal.call(self.venue.place, ticket).order_id)

    def requests(self, *kinds: str) -> list[SeenRequest]:
        """What the venue was asked, answered or not; the engine's own dead-man switch apart."""
        return [
            seen
            for seen in self._server.requests.after(0)
            if seen.kind in kinds and not seen.path.endswith("/countdownCancelAll")
        ]

    def log(self) -> list[tuple[str, Decimal, Decimal | None]]:
        """Every order ever taken: side, quantity, limit."""
        return [(o.side, o.quantity, o.price) for o in self.venue.order_log]

    @property
    def position(self) -> Decimal:
        return sum((held.quantity for _, _, held in self.venue.positions()), Decimal(0))


def ccxt_config(port: int) -> dict[str, Any]:
    """All of ccxt's addresses point to the venue: nothing leaves this machine."""
    http, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    shown = ccxt.binanceusdm().urls["api"]
    api: dict[str, Any] = {
        name: f"{http}/{url.split('/', 3)[3]}"
        for name, url in shown.items()
        if isinstance(url, str)
    }
    api["ws"] = {"linear": f"{ws}/ws", "ws-api": {"linear": f"{ws}/ws-fapi/v1"}}
    return {
        "apiKey": "demo",
        "secret": "demo",
        "enableRateLimit": False,
        "options": {"fetchCurrencies": False},
        "urls": {"api": api},
    }


async def maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@dataclass
class Bot:
    """What a scenario has in its hands.

    :ivar exchange: guarded.
    :ivar raw: another exchange object on the same account, which is not guarded.
    """

    exchange: Any
    raw: Any
    engine: Any
    served: ServedVenue

    async def buy(self, *arguments: Any, **params: Any) -> Any:
        """`create_order`: a market order of 0.010, or what is given."""
        type_, amount, price = (*arguments, *("market", 0.010, None)[len(arguments) :])
        order = self.exchange.create_order(BTC, type_, "buy", amount, price, params)
        return await maybe(order)

    async def limit(self, price: Any = 49_000, amount: Any = 0.010, **params: Any) -> Any:
        return await self.buy("limit", amount, price, **params)

    async def fails(self, call: Callable[[], Any]) -> Exception:
        try:
            answer = await maybe(call())
        except Exception as error:
            return error
        raise AssertionError(f"no error, but {answer}")

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not await maybe(holds()):
            assert time.monotonic() < deadline, f"never: {what}"
            await self.sleep(0.01)

    async def sleep(self, seconds: float) -> None:
        if isinstance(self.engine, BlockingEngine):
            time.sleep(seconds)  # noqa: ASYNC251  nothing else runs in this thread
        else:
            await anyio.sleep(seconds)


Scenario = Callable[[Bot], Awaitable[None]]


def _engine_config(served: ServedVenue, folder: Path, **orders: Any) -> dict[str, Any]:
    return {
        **QUICK,
        "orders": {**QUICK["orders"], **orders},
        "engine": {"bot": "guarded", "symbols": [BTC], "state_dir": str(folder / "state")},
        "bus": {"url": "memory://bus"},
        "exchange": {"url": f"sim://127.0.0.1:{served.port}"},
    }


def run_sync(scenario: Scenario, served: ServedVenue, folder: Path, **orders: Any) -> None:
    with Engine.open_blocking(_engine_config(served, folder, **orders)) as engine:
        engine.until_healthy()
        exchange, raw = (ccxt.binanceusdm(ccxt_config(served.port)) for _ in range(2))
        assert holdfast.guard(exchange, engine) is exchange
        finished(_coroutine(scenario, Bot(exchange, raw, engine, served)))


async def _coroutine(scenario: Scenario, bot: Bot) -> None:
    await scenario(bot)


@asynccontextmanager
async def async_bot(
    module: Any, served: ServedVenue, folder: Path, **orders: Any
) -> AsyncIterator[Bot]:
    async with Engine.open(_engine_config(served, folder, **orders)) as engine:
        await engine.until_healthy()
        async with (
            module.binanceusdm(ccxt_config(served.port)) as exchange,
            module.binanceusdm(ccxt_config(served.port)) as raw,
        ):
            assert holdfast.guard(exchange, engine) is exchange
            yield Bot(exchange, raw, engine, served)


def _run_async(module: Any) -> Callable[..., None]:
    def run(scenario: Scenario, served: ServedVenue, folder: Path, **orders: Any) -> None:
        async def main() -> None:
            async with async_bot(module, served, folder, **orders) as bot:
                with anyio.fail_after(60):
                    await scenario(bot)

        anyio.run(main)

    return run


RUNNERS: dict[str, Callable[..., None]] = {
    "sync": run_sync,
    "async": _run_async(ccxt.async_support),
    "pro": _run_async(ccxt.pro),
}
