"""Asks the servers behind bus and policy store about themselves, and which policy is kept."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import anyio

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import Config
from holdfast.errors import LinkDown, PolicyUnreadable
from holdfast.ports import PolicyStore, ServerReader

from .server_checks import PolicySeen, ServerSeen

POLICY_SECONDS: Final = 5.0


class Seen(NamedTuple):
    """
    :ivar servers: one, where the policy is kept at the bus's address.
    """

    servers: list[ServerSeen]
    policy: PolicySeen


class _Watch:
    """Waits for the store's connection. Satisfies `ports.PolicyWatch`."""

    def __init__(self) -> None:
        self.connected = anyio.Event()

    def up(self) -> None:
        self.connected.set()

    def down(self, reason: str) -> None:
        """The server's own checks tell it."""

    def changed(self) -> None:
        """It is read once."""


async def look_at_servers(config: Config) -> Seen:
    """
    :raises ConfigError: an address or an option can not be used.
    """
    given: dict[str, Any] = {
        "clock": SystemClock(),
        "entropy": SystemEntropy(),
        "bot": config.settings.bot,
    }
    with config.bus.named_in_errors():
        bus: object = registry.open_bus(config.bus.url, **given, **config.bus.options)
    with config.policy.named_in_errors():
        store = registry.open_policy_store(config.policy.url, **given, **config.policy.options)
    seen = [await _look("bus", str(config.bus.url), bus)]
    if config.policy.url != config.bus.url:
        seen.append(await _look("policy", str(config.policy.url), store))
    if any(server.problem for server in seen):
        return Seen(seen, PolicySeen(problem="the server can not be reached"))
    return Seen(seen, await _read_policy(store))


async def _read_policy(store: PolicyStore) -> PolicySeen:
    watch = _Watch()
    seen = PolicySeen(problem="the store can not be reached")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run, watch)
        with anyio.move_on_after(POLICY_SECONDS):
            await watch.connected.wait()
            try:
                stored = await store.read()
                seen = PolicySeen(None if stored is None else stored.policy)
            except PolicyUnreadable as error:
                seen = PolicySeen(unreadable=str(error))
            except LinkDown as error:
                seen = PolicySeen(problem=str(error))
        tasks.cancel_scope.cancel()
    return seen


async def _look(role: str, address: str, transport: object) -> ServerSeen:
    if not isinstance(transport, ServerReader):
        return ServerSeen(role, address, None)
    try:
        return ServerSeen(role, address, await transport.server_facts())
    except LinkDown as error:
        return ServerSeen(role, address, None, str(error))
