"""`python -m holdfast.transports.sim`: the exchange as tests and the drill start it.

The same as `holdfast exchange`, except for its defaults: prices stand still until told by
`POST /control/price`, and nothing is limited. Prints one JSON line with its port when it is
ready, and ends on SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from decimal import Decimal

from .process import ExchangeOptions, read_data, read_limits, run_exchange


def print_ready(host: str, port: int) -> None:
    sys.stdout.write(json.dumps({"host": host, "port": port}) + "\n")
    sys.stdout.flush()


def parse_arguments(arguments: list[str] | None = None) -> ExchangeOptions:
    parser = argparse.ArgumentParser(prog="python -m holdfast.transports.sim", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key", default="demo")
    parser.add_argument("--secret", default="demo")
    parser.add_argument("--deposit", type=Decimal, default=Decimal(100_000), help="USDT")
    parser.add_argument("--walk", type=int, metavar="SEED", help="prices walk by themselves")
    parser.add_argument("--tick-seconds", type=float, default=0.1, help="steps of the walk")
    parser.add_argument("--data", action="append", default=[], metavar="[SYMBOL=]FILE")
    parser.add_argument("--speed", type=float, default=1.0, help="of the data")
    parser.add_argument("--history", type=int, metavar="MINUTES")
    parser.add_argument("--limits", default="off", metavar="real|off|weight=N,orders10s=N,…")
    given = parser.parse_args(arguments)
    return ExchangeOptions(
        host=given.host,
        port=given.port,
        key=given.key,
        secret=given.secret,
        deposit=given.deposit,
        walk_seed=given.walk,
        data=dict(map(read_data, given.data)),
        speed=given.speed,
        history_minutes=given.history,
        tick_seconds=given.tick_seconds,
        limits=read_limits(given.limits),
    )


if __name__ == "__main__":
    asyncio.run(run_exchange(parse_arguments(), ready=print_ready))
