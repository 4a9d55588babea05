"""The clients of the simulated venue behind one handle: one suite states what they promise.

The local client runs in virtual time; those that speak Binance's protocol, the one that signs
by itself and the one for which ccxt signs, against a server with real sockets in the same
process.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio

from holdfast import simulation
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.model import ExecutionReport, Order, PlaceOutcome, PlaceRequest
from holdfast.ports import Clock, ExecutionClient
from holdfast.secret import Secret
from holdfast.simulation import VirtualClock
from holdfast.transports import binance
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue
from holdfast.transports.sim.http import SimHttpExecutionClient
from holdfast.transports.sim.requests import SeenRequest
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.client import UsdmExecutionClient

BTC = "BTC/USDT:USDT"
TIMEOUT_SECONDS = 0.3
PATIENCE_SECONDS = 10.0

MakeWireClient = Callable[..., UsdmExecutionClient]


def signs_itself(url: str, *, key: str = "k", secret: str = "s") -> UsdmExecutionClient:
    return SimHttpExecutionClient(
        url, key=key, secret=secret, clock=SystemClock(), entropy=SystemEntropy()
    )


def signed_by_ccxt(url: str, *, key: str = "k", secret: str = "s") -> UsdmExecutionClient:
    client = binance.factory(
        "binance://usdm",
        api_key=Secret(key),
        api_secret=Secret(secret),
        server=url,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    assert isinstance(client, UsdmExecutionClient)
    return client


WIRE_CLIENTS: dict[str, MakeWireClient] = {"own": signs_itself, "ccxt": signed_by_ccxt}
"""Those that speak Binance's protocol, by who signs."""


class PreparingClient(SimExecutionClient):
    """`ports.PreparesOrders`, in this process: what is awaited last is that it is ready."""

    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        await ready()
        return await self.place(request, permit=permit, timeout_seconds=timeout_seconds)


@dataclass
class RecordingWatch:
    """What a client told the engine, in order."""

    heard: list[str] = field(default_factory=list)
    reports: list[ExecutionReport] = field(default_factory=list)

    def up(self) -> None:
        self.heard.append("up")

    def down(self, reason: str) -> None:
        assert reason
        self.heard.append("down")

    def stream_up(self) -> None:
        self.heard.append("stream_up")

    def stream_down(self, reason: str) -> None:
        assert reason
        self.heard.append("stream_down")

    def report(self, report: ExecutionReport) -> None:
        self.reports.append(report)

    async def until(self, holds: Callable[[RecordingWatch], bool]) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not holds(self):  # noqa: ASYNC110  a test may look often
                await anyio.sleep(0.005)


@dataclass
class Rig:
    """A client under test, and the venue's side of it."""

    client: ExecutionClient
    venue: SimulatedVenue
    clock: Clock
    watch: RecordingWatch
    cut_stream: Callable[[], object]
    server: VenueServer | None = None
    another: Callable[[], UsdmExecutionClient] | None = None
    """Makes one more client, which knows nothing of what the first one has learnt."""
    permits: int = 0

    def requests(self, kind: str) -> list[SeenRequest]:
        """What the server was asked, of one kind."""
        assert self.server is not None
        return [seen for seen in self.server.requests.after(0) if seen.kind == kind]

    def permit(self) -> None:
        self.permits += 1

    def request(self, client_order_id: str = "h1", **order: Any) -> PlaceRequest:
        values: dict[str, Any] = {"symbol": BTC, "side": "buy", "quantity": "0.010", **order}
        return PlaceRequest(
            client_order_id=client_order_id,
            order=Order(**values),
            timestamp_ms=self.clock.time_ns() // 1_000_000,
            recv_window_ms=3000,
        )

    async def place(self, client_order_id: str = "h1", **order: Any) -> PlaceOutcome:
        return await self.client.place(
            self.request(client_order_id, **order),
            permit=self.permit,
            timeout_seconds=TIMEOUT_SECONDS,
        )

    def price(self, price: str) -> None:
        self.venue.on_price(BTC, Decimal(price))


@asynccontextmanager
async def local_rig(*, latency_seconds: float = 0.0) -> AsyncIterator[Rig]:
    clock = VirtualClock()
    venue = SimulatedVenue(time_ns=clock.time_ns)
    line = LocalLine(venue)

    def cut_stream() -> None:
        line.set_down("cut by the test", rest=False)
        line.set_up()

    client = SimExecutionClient(line, latency_seconds=latency_seconds)
    async with _running(Rig(client, venue, clock, RecordingWatch(), cut_stream)) as rig:
        yield rig


@asynccontextmanager
async def http_rig(make: MakeWireClient = signs_itself) -> AsyncIterator[Rig]:
    clock = SystemClock()
    venue = SimulatedVenue(time_ns=clock.time_ns)
    server = VenueServer(venue, key="k", secret="s", entropy=SystemEntropy())
    async with server.serve() as port:
        another = functools.partial(make, f"http://127.0.0.1:{port}")
        made = Rig(another(), venue, clock, RecordingWatch(), server.cut_streams, server, another)
        async with _running(made) as rig:
            yield rig


@asynccontextmanager
async def _running(rig: Rig) -> AsyncIterator[Rig]:
    rig.price("50000")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.client.run, rig.watch)
        await rig.watch.until(lambda watch: {"up", "stream_up"} <= set(watch.heard))
        yield rig
        tasks.cancel_scope.cancel()


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A venue as a process of its own, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.transports.sim", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    return process, f"sim://127.0.0.1:{ready['port']}"


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    return process.returncode, errors


Case = Callable[[Rig], Awaitable[None]]


def run_local(case: Case, **options: Any) -> None:
    async def main() -> None:
        async with local_rig(**options) as rig:
            await case(rig)

    simulation.run(main)


def run_http(case: Case, make: MakeWireClient = signs_itself) -> None:
    async def main() -> None:
        async with http_rig(make) as rig:
            with anyio.fail_after(30):
                await case(rig)

    anyio.run(main)


RUNNERS: dict[str, Callable[[Case], None]] = {
    "local": run_local,
    "local-latency": functools.partial(run_local, latency_seconds=0.02),
    "http": run_http,
    "ccxt": functools.partial(run_http, make=signed_by_ccxt),
}
