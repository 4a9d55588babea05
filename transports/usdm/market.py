"""Live market data of a venue that speaks Binance's USDⓈ-M protocol.

One WebSocket carries bars, trades and the mark price, a second one the quotes (the venue
keeps its high-frequency book data apart). After a connection was lost every symbol is told
a `MarketGap`, then the bars that ended meanwhile, asked for over HTTP; only when they are
delivered is the link up again, so a strategy that computes over bars never has a hole in
them. Trades and quotes that were missed stay missed, and the gap says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

import aiohttp
import anyio
import msgspec
from aiohttp import WSMsgType

from holdfast.errors import LinkDown
from holdfast.market import INTERVALS, Bar, MarketEvent, MarketGap, Trade
from holdfast.ports import Clock, Entropy, MarketWatch, Subscription
from holdfast.silence import Silence

from .backoff import connect_socket, keep_connected
from .market_wire import Alive, Klines, read_klines, read_market_frame, stream_names
from .parameters import venue_name
from .session import HttpRequest, NoReply, NotSent, open_session, send
from .wire import silence_asked_for

REQUEST_SECONDS: Final = 5.0
PAGE: Final = 1000
"""Bars asked for at once; Binance allows 1500 at twice the weight ("Kline Data")."""
WINDOW_SECONDS: Final = 60.0
"""In which weight is counted: after a 429 that does not say how long to wait."""
MAX_MISSED_BARS: Final = 10_000
"""Of one symbol and interval that are asked for after an outage: a week of minutes. Older
ones stay missing, which the gap has told."""


class UsdmMarketData:
    """`ports.MarketData`.

    :param rest_url: `https://fapi.binance.com`.
    :param market_url, public_url: where the two kinds of streams are, without `/stream`.
    :param ping_seconds: interval of our pings; a dead peer is noticed in one and a half.
    """

    def __init__(
        self,
        *,
        rest_url: str,
        market_url: str,
        public_url: str,
        clock: Clock,
        entropy: Entropy,
        name: str = "market",
        ping_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self._rest_url = rest_url
        self._market_url = market_url
        self._public_url = public_url
        self._clock = clock
        self._entropy = entropy
        self._ping_seconds = ping_seconds
        self._names: dict[str, str] = {}
        self._newest_bar: dict[tuple[str, int], int] = {}
        """Opening time of the latest bar delivered, by symbol and length."""
        self._newest_trade: dict[str, int] = {}
        self._heard_ms: dict[str, int] = {}
        self._silence = Silence(clock.monotonic)
        self._open_session: aiohttp.ClientSession | None = None

    # --- the port --------------------------------------------------------------------

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None:
        """See `ports.MarketData`."""
        self._names = {venue_name(symbol): symbol for symbol in subscription.symbols}
        try:
            await keep_connected(
                partial(self._live, watch, subscription),
                on_up=watch.up,
                on_down=watch.down,
                entropy=self._entropy,
            )
        finally:
            if self._open_session is not None:
                with anyio.CancelScope(shield=True):
                    await self._open_session.close()
                self._open_session = None

    async def probe(self) -> None:
        """:raises LinkDown:"""
        await self._get("/fapi/v1/ping", REQUEST_SECONDS)

    async def bars(
        self, symbol: str, *, interval: str, limit: int, timeout_seconds: float
    ) -> list[Bar]:
        """See `ports.MarketData`."""
        interval_ms = INTERVALS[interval]
        since_ms = self._now_ms() - (limit + 1) * interval_ms
        with anyio.move_on_after(timeout_seconds) as scope:
            found, _ = await self._bars_since(symbol, interval, since_ms=since_ms)
        if scope.cancelled_caught:
            raise LinkDown(f"{self.name}: no answer in {timeout_seconds:g} s")
        return found[-limit:]

    # --- one connection --------------------------------------------------------------

    async def _live(
        self, watch: MarketWatch, subscription: Subscription, up: Callable[[], None]
    ) -> str:
        """One connection, from its beginning to its end; returns why it ended.

        :raises LinkDown: the venue could not be asked for what was missed, or may not be asked.
        """
        self._refuse_in_silence()
        ended: list[str] = []
        market = stream_names(
            list(self._names), intervals=subscription.intervals, trades=subscription.trades
        )
        quotes = [f"{name.lower()}@bookTicker" for name in self._names]
        urls = [f"{self._market_url}/stream?streams={'/'.join(market)}"]
        if subscription.quotes:
            urls.append(f"{self._public_url}/stream?streams={'/'.join(quotes)}")
        sockets: list[aiohttp.ClientWebSocketResponse] = []
        try:
            for url in urls:  # each is to be closed if the next one fails
                sockets.append(  # noqa: PERF401
                    await connect_socket(self._session(), url, ping_seconds=self._ping_seconds)
                )
            await self._make_up(watch, subscription)
            up()
            async with anyio.create_task_group() as reading:

                async def until_lost(socket: aiohttp.ClientWebSocketResponse) -> None:
                    try:
                        await self._read(socket, watch)
                    except LinkDown as lost:  # one of them is enough: the others end with it
                        ended.append(str(lost))
                        reading.cancel_scope.cancel()

                for socket in sockets:
                    reading.start_soon(until_lost, socket)
        finally:
            with anyio.CancelScope(shield=True):
                for socket in sockets:
                    await socket.close()
        return ended[0]

    async def _make_up(self, watch: MarketWatch, subscription: Subscription) -> None:
        """After an interruption: say that there was one, then the bars that ended meanwhile."""
        for symbol, heard_ms in self._heard_ms.items():
            watch.event(MarketGap(symbol, heard_ms, "the stream was interrupted"))
        self._newest_trade.clear()
        for symbol in subscription.symbols:
            for interval in subscription.intervals:
                interval_ms = INTERVALS[interval]
                newest_ms = self._newest_bar.get((symbol, interval_ms))
                if newest_ms is None:
                    continue
                since_ms = max(newest_ms + 1, self._now_ms() - MAX_MISSED_BARS * interval_ms)
                ended, going_ms = await self._bars_since(symbol, interval, since_ms=since_ms)
                for bar in ended:
                    self._deliver_bar(watch, bar)
                if going_ms is not None:  # what is not there before it, the venue does not have
                    key = (symbol, interval_ms)
                    self._newest_bar[key] = max(self._newest_bar[key], going_ms - interval_ms)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, watch: MarketWatch) -> NoReturn:
        """:raises LinkDown: always, in the end."""
        while True:
            message = await socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                try:
                    read = read_market_frame(message.data, self._names.__getitem__)
                except (msgspec.DecodeError, KeyError) as error:
                    raise LinkDown(f"a frame could not be read: {error}") from None
                if isinstance(read, Alive):
                    self._miss_none(read.symbol, read.interval_ms, read.time_ms)
                    watch.alive(read.symbol)
                elif read is not None:
                    self._deliver(watch, read)
            elif message.type is WSMsgType.ERROR:
                raise LinkDown(f"the connection broke: {type(message.data).__name__}")
            else:
                raise LinkDown(f"the venue closed the stream ({socket.close_code})")

    def _deliver(self, watch: MarketWatch, event: MarketEvent) -> None:
        """Hand over what is new; what was delivered already is not told twice.

        :raises LinkDown: as of `_miss_none`.
        """
        match event:
            case Bar():
                self._miss_none(event.symbol, event.interval_ms, event.time_ms)
                self._deliver_bar(watch, event)
                return
            case Trade():
                newest = self._newest_trade.get(event.symbol, event.trade_id - 1)
                if event.trade_id <= newest:
                    return
                self._newest_trade[event.symbol] = event.trade_id
                if missed := event.trade_id - newest - 1:
                    heard_ms = self._heard_ms[event.symbol]
                    watch.event(MarketGap(event.symbol, heard_ms, f"{missed} trades missed"))
        self._heard_ms[event.symbol] = event.time_ms
        watch.event(event)

    def _miss_none(self, symbol: str, interval_ms: int, time_ms: int) -> None:
        """
        :raises LinkDown: a bar is missing before this one, which has ended or goes on. The next
            connection begins by asking for it, and takes the venue's answer for complete.
        """
        newest_ms = self._newest_bar.get((symbol, interval_ms))
        if newest_ms is not None and time_ms > newest_ms + interval_ms:
            raise LinkDown(f"a bar of {symbol} is missing")

    def _deliver_bar(self, watch: MarketWatch, bar: Bar) -> None:
        key = (bar.symbol, bar.interval_ms)
        if bar.time_ms > self._newest_bar.get(key, -1):
            self._newest_bar[key] = bar.time_ms
            self._heard_ms[bar.symbol] = bar.time_ms
            watch.event(bar)

    # --- HTTP ------------------------------------------------------------------------

    async def _bars_since(self, symbol: str, interval: str, *, since_ms: int) -> Klines:
        """Bars that opened at or after `since_ms`. :raises LinkDown:"""
        interval_ms = INTERVALS[interval]
        found: list[Bar] = []
        while True:
            # No more than there can be: the weight grows with the limit.
            limit = min(PAGE, max(0, self._now_ms() - since_ms) // interval_ms + 3)
            path = (
                f"/fapi/v1/klines?symbol={venue_name(symbol)}&interval={interval}"
                f"&startTime={since_ms}&limit={limit}"
            )
            body = await self._get(path, REQUEST_SECONDS)
            try:
                page = read_klines(
                    body, symbol=symbol, interval_ms=interval_ms, now_ms=self._now_ms()
                )
            except msgspec.DecodeError as error:
                raise LinkDown(f"{self.name}: klines can not be read: {error}") from None
            found += page.ended
            if len(page.ended) < limit - 1:  # the last of a full page may not have ended yet
                return Klines(found, page.going_ms)
            since_ms = page.ended[-1].time_ms + 1

    async def _get(self, path: str, timeout_seconds: float) -> bytes:
        """:raises LinkDown: no answer, or another than 200, or the venue wants to be left alone."""
        self._refuse_in_silence()
        try:
            reply = await send(
                self._session(),
                HttpRequest("GET", self._rest_url + path),
                timeout_seconds=timeout_seconds,
            )
        except (NotSent, NoReply) as error:
            raise LinkDown(f"{self.name}: {error}") from None
        if reply.status != 200:
            seconds, code = silence_asked_for(reply, now_ms=self._now_ms())
            if reply.status == 429 and not seconds:
                seconds = WINDOW_SECONDS
            if seconds:
                self._silence.keep(seconds)
            raise LinkDown(f"{self.name}: HTTP {reply.status}, {code}")
        return reply.body

    def _refuse_in_silence(self) -> None:
        """:raises LinkDown: the venue has asked for it. A ban is of the address, orders and all."""
        if self._silence.seconds:
            raise LinkDown(f"{self.name}: {self._silence.reason}")

    def _session(self) -> aiohttp.ClientSession:
        if self._open_session is None:
            self._open_session = open_session(max_connections=10)
        return self._open_session

    def _now_ms(self) -> int:
        return self._clock.time_ns() // 1_000_000
