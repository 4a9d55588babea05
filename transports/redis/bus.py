"""The bus on a Redis stream: every event once, in the order of its producer.

The server keeps the last sequence of every producer in a hash beside the stream and
moves both in one script, so a batch that is sent again after an unknown outcome is
skipped, and one that would leave a hole is refused. That refusal is what makes it
safe to have several batches in flight: if one fails, those behind it fail too.

The hash also names the data (`lineage`): it is made up when the bus is first used and
is lost with the data, while the server's own run id survives a FLUSHALL and changes
with every restart. If only the hash is lost, it is rebuilt from the stream before
anything is accepted.

Acknowledged is not durable: a server with `appendfsync everysec` may lose its last
second, a failover more. The outbox keeps what was acknowledged for that.

Read through `subscribe`. Whoever reads the stream by other means has to drop what
repeats by fields `p` and `s`: Redis (seen with 7.0.15), killed in the
middle of writing its append-only file and killed again later, runs the cut-off half of
a script a second time (mended in Valkey 9.1, valkey-io/valkey#4342).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Final

from holdfast.errors import LinkDown
from holdfast.ports import (
    AppendStatus,
    Batch,
    BusEntry,
    BusPosition,
    Entropy,
    Fence,
    LinkWatch,
    ServerFacts,
)

from . import scripts
from .address import Address
from .entries import decode_entry
from .facts import read_facts
from .link import RedisLink
from .subscription import subscribe
from .wire import Wire, Word
from .words import explain

_LINEAGE_BITS: Final = 128
_REBUILD_PAGE: Final = 1000


class RedisBus:
    """`ports.MessageBus`.

    :param name: of the link, in statuses and reasons.
    """

    def __init__(self, address: Address, *, entropy: Entropy, name: str = "bus") -> None:
        self.name = name
        self._address = address
        self._entropy = entropy
        self._link = RedisLink(address, name=name, entropy=entropy)
        self._events = address.key("events")
        self._progress = address.key("progress")
        self._fence = address.key("fence")
        self._maxlen = address.settings.stream_maxlen

    async def run(self, watch: LinkWatch) -> None:
        """Keep the connection until cancelled."""
        await self._link.keep(watch)

    async def probe(self) -> None:
        """Write something: a replica or a full server would answer a PING."""
        await self._link.probe()

    async def server_facts(self) -> ServerFacts:
        """See `ports.ServerReader`."""
        return await read_facts(self._address)

    async def position(self, producer: str) -> BusPosition:
        """What the server has of `producer`.

        May take a second per few hundred thousand events when the progress has to be
        rebuilt from them.
        """
        wire = self._link.wire()
        while True:
            lineage, *last = await wire.request(
                "EVAL",
                scripts.POSITION,
                2,
                self._events,
                self._progress,
                producer,
                self._new_lineage(),
            )
            if not last:  # no number: Lua ends the reply before it
                raise LinkDown(
                    f"{self.name}: the progress of {producer} in {self._progress} cannot be "
                    "read, another hand has changed it; delete that key, it is rebuilt"
                )
            if lineage:
                return BusPosition(lineage.decode(errors="replace"), last[0])
            await self._rebuild(wire)

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        """Written now; see `append.lua` for what the server does with it."""
        gap = batch.gap
        command: list[Word] = [
            "EVAL",
            scripts.APPEND,
            3,
            self._events,
            self._progress,
            self._fence,
            batch.producer,
            batch.first,
            batch.lineage,
            batch.fencing_token,
            0 if gap is None else gap.first,
            0 if gap is None else gap.last,
            self._maxlen,
            *batch.payloads,
        ]
        try:
            wire = self._link.wire()
        except LinkDown as error:
            return _failed(error)
        return wire.request(*command, on_reply=lambda reply: self._status(wire, reply))

    async def fence(self) -> Fence:
        """The newest token that was written with, or given by a lease on this server."""
        token, silent_ms = await self._link.wire().request(
            "EVAL", scripts.FENCE, 2, self._progress, self._fence
        )
        return Fence(token, silent_ms / 1000)

    def subscribe(self, *, after: str | None = None) -> AsyncGenerator[BusEntry, None]:
        """Every entry after `after`, over a connection of its own.

        Each event once, also when the server lost it and got it again; what the server
        no longer had when it was read stands as a gap.
        """
        return subscribe(
            self._address,
            after=after,
            events_key=self._events,
            progress_key=self._progress,
            entropy=self._entropy,
        )

    def _status(self, wire: Wire, reply: list[Any]) -> AppendStatus:
        kind, last, reason = reply[0].decode(), reply[1], reply[2].decode(errors="replace")
        if kind != "error":
            return AppendStatus(kind, last, reason)
        reason = explain(reason)
        # A server that refuses events does not do its job, however well it answers PINGs.
        # The status is this batch's answer all the same: `lose` does not touch it any more.
        wire.lose(f"{wire.where}: {reason}")
        return AppendStatus(kind, last, reason)

    async def _rebuild(self, wire: Wire) -> None:
        """Read the newest sequence of every producer back from the events.

        Nothing is appended meanwhile: without a lineage the server refuses every batch.
        """
        found: dict[str, int] = {}
        newest, upper = "", "+"
        while True:
            page = await wire.request("XREVRANGE", self._events, upper, "-", "COUNT", _REBUILD_PAGE)
            for raw_id, fields in page:
                newest = newest or raw_id.decode()
                entry = decode_entry(raw_id, fields)
                if entry is not None:
                    found.setdefault(entry.producer, entry.sequence)
            if len(page) < _REBUILD_PAGE:
                break
            upper = f"({page[-1][0].decode()}"
        last_sequences = [word for item in found.items() for word in item]
        await wire.request(
            "EVAL",
            scripts.ADOPT,
            2,
            self._events,
            self._progress,
            self._new_lineage(),
            newest,
            *last_sequences,
        )

    def _new_lineage(self) -> str:
        return f"{self._entropy.randbits(_LINEAGE_BITS):032x}"


async def _failed(error: LinkDown) -> AppendStatus:
    raise error
