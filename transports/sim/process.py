"""The simulated exchange as a process of its own: what `holdfast exchange` runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Final

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import ConfigError
from holdfast.marketdata import DataError

from . import slippage
from .core import SimulatedVenue
from .feed import PAST_TICK_MS, START_PRICES, FeedTick, play, recorded, remember, walk
from .limits import REAL, UNLIMITED, Limits
from .market import MarketData
from .server import VenueServer
from .tape import MINUTE_MS

WALK_HISTORY_MINUTES: Final = 1500
"""Past of a walk: as many one-minute candles as one request may ask for."""
STATUS_SECONDS: Final = 1.0
_LIMIT_NAMES: Final = {
    "weight": "weight_per_minute",
    "orders10s": "orders_per_ten_seconds",
    "orders1m": "orders_per_minute",
    "open": "open_orders",
    "messages": "messages_per_second",
}


@dataclass(frozen=True, kw_only=True)
class ExchangeOptions:
    """
    :ivar port: 0: any free one.
    :ivar walk_seed: prices walk by themselves; None: they do not.
    :ivar data: recorded prices, by market.
    :ivar speed: of recorded data.
    :ivar history_minutes: how much of the data, or of a walk, is the past; None: 1500 of a
        walk, none of data.
    :ivar tick_seconds: between the steps of a walk.
    :ivar depth_quantity: base units at each tick that a taker finds; None: all at the best.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str = "demo"
    secret: str = field(default="demo", repr=False)
    deposit: Decimal = Decimal(100_000)
    hedge_mode: bool = False
    walk_seed: int | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    speed: float = 1.0
    history_minutes: int | None = None
    tick_seconds: float = 0.1
    depth_quantity: Decimal | None = None
    limits: Limits = REAL


@dataclass(frozen=True, slots=True)
class Status:
    """How a running exchange stands.

    :ivar ended: the recorded data has come to its end; prices stand still.
    """

    prices: dict[str, Decimal]
    orders: int
    open_orders: int
    wallet: Decimal
    positions: dict[str, Decimal]
    requests: int
    connections: int
    ended: bool


def read_limits(text: str) -> Limits:
    """`real`, `off`, or some of Binance's changed: `weight=6000,orders10s=1000`.

    Names: weight, orders10s, orders1m, open, messages.

    :raises ConfigError: none of these.
    """
    if text == "real":
        return REAL
    if text == "off":
        return UNLIMITED
    values: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in _LIMIT_NAMES or not number.isdecimal() or not int(number):
            raise ConfigError(
                f"limits: {part!r} is none; give real, off, or numbers as in"
                f" weight=6000,orders10s=1000 (there are {', '.join(_LIMIT_NAMES)})"
            )
        values[_LIMIT_NAMES[name]] = int(number)
    return Limits(**values)


def read_data(text: str) -> tuple[str, Path]:
    """`[SYMBOL=]FILE`; without a symbol the market that the file's name begins with, else BTCUSDT.

    :raises ConfigError: there is no such market.
    """
    name, equals, file = text.partition("=")
    if not equals:
        name, file = "", text
        upper = Path(file).name.upper().replace("_", "")
        name = next((known for known in START_PRICES if upper.startswith(known)), "BTCUSDT")
    if name.upper() not in START_PRICES:
        raise ConfigError(f"data: {name} is not listed; there are {', '.join(START_PRICES)}")
    return name.upper(), Path(file)


async def run_exchange(
    options: ExchangeOptions,
    *,
    ready: Callable[[str, int], object],
    told: Callable[[Status], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    :param ready: called with host and port once it listens.
    :param told: called with the status about every second.
    :raises OSError: the address is taken.
    :raises DataError: a data file can not be used.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    clock = SystemClock()
    venue = SimulatedVenue(
        time_ns=clock.time_ns,
        deposit=options.deposit,
        hedge_mode=options.hedge_mode,
        depth=None if options.depth_quantity is None else slippage.linear(options.depth_quantity),
    )
    market = MarketData(venue)
    feed = _feed(options, market)
    server = VenueServer(
        venue,
        key=options.key,
        secret=options.secret,
        entropy=SystemEntropy(),
        market=market,
        limits=options.limits,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with server.serve(options.host, options.port) as port:
        player = asyncio.create_task(_play(market, feed, options), name="price feed")
        stopped = asyncio.create_task(ended.wait(), name="signals")
        watch = asyncio.create_task(_watch(server, player, told), name="status")
        try:
            ready(options.host, port)
            await asyncio.wait((player, stopped), return_when=asyncio.FIRST_COMPLETED)
            if player.done():
                player.result()  # an end of the data is no end of the venue, an error is
            await stopped
        finally:
            for task in (player, stopped, watch):
                task.cancel()
            await asyncio.gather(player, stopped, watch, return_exceptions=True)


def _feed(options: ExchangeOptions, market: MarketData) -> list[FeedTick] | chain[FeedTick]:
    """All first prices are set, and the past is on the tapes, when this returns."""
    venue = market.venue
    markets = {name: book.market for name, book in venue.books.items()}
    now_ms = venue.now_ms()
    first = {name: Decimal(price) for name, price in START_PRICES.items()}
    head: list[FeedTick] = []
    rest: chain[FeedTick] = chain()
    if options.data:
        source = recorded(options.data, markets)
        history_ms = (options.history_minutes or 0) * MINUTE_MS
        began = remember(market, source, history_ms, now_ms)
        if began is None:
            raise DataError(
                f"history: all of the data lies in its first {options.history_minutes} minutes;"
                " give fewer"
            )
        head, rest = [began], chain(source)
        first |= _newest(market)
        first[began.symbol] = began.price
    elif options.walk_seed is not None:
        minutes = options.history_minutes
        minutes = WALK_HISTORY_MINUTES if minutes is None else minutes
        past = walk(options.walk_seed, markets, first, PAST_TICK_MS)
        remember(market, past, minutes * MINUTE_MS, now_ms)
        first |= _newest(market)
        interval_ms = max(1, round(options.tick_seconds * 1000))
        rest = chain(walk(options.walk_seed + 1, markets, first, interval_ms))
    spread = 1 if options.data or options.walk_seed is not None else 0
    for name, price in first.items():
        market.trade(name, price, spread=spread)
    return chain(head, rest)


def _newest(market: MarketData) -> dict[str, Decimal]:
    return {name: tape.last.price for name, tape in market.tapes.items() if tape.last is not None}


async def _play(
    market: MarketData, feed: list[FeedTick] | chain[FeedTick], options: ExchangeOptions
) -> None:
    await play(market, feed, speed=options.speed if options.data else 1.0)


async def _watch(
    server: VenueServer, player: asyncio.Task[None], told: Callable[[Status], object] | None
) -> None:
    while told is not None:
        venue = server.venue
        described = server.describe()
        told(
            Status(
                prices={n: b.last for n, b in venue.books.items() if b.last is not None},
                orders=len(venue.order_log),
                open_orders=len(venue.open_orders()),
                wallet=venue.wallet_balance,
                positions={book.market.name: h.quantity for book, _, h in venue.positions()},
                requests=described["requests"],
                connections=described["connections"],
                ended=player.done(),
            )
        )
        await asyncio.sleep(STATUS_SECONDS)
