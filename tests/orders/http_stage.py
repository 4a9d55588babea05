"""The stage of a served exchange: a process of its own, real sockets, real time.

Everything is a twentieth as long as in a story, but for what Binance counts in whole seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import msgspec
from stories import AnyPart, Conditions, Failure, Lag, Outage, Skew, Stream, fault_of
from story_stage import Taken

from holdfast.clock import SystemClock
from holdfast.model import OrderStatus
from holdfast.ports import Entropy
from holdfast.transports.server import tied_to_this_process
from holdfast.transports.sim.http import SimHttpExecutionClient

NAME: Final = "BTCUSDT"
PACE: Final = 0.05
LATEST_SECONDS: Final = 0.5
"""After that the venue takes nothing any more that was sent before: its recvWindow has passed."""
LONG_BANS: Final = ("blocked_403",)
"""Without a Retry-After: the client takes such a ban for one of two minutes."""


class Exchange:
    """`python -m holdfast.transports.sim`, and the observer's hand on it."""

    def __init__(self, process: subprocess.Popen[bytes], session: aiohttp.ClientSession) -> None:
        assert process.stdout is not None
        self.port: int = json.loads(process.stdout.readline())["port"]
        self._session = session
        self._url = f"http://127.0.0.1:{self.port}/control"

    async def get(self, what: str) -> Any:
        async with self._session.get(f"{self._url}/{what}") as reply:
            return await reply.json()

    async def post(self, what: str, **body: Any) -> None:
        async with self._session.post(
            f"{self._url}/{what}", data=msgspec.json.encode(body)
        ) as reply:
            assert reply.status == 200, await reply.text()

    async def clear(self) -> None:
        """Nothing armed, nothing open, nothing held."""
        await anyio.sleep(LATEST_SECONDS)
        await self.post("faults", clear=True, clock_skew_ms=0, query_lag_ms=0)
        for price in ("59000", "71000", "64000"):  # what rests is filled on the way
            await self.post("price", symbol=NAME, price=price)
        await self.post("position", symbol=NAME, quantity="0")


@asynccontextmanager
async def served_exchange(folder: Path) -> AsyncIterator[Exchange]:
    """A process of its own, ended with the block."""
    with (folder / "exchange.err").open("ab") as errors:
        process = subprocess.Popen(  # noqa: ASYNC220
            tied_to_this_process(
                [sys.executable, "-m", "holdfast.transports.sim", "--limits", "off"]
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        async with aiohttp.ClientSession() as session:
            yield Exchange(process, session)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class HttpStage:
    """See `story_stage.Stage`."""

    pace = PACE
    recovery_seconds = 60.0
    slack_seconds = 60.0
    glance_seconds = 0.02

    def __init__(self, exchange: Exchange, *, orders_before: int) -> None:
        self.clock = SystemClock()
        self._exchange = exchange
        self._orders_before = orders_before
        self._skew_ms = 0

    @staticmethod
    def order_settings(conditions: Conditions) -> dict[str, Any]:
        return {
            "timeout_seconds": 0.3,
            "recv_window_ms": 400,
            "absence_margin_ms": 150,
            "absence_spacing_seconds": 0.05,
            "backoff_seconds": (0.1, 0.2, 0.4),
            "deadline_seconds": 2.0,
        }

    def client(self, entropy: Entropy) -> Any:
        return SimHttpExecutionClient(
            f"http://127.0.0.1:{self._exchange.port}",
            key="demo",
            secret="demo",
            clock=self.clock,
            entropy=entropy,
        )

    def venue_ms(self) -> int:
        return self.clock.time_ns() // 1_000_000 + self._skew_ms

    async def fail(self, part: AnyPart) -> None:
        post = self._exchange.post
        match part:
            case Failure(row=row) if row in LONG_BANS:
                return
            case Failure(kind=kind, count=count, late_seconds=late):
                if late is not None:
                    part = msgspec.structs.replace(part, late_seconds=late * PACE)
                fault = fault_of(part)
                if fault.retry_after_seconds:
                    fault = msgspec.structs.replace(fault, retry_after_seconds=1)
                await post("faults", kind=kind, fault=msgspec.to_builtins(fault), count=count)
            case Lag(lag_ms=lag):
                await post("faults", query_lag_ms=lag // 4)  # until all is mended
            case Skew(skew_ms=skew):
                # The later of the two, so that no answer is judged by a clock behind the venue's.
                self._skew_ms = max(skew, 0)
                await post("faults", clock_skew_ms=skew)
                self._skew_ms = skew
            case Stream(action=action, count=count):
                await post("faults", stream=action, count=count)
            case Outage():
                await self._outage(part)

    async def _outage(self, part: Outage) -> None:
        post = self._exchange.post
        if part.half != "rest":
            await post("faults", cut_streams=True)
        if part.half != "stream":
            point = "request_hangs" if part.silent else "request_reset"
            for kind in ("place", "cancel", "query", "snapshot", "probe"):
                await post("faults", kind=kind, point=point, for_seconds=part.seconds * PACE)

    async def mend(self) -> None:
        await self._exchange.post("faults", clear=True, clock_skew_ms=self._skew_ms, query_lag_ms=0)

    async def order_log(self) -> Sequence[Taken]:
        return [
            Taken(
                one["clientOrderId"],
                Decimal(one["quantity"]),
                Decimal(one["filled"]),
                OrderStatus(one["status"]),
                one["foreign"],
            )
            for one in await self._exchange.get(f"orders?after={self._orders_before}")
        ]

    async def status_of(self, client_order_id: str) -> OrderStatus | None:
        for order in await self.order_log():
            if order.client_order_id == client_order_id:
                return order.status
        return None


async def stage_of(exchange: Exchange) -> HttpStage:
    """The next story begins where the last one has left nothing."""
    await exchange.clear()
    return HttpStage(exchange, orders_before=len(await exchange.get("orders")))
