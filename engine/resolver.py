"""Asks the venue for orders whose outcome is unknown, until there is evidence. Never sends.

Found is adopted. "Not there" counts only as `evidence` says. "Could not ask" is no
answer, however often it comes. An intent proven absent is left to its caller while one
is there, who may send it again; without one it is closed, so that no order is ever sent
behind a caller's back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from . import evidence
from .errors import LinkDown
from .intent import Intent, Stage
from .ledger import Ledger
from .model import QueryKind
from .outcomes import Outcomes
from .ports import Clock, ExecutionClient
from .settings import OrderSettings
from .silence import Silence

log = logging.getLogger("holdfast.orders")

SLOWEST_ASKING_SECONDS = 1.0
"""Between two questions about the same order."""


class Resolver:
    """
    :param can_ask: whether the venue can be reached.
    """

    def __init__(
        self,
        *,
        settings: OrderSettings,
        client: ExecutionClient,
        ledger: Ledger,
        outcomes: Outcomes,
        silence: Silence,
        clock: Clock,
        can_ask: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._client = client
        self._ledger = ledger
        self._outcomes = outcomes
        self._silence = silence
        self._clock = clock
        self._can_ask = can_ask

    async def run(self) -> None:
        """Ask for unknown orders until cancelled."""
        changes = self._outcomes.changes
        while True:
            waiting = [i for i in self._ledger.unknown if not self._settle_absent(i)]
            waiting = [i for i in waiting if not i.absent]
            if not waiting or not self._can_ask():
                await changes.wait()
                continue
            if self._silence.seconds:
                await changes.wait_at_most(self._silence.seconds)
                continue
            now = self._clock.monotonic()
            due = [i for i in waiting if i.ask_at <= now]
            for intent in due:
                await self._ask(intent)
            if not due:
                await changes.wait_at_most(min(i.ask_at for i in waiting) - now)

    def _settle_absent(self, intent: Intent) -> bool:
        """Close an intent proven absent whose caller has gone: it is never sent behind his back."""
        if intent.absent and not self._outcomes.is_driven(intent):
            self._outcomes.close(intent, "not_executed", "proven absent at the venue")
            return True
        return False

    async def _ask(self, intent: Intent) -> None:
        """One question, and what the answer proves."""
        cid, settings = intent.client_order_id, self._settings
        try:
            asked_ms = await self._client.venue_time_ms(timeout_seconds=settings.timeout_seconds)
            answer = await self._client.query(
                intent.order.symbol,
                cid,
                conditional=intent.order.conditional,
                timeout_seconds=settings.timeout_seconds,
            )
        except LinkDown as error:
            log.info("could not ask", extra={"client_order_id": cid, "reason": str(error)})
            intent.ask_at = self._clock.monotonic() + SLOWEST_ASKING_SECONDS
            return
        if intent.stage is not Stage.UNKNOWN:
            return  # settled while we asked
        if answer.kind is QueryKind.FOUND and answer.order is not None:
            self._outcomes.found(intent, answer.order, "found at the venue by its client order id")
            return
        pause = settings.absence_spacing_seconds
        # The window that proves absence binds the matching engine, not the place where orders
        # wait for their trigger: one was accepted, could not be found, and was placed again
        # (freqtrade#12681). Those are asked for until they are seen, or a person decides.
        if answer.kind is QueryKind.ABSENT and not intent.order.conditional:
            intent.deny(asked_ms)
            if evidence.absence_proven(
                intent.attempts,
                intent.denials_ms,
                margin_ms=settings.absence_margin_ms,
                needed=settings.absence_answers,
                spacing_ms=int(settings.absence_spacing_seconds * 1000),
            ):
                intent.absent = True
                intent.notify()
                return
            pause = max(pause, self._until_countable(intent, asked_ms))
        intent.ask_at = self._clock.monotonic() + min(pause, SLOWEST_ASKING_SECONDS)

    def _until_countable(self, intent: Intent, venue_ms: int) -> float:
        countable = evidence.absence_countable_from_ms(
            intent.attempts, margin_ms=self._settings.absence_margin_ms
        )
        return (countable - venue_ms) / 1000
