"""Holds the policy that may be traded on, and says why when there is none.

A value is served only if it was read over the connection that stands now, no
change was announced since, its store confirmed it within the freshness bound, and
no newer one was ever seen, in this life or an earlier one. Everything else is a
reason to keep the gate shut. Losing the connection needs no work here: the next
connection has another `link_epoch`, and a value of an earlier one is void.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from . import policy as rules
from .broadcast import Broadcast
from .errors import ConfigError, InvalidPolicy, LinkDown, PolicyConflict, PolicyUnreadable
from .journal import JournalError
from .links import LinkHealth
from .policy import Identity, Policy, Regression
from .ports import Clock, PolicyStore, StoredPolicy
from .recorder import Recorder
from .records import PolicySeen
from .settings import PolicySettings

log = logging.getLogger("holdfast.policy")

MAX_POLICY_BYTES: Final = 64 * 1024
"""Encoded. It is journalled when it is first seen, and again in every checkpoint; where
segments are small, at half of what a record holds."""
MAX_VERSION: Final = 2**53
"""Stores count in doubles (Redis: Lua), which are exact up to here."""


class PolicyCell:
    """Satisfies `ports.PolicyWatch` together with the link it wraps.

    :param on_change: told of every policy that replaces another one.
    :param on_reloaded: told how long it took from the loss of the value to a fresh one.
    """

    def __init__(
        self,
        *,
        store: PolicyStore,
        link: LinkHealth,
        recorder: Recorder,
        clock: Clock,
        settings: PolicySettings,
        on_change: Callable[[Policy], None],
        on_reloaded: Callable[[float], None],
        on_fault: Callable[[str], None],
    ) -> None:
        self._store = store
        self._link = link
        self._recorder = recorder
        self._clock = clock
        self._settings = settings
        self._on_change = on_change
        self._on_reloaded = on_reloaded
        self._on_fault = on_fault
        self._value: Policy | None = None
        self._link_epoch = 0
        self._announced = 0
        """Counts the changes that the store has announced, our own among them."""
        self._unfit = "no policy was read yet"
        self._unfit_since: float | None = None
        self.needs_person = False
        """Reading again would not help: the operator has to decide."""
        self.changes = Broadcast()

    # --- ports.PolicyWatch -----------------------------------------------------------

    def up(self) -> None:
        self._void("the policy is read over the new connection")
        self._unfit_since = self._clock.monotonic()
        self._link.up()

    def down(self, reason: str) -> None:
        self._void(f"the policy store is lost: {reason}")
        self._link.down(reason)

    def changed(self) -> None:
        self._announced += 1
        self._void("the policy has changed and is being read again")
        self.changes.notify()

    # ---------------------------------------------------------------------------------

    def drop(self) -> None:
        """Forget the value; it is served again only after it was read again."""
        self._void("the policy is being read again")

    def _void(self, why: str) -> None:
        if not self._unfit:
            self._unfit_since = self._clock.monotonic()
        self._unfit = why
        self._value = None

    def problem(self) -> str | None:
        """Why there is no policy to trade on right now; None when there is one."""
        if self._unfit:
            return self._unfit
        if not self._link.is_up or self._link_epoch != self._link.link_epoch:
            return "the policy was read over an earlier connection"
        age = self._clock.monotonic() - self._store.verified_at()
        if age > self._settings.freshness_seconds:
            return f"the policy store has not confirmed the policy for {age:.3g} s"
        return None

    def get(self) -> Policy | None:
        """The policy to trade on; None when `problem` says why not."""
        return None if self.problem() is not None else self._value

    async def reload(self) -> None:
        """Read the store and judge what it says; again if it changes meanwhile.

        :raises LinkDown: it could not be asked.
        """
        epoch = self._link.link_epoch
        stored = await self._unchanged(lambda: self._judged(epoch))
        if stored is not None:
            self._serve(stored, epoch)
        self.changes.notify()

    async def _unchanged(
        self, ask: Callable[[], Awaitable[StoredPolicy | None]]
    ) -> StoredPolicy | None:
        """What `ask` answers; asked again if a change fell between its answer and us."""
        while True:
            announced = self._announced
            stored = await ask()
            if announced == self._announced:
                return stored

    async def _judged(self, epoch: int) -> StoredPolicy | None:
        """What the store holds, if it may be served; else the reason was told, and is None."""
        stored, unreadable = None, None
        try:
            stored = await self._read()
        except PolicyUnreadable as error:
            unreadable = str(error)
        if epoch != self._link.link_epoch or not self._link.is_up:
            raise LinkDown("the policy store was lost while the policy was read")
        if unreadable is not None:
            self._leave_to_person(unreadable)
            return None
        seen = self._recorder.ledger.policy_identity
        verdict = rules.regression(seen, None if stored is None else _identity(stored))
        return stored if verdict is Regression.FRESH else await self._by_rule(verdict, stored)

    def _too_large(self, policy: Policy) -> str | None:
        """Why it could not be journalled; None when it could."""
        size = len(rules.encode(policy))
        most = min(MAX_POLICY_BYTES, self._recorder.largest_policy)
        if size > most:
            return f"it has {size} bytes, {most} at most"
        if policy.version > MAX_VERSION:
            return f"version {policy.version} is above {MAX_VERSION}"
        return None

    def _leave_to_person(self, why: str) -> None:
        self._void(why)
        self.needs_person = True

    async def _read(self) -> StoredPolicy | None:
        """:raises PolicyUnreadable: also when what the store holds could not be journalled."""
        stored = await self._store.read()
        why = None if stored is None else self._too_large(stored.policy)
        if stored is not None and why is not None:
            raise PolicyUnreadable(why, found=f"version {stored.policy.version}")
        return stored

    async def _by_rule(
        self, verdict: Regression, stored: StoredPolicy | None
    ) -> StoredPolicy | None:
        """The store is empty or older than what was seen: what the rule says then."""
        seen = self._recorder.ledger.policy_seen
        version = 0 if stored is None else stored.policy.version
        first = self._settings.initial if seen is None else None
        if first is not None:
            return await self._put(first, expected_version=version)
        if seen is not None and self._settings.on_empty == "restore":
            newest = rules.decode(seen.policy)
            above = msgspec.structs.replace(newest, version=seen.version + 1)
            log.warning("policy restored by rule", extra={"version": above.version})
            return await self._put(above, expected_version=version)
        if seen is None:
            why = "the store holds no policy; set one with `holdfast policy set`"
        elif verdict is Regression.EMPTY:
            why = f"the store came back without a policy (version {seen.version} was seen)"
        elif verdict is Regression.OLDER:
            why = f"the store came back with version {version} (version {seen.version} was seen)"
        else:
            why = f"the store holds another version {version} than the one that was seen"
        if seen is not None:
            why += (
                "; confirm it with `holdfast policy confirm` or set one with `holdfast policy set`"
            )
        self._leave_to_person(why)
        return None

    async def _put(self, policy: Policy, *, expected_version: int) -> StoredPolicy:
        try:
            return await self._store.compare_and_set(policy, expected_version=expected_version)
        except PolicyConflict as error:
            raise LinkDown(f"another writer was faster: {error}") from error

    def _serve(self, stored: StoredPolicy, epoch: int) -> None:
        seen = self._recorder.ledger.policy_identity
        identity = _identity(stored)
        if identity != seen:
            self._recorder.write(
                PolicySeen(*identity, policy=rules.encode(stored.policy)),
            )
            self._on_change(stored.policy)
        self._value = stored.policy
        self._link_epoch = epoch
        self._unfit = ""
        self.needs_person = False
        if self._unfit_since is not None:
            self._on_reloaded(self._clock.monotonic() - self._unfit_since)
            self._unfit_since = None

    async def set(self, policy: Policy, *, replace: bool = False) -> Policy:
        """Store a new version above everything ever seen, and serve it.

        :param replace: also over something that is no policy.
        :raises InvalidPolicy: `policy` is none; nothing was stored.
        :raises ConfigError: it is too large to be journalled; nothing was stored.
        :raises PolicyUnreadable: the store holds something else, and `replace` was not given.
        :raises PolicyConflict: somebody else was faster.
        :raises LinkDown: the outcome is unknown; read before trying again.
        """
        if not isinstance(policy, Policy):
            raise InvalidPolicy(f"policy: {policy!r} is no Policy(…)")
        if (why := self._too_large(policy)) is not None:
            raise ConfigError(f"policy: {why}")
        expected: int | None = None
        try:
            stored = await self._read()
            expected = 0 if stored is None else stored.policy.version
        except PolicyUnreadable as error:
            if not replace:
                raise
            log.warning("an unreadable policy is replaced", extra={"reason": str(error)})
        seen = self._recorder.ledger.policy_seen
        version = max(expected or 0, 0 if seen is None else seen.version) + 1
        await self._store.compare_and_set(
            msgspec.structs.replace(policy, version=version), expected_version=expected
        )
        await self.reload()
        return await self._served()

    async def confirm(self) -> Policy:
        """Take what the store holds now for true, also if it is older than what was seen.

        :raises LinkDown: it could not be asked, or it holds none.
        """
        epoch = self._link.link_epoch
        stored = await self._unchanged(self._read)
        if stored is None:
            raise LinkDown("the store holds no policy to confirm; set one")
        self._serve(stored, epoch)
        self.changes.notify()
        return stored.policy

    async def _served(self) -> Policy:
        while (policy := self._value) is None:
            await self.changes.wait()
        return policy

    async def run(self) -> None:
        """Read again whenever the store announced a change, until cancelled.

        On a new connection the effects of RECOVERING read; this is for changes while
        the connection stands.
        """
        while True:
            await self.changes.wait()
            if self._value is None and not self.needs_person and self._link.is_up:
                try:
                    await self.reload()
                except LinkDown as error:
                    if self._link.is_up:
                        self._on_fault(f"the policy could not be read: {error}")
                except JournalError as error:
                    # Not written down is not served: a restart could not tell an older one.
                    # The recorder has reported the disk; its recovery reads again.
                    log.error("policy not journalled", extra={"reason": str(error)})
                else:
                    why = self.problem()
                    if why is not None:
                        self._on_fault(why)


def _identity(stored: StoredPolicy) -> Identity:
    return Identity(stored.lineage, stored.policy.version, stored.policy.content_hash)
