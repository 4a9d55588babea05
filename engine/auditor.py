"""The background audit of a HEALTHY engine: takes looks until `audit` has come to a verdict.

It shuts nothing and asks the bot for nothing. An audit that ends without a verdict is gone on
with by the next one; what was not found equal for too long is told as such, and the books are
then compared with the gate shut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import anyio

from .audit import Audit
from .broadcast import Broadcast
from .ledger import Ledger
from .observer import Observer
from .ports import Clock
from .settings import ReconcileSettings

FILL_SECONDS: Final = 3.0
"""Within which the fills are told that an order's own state has told of; else they may be lost.
Long enough for a stream that is late in a busy market: an audit that finds one shuts the gate."""
LOOKS: Final = 3
"""Of one audit: each costs a request for every leg and symbol."""


class Auditor:
    def __init__(
        self,
        *,
        symbols: Sequence[str],
        settings: ReconcileSettings,
        observer: Observer,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._symbols = tuple(symbols)
        self._settings = settings
        self._observer = observer
        self._ledger = ledger
        self._clock = clock
        self.wanted = Broadcast()
        """Notify when an audit is due before its time."""
        self.begin()

    def begin(self) -> None:
        """The books are equal now."""
        self._audit = Audit(self._symbols, now=self._clock.monotonic())

    def await_fills(self, client_order_id: str) -> None:
        """An order's own state tells of fills that nobody has told of yet. If they do not come the
        stream has lost them, and a bot that looks at its position would order again.
        """
        asyncio.get_running_loop().call_later(FILL_SECONDS, self._miss_fills, client_order_id)

    def _miss_fills(self, client_order_id: str) -> None:
        if self._ledger.book.awaits_fills(client_order_id):
            self.wanted.notify()

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
