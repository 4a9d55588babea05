"""`holdfast exchange`: the simulated exchange as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import click

from holdfast.errors import ConfigError
from holdfast.transports.sim.__main__ import print_ready
from holdfast.transports.sim.process import (
    ExchangeOptions,
    Status,
    read_data,
    read_limits,
    run_exchange,
)

from .output import json_option


def _reading(read: Callable[[str], Any]) -> Callable[[Any, Any, Any], Any]:
    """A callback that reads a value, or a tuple of them."""

    def callback(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
        try:
            return tuple(map(read, value)) if isinstance(value, tuple) else read(value)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None

    return callback


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option("--key", envvar="HOLDFAST_SIM_KEY", default="demo", show_default=True)
@click.option("--secret", envvar="HOLDFAST_SIM_SECRET", default="demo", show_default=True)
@click.option("--deposit", type=click.IntRange(0), default=100_000, show_default=True, help="USDT.")
@click.option("--hedge", is_flag=True, help="Start in hedge mode (LONG and SHORT positions).")
@click.option(
    "--walk",
    type=int,
    default=0,
    show_default=True,
    metavar="SEED",
    help="Prices walk by themselves, the same for the same seed.",
)
@click.option(
    "--data",
    multiple=True,
    callback=_reading(read_data),
    metavar="[SYMBOL=]FILE",
    help="Recorded prices instead: Binance kline, trade or aggTrade dump (csv, zip), OHLCV (csv, "
    "csv.gz, parquet), freqtrade feather. May be repeated for other markets.",
)
@click.option("--still", is_flag=True, help="Prices move by POST /control/price only.")
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="60: an hour of the data in a minute.",
)
@click.option(
    "--history",
    type=click.IntRange(0, 50_000),
    metavar="MINUTES",
    help="So much of the data is the past when it opens (candles). Default: none of data, 1500 "
    "of a walk.",
)
@click.option("--tick-seconds", type=click.FloatRange(0.001), default=0.1, show_default=True)
@click.option(
    "--depth",
    "depth_quantity",
    type=click.FloatRange(0, min_open=True),
    metavar="QUANTITY",
    help="What takers find at each price, in base units. Without it: all at the best price.",
)
@click.option(
    "--limits",
    default="real",
    show_default=True,
    callback=_reading(read_limits),
    metavar="real|off|weight=N,…",
    help="Request weights and order counts: Binance's, none, or some changed (weight, orders10s, "
    "orders1m, open, messages).",
)
@json_option
def exchange(
    host: str,
    port: int,
    key: str,
    secret: str,
    deposit: int,
    hedge: bool,
    walk: int,
    data: tuple[tuple[str, Any], ...],
    still: bool,
    speed: float,
    history: int | None,
    tick_seconds: float,
    depth_quantity: float | None,
    limits: Any,
    as_json: bool,
) -> None:
    """Run a futures exchange with Binance's wire format, for bots to trade against.

    Any client of Binance's USDⓈ-M futures can trade there, for paper: point its REST
    address at http://HOST:PORT, its streams at ws://HOST:PORT and its WebSocket API at
    ws://HOST:PORT/ws-fapi/v1, with the key and the secret given here. GET /control says
    how prices are moved and faults are injected.

    With --json it prints one JSON line with its port when it is ready. Ctrl-C ends it.
    """
    if still and data:
        raise click.UsageError("give either --still or --data")
    options = ExchangeOptions(
        host=host,
        port=port,
        key=key,
        secret=secret,
        deposit=Decimal(deposit),
        hedge_mode=hedge,
        walk_seed=None if still or data else walk,
        data=dict(data),
        speed=speed,
        history_minutes=history,
        tick_seconds=tick_seconds,
        depth_quantity=None if depth_quantity is None else Decimal(repr(depth_quantity)),
        limits=limits,
    )
    if as_json:
        asyncio.run(run_exchange(options, ready=print_ready))
        return
    line = StatusLine() if sys.stderr.isatty() else None
    try:
        asyncio.run(run_exchange(options, ready=_greet, told=None if line is None else line.show))
    finally:
        if line is not None:
            line.end()


def _greet(host: str, port: int) -> None:
    click.echo(f"REST          http://{host}:{port}")
    click.echo(f"streams       ws://{host}:{port}")
    click.echo(f"WebSocket API ws://{host}:{port}/ws-fapi/v1")
    click.echo(f'holdfast      url = "sim://{host}:{port}"')
    click.echo(f"control       http://{host}:{port}/control")


class StatusLine:
    """One line on a terminal, written anew each time."""

    def show(self, status: Status) -> None:
        parts = [
            "  ".join(f"{name.removesuffix('USDT')} {p:,}" for name, p in status.prices.items()),
            f"{status.orders} orders ({status.open_orders} open)",
            f"wallet {status.wallet:,.2f}",
            *(f"{name} {quantity:+}" for name, quantity in status.positions.items()),
            f"{status.requests:,} requests",
            f"{status.connections} streams",
        ]
        if status.ended:
            parts.append("data ended")
        self._write(" | ".join(parts))

    def end(self) -> None:
        self._write("stopped\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
