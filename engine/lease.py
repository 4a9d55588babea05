"""One bot, one instance: a lease with a fencing token, kept by one task.

Held means: the store granted it, and by a clock counted from the moment the last
request was *sent* it can not have run out. An unanswered renewal therefore costs
nothing until then, and after it the engine is HALTED, because from that moment
another instance may hold it. A store that had never heard of a lease may have
lost one: then a full term is waited, unless our own still runs.

The bus is the second witness. It refuses what carries a token older than one it has
seen, and then our lease is worth nothing, whatever its store says: perhaps the store
lost its memory, perhaps two copies use different ones. It is given up at once, and taken
anew, with a token above the one that the bus has seen, only when nobody has written with
that for a full term. Every holder writes to the bus with each renewal, so one that is
alive is never pushed aside; and as long as it is, the bus is asked about once a term.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf

import anyio

from .broadcast import Broadcast
from .errors import LinkDown
from .ports import Clock, Fence, LeaseStore

log = logging.getLogger("holdfast.lease")

RETRY_SECONDS = 1.0
"""Between two attempts while another instance holds it."""


class LeaseKeeper:
    """
    :param store: None: no lease is used, and it counts as held.
    :param owner: this instance's name in the store.
    :param on_lost: called synchronously when it is no longer held.
    :param on_renewed: called with every grant: now is the time to show that we are there.
    :param fence: asks the bus for the newest token it has seen.
    """

    def __init__(
        self,
        *,
        store: LeaseStore | None,
        owner: str,
        ttl_seconds: float,
        clock: Clock,
        on_lost: Callable[[str], None],
        on_change: Callable[[], None],
        on_renewed: Callable[[], None],
        fence: Callable[[], Awaitable[Fence]],
    ) -> None:
        self._store = store
        self._owner = owner
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._on_lost = on_lost
        self._on_change = on_change
        self._on_renewed = on_renewed
        self._ask_fence = fence
        self._fenced = False
        self._above = 0
        """Newest token that the bus has seen of somebody else; ours has to be greater."""
        self._expires_at = inf if store is None else -inf
        self._usable_from = -inf
        self.fencing_token = 0
        self.reason = "" if store is None else "not acquired yet"
        self.link_changed = Broadcast()
        """Notify when the store can be asked again."""
        self._can_ask = False
        self._last_look = (False, 0)
        self.latest_holder = store is None
        """Whether the last word of store and bus was that the lease is ours. Stays so while they
        can not be asked: then the lease runs out, but nobody is known to have taken it."""

    @property
    def held(self) -> bool:
        now = self._clock.monotonic()
        return self._usable_from <= now < self._expires_at

    def set_connected(self, connected: bool) -> None:
        self._can_ask = connected
        self.link_changed.notify()

    @property
    def may_be_held_soon(self) -> bool:
        """Whether it is not held and the store can be asked for it."""
        return self._can_ask and not self.held

    def renew_now(self) -> None:
        """Ask the store again at once."""
        self.link_changed.notify()

    def fenced(self) -> None:
        """The bus has refused our token: give the lease up, and see who is there."""
        if self._fenced or not self.held:
            return
        self._fenced = True
        self._expires_at = -inf
        self.latest_holder = False
        self.reason = f"the bus has seen a newer fencing token than ours, {self.fencing_token}"
        log.warning(self.reason)
        self._look()
        self.link_changed.notify()

    async def run(self) -> None:
        """Acquire and renew until cancelled."""
        if self._store is None:
            return
        while True:
            # Looked at before asking, too: if it ran out while the machine slept, the next
            # grant would hide that somebody else may have held it in between.
            self._look()
            pause = await self._ask(self._store) if self._can_ask else inf
            self._look()
            now = self._clock.monotonic()
            for moment in (self._usable_from, self._expires_at):
                if moment > now:
                    pause = min(pause, moment - now)
            if pause == inf:
                await self.link_changed.wait()
            else:
                await self.link_changed.wait_at_most(max(pause, 0.001))

    def _look(self) -> None:
        """Tell of what has changed since the last look.

        A token can change while the lease is held all along: the store lost its data, and
        gave the lease to us again under a new one.
        """
        now = (self.held, self.fencing_token)
        if now == self._last_look:
            return
        (was_held, _), self._last_look = self._last_look, now
        if was_held and not self.held:
            self.reason = self.reason or "it ran out before it could be renewed"
            self._on_lost(self.reason)
        self._on_change()

    async def _ask(self, store: LeaseStore) -> float:
        """Ask store and bus for what is due; returns how long to wait before asking again."""
        if self._fenced:
            pause = await self._pass_fence(store)
            if self._fenced:
                return pause
        return await self._renew(store)

    async def _pass_fence(self, store: LeaseStore) -> float:
        """See whether the holder of the token that fenced us off is gone."""
        fence: Fence | None = None
        try:
            with anyio.move_on_after(self._ttl_seconds):
                await store.release(self._owner)
                fence = await self._ask_fence()
        except LinkDown as error:
            log.info("fence not asked for", extra={"reason": str(error)})
        if fence is None:
            return RETRY_SECONDS
        left = self._ttl_seconds - fence.silent_seconds
        if fence.token > self.fencing_token and left > 0:
            self.reason = (
                f"the bus was written to with fencing token {fence.token}, which is newer than "
                f"ours: another instance has the lease, perhaps of another store. Ours is taken "
                f"anew when it has been silent for {self._ttl_seconds:g} s"
            )
            self._on_change()
            return max(left, RETRY_SECONDS)
        self._above = max(self._above, fence.token)
        self._fenced = False
        return 0.0

    async def _renew(self, store: LeaseStore) -> float:
        """One request; returns how long to wait before the next."""
        sent = self._clock.monotonic()
        left = self._expires_at - sent
        answered = False
        try:
            # A request that hangs must not keep the end of the term from being noticed.
            with anyio.move_on_after(left if left > 0 else self._ttl_seconds):
                grant = await store.acquire(
                    self._owner, ttl_seconds=self._ttl_seconds, above=self._above
                )
                answered = True
        except LinkDown as error:
            log.info("lease not renewed", extra={"reason": str(error)})
            return RETRY_SECONDS
        if not answered:
            log.info("lease not renewed", extra={"reason": "no answer"})
            return RETRY_SECONDS
        if self._fenced:
            return 0.0  # while we asked; what was granted has the token that was refused
        self.latest_holder = grant is not None
        if grant is None:
            self._expires_at = -inf
            self.reason = "another instance holds the lease"
            return RETRY_SECONDS
        unbroken = sent < self._expires_at
        # Ours all along, and who asked the clock while the answer was on its way was told that it
        # was not.
        seemed_lost = unbroken and self._expires_at <= self._clock.monotonic()
        if grant.virgin and not unbroken:
            self._usable_from = sent + self._ttl_seconds
            self.reason = (
                "the store knows of no earlier lease and may have lost one: waiting "
                f"{self._ttl_seconds:g} s, the longest that another instance could hold it"
            )
            log.warning(self.reason)
        elif sent >= self._usable_from:
            self.reason = ""
        self._expires_at = grant.expires_at
        self.fencing_token = grant.fencing_token
        if seemed_lost:
            self._on_change()
        self._on_renewed()
        return inf if grant.expires_at == inf else self._ttl_seconds / 3

    async def release(self) -> None:
        """Give it back on a clean stop, so that a successor need not wait."""
        if self._store is not None and self.held and self._can_ask:
            self._expires_at = -inf
            try:
                with anyio.move_on_after(1.0):
                    await self._store.release(self._owner)
            except LinkDown as error:
                log.info("lease not released; it runs out", extra={"reason": str(error)})
