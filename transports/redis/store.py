"""Policy and lease on one connection that is told of every change.

Freshness is proven by order. The server pushes `invalidate` for a key we have read
(CLIENT TRACKING) on the same connection that carries our replies, and always before
the reply to a command it ran after the change. So when the heartbeat's question is
answered with the version we know, what we know was current when the question was
*sent*; that moment is `verified_at`. Where tracking is not to be had, the heartbeat
finds the change itself, one interval later.

The lease counts from the moment its request was sent, on the caller's own monotonic
clock: the server began to count later, and its clock is never compared with ours.
"""

from __future__ import annotations

from asyncio import Future
from math import inf
from typing import Any, Final

import msgspec

from holdfast import policy as policies
from holdfast.errors import PolicyConflict, PolicyUnreadable
from holdfast.policy import Policy
from holdfast.ports import Clock, Entropy, LeaseGrant, PolicyWatch, ServerFacts, StoredPolicy

from . import scripts
from .address import Address
from .facts import read_facts
from .link import RedisLink
from .wire import Wire

# Clocks of two machines do not run equally fast; the share that redis-py's and the Redlock
# clients' drift factor allows for.
_CLOCK_DRIFT: Final = 0.01
_LINEAGE_BITS: Final = 128
SHOWN_BYTES: Final = 200
"""Of a field that can not be read, in the error."""

_Identity = tuple[bytes | None, bytes | None]
"""Lineage and version as stored; both None: there is no policy."""


class RedisStore:
    """`ports.PolicyStore` and `ports.LeaseStore`.

    :param name: of the link, in statuses and reasons.
    """

    def __init__(
        self, address: Address, *, clock: Clock, entropy: Entropy, name: str = "policy"
    ) -> None:
        self.name = name
        self._clock = clock
        self._entropy = entropy
        self._policy_key = address.key("policy")
        self._lease_key = address.key("lease")
        self._fence_key = address.key("fence")
        self._watch: PolicyWatch | None = None
        self._known: _Identity | None = None
        """What was read in this connection and not changed since; None: nothing."""
        self._verified_at = -inf
        self._link = RedisLink(
            address,
            name=name,
            entropy=entropy,
            tracking=True,
            beat=self._beat,
            on_push=self._pushed,
            on_lost=self._forget,
        )

    async def run(self, watch: PolicyWatch) -> None:
        """Keep the connection until cancelled."""
        self._watch = watch
        try:
            await self._link.keep(watch)
        finally:
            self._watch = None
            self._forget()

    async def probe(self) -> None:
        """Write something: the lease needs a server that can."""
        await self._link.probe()

    async def server_facts(self) -> ServerFacts:
        """See `ports.ServerReader`."""
        return await read_facts(self._link.address)

    # --- policy ---------------------------------------------------------------------

    async def read(self) -> StoredPolicy | None:
        """The current policy; None: there is none.

        :raises PolicyUnreadable: what is stored can not be understood.
        :raises LinkDown:
        """
        while True:
            wire = self._link.wire()
            sent_at = self._clock.monotonic()

            def answered(reply: list[Any], sent_at: float = sent_at) -> list[Any]:
                # Here and not after the await: a change pushed behind this reply is read next.
                self._known = (reply[0], reply[1])
                self._verified_at = sent_at
                return reply

            lineage, version, document = await wire.request(
                "HMGET", self._policy_key, "lineage", "version", "document", on_reply=answered
            )
            if self._known != (lineage, version):
                continue  # changed while the answer was on its way to us, or the link was lost
            if document is None and version is None:
                return None
            found = f"version {_shown(version)}, document {_shown(document)}"
            try:
                policy = policies.decode(document or b"")
            except msgspec.DecodeError as error:  # ValidationError is one
                raise PolicyUnreadable(str(error), found=found) from error
            if lineage is None or version != b"%d" % policy.version:
                raise PolicyUnreadable("lineage or version does not fit", found=found)
            return StoredPolicy(policy, lineage.decode(errors="replace"))

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        """Store `policy`; see the port for its version."""
        version = max((expected_version or 0) + 1, policy.version)
        stored = msgspec.structs.replace(policy, version=version)
        done, told = await self._link.wire().request(
            "EVAL",
            scripts.POLICY,
            1,
            self._policy_key,
            "" if expected_version is None else expected_version,
            version,
            policies.encode(stored),
            f"{self._entropy.randbits(_LINEAGE_BITS):032x}",
        )
        if not done:
            raise PolicyConflict(
                f"the stored policy is version {told.decode(errors='replace')}, "
                f"not {expected_version}"
            )
        return StoredPolicy(stored, told.decode(errors="replace"))

    def verified_at(self) -> float:
        """When the latest question was sent that the server answered with what we know."""
        return self._verified_at

    # --- lease ----------------------------------------------------------------------

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        """Take or renew the lease.

        :param owner: unique to this process: an equal name is taken for a renewal.
        """
        sent_at = self._clock.monotonic()
        token, virgin = await self._link.wire().request(
            "EVAL",
            scripts.LEASE,
            2,
            self._lease_key,
            self._fence_key,
            owner,
            round(ttl_seconds * 1000),
            above,
        )
        if not token:
            return None
        return LeaseGrant(token, sent_at + ttl_seconds * (1 - _CLOCK_DRIFT), bool(virgin))

    async def release(self, owner: str) -> None:
        """Give it back if it is ours. :raises LinkDown:"""
        await self._link.wire().request("EVAL", scripts.RELEASE, 1, self._lease_key, owner)

    # --- what the connection tells --------------------------------------------------

    def _beat(self, wire: Wire) -> Future[Any]:
        sent_at = self._clock.monotonic()

        def answered(reply: list[Any]) -> None:
            if self._known is None:
                return
            if self._known == (reply[0], reply[1]):
                # A read sent later may have been answered before.
                self._verified_at = max(self._verified_at, sent_at)
            else:
                self._changed()

        return wire.request("HMGET", self._policy_key, "lineage", "version", on_reply=answered)

    def _pushed(self, message: list[Any]) -> None:
        # [b"invalidate", [key]]; None instead of keys: everything (FLUSHALL, FLUSHDB).
        if message[0] == b"invalidate" and (
            message[1] is None or self._policy_key.encode() in message[1]
        ):
            self._changed()

    def _changed(self) -> None:
        self._forget()
        if self._watch is not None:
            self._watch.changed()

    def _forget(self) -> None:
        self._known = None
        self._verified_at = -inf


def _shown(stored: bytes | None) -> str:
    """For an error message."""
    if stored is None:
        return "none"
    return repr(stored) if len(stored) <= SHOWN_BYTES else f"{stored[:SHOWN_BYTES]!r} and more"
