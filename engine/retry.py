"""Before an order is sent again: the wait, a fresh permit, and the next attempt journalled.

Only an order that provably was not executed comes here. An entry is sent again within its
deadline and through the gate it was made behind, or not at all: at another moment it would be
another trade, at another price. An exit is tried on. A venue that can not be reached is no reason
to give one up (HALTED as that is): whoever wants out wants out when the line is back as well, and
what only reduces can do no harm then. It waits, like an order between two attempts. What ends it
is a decision: its own deadline, its caller, an operator's halt, or a lease that is another's now.
"""

from __future__ import annotations

from typing import Final

import anyio

from . import evidence
from .errors import LinkDown, NotExecuted, TradingHalted
from .gate import Gate, Permit
from .intent import Intent
from .journal import JournalError
from .outcomes import Outcomes
from .ports import Clock
from .recorder import Recording
from .sending import Sender
from .settings import OrderSettings
from .silence import Silence
from .venue_clock import VenueClock
from .wording import interruption

LOOK_AGAIN_SECONDS: Final = 1.0
"""Between two looks at a gate that waits for the venue, should nobody tell."""


class Retry:
    def __init__(
        self,
        *,
        settings: OrderSettings,
        gate: Gate,
        sender: Sender,
        outcomes: Outcomes,
        silence: Silence,
        venue_clock: VenueClock,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._sender = sender
        self._outcomes = outcomes
        self._silence = silence
        self._venue_clock = venue_clock
        self._clock = clock

    async def prepare(
        self,
        intent: Intent,
        permit: Permit,
        wait_until: float,
        deadline: float,
        decision: evidence.Decision,
    ) -> tuple[Permit, Recording] | None:
        """Back off, then take a fresh permit and journal the next attempt.

        None: the intent has ended. It is closed here when it came too late: an entry is never
        sent after its deadline or through a gate that was shut meanwhile, at another price.
        """
        order, sent = intent.order, intent.attempts_made
        try:
            if order.opening and sent > len(self._settings.backoff_seconds):
                raise _NotAgain(f"not executed in {sent} attempts")
            await self._back_off(intent, wait_until, deadline, decision)
            if not order.opening:
                await self._until_in_reach(intent, deadline, decision.reason)
            if intent.has_ended():  # it showed up after all, while we waited
                return None
            fresh = self._gate.permit(
                order.symbol, opening=order.opening, client_order_id=intent.client_order_id
            )
            if order.opening and fresh.gate_epoch != permit.gate_epoch:
                raise _NotAgain("the gate was shut since the order was made")
        except _NotAgain as why:
            self._outcomes.close(intent, "not_executed", str(why))
            return None
        except TradingHalted as halted:
            reason = f"gate shut before the next attempt: {halted.reason}"
            self._outcomes.close(intent, "not_executed", reason)
            raise NotExecuted(reason, intent=intent) from halted
        except BaseException as error:  # cancelled: proven not executed all the same
            reason = f"given up before the next attempt: {interruption(error)}"
            self._outcomes.close(intent, "not_executed", reason)
            raise
        try:
            recording = self._sender.record_again(intent, number=sent + 1)
        except JournalError as error:  # which would say that it was never sent at all
            reason = f"given up before the next attempt: {interruption(error)}"
            self._outcomes.close(intent, "not_executed", reason, sent=sent)
            raise NotExecuted(reason, intent=intent) from error
        self._gate.release(order.symbol, intent.client_order_id)
        return fresh, recording

    async def _back_off(
        self, intent: Intent, wait_until: float, deadline: float, decision: evidence.Decision
    ) -> None:
        """Wait, and read the venue's clock anew if it has refused the stamp.

        :raises _NotAgain: the deadline comes first.
        """
        reason = decision.reason
        while not intent.has_ended():
            now = self._clock.monotonic()
            # Another order, or a question, may have been told to be silent meanwhile.
            wait_until = max(wait_until, now + self._silence.seconds)
            if max(wait_until, now) >= deadline:
                raise _NotAgain(f"deadline: {reason}")
            if wait_until > now:
                await anyio.sleep(wait_until - now)
                continue
            if not decision.resync_clock:
                return
            try:
                await self._venue_clock.sync(timeout_seconds=self._settings.timeout_seconds)
                return
            except LinkDown as error:
                reason = f"the venue's clock could not be read: {error}"
                wait_until = self._clock.monotonic() + evidence.wait_seconds(
                    intent.attempts_made, self._settings.backoff_seconds
                )

    async def _until_in_reach(self, intent: Intent, deadline: float, reason: str) -> None:
        """:raises _NotAgain: the deadline comes first."""
        while self._gate.waits_for_the_venue and not (intent.has_ended() or intent.abandoned):
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise _NotAgain(f"deadline: the venue can not be reached; {reason}")
            await self._outcomes.changes.wait_at_most(min(left, LOOK_AGAIN_SECONDS))


class _NotAgain(Exception):
    """The next attempt is not to be made; the intent ends as not executed."""
