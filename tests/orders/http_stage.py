"""The stage of a served exchange: a process of its own, real sockets, real time.

Everything is a twentieth as long as in a story, but for what Binance counts in whole seconds.
"""

from __future__ import annotations

import asyncio
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
from stories import (
    AnyPart,
    Conditions,
    Failure,
    Lag,
    Outage,
    Price,
    Skew,
    Story,
    Stream,
    fault_of,
)
from story_stage import HIGH, LOW, PRICE, Taken

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.model import Order, OrderStatus, PlaceRequest, Position
from holdfast.ports import Entropy
from holdfast.transports.server import tied_to_this_process
from holdfast.transports.sim.http import SimHttpExecutionClient

NAME: Final = "BTCUSDT"
PACE: Final = 0.05
LATEST_SECONDS: Final = 0.5
"""After that the venue takes nothing any more that was sent before: its recvWindow has passed."""
HAND_SECONDS: Final = 20.0
"""Within which the exchange answers the observer, who meets no fault."""
LONG_BANS: Final = ("blocked_403",)
"""Without a Retry-After: the client takes such a ban for one of two minutes."""


class Exchange:
    """`python -m holdfast.transports.sim`, and the observer's hand on it."""

    def __init__(self, process: subprocess.Popen[bytes], session: aiohttp.ClientSession) -> None:
        assert process.stdout is not None
        self.port: int = json.loads(process.stdout.readline())["port"]
        self._session = session
        self._url = f"http://127.0.0.1:{self.port}/control"
        self.hand = self.client(SystemEntropy())

    def client(self, entropy: Entropy) -> SimHttpExecutionClient:
        return SimHttpExecutionClient(
            f"http://127.0.0.1:{self.port}",
            key="demo",
            secret="demo",
            clock=SystemClock(),
            entropy=entropy,
        )

    async def get(self, what: str) -> Any:
        async with self._session.get(f"{self._url}/{what}") as reply:
            return await reply.json()

    async def post(self, what: str, **body: Any) -> None:
        async with self._session.post(
            f"{self._url}/{what}", data=msgspec.json.encode(body)
        ) as reply:
            assert reply.status == 200, await reply.text()

    async def clear(self, *, hedged: bool) -> None:
        """Nothing armed, nothing open, nothing held; in this mode."""
        await anyio.sleep(LATEST_SECONDS)
        await self.post("faults", clear=True, clock_skew_ms=0, query_lag_ms=0)
        await self.set_price(PRICE)
        hand = self.hand
        for order in await hand.open_orders(timeout_seconds=HAND_SECONDS):
            await hand.cancel(
                order.symbol,
                order.client_order_id,
                conditional=order.conditional,
                timeout_seconds=HAND_SECONDS,
            )
        for held in await hand.positions(timeout_seconds=HAND_SECONDS):
            await self._close(held)
        assert not await hand.positions(timeout_seconds=HAND_SECONDS)
        await hand.set_hedge_mode(hedged, timeout_seconds=HAND_SECONDS)

    async def _close(self, held: Position) -> None:
        closing = Order(
            held.symbol,
            "sell" if held.quantity > 0 else "buy",
            abs(held.quantity),
            reduce_only=held.position_side == "BOTH",
            position_side=held.position_side,
        )
        now_ms = SystemClock().time_ns() // 1_000_000
        request = PlaceRequest(f"web_{now_ms}_{held.position_side}", closing, now_ms, 10_000)
        await self.hand.place(request, permit=lambda: None, timeout_seconds=HAND_SECONDS)

    async def set_price(self, price: Decimal) -> None:
        await self.post("price", symbol=NAME, price=str(price))


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
            exchange = Exchange(process, session)
            try:
                yield exchange
            finally:
                await exchange.hand.aclose()
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

    def __init__(self, exchange: Exchange, *, orders_before: int, conditional_before: int) -> None:
        self.clock = SystemClock()
        self._exchange = exchange
        self._orders_before = orders_before
        self._conditional_before = conditional_before
        self._skew_ms = 0
        self._away = 0
        self._on_their_way: set[asyncio.Task[None]] = set()

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
        return self._exchange.client(entropy)

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
            case Price(seconds=seconds, up=up):
                coming_back = asyncio.create_task(self._go_and_come_back(up, seconds * PACE))
                self._on_their_way.add(coming_back)
                coming_back.add_done_callback(self._on_their_way.discard)
            case Skew(skew_ms=skew):
                # The later of the two, so that no answer is judged by a clock behind the venue's.
                self._skew_ms = max(skew, 0)
                await post("faults", clock_skew_ms=skew)
                self._skew_ms = skew
            case Stream(action=action, count=count):
                await post("faults", stream=action, count=count)
            case Outage():
                await self._outage(part)

    async def _go_and_come_back(self, up: bool, seconds: float) -> None:
        self._away += 1
        await self._exchange.set_price(HIGH if up else LOW)
        await anyio.sleep(seconds)
        self._away -= 1
        if not self._away:
            await self._exchange.set_price(PRICE)

    async def _outage(self, part: Outage) -> None:
        post = self._exchange.post
        if part.half != "rest":
            await post("faults", cut_streams=True)
        if part.half != "stream":
            point = "request_hangs" if part.silent else "request_reset"
            for kind in ("place", "cancel", "query", "snapshot", "probe"):
                await post("faults", kind=kind, point=point, for_seconds=part.seconds * PACE)

    async def mend(self) -> None:
        if self._on_their_way:
            await asyncio.wait(self._on_their_way)
        await self._exchange.post("faults", clear=True, clock_skew_ms=self._skew_ms, query_lag_ms=0)

    async def order_log(self) -> Sequence[Taken]:
        taken = [
            Taken(
                one["clientOrderId"],
                Decimal(one["quantity"]),
                Decimal(one["filled"]),
                OrderStatus(one["status"]),
                one["foreign"],
            )
            for one in await self._exchange.get(f"orders?after={self._orders_before}")
        ]
        waiting = [
            Taken(
                one["clientAlgoId"],
                Decimal(one["quantity"]),
                Decimal(0),
                OrderStatus(one["status"]),
                one["foreign"],
            )
            for one in await self._exchange.get(f"conditional?after={self._conditional_before}")
            if one["orderId"] is None
        ]
        return [*taken, *waiting]

    async def status_of(self, client_order_id: str) -> OrderStatus | None:
        for order in await self.order_log():
            if order.client_order_id == client_order_id:
                return order.status
        return None


async def stage_of(exchange: Exchange, story: Story) -> HttpStage:
    """The next story begins where the last one has left nothing."""
    await exchange.clear(hedged=story.conditions.hedged)
    return HttpStage(
        exchange,
        orders_before=len(await exchange.get("orders")),
        conditional_before=len(await exchange.get("conditional")),
    )
