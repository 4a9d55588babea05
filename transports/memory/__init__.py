"""The bus, the policy store and the lease in this process's memory.

The reference for what a transport promises (the Redis one answers alike, and the
same conformance checks run on both), and what backtests and campaigns run on.
Faults are put in by hand, on the `MemoryServer`.
"""

from __future__ import annotations

from holdfast.errors import ConfigError
from holdfast.ports import Clock, Entropy
from holdfast.url import Url

from .bus import MemoryBus
from .connection import MAX_IN_FLIGHT
from .event_log import STREAM_MAXLEN, EventLog
from .server import MemoryServer, MemoryServers
from .store import MemoryStore

__all__ = [
    "MAX_IN_FLIGHT",
    "STREAM_MAXLEN",
    "EventLog",
    "MemoryBus",
    "MemoryServer",
    "MemoryServers",
    "MemoryStore",
    "bus_factory",
    "store_factory",
]


def bus_factory(
    url: str | Url,
    *,
    clock: Clock,
    entropy: Entropy,
    server: MemoryServer | MemoryServers | None = None,
) -> MemoryBus:
    """`memory://NAME` as a bus. Without `server`, on one of its own."""
    return MemoryBus(_find(url, entropy, server))


def store_factory(
    url: str | Url,
    *,
    clock: Clock,
    entropy: Entropy,
    server: MemoryServer | MemoryServers | None = None,
) -> MemoryStore:
    """`memory://NAME` as policy and lease store. Without `server`, on one of its own."""
    return MemoryStore(_find(url, entropy, server), clock=clock)


def _find(
    url: str | Url, entropy: Entropy, server: MemoryServer | MemoryServers | None
) -> MemoryServer:
    text = url.reveal() if isinstance(url, Url) else url
    if not text.startswith("memory://"):
        raise ConfigError(f"{text.partition(':')[0]}: is not the scheme 'memory'")
    if isinstance(server, MemoryServers):
        return server.get(text.removeprefix("memory://"))
    return MemoryServer(entropy=entropy) if server is None else server
