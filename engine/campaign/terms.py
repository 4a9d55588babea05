"""The terms for which a lease was granted to one life, told from its store's answers alone.

A grant lasts until it says. A store that has never heard of a lease may have lost one, and then
another instance may hold that for a full term.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from holdfast.ports import LeaseGrant
from holdfast.settings import LeaseSettings


class Terms:
    """
    :ivar now: seconds, by the clock of the life's machine.
    """

    def __init__(self, *, settings: LeaseSettings, now: Callable[[], float]) -> None:
        self._term_seconds = settings.ttl_seconds
        self.now = now
        self._from = -inf
        self._until = -inf if settings.enabled else inf

    def answered(self, grant: LeaseGrant | None, *, sent_at: float) -> None:
        """The store has answered a request that was sent then; None: another one has it."""
        if grant is None:
            self._until = -inf
            return
        if grant.virgin and sent_at >= self._until:
            self._from = sent_at + self._term_seconds
        self._until = grant.expires_at

    def problem(self) -> str | None:
        """Why another instance may hold the lease now."""
        now = self.now()
        if now >= self._until:
            return "its lease had ended, or was never granted"
        if now < self._from:
            return "another instance may hold a lease that the store has lost"
        return None
