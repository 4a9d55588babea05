"""A server in memory whose leases run out with time, as keys in Redis do, and that keeps times.

It also sees what no policy store may ever hold: a policy put over another one of the same version,
that whoever put it had not seen.

`MemoryServer` ends a lease with its holder's connection, which suits a backtest of one
bot. Here a second copy is started while the first one is dead, cut off or asleep, and
what keeps the two apart is exactly that the lease does not end at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from holdfast.policy import Policy
from holdfast.ports import Clock, Entropy, LeaseGrant, StoredPolicy
from holdfast.transports.memory import MemoryServer, MemoryStore


class TimedServer(MemoryServer):
    """
    :param clock: of the server's own machine.
    :param breach: told the promise and what was seen.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        latency_seconds: float,
        clock: Clock,
        ttl_seconds: float,
        breach: Callable[[str, str], None],
    ) -> None:
        super().__init__(entropy=entropy, latency_seconds=latency_seconds)
        self._now: Callable[[], float] = clock.monotonic
        self._ttl_seconds = ttl_seconds
        self._breach = breach
        self._expires_at = -inf
        # The leases are booked on a client that never connects, so no disconnection ends one.
        self._registrar = MemoryStore(self, clock=clock)
        self.stored: list[tuple[float, StoredPolicy]] = []
        """Every policy since the data were last lost, and when it was stored."""

    def acquire(self, owner: str, store: MemoryStore, *, above: int = 0) -> LeaseGrant | None:
        if self._now() >= self._expires_at:
            self.expire_lease()
        grant = super().acquire(owner, self._registrar, above=above)
        if grant is not None:
            self._expires_at = self._now() + self._ttl_seconds
        return grant

    def compare_and_set(self, policy: Policy, expected_version: int | None) -> StoredPolicy:
        before = self.policy
        stored = super().compare_and_set(policy, expected_version)
        if before is not None and stored.policy.version <= before.policy.version:
            self._breach(
                "policy",
                f"version {stored.policy.version} was stored over version {before.policy.version}",
            )
        self.stored.append((self._now(), stored))
        return stored

    def roll_back(self, count: int) -> None:
        """As a failover to a replica that lagged: the latest policy is gone as well, if there was
        one before it."""
        super().roll_back(count)
        if len(self.stored) > 1:
            self.stored.pop()
            self.policy = self.stored[-1][1]

    def wipe(self) -> None:
        super().wipe()
        self.stored.clear()


class TimedStore(MemoryStore):
    """Counts a grant from the moment the request was sent, by its own machine's clock.

    :param before_storing: called when a policy is about to be stored.
    """

    def __init__(
        self,
        server: TimedServer,
        *,
        clock: Clock,
        before_storing: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(server, clock=clock)
        self._before_storing = before_storing

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        self._before_storing()
        return await super().compare_and_set(policy, expected_version=expected_version)

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        sent = self._clock.monotonic()
        grant = await super().acquire(owner, ttl_seconds=ttl_seconds, above=above)
        return None if grant is None else grant._replace(expires_at=sent + ttl_seconds)
