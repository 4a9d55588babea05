"""`holdfast exchange`: the simulated exchange as a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from holdfast.transports.sim.__main__ import main, parse_arguments

from .output import json_option


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True)
@click.option("--key", envvar="HOLDFAST_SIM_KEY", default="demo", show_default=True)
@click.option("--secret", envvar="HOLDFAST_SIM_SECRET", default="demo", show_default=True)
@click.option("--deposit", type=click.IntRange(0), default=100_000, show_default=True, help="USDT.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random walk.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV rows symbol,price[,quantity] instead of the random walk.",
)
@click.option("--still", is_flag=True, help="Prices move by POST /control/price only.")
@click.option("--tick-seconds", type=click.FloatRange(0.001), default=0.1, show_default=True)
@json_option
def exchange(
    host: str,
    port: int,
    key: str,
    secret: str,
    deposit: int,
    seed: int,
    prices: Path | None,
    still: bool,
    tick_seconds: float,
    as_json: bool,
) -> None:
    """Run a futures exchange with Binance's wire format, for bots to trade against.

    Prints one JSON line with its address when it is ready. Ctrl-C ends it.
    """
    arguments = [f"--host={host}", f"--port={port}", f"--key={key}", f"--secret={secret}"]
    arguments += [f"--deposit={deposit}", f"--tick-seconds={tick_seconds}"]
    if prices is not None:
        arguments += ["--prices", str(prices)]
    elif not still:
        arguments += ["--prices", "random-walk", str(seed)]
    if not as_json:
        click.echo(f'configure it as: [exchange] url = "sim://{host}:{port or "PORT"}"', err=True)
    asyncio.run(main(parse_arguments(arguments)))
