"""The bus, the policy store and the lease in this process's memory.

The reference for what a transport promises (the Redis one answers alike, and the
same conformance checks run on both), and what backtests and campaigns run on. So
it is driven by events alone: no timer, no polling; an outage of a virtual day is
two callbacks. Faults are put in by hand, on the `MemoryServer`, which outlives its
clients as a real one would: a bot may crash and find its data again.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from math import inf
from typing import Any, Final, NamedTuple, TypeVar

import anyio
import msgspec

from holdfast.clock import SystemEntropy
from holdfast.errors import ConfigError, LinkDown, PolicyConflict
from holdfast.model import Gap
from holdfast.policy import Policy
from holdfast.ports import (
    AppendStatus,
    Batch,
    BusEntry,
    BusPosition,
    Clock,
    Entropy,
    LeaseGrant,
    LinkWatch,
    PolicyWatch,
    StoredPolicy,
)
from holdfast.url import Url

from .delivery import Delivery

STREAM_MAXLEN: Final = 200_000
"""Entries kept; the oldest go first."""

MAX_IN_FLIGHT: Final = 1024

_PAGE: Final = 500
_LINEAGE_BITS: Final = 128

_T = TypeVar("_T")


class EventLog:
    """The data of a bus and the rules of its append, as a plain state machine."""

    def __init__(self, lineage: str, *, first_id: int = 1, maxlen: int = STREAM_MAXLEN) -> None:
        self.lineage = lineage
        self.entries: list[BusEntry] = []
        self.last_sequences: dict[str, int] = {}
        self.fence = 0
        self.next_id = first_id
        self._ids: list[int] = []
        self._maxlen = maxlen

    def append(self, batch: Batch, *, refuse_after: int | None = None) -> AppendStatus:
        """Append what is new in `batch`.

        :param refuse_after: as if the bus had run out of room after so many payloads.
        """
        last = self.last_sequences.get(batch.producer, 0)
        if batch.lineage != self.lineage:
            return AppendStatus("lineage", last)
        if 0 < batch.fencing_token < self.fence:
            return AppendStatus("fenced", last, f"token {self.fence} has written")
        self.fence = max(self.fence, batch.fencing_token)
        if batch.first > last + 1:
            if batch.gap is None or batch.gap.first != last + 1:
                return AppendStatus("gap", last)
            self._add(batch.producer, batch.gap.last, b"", batch.gap)
            last = batch.gap.last
        skip = last + 1 - batch.first
        new = batch.payloads[skip:]
        for payload in new if refuse_after is None else new[:refuse_after]:
            last += 1
            self._add(batch.producer, last, payload, None)
        if refuse_after is not None and refuse_after < len(new):
            return AppendStatus("error", last)
        return AppendStatus("ok", last)

    def _add(self, producer: str, sequence: int, payload: bytes, gap: Gap | None) -> None:
        self.entries.append(BusEntry(f"{self.next_id}-0", producer, sequence, payload, gap))
        self._ids.append(self.next_id)
        self.next_id += 1
        self.last_sequences[producer] = sequence
        if len(self.entries) > self._maxlen + _PAGE:
            del self.entries[:_PAGE], self._ids[:_PAGE]

    def after(self, entry_id: int) -> list[BusEntry]:
        """The next page of entries beyond `entry_id`."""
        start = bisect_right(self._ids, entry_id)
        return self.entries[start : start + _PAGE]

    def roll_back(self, count: int) -> None:
        """Forget the last `count` entries, as a failover to a replica that lagged would."""
        keep = max(0, len(self.entries) - count)
        for entry in reversed(self.entries[keep:]):
            first = entry.sequence if entry.gap is None else entry.gap.first
            self.last_sequences[entry.producer] = first - 1
        del self.entries[keep:], self._ids[keep:]


class _Lease(NamedTuple):
    owner: str
    store: MemoryStore
    token: int


class MemoryServer:
    """The data, and the switches for its faults. Starts up and empty.

    :param entropy: names the lineages; give the simulation's own in a simulation.
    :param latency_seconds: between a request and its answer.
    """

    def __init__(
        self,
        *,
        entropy: Entropy | None = None,
        latency_seconds: float = 0.0,
        stream_maxlen: int = STREAM_MAXLEN,
    ) -> None:
        self.latency_seconds = latency_seconds
        self.is_up = True
        self.down_reason = ""
        self._entropy = SystemEntropy() if entropy is None else entropy
        self._maxlen = stream_maxlen
        self.log = EventLog(self._new_lineage(), maxlen=stream_maxlen)
        self.policy: StoredPolicy | None = None
        self._lease: _Lease | None = None
        self._last_token = 0
        self._lease_forgotten = False
        self._clients: dict[_Client, None] = {}
        self._news: asyncio.Event | None = None
        self._acks_to_lose = 0
        self._refusal: tuple[str, int] | None = None

    # --- faults ---------------------------------------------------------------------

    def down(self, reason: str = "the server was stopped") -> None:
        """Stop: every link is told before this returns. The data stay."""
        self.is_up = False
        self.down_reason = reason
        for client in list(self._clients):
            client.disconnected(reason)

    def up(self) -> None:
        """Start with the data there are."""
        if self.is_up:
            return
        self.is_up = True
        self.down_reason = ""
        for client in list(self._clients):
            client.connected()
        self._tell()

    def wipe(self) -> None:
        """Lose all data: between `down` and `up` an empty restart, else a FLUSHALL."""
        self.log = EventLog(self._new_lineage(), first_id=self.log.next_id, maxlen=self._maxlen)
        self.policy = None
        self._lease = None
        self._lease_forgotten = True
        self._policy_changed()
        self._tell()

    def roll_back(self, count: int) -> None:
        """Lose the last `count` entries of the bus though they had been acknowledged."""
        self.log.roll_back(count)

    def lose_acks(self, count: int) -> None:
        """The next `count` appends take effect, but their connection breaks before the answer."""
        self._acks_to_lose = count

    def refuse_append(self, reason: str, *, after: int = 0) -> None:
        """The next append stops with an error after `after` payloads."""
        self._refusal = (reason, after)

    def drop_connections(self, reason: str) -> None:
        """Break every connection; the clients come back with the next pass of the loop."""
        for client in list(self._clients):
            client.flap(reason)

    def expire_lease(self) -> None:
        """End the lease as time would."""
        self._lease = None

    # --- what the clients use -------------------------------------------------------

    def attach(self, client: _Client) -> None:
        self._clients[client] = None
        if self.is_up:
            client.connected()
        else:
            client.disconnected(self.down_reason)

    def detach(self, client: _Client) -> None:
        self._clients.pop(client, None)
        # No timer runs the lease out, so it ends with the process that held it.
        if self._lease is not None and self._lease.store is client:
            self._lease = None

    def append(self, batch: Batch) -> AppendStatus:
        refusal, self._refusal = self._refusal, None
        if refusal is None:
            status = self.log.append(batch)
        else:
            status = self.log.append(batch, refuse_after=refusal[1])
            if status.kind == "error":
                status = status._replace(reason=refusal[0])
        self._tell()
        return status

    def takes_next_ack(self) -> bool:
        """Whether the answer to the append just made is to be lost."""
        if not self._acks_to_lose:
            return False
        self._acks_to_lose -= 1
        return True

    def compare_and_set(self, policy: Policy, expected_version: int | None) -> StoredPolicy:
        stored_version = 0 if self.policy is None else self.policy.policy.version
        if expected_version not in (None, stored_version):
            raise PolicyConflict(
                f"the stored policy is version {stored_version}, not {expected_version}"
            )
        version = max((expected_version or 0) + 1, policy.version)
        lineage = self._new_lineage() if self.policy is None else self.policy.lineage
        self.policy = StoredPolicy(msgspec.structs.replace(policy, version=version), lineage)
        self._policy_changed()
        return self.policy

    def acquire(self, owner: str, store: MemoryStore) -> LeaseGrant | None:
        lease = self._lease
        if lease is not None and lease.owner == owner:
            self._lease = _Lease(owner, store, lease.token)
            return LeaseGrant(lease.token, inf, False)
        if lease is not None:
            return None
        self._last_token += 1
        self._lease = _Lease(owner, store, self._last_token)
        self.log.fence = max(self.log.fence, self._last_token)
        virgin, self._lease_forgotten = self._lease_forgotten, False
        return LeaseGrant(self._last_token, inf, virgin)

    def release(self, owner: str) -> None:
        if self._lease is not None and self._lease.owner == owner:
            self._lease = None

    async def until_news(self) -> None:
        """Wait until something was appended, or the server came up or was emptied."""
        if self._news is None:
            self._news = asyncio.Event()
        await self._news.wait()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    def _policy_changed(self) -> None:
        for client in list(self._clients):
            client.policy_changed()

    def _new_lineage(self) -> str:
        return f"{self._entropy.randbits(_LINEAGE_BITS):032x}"


class MemoryServers:
    """Servers by name, so that several clients open the same one by `memory://NAME`."""

    def __init__(self, *, entropy: Entropy | None = None) -> None:
        self._entropy = entropy
        self._servers: dict[str, MemoryServer] = {}

    def get(self, name: str) -> MemoryServer:
        if name not in self._servers:
            self._servers[name] = MemoryServer(entropy=self._entropy)
        return self._servers[name]


class _Answer(NamedTuple):
    future: Future[Any]
    value: object
    fault: str


def _nothing() -> None:
    """What a probe does."""


def _no_fault(answer: object) -> str:
    return ""


def _refusal(status: AppendStatus) -> str:
    return f"the bus refused an append: {status.reason}" if status.kind == "error" else ""


def _retrieve(future: Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class _Client:
    """One connection to a server: what the bus and the store have in common.

    :ivar name: of the link, in statuses and reasons.
    """

    def __init__(self, server: MemoryServer, *, name: str) -> None:
        self.name = name
        self.server = server
        self._watch: LinkWatch | None = None
        self._connected = False
        self._connections = 0
        self._reason = "not connected yet"
        # In call order; timers of one instant may fire in any order, so each takes the head.
        self._in_flight: deque[_Answer] = deque()

    async def _run(self, watch: LinkWatch) -> None:
        self._watch = watch
        self.server.attach(self)
        try:
            await anyio.sleep_forever()
        finally:
            self.server.detach(self)
            self._watch = None
            self._lose("closed")

    async def probe(self) -> None:
        """:raises LinkDown:"""
        await self._ask(_nothing)

    def connected(self) -> None:
        self._connected = True
        self._connections += 1
        if self._watch is not None:
            self._watch.up()

    def disconnected(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.down(reason)
        self._lose(reason)

    def flap(self, reason: str) -> None:
        """Lose the connection, and find it again as soon as the loop comes round."""
        self.disconnected(reason)
        asyncio.get_running_loop().call_soon(self._reconnect, self._connections)

    def policy_changed(self) -> None:
        """Only a store cares."""

    def _reconnect(self, connections: int) -> None:
        # A fault or a start in between has already said how the link stands.
        if self.server.is_up and self._watch is not None and self._connections == connections:
            self.connected()

    def _lose(self, reason: str) -> None:
        self._connected = False
        self._reason = reason
        while self._in_flight:
            answer = self._in_flight.popleft().future
            if not answer.done():
                answer.set_exception(LinkDown(f"{self.name}: {reason}"))

    def _ask(self, act: Callable[[], _T], fault: Callable[[_T], str] = _no_fault) -> Future[_T]:
        """Do `act` on the server now; its answer takes a while, and is lost with the connection.

        :param fault: why the connection breaks after this answer, if it does.
        """
        loop = asyncio.get_running_loop()
        future: Future[_T] = loop.create_future()
        # Nobody may ever await it: whoever was cancelled has no use for the outcome.
        future.add_done_callback(_retrieve)
        if not self._connected:
            future.set_exception(LinkDown(f"{self.name}: {self._reason}"))
        elif len(self._in_flight) >= MAX_IN_FLIGHT:
            future.set_exception(LinkDown(f"{self.name}: {MAX_IN_FLIGHT} requests unanswered"))
        else:
            answer = act()
            self._in_flight.append(_Answer(future, answer, fault(answer)))
            if self.server.latency_seconds:
                loop.call_later(self.server.latency_seconds, self._answer_next, self._connections)
            else:
                loop.call_soon(self._answer_next, self._connections)
        return future

    def _answer_next(self, connection: int) -> None:
        if connection != self._connections or not self._in_flight:
            return  # lost with its connection
        future, answer, fault = self._in_flight.popleft()
        if not future.done():
            future.set_result(answer)
        if fault:
            self.flap(fault)


class MemoryBus(_Client):
    """`ports.MessageBus` on a `MemoryServer`."""

    def __init__(self, server: MemoryServer, *, name: str = "bus") -> None:
        super().__init__(server, name=name)

    async def run(self, watch: LinkWatch) -> None:
        await self._run(watch)

    async def position(self, producer: str) -> BusPosition:
        log = self.server.log
        return await self._ask(
            lambda: BusPosition(log.lineage, log.last_sequences.get(producer, 0))
        )

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        answer = self._ask(lambda: self.server.append(batch), _refusal)
        if self._connected and self.server.takes_next_ack():
            self.flap("the connection was lost before an answer")
        return answer

    async def subscribe(self, *, after: str | None = None) -> AsyncGenerator[BusEntry, None]:
        """Every entry after `after`, each event once, missing ones as a gap."""
        cursor = 0 if after is None else _entry_number(after)
        delivery = Delivery()
        while True:
            page = self.server.log.after(cursor) if self.server.is_up else []
            if not page:
                await self.server.until_news()
            for entry in page:
                cursor = _entry_number(entry.id)
                for admitted in delivery.admit(entry):
                    yield admitted


class MemoryStore(_Client):
    """`ports.PolicyStore` and `ports.LeaseStore` on a `MemoryServer`."""

    def __init__(self, server: MemoryServer, *, clock: Clock, name: str = "policy") -> None:
        super().__init__(server, name=name)
        self._clock = clock
        self._policy_watch: PolicyWatch | None = None
        self._current = False

    async def run(self, watch: PolicyWatch) -> None:
        self._policy_watch = watch
        try:
            await self._run(watch)
        finally:
            self._policy_watch = None

    async def read(self) -> StoredPolicy | None:
        while True:
            stored = await self._ask(self._read)
            if self._current:  # else it was changed while the answer was on its way
                return stored

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        return await self._ask(lambda: self.server.compare_and_set(policy, expected_version))

    def verified_at(self) -> float:
        """The present while what was read is current: every change is pushed."""
        return self._clock.monotonic() if self._connected and self._current else -inf

    async def acquire(self, owner: str, *, ttl_seconds: float) -> LeaseGrant | None:
        """`ttl_seconds` is not used: the lease ends with its holder's `run`."""
        return await self._ask(lambda: self.server.acquire(owner, self))

    async def release(self, owner: str) -> None:
        await self._ask(lambda: self.server.release(owner))

    def policy_changed(self) -> None:
        self._current = False
        if self._policy_watch is not None and self._connected:
            self._policy_watch.changed()

    def _read(self) -> StoredPolicy | None:
        self._current = True
        return self.server.policy

    def _lose(self, reason: str) -> None:
        super()._lose(reason)
        self._current = False


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


def _entry_number(entry_id: str) -> int:
    number = entry_id.partition("-")[0]
    if not number.isdecimal():
        raise ConfigError(f"after: {entry_id!r} is no entry id, such as '17-0'")
    return int(number)
