"""Notices that the event loop has stood still: what saw nothing proves nothing.

An open gate runs out by itself then (`Gate`'s lease). On the way up it is this that tells:
what was asked before the loop stood still may be as old as that, and may not open the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import anyio

from .gate import Gate


class LoopWatch:
    """
    :param lease_seconds: longest time for which the loop may not run; None: it may.
    :param on_stall: told what happened, as soon as the loop runs again.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        monotonic: Callable[[], float],
        lease_seconds: float | None,
        on_stall: Callable[[str], None],
    ) -> None:
        self._gate = gate
        self._monotonic = monotonic
        self._lease_seconds = lease_seconds
        self._on_stall = on_stall
        self._seen_at = inf
        """Monotonic moment at which the loop was last seen to run."""

    def stood_still(self) -> bool:
        """Whether the loop has not run for longer than the gate's lease."""
        lease = self._lease_seconds
        return lease is not None and self._monotonic() - self._seen_at >= lease

    async def run(self) -> None:
        """Renew the gate's lease for as long as the loop runs; until cancelled."""
        lease = self._lease_seconds
        if lease is None:
            return
        while True:
            self._seen_at = self._monotonic()
            await anyio.sleep(lease / 4)
            if self.stood_still() or (not self._gate.renew() and self._gate.expired()):
                self._on_stall(f"it did not run for {lease:g} s")
