"""The Redis transports pass the checks that are shipped for others, on every server found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from redis_rigs import Clients, ServerControl, batch, free_port_below

from holdfast.policy import Mode, Policy
from holdfast.transports import conformance
from holdfast.transports.redis import acl
from holdfast.transports.server import RedisServer, ServerBinary

pytestmark = [pytest.mark.anyio, pytest.mark.server]


DURABLE = {"appendfsync": "always"}
"""With `everysec` a busy disk lets a kill take what was acknowledged."""


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    return start_redis(appendonly=True, options=DURABLE)


@pytest.mark.parametrize("check", conformance.BUS_CHECKS)
async def test_bus(check: Any, clients: Clients) -> None:
    await check(clients.bus, ServerControl(clients.server))


@pytest.mark.parametrize("check", [*conformance.POLICY_CHECKS, *conformance.LEASE_CHECKS])
async def test_store(check: Any, clients: Clients) -> None:
    await check(clients.store, ServerControl(clients.server))


async def test_every_server_found(
    server_binaries: list[ServerBinary], start_redis: Callable[..., RedisServer]
) -> None:
    for binary in server_binaries:
        server = start_redis(binary, appendonly=True, options=DURABLE)
        clients, control = Clients(server), ServerControl(server)
        await conformance.check_bus(clients.bus, control)
        await conformance.check_policy_store(clients.store, control)
        await conformance.check_lease_store(clients.store, control)


class _AfterRestart(ServerControl):
    """Gives back what a test configured, which a restart forgets."""

    def __init__(self, server: RedisServer, *commands: tuple[str, ...]) -> None:
        super().__init__(server)
        self._commands = commands
        self._apply()

    async def start(self) -> None:
        await super().start()
        self._apply()

    async def wipe(self) -> None:
        await super().wipe()
        self._apply()

    def _apply(self) -> None:
        for words in self._commands:
            self._server.command(*words)


async def test_the_published_rights_are_enough(redis_server: RedisServer) -> None:
    user = ("ACL", "SETUSER", "trader", "reset", "on", ">secret", *acl.rules("x"))
    control = _AfterRestart(redis_server, user)
    url = f"redis://trader:secret@{redis_server.host}:{redis_server.port}/0?bot=x"
    clients = Clients(redis_server, url)
    await conformance.check_bus(clients.bus, control)
    await conformance.check_policy_store(clients.store, control)
    await conformance.check_lease_store(clients.store, control)


async def test_without_push_messages_the_heartbeat_sees_a_change(
    redis_server: RedisServer,
) -> None:
    rules = (*acl.rules("x"), "-client|tracking")
    control = _AfterRestart(
        redis_server, ("ACL", "SETUSER", "trader", "reset", "on", ">secret", *rules)
    )
    url = f"redis://trader:secret@{redis_server.host}:{redis_server.port}/0?bot=x"
    await conformance.check_policy_store(Clients(redis_server, url).store, control)


async def test_one_node_of_a_cluster(start_redis: Callable[..., RedisServer]) -> None:
    """All keys of a bot lie in one slot."""
    # The cluster bus listens at port + 10000.
    server = start_redis(port=free_port_below(55_000), options={"cluster-enabled": "yes"})
    server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    clients = Clients(server)
    bus, store = clients.bus(), clients.store()
    async with conformance.connected(bus), conformance.connected(store):
        position = await bus.position("p")
        assert (await bus.append(batch(position.lineage, 1, 3))).kind == "ok"
        assert await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        assert await store.acquire("a", ttl_seconds=5)


def test_on_uvloop(redis_server: RedisServer) -> None:
    pytest.importorskip("uvloop")
    clients, control = Clients(redis_server), ServerControl(redis_server)

    async def checks() -> None:
        await conformance.check_bus(clients.bus, control)
        await conformance.check_policy_store(clients.store, control)
        await conformance.check_lease_store(clients.store, control)

    anyio.run(checks, backend_options={"use_uvloop": True})
