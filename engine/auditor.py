"""The background audit of a HEALTHY engine: takes looks until `audit` has come to a verdict.

It shuts nothing and asks the bot for nothing. An audit that ends without a verdict is gone on
with by the next one; what was not found equal for too long is told as such, and the books are
then compared with the gate shut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio

from .audit import Audit
from .broadcast import Broadcast
from .observer import Observer
from .ports import Clock
from .settings import ReconcileSettings

LOOKS: Final = 3
"""Of one audit: each costs a request for every leg and symbol."""


class Auditor:
    def __init__(
        self,
        *,
        symbols: Sequence[str],
        settings: ReconcileSettings,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._symbols = tuple(symbols)
        self._settings = settings
        self._observer = observer
        self._clock = clock
        self.wanted = Broadcast()
        """Notify when an audit is due before its time."""
        self.begin()

    def begin(self) -> None:
        """The books are equal now."""
        self._audit = Audit(self._symbols, now=self._clock.monotonic())

    async def due(self) -> None:
        """Until it is time for an audit."""
        await self.wanted.wait_at_most(self._settings.audit_seconds)

    async def audit(self) -> str | None:
        """Look until there is a verdict: why the books must be reconciled, or None.

        :raises LinkDown: the venue could not be observed.
        """
        monotonic, settings = self._clock.monotonic, self._settings
        for number in range(LOOKS):
            if number:
                await anyio.sleep(settings.settle_seconds)
            now, look = monotonic(), await self._observer.follow()
            if look is None:
                continue
            judged = self._audit.judge(look, now=now)
            if judged.lasting:
                return "; ".join(str(d) for d in judged.lasting[:3])
            self._observer.note_counted(look.snapshot, set(self._symbols) - judged.open)
            if not judged.open:
                break
        patience = settings.unaudited_patience_seconds
        overdue = self._audit.overdue(now=monotonic(), patience_seconds=patience)
        if overdue:
            return (
                f"{', '.join(overdue)}: no look was quiet enough to tell whether the position "
                f"is the venue's, for more than {patience:g} s"
            )
        return None
