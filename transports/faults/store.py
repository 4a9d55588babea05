"""Policy store and lease with mishaps: a value is never older than the last change announced."""

from __future__ import annotations

from math import inf

from holdfast.policy import Policy
from holdfast.ports import (
    Entropy,
    LeaseGrant,
    LeaseStore,
    PolicyStore,
    PolicyWatch,
    StoredPolicy,
)

from .chance import FaultSwitch
from .connection import Asking, Connection


class _PolicyConnection(Connection):
    def __init__(self, name: str, watch: PolicyWatch) -> None:
        super().__init__(name, watch)
        self._policy_watch = watch

    def changed(self) -> None:
        if self.stands:
            self._policy_watch.changed()


class FaultyStore(Asking):
    """`ports.PolicyStore` and `ports.LeaseStore` with mishaps.

    :param lease: of the same connection, usually the same object.
    """

    def __init__(
        self, inner: PolicyStore, lease: LeaseStore, switch: FaultSwitch, entropy: Entropy
    ) -> None:
        super().__init__(inner.name, switch, entropy)
        self._inner = inner
        self._lease = lease
        self._read_in = -1

    async def run(self, watch: PolicyWatch) -> None:
        connection = _PolicyConnection(self.name, watch)
        self._connection = connection
        await self._inner.run(connection)

    async def probe(self) -> None:
        await self._ask("probe", self._inner.probe)

    async def read(self) -> StoredPolicy | None:
        stored = await self._ask("read", self._inner.read)
        self._read_in = self._connection.number
        return stored

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        return await self._ask(
            "compare_and_set",
            lambda: self._inner.compare_and_set(policy, expected_version=expected_version),
        )

    def verified_at(self) -> float:
        """As the transport says, but never of an earlier connection."""
        connection = self._connection
        if connection.stands and self._read_in == connection.number:
            return self._inner.verified_at()
        return -inf

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        return await self._ask(
            "acquire",
            lambda: self._lease.acquire(owner, ttl_seconds=ttl_seconds, above=above),
        )

    async def release(self, owner: str) -> None:
        await self._ask("release", lambda: self._lease.release(owner))
