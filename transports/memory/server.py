"""The server in memory: the data of bus, policy and lease, and the switches for its faults.

It outlives its clients as a real one would: a bot may crash and find its data again.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from holdfast.clock import SystemEntropy
from holdfast.errors import PolicyConflict
from holdfast.policy import Policy
from holdfast.ports import AppendStatus, Batch, Entropy, LeaseGrant, StoredPolicy

from .event_log import STREAM_MAXLEN, EventLog

if TYPE_CHECKING:
    from .connection import Client
    from .store import MemoryStore

_LINEAGE_BITS: Final = 128


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
        self._clients: dict[Client, None] = {}
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

    def attach(self, client: Client) -> None:
        self._clients[client] = None
        if self.is_up:
            client.connected()
        else:
            client.disconnected(self.down_reason)

    def detach(self, client: Client) -> None:
        self._clients.pop(client, None)
        # No timer runs the lease out, so it ends with the process that held it.
        if self._lease is not None and self._lease.store is client:
            self._lease = None

    def append(self, batch: Batch) -> AppendStatus:
        refusal, self._refusal = self._refusal, None
        now = asyncio.get_running_loop().time()
        if refusal is None:
            status = self.log.append(batch, now=now)
        else:
            status = self.log.append(batch, now=now, refuse_after=refusal[1])
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

    def acquire(self, owner: str, store: MemoryStore, *, above: int = 0) -> LeaseGrant | None:
        lease = self._lease
        if lease is not None and lease.owner == owner and lease.token > above:
            self._lease = _Lease(owner, store, lease.token)
            return LeaseGrant(lease.token, inf, False)
        if lease is not None and lease.owner != owner:
            return None
        self._last_token = max(self._last_token, above) + 1
        self._lease = _Lease(owner, store, self._last_token)
        self.log.raise_fence(self._last_token)
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
