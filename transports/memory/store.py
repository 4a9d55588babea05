"""Policy and lease of a server in memory."""

from __future__ import annotations

from math import inf

from holdfast.policy import Policy
from holdfast.ports import Clock, LeaseGrant, PolicyWatch, StoredPolicy

from .connection import Client
from .server import MemoryServer


class MemoryStore(Client):
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

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        """`ttl_seconds` is not used: the lease ends with its holder's `run`."""
        return await self._ask(lambda: self.server.acquire(owner, self, above=above))

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
