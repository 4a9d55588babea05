"""A simulated exchange, like Binance's USDⓈ-M futures, and the clients that trade on it.

`core.SimulatedVenue` matches and keeps the accounts, `local` trades on it inside this
process (virtual time, backtests), `server` puts it behind HTTP and WebSocket in Binance's
wire format, `http` is a client of that server. `faults` breaks any of it on demand.

URLs: `sim://127.0.0.1:PORT` is a running server (`python -m holdfast.transports.sim`),
`sim://local` the core given as `core=` (or the line to it, as `line=`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from holdfast.errors import ConfigError

from .core import SimulatedVenue
from .faults import Fault, VenueFaults
from .ledger import Holding
from .local import LocalLine, SimExecutionClient
from .records import OrderTicket, VenueOrder
from .rules import Market, VenueError

if TYPE_CHECKING:
    from holdfast.ports import Clock, Entropy, ExecutionClient

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
]

DEFAULT_KEY = DEFAULT_SECRET = "demo"


def factory(url: str, *, clock: Clock, entropy: Entropy, **settings: Any) -> ExecutionClient:
    """The execution client a `sim://` URL names.

    :param settings: for `sim://local`: `core` or `line`, `latency_seconds`. For a server:
        `key` and `secret`, else from the environment (HOLDFAST_SIM_KEY,
        HOLDFAST_SIM_SECRET), else the key in the URL, else "demo". For both: `name`.
    :raises ConfigError: a setting is missing or unknown.
    """
    parts = urlsplit(url)
    name = str(settings.pop("name", "exchange"))
    if parts.hostname == "local":
        client: ExecutionClient = _local(url, name, settings)
    else:
        client = _http(url, name, settings, clock=clock, entropy=entropy)
    if settings:
        raise ConfigError(f"{url}: unknown setting {', '.join(sorted(settings))}")
    return client


def _local(url: str, name: str, settings: dict[str, Any]) -> ExecutionClient:
    line = settings.pop("line", None)
    core = settings.pop("core", None)
    if line is None:
        if core is None:
            raise ConfigError(f"{url}: give the venue as core= (a SimulatedVenue) or line=")
        line = LocalLine(core)
    latency_seconds = float(settings.pop("latency_seconds", 0.0))
    return SimExecutionClient(line, name=name, latency_seconds=latency_seconds)


def _http(
    url: str, name: str, settings: dict[str, Any], *, clock: Clock, entropy: Entropy
) -> ExecutionClient:
    from .http import SimHttpExecutionClient

    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from None
    if not host or port is None:
        raise ConfigError(f"{url}: give host and port, as in sim://127.0.0.1:8081")
    in_url = parse_qs(parts.query).get("key", [DEFAULT_KEY])[-1]
    key = settings.pop("key", None) or os.environ.get("HOLDFAST_SIM_KEY") or in_url
    secret = settings.pop("secret", None) or os.environ.get("HOLDFAST_SIM_SECRET") or DEFAULT_SECRET
    return SimHttpExecutionClient(
        f"http://{host}:{port}", key=key, secret=secret, clock=clock, entropy=entropy, name=name
    )
