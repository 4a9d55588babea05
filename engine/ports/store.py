"""The policy's store, and the lease that says which instance trades."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from holdfast.policy import Policy

from .link import LinkWatch


class StoredPolicy(NamedTuple):
    """A policy as the store holds it, with the identity it was read under."""

    policy: Policy
    lineage: str


class PolicyWatch(LinkWatch, Protocol):
    def changed(self) -> None:
        """The stored policy may have changed: what was read is unfit until read again."""


class PolicyStore(Protocol):
    name: str

    async def run(self, watch: PolicyWatch) -> None: ...

    async def probe(self) -> None: ...

    async def read(self) -> StoredPolicy | None:
        """The current policy; None when the store answered that it has none.

        :raises PolicyUnreadable: it holds something else.
        :raises LinkDown:
        """

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        """Store `policy` as version `expected_version + 1` (0: there was none), or as its own
        `version` where that is greater: a store that lost its data gets back the newest policy
        ever seen without its version going down.

        :param expected_version: None: whatever is there is replaced, also what `read` can not
            make sense of, and `policy` is stored as its own version. An operator's decision.
        :raises PolicyConflict: the stored version is another.
        :raises LinkDown: the outcome is unknown; read before trying again.
        """

    def verified_at(self) -> float:
        """Monotonic moment at which the store was last *asked* and confirmed what was read.

        A store that pushes every change (in-memory) answers with the present while
        it is connected. Minus infinity: not verified in this connection.
        """


class LeaseGrant(NamedTuple):
    """The right of one instance to trade.

    :ivar fencing_token: grows with every new holder, also after the store lost its data.
    :ivar expires_at: monotonic, counted from the moment the request was *sent*.
    :ivar virgin: the store had never heard of a lease, so another holder could still be
        alive with one from before its data were lost: wait a full term before trading.
    """

    fencing_token: int
    expires_at: float
    virgin: bool


@runtime_checkable
class LeaseStore(Protocol):
    """Usually the policy store itself: one connection carries both."""

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        """Take or renew the lease; None when another owner holds it.

        :param above: a fencing token that was seen elsewhere: ours must be greater, so a
            lease that we hold with a smaller one is taken anew.
        :raises LinkDown:
        """

    async def release(self, owner: str) -> None:
        """Give it back if it is ours; harmless if it is not."""
