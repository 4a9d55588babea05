"""Live market data over real sockets: nothing twice, nothing missing without a word."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import WSMsgType, web

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown
from holdfast.market import Bar, MarketEvent, MarketGap, Quote, Trade
from holdfast.ports import Clock, Subscription
from holdfast.transports.usdm.market import UsdmMarketData

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
MINUTE = 60_000
PATIENCE_SECONDS = 10.0


class Venue:
    """Answers klines and keeps the streams' sockets, so that a test can speak or hang up."""

    def __init__(self) -> None:
        # Bar 3000 has just begun, wherever in a minute the test runs.
        self.first_ms = SystemClock().time_ns() // 1_000_000 - 3000 * MINUTE
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.streams: dict[str, str] = {}
        self.klines_refused = False
        self.banned_seconds = 0
        self.asked: list[str] = []
        self.pages = 0
        self.newest = 3000
        self.skipped: set[int] = set()

    def bar_ms(self, minute: int) -> int:
        return self.first_ms + minute * MINUTE

    async def klines(self, request: web.Request) -> web.Response:
        self.asked.append("klines")
        if self.klines_refused:
            return web.json_response({"code": -1001, "msg": "no"}, status=503)
        if self.banned_seconds:
            return web.json_response(
                {"code": -1003, "msg": "Way too many requests."},
                status=418,
                headers={"Retry-After": str(self.banned_seconds)},
            )
        self.pages += 1
        since, limit = int(request.query["startTime"]), int(request.query["limit"])
        minute = max(0, -(-(since - self.first_ms) // MINUTE))
        minutes = range(minute, min(minute + limit, self.newest + 1))
        rows = [self.row(m) for m in minutes if m not in self.skipped]
        return web.json_response(rows)

    def row(self, minute: int) -> list[Any]:
        opened = self.bar_ms(minute)
        return [opened, "1.0", "2.0", "0.5", "1.5", "10", opened + MINUTE - 1, "15", 3, "5", "7", 0]

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append("stream")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        kind = request.path.split("/")[1]
        self.sockets[kind], self.streams[kind] = socket, request.query["streams"]
        async for message in socket:
            assert message.type is WSMsgType.TEXT
        return socket

    async def say(self, data: dict[str, Any], *, kind: str = "market") -> None:
        stream = f"{data['s'].lower()}@{data['e']}"
        await self.sockets[kind].send_str(json.dumps({"stream": stream, "data": data}))

    async def say_bar(self, minute: int, *, ended: bool = True) -> None:
        opened, o, h, l, c, v, *_ = self.row(minute)  # noqa: E741
        k = {"t": opened, "i": "1m", "o": o, "h": h, "l": l, "c": c, "v": v, "x": ended}
        await self.say({"e": "kline", "E": opened, "s": "BTCUSDT", "k": k})

    async def say_trade(self, number: int) -> None:
        await self.say(
            {"e": "aggTrade", "s": "BTCUSDT", "a": number, "p": "1.5", "q": "2", "T": 7, "m": True}
        )

    async def hang_up(self) -> None:
        await self.sockets["market"].close()


class Watch:
    def __init__(self) -> None:
        self.links: list[str] = []
        self.events: list[MarketEvent] = []
        self.signs: list[str] = []

    def up(self) -> None:
        self.links.append("up")

    def down(self, reason: str) -> None:
        assert reason
        self.links.append("down")

    def event(self, event: MarketEvent) -> None:
        self.events.append(event)

    def alive(self, symbol: str) -> None:
        self.signs.append(symbol)

    async def until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110  a test may look often
                await anyio.sleep(0.005)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Venue, str]]:
    venue = Venue()
    app = web.Application()
    app.router.add_get("/fapi/v1/klines", venue.klines)
    app.router.add_get("/market/stream", venue.stream)
    app.router.add_get("/public/stream", venue.stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield venue, f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()


class SetClock(SystemClock):
    """The machine's clock, set wrongly; `passed_seconds` is added to the monotonic one."""

    def __init__(self, ahead_seconds: float = 0.0) -> None:
        super().__init__()
        self.passed_seconds = 0.0
        self.time_ns = lambda: time.time_ns() + int(ahead_seconds * 1e9)
        self.monotonic = lambda: time.monotonic() + self.passed_seconds


def client(address: str, clock: Clock | None = None) -> UsdmMarketData:
    return UsdmMarketData(
        rest_url=f"http://{address}",
        market_url=f"ws://{address}/market",
        public_url=f"ws://{address}/public",
        clock=clock or SystemClock(),
        entropy=SystemEntropy(),
    )


@asynccontextmanager
async def listening(
    clock: Clock | None = None, **wanted: Any
) -> AsyncIterator[tuple[Venue, Watch]]:
    async with served() as (venue, address), anyio.create_task_group() as group:
        watch = Watch()
        subscription = Subscription((BTC, ETH), **wanted)
        group.start_soon(client(address, clock).run, watch, subscription)
        await watch.until(lambda: watch.links == ["up"])
        yield venue, watch
        group.cancel_scope.cancel()


def test_every_kind_of_event_is_read() -> None:
    async def main() -> None:
        async with listening(trades=True, quotes=True) as (venue, watch):
            assert venue.streams["market"].split("/") == [
                "btcusdt@kline_1m",
                "ethusdt@kline_1m",
                "btcusdt@aggTrade",
                "ethusdt@aggTrade",
                "btcusdt@markPrice@1s",
                "ethusdt@markPrice@1s",
            ]
            assert venue.streams["public"] == "btcusdt@bookTicker/ethusdt@bookTicker"
            await venue.say({"e": "markPriceUpdate", "s": "ETHUSDT", "p": "3"})
            await venue.say_bar(10, ended=False)
            await watch.until(lambda: watch.signs == [ETH, BTC])
            await venue.say_bar(10)
            await venue.say_trade(5)
            await venue.say(
                {
                    "e": "bookTicker",
                    "s": "ETHUSDT",
                    "b": "1",
                    "B": "2",
                    "a": "3",
                    "A": "4",
                    "T": 9,
                },
                kind="public",
            )
            await watch.until(lambda: len(watch.events) == 3)
            events = sorted(watch.events, key=lambda event: type(event).__name__)
            assert events == [
                Bar(BTC, venue.bar_ms(10), MINUTE, 1.0, 2.0, 0.5, 1.5, 10.0),
                Quote(ETH, 9, 1.0, 2.0, 3.0, 4.0),
                Trade(BTC, 7, 5, 1.5, 2.0, True),
            ]

    anyio.run(main)


def test_bars_that_ended_during_an_outage_follow_the_gap_once_and_in_order() -> None:
    async def main() -> None:
        async with listening() as (venue, watch):
            await venue.say_bar(500)
            await venue.say_bar(501)
            await watch.until(lambda: len(watch.events) == 2)
            await venue.hang_up()
            await watch.until(lambda: watch.links == ["up", "down", "up"])
            assert venue.pages == 3, "2,499 bars are more than two pages"
            gap, *bars = watch.events[2:]
            assert isinstance(gap, MarketGap)
            assert (gap.symbol, gap.time_ms) == (BTC, venue.bar_ms(501))
            assert [b.time_ms for b in bars] == [venue.bar_ms(m) for m in range(502, 3000)]
            await venue.say_bar(2999)  # told again by the stream
            await venue.say_bar(3000)
            await watch.until(lambda: len(watch.events) == 3 + 2498 + 1)

    anyio.run(main)


@pytest.mark.parametrize("ended", [True, False])
def test_a_bar_that_is_missing_from_the_stream_is_asked_for(*, ended: bool) -> None:
    """As soon as a later one is told of: the next to end may be an hour away."""

    async def main() -> None:
        async with listening() as (venue, watch):
            await venue.say_bar(2990)
            await venue.say_bar(2991, ended=False)
            await venue.say_bar(2993, ended=ended)
            await watch.until(lambda: watch.links == ["up", "down", "up"])
            bars = [e.time_ms for e in watch.events if isinstance(e, Bar)]
            assert bars == [venue.bar_ms(m) for m in range(2990, 3000)]

    anyio.run(main)


def test_a_bar_that_the_venue_does_not_have_is_asked_for_once() -> None:
    async def main() -> None:
        async with listening() as (venue, watch):
            venue.skipped = {2999}
            await venue.say_bar(2998)
            await venue.say_bar(3000, ended=False)
            await watch.until(lambda: watch.links == ["up", "down", "up"])
            await venue.say_bar(3000, ended=False)
            await venue.say_bar(3000)
            await watch.until(lambda: len(watch.events) == 3)
            assert [e.time_ms for e in watch.events if isinstance(e, Bar)] == [
                venue.bar_ms(2998),
                venue.bar_ms(3000),
            ]
            assert watch.links == ["up", "down", "up"]

    anyio.run(main)


def test_missed_trades_are_told_and_repeated_ones_are_not() -> None:
    async def main() -> None:
        async with listening(trades=True) as (venue, watch):
            for number in (5, 6, 6, 5, 9):
                await venue.say_trade(number)
            await watch.until(lambda: len(watch.events) == 4)
            assert [e.trade_id for e in watch.events if isinstance(e, Trade)] == [5, 6, 9]
            (gap,) = [e for e in watch.events if isinstance(e, MarketGap)]
            assert watch.events.index(gap) == 2
            assert "2 trades missed" in gap.reason

    anyio.run(main)


def test_without_the_missed_bars_the_link_stays_down() -> None:
    async def main() -> None:
        async with listening() as (venue, watch):
            await venue.say_bar(2990)
            await watch.until(lambda: len(watch.events) == 1)
            venue.klines_refused = True
            await venue.hang_up()
            await watch.until(lambda: watch.links.count("down") >= 3)
            assert watch.links.count("up") == 1
            venue.klines_refused = False
            await watch.until(lambda: watch.links[-1] == "up")

    anyio.run(main)


@pytest.mark.parametrize("frame", ["{", '{"stream": "x", "data": {"e": "kline", "s": "BTCUSDT"}}'])
def test_an_unreadable_frame_ends_the_connection(frame: str) -> None:
    async def main() -> None:
        async with listening() as (venue, watch):
            await venue.sockets["market"].send_str(frame)
            await watch.until(lambda: watch.links == ["up", "down", "up"])

    anyio.run(main)


def test_past_bars_are_the_latest_that_have_ended() -> None:
    async def main() -> None:
        async with served() as (venue, address):
            market = client(address)
            bars = await market.bars(BTC, interval="1m", limit=1500, timeout_seconds=5)
            assert [b.time_ms for b in bars] == [venue.bar_ms(m) for m in range(1500, 3000)]
            venue.klines_refused = True
            with pytest.raises(LinkDown):
                await market.bars(BTC, interval="1m", limit=5, timeout_seconds=5)
            assert market._open_session is not None
            await market._open_session.close()

    anyio.run(main)


@pytest.mark.parametrize("ahead_seconds", [60.0, -60.0])
def test_whether_a_bar_has_ended_the_venue_decides_and_no_wrong_clock(
    ahead_seconds: float,
) -> None:
    """Bar 3000 goes on for a minute yet; taken for ended it would stay as it is now for ever."""

    async def main() -> None:
        async with served() as (venue, address):
            market = client(address, SetClock(ahead_seconds))
            bars = await market.bars(BTC, interval="1m", limit=3, timeout_seconds=5)
            assert bars[-1].time_ms == venue.bar_ms(2999)
            assert market._open_session is not None
            await market._open_session.close()

    anyio.run(main)


def test_more_past_bars_than_an_outage_may_cost_are_all_told() -> None:
    async def main() -> None:
        async with served() as (venue, address):
            venue.first_ms -= 9_000 * MINUTE
            venue.newest += 9_000
            market = client(address)
            bars = await market.bars(BTC, interval="1m", limit=11_000, timeout_seconds=20)
            assert len(bars) == 11_000
            assert market._open_session is not None
            await market._open_session.close()

    anyio.run(main)


def test_a_venue_that_bans_is_left_alone_for_as_long_as_it_says() -> None:
    """Whoever goes on asking is banned for longer, and its orders with it: it is one address."""

    async def main() -> None:
        clock = SetClock()
        async with listening(clock) as (venue, watch):
            await venue.say_bar(2990)
            await watch.until(lambda: len(watch.events) == 1)
            venue.banned_seconds = 3600
            venue.asked.clear()
            await venue.hang_up()
            await watch.until(lambda: watch.links.count("down") >= 4)
            assert venue.asked == ["stream", "klines"]
            venue.banned_seconds = 0
            clock.passed_seconds = 3601.0
            await watch.until(lambda: watch.links[-1] == "up")

    anyio.run(main)
