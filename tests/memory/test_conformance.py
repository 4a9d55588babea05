"""The in-memory transports pass the checks that are shipped for others."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.clock import SystemClock
from holdfast.transports import conformance
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class MemoryControl:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def stop(self) -> None:
        self._server.down()

    async def start(self) -> None:
        self._server.up()

    async def refuse_writes(self) -> None:
        self._server.down("it became a replica")

    async def accept_writes(self) -> None:
        self._server.up()

    async def wipe(self) -> None:
        self._server.down()
        self._server.wipe()
        self._server.up()


@pytest.fixture(params=[0.0, 0.001], ids=["at once", "1 ms"])
def server(request: pytest.FixtureRequest) -> MemoryServer:
    return MemoryServer(latency_seconds=request.param)


@pytest.mark.parametrize("check", conformance.BUS_CHECKS)
async def test_bus(check: Any, server: MemoryServer) -> None:
    await check(lambda: MemoryBus(server), MemoryControl(server))


@pytest.mark.parametrize("check", [*conformance.POLICY_CHECKS, *conformance.LEASE_CHECKS])
async def test_store(check: Any, server: MemoryServer) -> None:
    await check(lambda: MemoryStore(server, clock=SystemClock()), MemoryControl(server))


async def test_all_at_once(server: MemoryServer) -> None:
    control = MemoryControl(server)
    await conformance.check_bus(lambda: MemoryBus(server), control)
    await conformance.check_policy_store(lambda: MemoryStore(server, clock=SystemClock()), control)
    await conformance.check_lease_store(lambda: MemoryStore(server, clock=SystemClock()), control)
