"""Asks the servers behind bus and policy store about themselves."""

from __future__ import annotations

from typing import Any

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import Config
from holdfast.errors import LinkDown
from holdfast.ports import ServerReader

from .server_checks import ServerSeen


async def look_at_servers(config: Config) -> list[ServerSeen]:
    """One, where the policy is kept at the bus's address.

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
        store: object = registry.open_policy_store(
            config.policy.url, **given, **config.policy.options
        )
    seen = [await _look("bus", str(config.bus.url), bus)]
    if config.policy.url != config.bus.url:
        seen.append(await _look("policy", str(config.policy.url), store))
    return seen


async def _look(role: str, address: str, transport: object) -> ServerSeen:
    if not isinstance(transport, ServerReader):
        return ServerSeen(role, address, None)
    try:
        return ServerSeen(role, address, await transport.server_facts())
    except LinkDown as error:
        return ServerSeen(role, address, None, str(error))
