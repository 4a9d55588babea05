"""A simulated exchange, like Binance's USDⓈ-M futures, and the clients that trade on it.

`core.SimulatedVenue` matches and keeps the accounts, `local` trades on it inside this
process (virtual time, backtests), `server` puts it behind HTTP and WebSocket in Binance's
wire format, `http` is a client of that server. `faults` breaks any of it on demand.

URLs: `sim://127.0.0.1:PORT` is a running server (`python -m holdfast.transports.sim`),
`sim://local` the core given as `core=` (or the line to it, as `line=`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from holdfast.errors import ConfigError
from holdfast.secret import Secret

from .core import SimulatedVenue
from .faults import Fault, VenueFaults
from .ledger import Holding
from .line import LocalLine
from .local import SimExecutionClient
from .records import OrderTicket, VenueOrder
from .rules import Market, VenueError

if TYPE_CHECKING:
    from holdfast.ports import Clock, Entropy, ExecutionClient, MarketData

__all__ = [
    "Fault",
    "Holding",
    "LocalLine",
    "Market",
    "OrderTicket",
    "SimExecutionClient",
    "SimulatedVenue",
    "VenueError",
    "VenueFaults",
    "VenueOrder",
    "factory",
    "market_factory",
]

DEFAULT_KEY = DEFAULT_SECRET = "demo"


def factory(
    url: str,
    *,
    clock: Clock,
    entropy: Entropy,
    name: str = "exchange",
    api_key: str | Secret | None = None,
    api_secret: str | Secret | None = None,
    stream_ping_seconds: float = 5.0,
    line: LocalLine | None = None,
    core: SimulatedVenue | None = None,
    latency_seconds: float = 0.0,
) -> ExecutionClient:
    """The execution client a `sim://` URL names.

    :param name: of the link, in reports.
    :param api_key, api_secret: of a server; else from the environment (HOLDFAST_SIM_KEY,
        HOLDFAST_SIM_SECRET), else the `key` of the URL, else "demo".
    :param stream_ping_seconds: how often a server's user stream is pinged.
    :param line, core: for `sim://local`: the line to a venue, or the venue alone.
    :param latency_seconds: for `sim://local`: from the client to the venue.
    :raises ConfigError: the URL names neither `local` nor host and port, or what it
        needs is missing.
    """
    _check_seconds("stream_ping_seconds", stream_ping_seconds)
    _check_seconds("latency_seconds", latency_seconds)
    if core is not None and not isinstance(core, SimulatedVenue):
        raise ConfigError(f"core: {core!r} is no SimulatedVenue")
    if line is not None and not isinstance(line, LocalLine):
        raise ConfigError(f"line: {line!r} is no LocalLine")
    parts = urlsplit(url)
    if parts.hostname == "local":
        if line is None:
            if core is None:
                raise ConfigError(f"{url}: give the venue as core= (a SimulatedVenue) or line=")
            line = LocalLine(core)
        return SimExecutionClient(line, name=name, latency_seconds=latency_seconds)
    address = _host_and_port(url)
    from .http import SimHttpExecutionClient

    in_url = parse_qs(parts.query).get("key", [DEFAULT_KEY])[-1]
    return SimHttpExecutionClient(
        f"http://{address}",
        key=_revealed(api_key) or os.environ.get("HOLDFAST_SIM_KEY") or in_url,
        secret=_revealed(api_secret) or os.environ.get("HOLDFAST_SIM_SECRET") or DEFAULT_SECRET,
        clock=clock,
        entropy=entropy,
        name=name,
        stream_ping_seconds=stream_ping_seconds,
    )


def market_factory(
    url: str, *, clock: Clock, entropy: Entropy, name: str = "market", ping_seconds: float = 5.0
) -> MarketData:
    """Market data of the running server that a `sim://host:port` URL names.

    :param name: of the link, in reports.
    :param ping_seconds: how often the streams are pinged.
    :raises ConfigError: the URL names no host and port.
    """
    from holdfast.transports.usdm.market import UsdmMarketData

    _check_seconds("ping_seconds", ping_seconds)
    address = _host_and_port(url)
    return UsdmMarketData(
        rest_url=f"http://{address}",
        market_url=f"ws://{address}/market",
        public_url=f"ws://{address}/public",
        clock=clock,
        entropy=entropy,
        name=name,
        ping_seconds=ping_seconds,
    )


def _host_and_port(url: str) -> str:
    """`127.0.0.1:8081` of `sim://127.0.0.1:8081?key=demo`. :raises ConfigError:"""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url}: {error}; give it as in sim://127.0.0.1:8081") from None
    if not host or port is None:
        raise ConfigError(f"{url}: give host and port, as in sim://127.0.0.1:8081")
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def _check_seconds(name: str, value: float) -> None:
    if not isinstance(value, (int, float)) or not 0 <= value <= 3600:
        raise ConfigError(f"{name}: {value!r} is not between 0 and 3600")


def _revealed(secret: str | Secret | None) -> str | None:
    return secret.reveal() if isinstance(secret, Secret) else secret
