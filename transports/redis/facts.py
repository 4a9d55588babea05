"""What a server says of itself: role, persistence, eviction, and what this user may do there.

Asked over a connection of its own, so that a look at a running bot's server disturbs
nothing. A server may refuse any of it (an ACL, a managed service without CONFIG); then that
is not known, which is no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

import hiredis

from holdfast.errors import LinkDown
from holdfast.ports import ServerFacts

from .address import Address
from .link import connect
from .wire import Wire
from .words import explain

_PINGS: Final = 5
_SETTINGS: Final = ("save", "appendfsync")
"""Those that INFO does not tell."""


async def read_facts(address: Address) -> ServerFacts:
    """:raises LinkDown: the server can not be reached, or does not let us in."""
    wire = await connect(address, tls=address.tls_context())
    try:
        async with asyncio.timeout(address.settings.connect_ms / 1000):
            return await _ask(wire, address)
    except TimeoutError:
        raise LinkDown(f"{wire.where}: no answer to a question about itself") from None
    finally:
        wire.lose("closed")


async def _ask(wire: Wire, address: Address) -> ServerFacts:
    time = asyncio.get_running_loop().time
    took_seconds = []
    for _ in range(_PINGS):
        began = time()
        await wire.request("PING")
        took_seconds.append(time() - began)
    # As the heartbeat does: it changes nothing, and needs all that a write needs.
    write = await wire.request("SETRANGE", address.key("probe"), 0, "", tolerant=True)
    script = await wire.request("EVAL", "return 1", 0, tolerant=True)
    tracking = await wire.request("CLIENT", "TRACKING", "ON", tolerant=True)
    told = parse_info(await wire.request("INFO", tolerant=True))
    settings: dict[str, str] = {}
    for name in _SETTINGS:
        settings |= _pairs(await wire.request("CONFIG", "GET", name, tolerant=True))
    return facts_of(
        told,
        settings,
        refuses_writes=explain(str(write)) if isinstance(write, hiredis.ReplyError) else "",
        runs_scripts=not isinstance(script, hiredis.ReplyError),
        pushes_changes=not isinstance(tracking, hiredis.ReplyError),
        round_trip_seconds=median(took_seconds),
        patience_seconds=address.settings.timeout_ms / 1000,
    )


def facts_of(told: Mapping[str, str], settings: Mapping[str, str], **more: Any) -> ServerFacts:
    """
    :param told: by INFO; empty: nothing was.
    :param settings: by CONFIG GET, as far as it was.
    """
    valkey = told.get("valkey_version")
    appends = told.get("aof_enabled")
    save = settings.get("save")
    last = [told.get(name) for name in ("rdb_last_bgsave_status", "aof_last_write_status")]
    return ServerFacts(
        product="valkey" if valkey else "redis",
        version=valkey or told.get("redis_version", ""),
        is_primary=None if "role" not in told else told["role"] == "master",
        appends=None if appends is None else appends == "1",
        sync=settings.get("appendfsync"),
        snapshots=None if save is None else bool(save),
        save_error=None if last == [None, None] else "err" in last,
        eviction=told.get("maxmemory_policy"),
        max_memory_bytes=_integer(told.get("maxmemory")),
        used_memory_bytes=_integer(told.get("used_memory")),
        **more,
    )


def parse_info(reply: Any) -> dict[str, str]:
    """The lines of INFO; nothing of a refusal."""
    if isinstance(reply, hiredis.ReplyError):
        return {}
    lines = _text(reply).splitlines()
    return {n: value for n, colon, value in (line.partition(":") for line in lines) if colon}


def _pairs(reply: Any) -> dict[str, str]:
    if not isinstance(reply, Mapping):
        return {}
    return {_text(name): _text(value) for name, value in reply.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
