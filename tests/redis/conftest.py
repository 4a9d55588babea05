"""Clients of a private server, their watches, and the switch that breaks it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for redis_rigs

from redis_rigs import Clients

from holdfast.transports.server import RedisServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clients(redis_server: RedisServer) -> Clients:
    """Of `redis_server`."""
    return Clients(redis_server)
