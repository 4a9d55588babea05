"""The path of an order: admitted, journalled, sent, and settled by evidence.

One intent is executed at most once. That rests on three things. The intent and
the stamp of every attempt are in the journal before the write, so a crash can
not hide an order. The client order id never changes, so the order can be found.
And after a failure that leaves the outcome open nothing is sent until the venue
has answered: found is adopted, absent is proven by its clock (`evidence`), and
"could not ask" is no answer, however often it comes.

`submit` runs in its caller's task and only it sends; `run` is the resolver, which
only asks. So a cancelled caller leaves an intent that somebody goes on asking for,
and no order is ever sent behind a caller's back.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Literal

import anyio
import msgspec

from . import evidence
from .book import newer
from .broadcast import Broadcast
from .errors import InvalidOrder, LinkDown, NotExecuted, OutcomeUnknown, Rejected, TradingHalted
from .evidence import Next
from .gate import Gate, Permit
from .intent import Intent, Stage, client_order_id, prefix
from .journal import JournalError
from .model import (
    Instrument,
    Order,
    OrderReport,
    OrderSnapshot,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    Side,
)
from .policy import Exposure
from .ports import Clock, Entropy, ExecutionClient
from .recorder import Recorder
from .records import Attempted, Doubted, Intended, OrderSeen, ProtectionLifted, Resolved
from .settings import OrderSettings
from .venue_clock import VenueClock
from .wording import interruption, writable

log = logging.getLogger("holdfast.orders")

SLOWEST_ASKING_SECONDS = 1.0
"""Between two questions about the same order."""


class OrderPath:
    """
    :param before_admitting: learns what `admit` needs to know; may ask the venue.
    :param admit: the policy's word on an opening order, given its client order id if it has
        one yet; raises `TradingHalted` or `Rejected`.
    :param on_resolved: told of every intent whose outcome had been in doubt, once settled.
    :param on_closed: told of every intent that ended, with its number of attempts.
    :param on_refused_by_venue: told when the venue refuses everything (banned, keys wrong).
    """

    def __init__(
        self,
        *,
        bot: str,
        settings: OrderSettings,
        client: ExecutionClient,
        gate: Gate,
        recorder: Recorder,
        venue_clock: VenueClock,
        clock: Clock,
        entropy: Entropy,
        before_admitting: Callable[[Order], Awaitable[None]],
        admit: Callable[[Order, str], None],
        can_ask: Callable[[], bool],
        on_resolved: Callable[[Intent, OrderReport], None],
        on_closed: Callable[[OrderReport], None],
        on_refused_by_venue: Callable[[str], None],
    ) -> None:
        self._bot = bot
        self._settings = settings
        self._client = client
        self._gate = gate
        self._recorder = recorder
        self._ledger = recorder.ledger
        self._venue_clock = venue_clock
        self._clock = clock
        self._entropy = entropy
        self._before_admitting = before_admitting
        self._admit = admit
        self._can_ask = can_ask
        self._on_resolved = on_resolved
        self._on_closed = on_closed
        self._on_refused_by_venue = on_refused_by_venue
        self.fencing_token = 0
        self.instruments: dict[str, Instrument] = {}
        self.prefix = prefix(bot)
        self.query_lag_ms = settings.absence_margin_ms
        """For so long a new order may be missing from what the venue answers."""
        self._number = 0
        self._claimed: dict[str, Intent] = {}
        """Keys whose intent is being journalled right now."""
        self._owned: dict[str, Intent] = {}
        """Intents whose `submit` is still running: only it may close or resend them."""
        self._denials: dict[str, list[int]] = {}
        self._pace: dict[str, float] = {}
        self._quiet_until = -inf
        self.changes = Broadcast()
        """Notified when an intent becomes unknown or settled, or the venue can be asked again."""

    # --- submit ----------------------------------------------------------------------

    async def submit(self, order: Order) -> OrderReport:
        """See `Engine.submit`."""
        if order.key is not None:
            earlier = self._earlier(order)
            while isinstance(earlier, Intent):
                report = await self._await_earlier(earlier)
                if report is not None:
                    await self._learn_the_end(earlier)
                    return self._conclude(report, earlier)
                earlier = self._earlier(order)
            if earlier is not None:
                return self._conclude(earlier, None)
        self.check(order)
        # Nothing is awaited between looking for the key and claiming it: two calls with the
        # same key at the same time would both find it free.
        intent = self._claim(order)
        try:
            permit = await self._admitted(order)
            await self._journal(intent)
        finally:
            self._unclaim(intent)
        self._owned[intent.client_order_id] = intent
        try:
            return await self._drive(intent, permit)
        finally:
            del self._owned[intent.client_order_id]
            self.changes.notify()

    def quiet_seconds(self) -> float:
        """For how long the venue has asked to be left alone (Binance 429 and 418, Retry-After).

        Whoever goes on asking is throttled longer, then banned, for up to three days.
        """
        return max(self._quiet_until - self._clock.monotonic(), 0.0)

    async def _admitted(self, order: Order) -> Permit:
        """The gate's and the policy's leave. :raises TradingHalted, Rejected:"""
        if self.quiet_seconds():
            raise TradingHalted(f"the venue asks for silence, {self.quiet_seconds():.0f} s more")
        if not self._venue_clock.is_measured:
            await self._measure_the_clock()
        if order.opening:
            self._gate.permit(order.symbol, opening=True)
            await self._before_admitting(order)
        permit = self._gate.permit(order.symbol, opening=order.opening)
        if order.opening:
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

    def check(self, order: Order) -> None:
        """Refuse what the venue would refuse, naming the limit. :raises InvalidOrder:"""
        step = self.instruments.get(order.symbol)
        if step is None:
            if self.instruments:
                known = ", ".join(sorted(self.instruments)[:5])
                raise InvalidOrder(f"symbol: the venue does not list {order.symbol!r} ({known}, …)")
            return
        if order.quantity < step.min_quantity:
            raise InvalidOrder(
                f"quantity: {order.quantity} is under the minimum {step.min_quantity}"
            )
        if not _is_multiple(order.quantity, step.quantity_step):
            raise InvalidOrder(
                f"quantity: {order.quantity} is not a multiple of the step {step.quantity_step}"
            )
        for name, price in (("price", order.price), ("trigger_price", order.trigger_price)):
            if price is not None and not _is_multiple(price, step.price_step):
                raise InvalidOrder(
                    f"{name}: {price} is not a multiple of the tick {step.price_step}"
                )
        if order.price is not None:
            notional = order.price * order.quantity
            if order.opening and notional < step.min_notional:
                raise InvalidOrder(
                    f"quantity: notional {notional:f} is under the minimum {step.min_notional:f}"
                )
        if not order.opening and order.position_side != "BOTH":
            held = abs(self._ledger.book.position(order.symbol, order.position_side))
            if order.quantity > held:
                raise InvalidOrder(
                    f"quantity: {order.quantity} would close more than the {held:f} held "
                    f"{order.position_side}"
                )

    def _earlier(self, order: Order) -> Intent | OrderReport | None:
        """The intent this key already stands for, if any."""
        key = order.key
        assert key is not None
        report = self._ledger.keyed.get(key)
        if report is not None:
            meant = (report.symbol, report.side, report.quantity)
        else:
            intent = self._ledger.by_key.get(key) or self._claimed.get(key)
            if intent is None:
                return None
            meant = (intent.order.symbol, intent.order.side, intent.order.quantity)
        if meant != (order.symbol, order.side, order.quantity):
            raise InvalidOrder(
                f"key: {key!r} already stands for {meant[1]} {meant[2]} {meant[0]}; "
                "a new decision needs a new key"
            )
        return report or intent

    async def _await_earlier(self, intent: Intent) -> OrderReport | None:
        """How the first call with this key ends; None when it never came to be journalled."""
        with anyio.move_on_after(self._deadline_seconds(intent.order)):
            while not intent.has_ended():
                if intent.stage is Stage.CLOSED:
                    return None
                await intent.change()
        if intent.report is None:
            raise OutcomeUnknown(intent.doubt or "still being sent", intent=intent)
        return intent.report

    def _deadline_seconds(self, order: Order) -> float:
        return order.deadline_seconds or self._settings.deadline_seconds

    def _claim(self, order: Order) -> Intent:
        """A new intent, which its key stands for from now on."""
        self._number += 1
        cid = client_order_id(
            self._bot,
            incarnation=self._recorder.journal.incarnation,
            fencing_token=self.fencing_token,
            number=self._number,
        )
        intent = Intent(cid, order, created_ns=self._clock.time_ns())
        if order.key is not None:
            self._claimed[order.key] = intent
        return intent

    def _unclaim(self, intent: Intent) -> None:
        """It is in the ledger now, or it never came to be: whoever waits on it looks again."""
        if intent.order.key is not None:
            del self._claimed[intent.order.key]
        if intent.client_order_id not in self._ledger.intents and not intent.has_ended():
            intent.stage = Stage.CLOSED
            intent.notify()

    async def _journal(self, intent: Intent) -> None:
        fact = Intended(
            intent.client_order_id,
            intent.order,
            intent.created_ns,
            self._venue_clock.now_ms(),
            self._settings.recv_window_ms,
            self.fencing_token,
        )
        try:
            await self._recorder.write_through(
                fact,
                durability=self._settings.durability,
                reserve=not intent.order.opening,
                live=intent,
            )
        except JournalError:
            raise
        except BaseException:
            self._close(intent, "not_executed", "cancelled before it was sent")
            raise

    async def _drive(self, intent: Intent, permit: Permit) -> OrderReport:
        """Attempts, in the caller's task, until there is an outcome or time is up."""
        order, settings = intent.order, self._settings
        deadline = self._clock.monotonic() + self._deadline_seconds(order)
        while True:
            outcome = await self._attempt(intent, permit)
            if outcome.retry_after_seconds is not None:
                quiet_until = self._clock.monotonic() + outcome.retry_after_seconds
                self._quiet_until = max(self._quiet_until, quiet_until)
            # The wait counts from the failure: a venue that takes long to say that it is
            # overloaded must not be asked again at once.
            failed_at = self._clock.monotonic()
            if intent.has_ended():  # the user stream was faster than the reply
                if outcome.order is not None:
                    self._note(outcome.order, "the venue's reply")
                await self._learn_the_end(intent)
                return self._conclude(await intent.resolved(), intent)
            jitter = settings.backoff_jitter
            decision = evidence.decide(
                outcome,
                attempts=len(intent.attempts),
                backoff_seconds=settings.backoff_seconds,
                jitter=jitter * (2 * self._entropy.random() - 1) if jitter else 0.0,
            )
            match decision.next:
                case Next.DONE:
                    self._found(intent, outcome.order, "the venue's reply")
                case Next.REJECT:
                    self._close(intent, "rejected", decision.reason, code=outcome.code)
                case Next.GIVE_UP:
                    self._close(intent, "not_executed", decision.reason)
                case Next.HALT:
                    self._close(intent, "not_executed", decision.reason)
                    self._on_refused_by_venue(decision.reason)
                case Next.SEND_AGAIN | Next.ASK:
                    wait_until = failed_at + decision.wait_seconds
                    if decision.next is Next.ASK:
                        self._doubt(intent, decision.reason)
                        await self._until_settled(intent, deadline)
                        number = min(len(intent.attempts), len(settings.backoff_seconds))
                        wait_until = failed_at + (
                            settings.backoff_seconds[number - 1] if number else 0
                        )
                    if not intent.has_ended():
                        permit = await self._before_sending_again(
                            intent, permit, wait_until, deadline, decision
                        )
            if intent.has_ended():
                await self._learn_the_end(intent)
                return self._conclude(await intent.resolved(), intent)

    async def _learn_the_end(self, intent: Intent) -> None:
        """Ask once more for an order that can not rest but was only heard of as accepted.

        The stream's first word on a market order is "new", its fills come after: a caller
        told "accepted, nothing filled" might do it again.
        """
        order, known = intent.order, intent.snapshot
        can_rest = order.conditional or (order.price is not None and order.time_in_force != "IOC")
        if known is None or known.status.final or can_rest:
            return
        answer = await self._client.query(
            order.symbol,
            intent.client_order_id,
            conditional=order.conditional,
            timeout_seconds=self._settings.timeout_seconds,
        )
        if answer.order is not None:
            self._note(answer.order, "asked for how it ended")
            if newer(answer.order, known):
                intent.snapshot = answer.order

    async def _attempt(self, intent: Intent, permit: Permit) -> PlaceOutcome:
        asked, order = False, intent.order

        def verify() -> None:
            nonlocal asked
            permit.verify()
            if order.opening:
                # The policy may have changed since the order was made: while it was journalled,
                # while the connection was set up, between two attempts.
                self._admit(order, intent.client_order_id)
            asked = True

        latest = intent.attempts[-1]
        request = PlaceRequest(
            intent.client_order_id, order, latest.timestamp_ms, latest.recv_window_ms
        )
        try:
            return await self._client.place(
                request, permit=verify, timeout_seconds=self._settings.timeout_seconds
            )
        except TradingHalted as halted:
            self._close(intent, "not_executed", f"gate shut before the write: {halted.reason}")
            raise
        except Rejected as no:
            self._close(intent, "rejected", no.reason)
            raise
        except BaseException as error:  # cancelled, or a transport that broke its promise
            if not intent.has_ended():
                why = interruption(error)
                if asked:
                    self._doubt(intent, f"interrupted while it was being sent: {why}")
                else:
                    self._close(intent, "not_executed", f"interrupted before the write: {why}")
            raise

    async def _until_settled(self, intent: Intent, deadline: float) -> None:
        """Wait for the resolver's evidence: a report, or proven absence. At most until `deadline`.

        :raises OutcomeUnknown: time is up; the resolver goes on.
        """
        with anyio.move_on_after(max(deadline - self._clock.monotonic(), 0)):
            while not (intent.has_ended() or intent.absent):
                await intent.change()
        if not (intent.has_ended() or intent.absent):
            raise OutcomeUnknown(intent.doubt, intent=intent)

    async def _before_sending_again(
        self,
        intent: Intent,
        permit: Permit,
        wait_until: float,
        deadline: float,
        decision: evidence.Decision,
    ) -> Permit:
        """Back off, then take a fresh permit and journal the next attempt.

        Closes the intent instead when it came too late: an entry is never sent after
        its deadline or through a gate that was shut meanwhile, at another price.
        """
        order = intent.order
        try:
            if len(intent.attempts) > len(self._settings.backoff_seconds):
                raise _NotAgain(f"not executed in {len(intent.attempts)} attempts")
            if max(wait_until, self._clock.monotonic()) >= deadline:
                raise _NotAgain(f"deadline: {decision.reason}")
            pause = wait_until - self._clock.monotonic()
            if pause > 0:
                await anyio.sleep(pause)
            if decision.resync_clock:
                await self._venue_clock.sync(timeout_seconds=self._settings.timeout_seconds)
            if intent.has_ended():  # it showed up after all, while we waited
                return permit
            fresh = self._gate.permit(
                order.symbol, opening=order.opening, client_order_id=intent.client_order_id
            )
            if order.opening and fresh.gate_epoch != permit.gate_epoch:
                raise _NotAgain("the gate was shut since the order was made")
            attempt = Attempted(
                intent.client_order_id,
                len(intent.attempts) + 1,
                self._venue_clock.now_ms(),
                self._settings.recv_window_ms,
            )
        except (_NotAgain, LinkDown) as why:
            self._close(intent, "not_executed", str(why))
            return permit
        except BaseException as error:  # halted or cancelled: proven not executed either way
            reason = f"given up before the next attempt: {interruption(error)}"
            self._close(intent, "not_executed", reason)
            raise
        try:
            await self._recorder.write_through(
                attempt, durability=self._settings.durability, reserve=not order.opening
            )
        except BaseException as error:
            reason = f"given up before the next attempt: {interruption(error)}"
            self._close(intent, "not_executed", reason)
            raise
        self._gate.release(order.symbol, intent.client_order_id)
        self._denials.pop(intent.client_order_id, None)
        return fresh

    def _conclude(self, report: OrderReport, intent: Intent | None) -> OrderReport:
        """Return an accepted report, raise what the others mean."""
        if report.status == "accepted":
            if intent is None or intent.snapshot is None:
                return report
            # The first word on it is what settled it; the caller gets the latest.
            latest = intent.snapshot
            return msgspec.structs.replace(
                report,
                filled=latest.filled,
                average_price=latest.average_price,
                order_status=latest.status,
            )
        if report.status == "rejected":
            raise Rejected(report.evidence, code=report.code)
        if intent is None:
            order = Order(report.symbol, report.side, report.quantity, key=report.key)
            intent = Intent(report.client_order_id, order, created_ns=0)
            intent.stage, intent.report = Stage.CLOSED, report
        raise NotExecuted(report.evidence, intent=intent)

    # --- outcomes --------------------------------------------------------------------

    def _doubt(self, intent: Intent, reason: str) -> None:
        reason = writable(reason)
        intent.doubted_at = self._clock.monotonic()
        self._gate.restrict(
            intent.order.symbol, intent.client_order_id, "the outcome of an order is unknown"
        )
        self._pace.pop(intent.client_order_id, None)
        log.warning(
            "order outcome unknown",
            extra={"client_order_id": intent.client_order_id, "reason": reason},
        )
        try:
            self._recorder.write(Doubted(intent.client_order_id, reason))
        except JournalError:
            # The journal holds the attempt already, which a restart takes for unknown too.
            self._ledger.apply(Doubted(intent.client_order_id, reason))
        self.changes.notify()

    def _found(self, intent: Intent, order: OrderSnapshot | None, evidence_: str) -> None:
        """The venue has an order under our id."""
        assert order is not None
        wrong = evidence.mismatch(intent.order, order)
        if wrong is not None:
            self._close(intent, "rejected", f"the id belongs to another order: {wrong}")
        else:
            self._close(intent, "accepted", evidence_, snapshot=order)

    def _close(
        self,
        intent: Intent,
        status: Literal["accepted", "rejected", "not_executed"],
        why: str,
        *,
        snapshot: OrderSnapshot | None = None,
        code: int | None = None,
    ) -> None:
        if intent.has_ended():
            return  # the first evidence stands
        order = intent.order
        report = OrderReport(
            client_order_id=intent.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            status=status,
            filled=Decimal(0) if snapshot is None else snapshot.filled,
            average_price=None if snapshot is None else snapshot.average_price,
            venue_order_id=None if snapshot is None else snapshot.venue_order_id,
            order_status=None if snapshot is None else snapshot.status,
            attempts=len(intent.attempts),
            evidence=writable(why),
            key=order.key,
            code=code,
        )
        doubted = intent.doubt != ""
        try:
            self._recorder.write(Resolved(report, snapshot))
        except JournalError:
            # The outcome is real whether it could be written or not; a restart asks again.
            self._ledger.apply(Resolved(report, snapshot))
        self._denials.pop(intent.client_order_id, None)
        self._pace.pop(intent.client_order_id, None)
        self._gate.release(order.symbol, intent.client_order_id)
        self.changes.notify()
        self._on_closed(report)
        if doubted:
            self._on_resolved(intent, report)

    def _note(self, order: OrderSnapshot, evidence_: str) -> None:
        """As `saw`, where the caller must learn what happened even if it can not be written.

        The recorder has reported the disk, and the recovery from that asks the venue again.
        """
        try:
            self.saw(order, evidence_)
        except JournalError as error:
            log.error("not journalled: %s", evidence_, extra={"reason": str(error)})

    def saw(self, order: OrderSnapshot, evidence_: str) -> None:
        """The venue speaks of an order of ours (user stream, query, snapshot)."""
        intent = self._ledger.intents.get(order.client_order_id)
        if intent is not None:
            self._found(intent, order, evidence_)
            return
        owned = self._owned.get(order.client_order_id)
        if owned is not None and owned.snapshot is not None and newer(order, owned.snapshot):
            owned.snapshot = order
        known = self._ledger.book.orders.get(order.client_order_id)
        if known is not None and newer(order, known.snapshot):
            self._recorder.write(OrderSeen(order))

    # --- the resolver ----------------------------------------------------------------

    async def run(self) -> None:
        """Ask for unknown orders until cancelled. Only asks; never sends."""
        while True:
            waiting = [i for i in self._ledger.unknown if not self._settle_absent(i)]
            waiting = [i for i in waiting if not i.absent]
            if not waiting or not self._can_ask():
                await self.changes.wait()
                continue
            if self.quiet_seconds():
                await self.changes.wait_at_most(self.quiet_seconds())
                continue
            now = self._clock.monotonic()
            due = [i for i in waiting if self._next_question(i) <= now]
            for intent in due:
                await self._ask(intent)
            if not due:
                pause = min(self._next_question(i) for i in waiting) - now
                await self.changes.wait_at_most(pause)

    def _settle_absent(self, intent: Intent) -> bool:
        """Close an intent proven absent whose caller has gone: it is never sent behind his back."""
        if intent.absent and intent.client_order_id not in self._owned:
            self._close(intent, "not_executed", "proven absent at the venue")
            return True
        return False

    def _next_question(self, intent: Intent) -> float:
        return self._pace.get(intent.client_order_id, 0.0)

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
            self._pace[cid] = self._clock.monotonic() + SLOWEST_ASKING_SECONDS
            return
        if intent.stage is not Stage.UNKNOWN:
            return  # settled while we asked
        if answer.kind is QueryKind.FOUND and answer.order is not None:
            self._found(intent, answer.order, "found at the venue by its client order id")
            return
        pause = settings.absence_spacing_seconds
        # The window that proves absence binds the matching engine, not the place where orders
        # wait for their trigger: one was accepted, could not be found, and was placed again
        # (freqtrade#12681). Those are asked for until they are seen, or a person decides.
        if answer.kind is QueryKind.ABSENT and not intent.order.conditional:
            denials = self._denials.setdefault(cid, [])
            denials.append(asked_ms)
            del denials[:-64]
            if evidence.absence_proven(
                intent.attempts,
                denials,
                margin_ms=settings.absence_margin_ms,
                needed=settings.absence_answers,
                spacing_ms=int(settings.absence_spacing_seconds * 1000),
            ):
                intent.absent = True
                intent.notify()
                return
            pause = max(pause, self._until_countable(intent, asked_ms))
        self._pace[cid] = self._clock.monotonic() + min(pause, SLOWEST_ASKING_SECONDS)

    def _until_countable(self, intent: Intent, venue_ms: int) -> float:
        countable = evidence.absence_countable_from_ms(
            intent.attempts, margin_ms=self._settings.absence_margin_ms
        )
        return (countable - venue_ms) / 1000

    # --- what is open ----------------------------------------------------------------

    def exposure(
        self, symbol: str, side: Side, reference_price: Decimal | None, *, without: str = ""
    ) -> Exposure:
        """What `symbol` holds or may come to hold on one side; unknown orders count as filled.

        :param without: client order id of the order that is judged by it.
        """
        book = self._ledger.book
        held = sum((h.quantity for (s, _), h in book.holdings.items() if s == symbol), Decimal(0))
        pending, count = Decimal(0), 0
        for open_order in book.orders.values():
            order = open_order.snapshot
            if order.symbol != symbol:
                continue
            count += not order.status.final
            if order.opening and order.side == side:
                pending += open_order.expected
        for intent in self._ledger.intents.values():
            if intent.order.symbol == symbol and intent.client_order_id != without:
                count += 1
                if intent.order.opening and intent.order.side == side:
                    pending += intent.order.quantity
        signed = pending if side == "buy" else -pending
        return Exposure(held, signed, reference_price, count)

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
        if self.quiet_seconds():
            raise LinkDown(f"the venue asks for silence, {self.quiet_seconds():.0f} s more")
        intent = self._ledger.intents.get(cid)
        if intent is not None:
            with anyio.move_on_after(self._settings.timeout_seconds):
                await intent.resolved()
            if not intent.has_ended():
                raise OutcomeUnknown(intent.doubt or "still being sent", intent=intent)
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
            self._note(answer.order, "the venue's reply to a cancel")
        return answer.order

    def _lift_protection(self, cid: str) -> None:
        try:
            self._recorder.write(ProtectionLifted(cid, "cancelled by the bot"))
        except JournalError as error:  # a dead disk does not stop a cancel; a person will look
            log.error("not journalled: stop cancelled", extra={"reason": str(error)})


def _is_multiple(value: Decimal, step: Decimal) -> bool:
    try:
        return not value % step
    except InvalidOperation:  # more digits between the two than the context holds
        return False


class _NotAgain(Exception):
    """The next attempt is not to be made; the intent ends as not executed."""
