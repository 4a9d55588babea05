"""Asks the venue for orders whose outcome is unknown, until there is evidence. Never sends.

Found is adopted. "Not there" counts only as `evidence` says. "Could not ask" is no
answer, however often it comes. An intent proven absent is left to its caller while one
is there, who may send it again; without one it is closed, so that no order is ever sent
behind a caller's back. Where no answer can settle it, a person may (`resolution`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from . import evidence, resolution
from .errors import LinkDown, ResolveRefused
from .intent import Intent, Stage
from .ledger import Ledger
from .model import OrderReport, QueryKind
from .outcomes import Outcomes
from .ports import Clock, ExecutionClient
from .resolution import Verdict
from .settings import OrderSettings
from .silence import Silence
from .venue_clock import VenueClock

log = logging.getLogger("holdfast.orders")

LONGEST_PAUSE_SECONDS: Final = 1.0
"""Between two questions about an order that may still be proven absent."""
FIRST_VAIN_PAUSE_SECONDS: Final = 0.25
LONGEST_VAIN_PAUSE_SECONDS: Final = 5.0
"""Between two questions whose answers prove nothing: they may be asked for days."""


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
        venue_clock: VenueClock,
        clock: Clock,
        can_ask: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._client = client
        self._ledger = ledger
        self._outcomes = outcomes
        self._silence = silence
        self._venue_clock = venue_clock
        self._clock = clock
        self._can_ask = can_ask

    async def run(self) -> None:
        """Ask for unknown orders until cancelled."""
        questions = self._outcomes.questions
        while True:
            waiting = [i for i in self._ledger.unknown if not self._settle_absent(i)]
            waiting = [i for i in waiting if not i.absent]
            if not waiting or not self._can_ask():
                await questions.wait()
                continue
            if self._silence.seconds:
                await questions.wait_at_most(self._silence.seconds)
                continue
            now = self._clock.monotonic()
            due = [i for i in waiting if i.ask_at <= now]
            for intent in due:
                if not self._silence.seconds:  # it may have begun since
                    await self._ask(intent)
            if not due:
                await questions.wait_at_most(min(i.ask_at for i in waiting) - now)

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
            if self._silence.seconds:
                return  # asked for meanwhile, by the answer to another order
            answer = await self._client.query(
                intent.order.symbol,
                cid,
                conditional=intent.order.conditional,
                timeout_seconds=settings.timeout_seconds,
            )
        except LinkDown as error:
            log.info("could not ask", extra={"client_order_id": cid, "reason": str(error)})
            self._learnt_nothing(intent, str(error))
            return
        if intent.stage is not Stage.UNKNOWN:
            return  # settled while we asked
        if answer.kind is QueryKind.FOUND and answer.order is not None:
            self._outcomes.found(intent, answer.order, "found at the venue by its client order id")
            return
        # The window that proves absence binds the matching engine, not the place where orders
        # wait for their trigger: one was accepted, could not be found, and was placed again
        # (freqtrade#12681). Those are asked for until they are seen, or a person decides.
        if answer.kind is not QueryKind.ABSENT or intent.order.conditional:
            self._learnt_nothing(intent, answer.reason)
            return
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
        countable_ms = evidence.absence_countable_from_ms(
            intent.attempts, margin_ms=settings.absence_margin_ms
        )
        pause = max(settings.absence_spacing_seconds, (countable_ms - asked_ms) / 1000)
        intent.ask_at = self._clock.monotonic() + min(pause, LONGEST_PAUSE_SECONDS)

    def _learnt_nothing(self, intent: Intent, answer: str) -> None:
        """Ask again, ever more slowly."""
        intent.answer = answer
        pause = FIRST_VAIN_PAUSE_SECONDS * 2 ** min(intent.asked_in_vain, 10)
        intent.asked_in_vain += 1
        intent.ask_at = self._clock.monotonic() + min(pause, LONGEST_VAIN_PAUSE_SECONDS)

    # --- a person's word ---------------------------------------------------------------

    async def decide(
        self, client_order_id: str, verdict: Verdict, *, by: str, reason: str
    ) -> OrderReport:
        """Close an unknown order by the word of a person who has looked at the venue.

        The venue's own word comes first: it is asked once more what is open.

        :raises ResolveRefused: the order is not unknown, it is too early, or the venue has it.
        """
        intent = self._undecided(client_order_id, verdict)
        await self._look_among_the_open_ones(intent)
        if intent.report is None:
            intent = self._undecided(client_order_id, verdict)
            self._outcomes.close(intent, verdict, resolution.words(verdict, by=by, reason=reason))
        assert intent.report is not None
        if intent.report.status != verdict:
            raise ResolveRefused(
                f"{client_order_id}: the venue has answered after all, it was "
                f"{intent.report.status.replace('_', ' ')}: {intent.report.evidence}"
            )
        return intent.report

    def _undecided(self, client_order_id: str, verdict: Verdict) -> Intent:
        return resolution.undecided(
            self._ledger,
            client_order_id,
            verdict,
            venue_ms=self._venue_clock.now_ms(),
            margin_ms=self._settings.absence_margin_ms,
        )

    async def _look_among_the_open_ones(self, intent: Intent) -> None:
        """A list may show what a question for the id does not (a conditional order)."""
        if not self._can_ask() or self._silence.seconds:
            return
        try:
            listed = await self._client.open_orders(timeout_seconds=self._settings.timeout_seconds)
        except LinkDown as error:
            log.info("open orders not listed", extra={"reason": str(error)})
            return
        for order in listed:
            if order.client_order_id == intent.client_order_id:
                self._outcomes.note(order, "the venue's list of open orders")
