"""Reading the bus from the start or from a known entry, without losing one.

Ids are times, so after a flush or a restart with older data the new entries may have
ids below the cursor (the clock went back, another host's clock is behind). Two
questions guard against that. On a new connection: is the newest entry older than the
cursor? Then the data were rolled back. With every page: under which lineage was it
read? It is asked *behind* the read in the same pipeline, so an unchanged answer holds
for the page. Reading again what was seen is harmless: `Delivery` drops it, but for what
lies before the `after` of this subscription, which comes again after a loss of data.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from holdfast.errors import ConfigError, LinkDown
from holdfast.ports import BusEntry, Entropy
from holdfast.transports.delivery import Delivery

from .address import Address
from .entries import decode_entry
from .link import BACKOFF_MAX_SECONDS, connect
from .wire import Wire

_START: Final = "0-0"
_PAGE: Final = 500
_BLOCK_MS: Final = 1000


async def subscribe(
    address: Address,
    *,
    after: str | None,
    events_key: str,
    progress_key: str,
    entropy: Entropy,
) -> AsyncGenerator[BusEntry, None]:
    """Each entry after `after`, in order, until the iterator is closed.

    Never raises for a lost connection: it waits for the server and goes on.
    """
    cursor = _START if after is None else after
    _order(cursor)
    delivery = Delivery()
    lineage: bytes | None = None
    tls = address.tls_context()
    while True:
        try:
            wire = await connect(address, tls=tls)
        except LinkDown:
            await _pause(entropy)
            continue
        try:
            newest = await wire.request("XREVRANGE", events_key, "+", "-", "COUNT", 1)
            newest_id = newest[0][0].decode() if newest else _START
            if _order(newest_id) < _order(cursor):
                # Not to the newest: entries may have been added since the data came back.
                cursor = _START
            while True:
                page, read_lineage = await _read(
                    wire, events_key, progress_key, cursor, address.settings.timeout_ms
                )
                if lineage is not None and read_lineage != lineage:
                    # Not the data that the cursor is a place in.
                    lineage, cursor = read_lineage, _START
                    continue
                lineage = read_lineage
                for raw_id, fields in page:
                    cursor = raw_id.decode()
                    entry = decode_entry(raw_id, fields)
                    if entry is None:
                        continue
                    for admitted in delivery.admit(entry):
                        yield admitted
        except LinkDown:
            await _pause(entropy)
        finally:
            wire.lose("closed")


async def _read(
    wire: Wire, events_key: str, progress_key: str, cursor: str, timeout_ms: int
) -> tuple[list[Any], bytes | None]:
    read = wire.request("XREAD", "COUNT", _PAGE, "BLOCK", _BLOCK_MS, "STREAMS", events_key, cursor)
    under = wire.request("HGET", progress_key, "lineage")
    try:
        async with asyncio.timeout((_BLOCK_MS + timeout_ms) / 1000):
            answer = await read
            lineage = await under
    except TimeoutError:
        raise LinkDown(f"{wire.where}: no answer to a blocking read") from None
    return answer[events_key.encode()] if answer else [], lineage


async def _pause(entropy: Entropy) -> None:
    await asyncio.sleep(BACKOFF_MAX_SECONDS * (0.5 + entropy.random() / 2))


def _order(entry_id: str) -> tuple[int, int]:
    """:raises ConfigError: it is no entry id."""
    milliseconds, _, number = entry_id.partition("-")
    if not milliseconds.isdecimal() or not (number or "0").isdecimal():
        raise ConfigError(f"after: {entry_id!r} is no entry id, such as '1700000000000-0'")
    return int(milliseconds), int(number or 0)
