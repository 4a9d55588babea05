"""The path of an order: admitted, journalled, sent, and settled by evidence.

One intent is executed at most once. That rests on three things. The intent and
the stamp of every attempt are in the journal before the write, so a crash can
not hide an order. The client order id never changes, so the order can be found.
And after a failure that leaves the outcome open nothing is sent until the venue
has answered: found is adopted, absent is proven by its clock (`evidence`), and
"could not ask" is no answer, however often it comes.

`submit` runs in its caller's task and only it sends; the `resolver` only asks. So a
cancelled caller leaves an intent that somebody goes on asking for, and no order is
ever sent behind a caller's back. What either of them learns goes through `outcomes`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from math import inf

import anyio

from . import evidence, venue_limits
from .book import newer
from .errors import LinkDown, OutcomeUnknown, TradingHalted
from .evidence import Decision, Next
from .gate import Gate, Permit
from .intent import Intent, Stage, client_order_id, prefix
from .journal import JournalError
from .keys import Keys
from .model import (
    Instrument,
    Order,
    OrderReport,
    OrderSnapshot,
    PlaceOutcome,
    Position,
    QueryKind,
)
from .outcomes import Outcomes, conclude
from .ports import Clock, Entropy, ExecutionClient
from .recorder import Recorder, Recording
from .records import ProtectionLifted
from .retry import Retry
from .sending import Held, Sender
from .settings import OrderSettings
from .silence import Silence
from .venue_clock import VenueClock

log = logging.getLogger("holdfast.orders")


class OrderPath:
    """
    :param before_admitting: learns what `admit` needs to know; may ask the venue.
    :param admit: the word of lease and policy on an order, given its client order id if it
        has one yet; raises `TradingHalted` or `Rejected`.
    :param on_refused_by_venue: told when the venue refuses everything (banned, keys wrong).
    :param on_diverged: told why the books have to be compared.
    """

    def __init__(
        self,
        *,
        bot: str,
        settings: OrderSettings,
        client: ExecutionClient,
        gate: Gate,
        recorder: Recorder,
        outcomes: Outcomes,
        silence: Silence,
        venue_clock: VenueClock,
        clock: Clock,
        entropy: Entropy,
        before_admitting: Callable[[Order], Awaitable[None]],
        admit: Callable[[Order, str], None],
        on_refused_by_venue: Callable[[str], None],
        on_diverged: Callable[[str], None],
    ) -> None:
        self._bot = bot
        self._settings = settings
        self._client = client
        self._gate = gate
        self._recorder = recorder
        self._ledger = recorder.ledger
        self._outcomes = outcomes
        self._silence = silence
        self._venue_clock = venue_clock
        self._clock = clock
        self._entropy = entropy
        self._before_admitting = before_admitting
        self._admit = admit
        self._on_refused_by_venue = on_refused_by_venue
        self._on_diverged = on_diverged
        self._sender = Sender(
            settings=settings,
            client=client,
            gate=gate,
            recorder=recorder,
            outcomes=outcomes,
            silence=silence,
            venue_clock=venue_clock,
            clock=clock,
            admit=admit,
        )
        self._retry = Retry(
            settings=settings,
            gate=gate,
            sender=self._sender,
            outcomes=outcomes,
            silence=silence,
            venue_clock=venue_clock,
            clock=clock,
        )
        self._keys = Keys(recorder.ledger)
        self._doubted: dict[tuple[str, str], Decimal] = {}
        """Positions as they stood when the venue last denied them; of declared symbols."""
        self._number = 0
        self.fencing_token = 0
        self.instruments: dict[str, Instrument] = {}
        self.prefix = prefix(bot)
        self.deadline_seconds = settings.deadline_seconds
        """Of an entry that names none of its own."""
        self.query_lag_ms = settings.absence_margin_ms
        """For so long a new order may be missing from what the venue answers."""

    # --- submit ----------------------------------------------------------------------

    async def submit(
        self, order: Order, *, held: Decimal | None = None, adopts: Position | None = None
    ) -> OrderReport:
        """See `Engine.submit`.

        :param held: as of `check`.
        :param adopts: of a repair, as of `records.Intended`.
        """
        while (earlier := self._keys.earlier(order)) is not None:
            if not isinstance(earlier, Intent):
                return conclude(earlier, None)
            report = await self._await_earlier(earlier, order)
            if report is not None:
                await self._learn_the_end(earlier)
                return conclude(report, earlier)
        self.check(order, held=held)
        deadline = self._clock.monotonic() + self._patience_seconds(order)
        # Nothing is awaited between looking for the key and claiming it.
        intent = self._new_intent(order, adopts)
        self._keys.claim(intent)
        try:
            permit = await self._admitted(order)
            recording = self._sender.record(intent, fencing_token=self.fencing_token)
        finally:
            self._keys.release(intent)
        with self._outcomes.driven(intent):
            return await self._drive(intent, permit, deadline, recording)

    def check(self, order: Order, *, held: Decimal | None = None) -> None:
        """Refuse what the venue would refuse, naming the limit.

        :param held: what the venue has shown to be held, unsigned, for an order that closes
            what the book does not know (a repair); None: what the book says.
        :raises InvalidOrder:
        """
        if held is None:
            held = abs(self._ledger.book.position(order.symbol, order.position_side))
        venue_limits.check(order, self.instruments, held=held)

    async def _admitted(self, order: Order) -> Permit:
        """The gate's and the policy's leave. :raises TradingHalted, Rejected:"""
        if self._silence.seconds:
            raise TradingHalted(f"venue: {self._silence.reason}")
        if not self._venue_clock.is_measured:
            await self._measure_the_clock()
        if order.opening:
            self._gate.permit(order.symbol, opening=True)
            await self._before_admitting(order)
        permit = self._gate.permit(order.symbol, opening=order.opening)
        self._admit(order, "")
        return permit

    async def _measure_the_clock(self) -> None:
        """An exit may be the first thing that is asked of the venue in this life.

        Stamped with the machine's own clock it could be refused, and if the process died with
        a stamp hours ahead, its absence could be proven only after as many hours.

        :raises TradingHalted: the venue could not be asked.
        """
        try:
            await self._venue_clock.sync(timeout_seconds=self._settings.timeout_seconds)
        except LinkDown as error:
            raise TradingHalted(f"the venue's clock could not be read: {error}") from None

    def _new_intent(self, order: Order, adopts: Position | None) -> Intent:
        self._number += 1
        cid = client_order_id(
            self._bot,
            incarnation=self._recorder.journal.incarnation,
            fencing_token=self.fencing_token,
            number=self._number,
        )
        return Intent(cid, order, created_ns=self._clock.time_ns(), adopts=adopts)

    async def _await_earlier(self, intent: Intent, order: Order) -> OrderReport | None:
        """How the first call with this key ends; None when nothing was sent by it."""
        with anyio.move_on_after(order.deadline_seconds or self.deadline_seconds):
            while not (intent.has_ended() or intent.abandoned):
                if intent.stage is Stage.CLOSED:
                    return None
                await intent.change()
        if intent.report is None:
            raise _unknown(intent)
        return intent.report if intent.report.sent else None

    def _patience_seconds(self, order: Order) -> float:
        """For how long it is tried: an exit until its caller, the gate or the end of the engine
        stops it, unless it names a deadline of its own."""
        if order.deadline_seconds is not None:
            return order.deadline_seconds
        return self.deadline_seconds if order.opening else inf

    async def _drive(
        self, intent: Intent, permit: Permit, deadline: float, recording: Recording
    ) -> OrderReport:
        """Attempts, in the caller's task, until there is an outcome or time is up."""
        while True:
            try:
                outcome = await self._sender.attempt(intent, permit, deadline, recording)
            except Held as held:
                reason = Decision(Next.SEND_AGAIN, reason=held.reason)
                prepared = await self._retry.prepare(intent, permit, -inf, deadline, reason)
            else:
                prepared = await self._heed(outcome, intent, permit, deadline)
            if prepared is None:
                await self._learn_the_end(intent)
                return conclude(await intent.resolved(), intent)
            permit, recording = prepared

    async def _heed(
        self, outcome: PlaceOutcome, intent: Intent, permit: Permit, deadline: float
    ) -> tuple[Permit, Recording] | None:
        """What an attempt has come to, and the next one if there is to be one; None: it has
        ended."""
        settings, again = self._settings, None
        if outcome.retry_after_seconds is not None:
            self._silence.keep(outcome.retry_after_seconds)
        # The wait counts from the failure: a venue that takes long to say that it is
        # overloaded must not be asked again at once.
        failed_at = self._clock.monotonic()
        if intent.has_ended():  # the user stream was faster than the reply
            if outcome.order is not None:
                self._outcomes.note(outcome.order, "the venue's reply")
            return None
        jitter = settings.backoff_jitter
        decision = evidence.decide(
            outcome,
            attempts=intent.attempts_made,
            gives_up=intent.order.opening,
            backoff_seconds=settings.backoff_seconds,
            jitter=jitter * (2 * self._entropy.random() - 1) if jitter else 0.0,
        )
        match decision.next:
            case Next.DONE:
                assert outcome.order is not None
                self._outcomes.found(intent, outcome.order, "the venue's reply")
            case Next.REJECT:
                self._outcomes.close(intent, "rejected", decision.reason, code=outcome.code)
                self._doubt_the_book(intent.order, outcome)
            case Next.GIVE_UP:
                self._outcomes.close(intent, "not_executed", decision.reason)
            case Next.HALT:
                self._outcomes.close(intent, "not_executed", decision.reason)
                self._on_refused_by_venue(decision.reason)
            case Next.SEND_AGAIN:
                wait_until = failed_at + decision.wait_seconds
                again = await self._retry.prepare(intent, permit, wait_until, deadline, decision)
            case Next.ASK:
                self._outcomes.doubt(intent, decision.reason)
                await self._until_settled(intent, deadline)
                if not intent.has_ended():
                    wait_until = failed_at + evidence.wait_seconds(
                        intent.attempts_made, settings.backoff_seconds
                    )
                    again = await self._retry.prepare(
                        intent, permit, wait_until, deadline, decision
                    )
        return again

    def _doubt_the_book(self, order: Order, outcome: PlaceOutcome) -> None:
        """Have the books compared if this refusal contradicts ours: once for a position as it
        stands. A bot that goes on trying to close it would keep the gate shut for ever.
        """
        position = (order.symbol, order.position_side)
        held = self._ledger.book.position(*position)
        if not evidence.contradicts_the_book(outcome, order, held=held):
            return
        if self._doubted.get(position) != held:
            self._doubted[position] = held
            self._on_diverged(
                f"the venue has nothing of {order.symbol} to reduce: {outcome.reason}"
            )

    async def _learn_the_end(self, intent: Intent) -> None:
        """Ask once more for an order that can not rest but was only heard of as accepted.

        The stream's first word on a market order is "new", its fills come after: a caller
        told "accepted, nothing filled" might do it again.
        """
        order, known = intent.order, intent.snapshot
        if known is None or known.status.final or order.can_rest or self._silence.seconds:
            return
        answer = await self._client.query(
            order.symbol,
            intent.client_order_id,
            conditional=order.conditional,
            timeout_seconds=self._settings.timeout_seconds,
        )
        if answer.order is not None:
            self._outcomes.note(answer.order, "asked for how it ended")
            if newer(answer.order, known):
                intent.snapshot = answer.order

    async def _until_settled(self, intent: Intent, deadline: float) -> None:
        """Wait for the resolver's evidence: a report, or proven absence. At most until `deadline`.

        :raises OutcomeUnknown: time is up, and the resolver goes on; or the engine was closed.
        """
        left = deadline - self._clock.monotonic()
        if intent.order.conditional:  # its absence can not be proven, so that nobody may ever know
            left = min(left, self.deadline_seconds)
        with anyio.move_on_after(max(left, 0)):
            while not (intent.has_ended() or intent.absent or intent.abandoned):
                await intent.change()
        if not (intent.has_ended() or intent.absent):
            raise _unknown(intent)

    # --- cancel ----------------------------------------------------------------------

    async def cancel(
        self, symbol: str, cid: str, *, conditional: bool = False
    ) -> OrderSnapshot | None:
        """Cancel one order; how it stands afterwards, None if the venue does not know it.

        An order that is still on its way is waited for: the venue would answer that it does
        not know it, and then it would rest.

        :param conditional: of an order that the book does not know.
        :raises LinkDown: the venue could not be asked.
        :raises OutcomeUnknown: nobody knows yet whether there is anything to cancel.
        """
        self._refuse_while_silent()
        intent = self._ledger.intents.get(cid)
        if intent is not None:
            with anyio.move_on_after(self._settings.timeout_seconds):
                await intent.resolved()
            if not intent.has_ended():
                raise _unknown(intent)
            self._refuse_while_silent()  # its end may have been the word that asks for it
        known = self._ledger.book.orders.get(cid)
        if known is not None:
            conditional = known.snapshot.conditional
        if known is not None and known.snapshot.protective:
            # Before the cancel: the stream may tell of its end before the reply does, and a
            # stop that ends without a reason takes the engine to RECONCILING.
            self._lift_protection(cid)
        answer = await self._client.cancel(
            symbol, cid, conditional=conditional, timeout_seconds=self._settings.timeout_seconds
        )
        if answer.kind is QueryKind.UNANSWERED:
            raise LinkDown(f"cancel of {cid}: {answer.reason}")
        if answer.order is not None:
            self._outcomes.note(answer.order, "the venue's reply to a cancel")
        return answer.order

    def _refuse_while_silent(self) -> None:
        """:raises LinkDown: the venue has asked to be left alone."""
        if self._silence.seconds:
            raise LinkDown(f"venue: {self._silence.reason}")

    def _lift_protection(self, cid: str) -> None:
        try:
            self._recorder.write(ProtectionLifted(cid, "cancelled by the bot"))
        except JournalError as error:  # a dead disk does not stop a cancel; a person will look
            log.error("not journalled: stop cancelled", extra={"reason": str(error)})


def _unknown(intent: Intent) -> OutcomeUnknown:
    reason = intent.doubt or "still being sent"
    if intent.abandoned:
        reason += "; the engine was closed, and asks for it at the next start"
    return OutcomeUnknown(reason, intent=intent)
