"""`python -m holdfast.transports.sim`: the simulated exchange as a process of its own.

Prints one JSON line with its port when it is ready, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import signal
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.simulation import SeededEntropy

from .core import SimulatedVenue
from .server import VenueServer

START_PRICES: Final = {"BTCUSDT": "64000", "ETHUSDT": "3200", "SOLUSDT": "150"}
"""Where prices stand before the first tick."""
_WALK_PER_TICK: Final = Decimal("0.0002")
"""Largest step of the random walk, as a fraction of the price."""

Tick = tuple[str, Decimal, Decimal | None]


def random_walk(seed: int) -> Iterator[Tick]:
    """Every symbol in turn, a small step up or down, for ever."""
    entropy = SeededEntropy(seed)
    venue = SimulatedVenue(time_ns=lambda: 0)
    prices = {name: Decimal(price) for name, price in START_PRICES.items()}
    while True:
        for name, price in prices.items():
            step = venue.book(name).market.price_step
            drift = Decimal(entropy.randbits(16) - 32768) / 32768 * _WALK_PER_TICK
            prices[name] = max(step, (price * (1 + drift) / step).to_integral_value() * step)
            yield name, prices[name], None


def from_file(path: Path) -> Iterator[Tick]:
    """Rows `symbol,price[,quantity]` of a CSV file without a header, once."""
    with path.open(newline="") as lines:
        for row in csv.reader(lines):
            quantity = Decimal(row[2]) if len(row) > 2 and row[2] else None
            yield row[0], Decimal(row[1]), quantity


async def play(venue: SimulatedVenue, ticks: Iterator[Tick], tick_seconds: float) -> None:
    for symbol, price, quantity in ticks:
        venue.on_price(symbol, price, quantity)
        await asyncio.sleep(tick_seconds)


async def main(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    venue = SimulatedVenue(time_ns=SystemClock().time_ns, deposit=Decimal(options.deposit))
    for name, price in START_PRICES.items():
        venue.on_price(name, Decimal(price))
    server = VenueServer(venue, key=options.key, secret=options.secret, entropy=SystemEntropy())
    async with server.serve(options.host, options.port) as port, asyncio.TaskGroup() as tasks:
        player: asyncio.Task[None] | None = None
        if options.prices:
            ticks = (
                random_walk(int(options.prices[1]) if len(options.prices) > 1 else 0)
                if options.prices[0] == "random-walk"
                else from_file(Path(options.prices[0]))
            )
            player = tasks.create_task(play(venue, ticks, options.tick_seconds))
        sys.stdout.write(json.dumps({"host": options.host, "port": port}) + "\n")
        sys.stdout.flush()
        await ended.wait()
        if player is not None:
            player.cancel()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m holdfast.transports.sim", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default="demo")
    parser.add_argument("--secret", default="demo")
    parser.add_argument("--deposit", default="100000", help="USDT in the wallet")
    parser.add_argument(
        "--prices",
        nargs="+",
        metavar=("random-walk SEED | FILE", ""),
        help="move prices by themselves; without it they move by POST /control/price only",
    )
    parser.add_argument("--tick-seconds", type=float, default=0.1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments()))
