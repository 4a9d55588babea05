"""What becomes of an intent, written down: doubted, found at the venue, closed.

Everything that is learnt of an order passes here, whoever learnt it: the reply to an
attempt, the user stream, the resolver, the reconciliation, an operator. The first
evidence stands. An outcome is real whether it could be journalled or not: what a dead
disk does not take is believed in this life, and asked for again in the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import msgspec

from . import evidence
from .book import newer
from .broadcast import Broadcast
from .errors import NotExecuted, Rejected
from .gate import Gate
from .intent import Intent, Stage
from .journal import JournalError
from .model import EndStatus, Order, OrderReport, OrderSnapshot
from .ports import Clock
from .recorder import Recorder
from .records import Doubted, OrderSeen, Resolved
from .wording import writable

log = logging.getLogger("holdfast.orders")


class Outcomes:
    """
    :param on_resolved: told of every intent whose outcome had been in doubt, once settled.
    :param on_closed: told of every intent that ended.
    :param on_awaited: told of every order of whose fills not all that the venue says are counted.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        recorder: Recorder,
        clock: Clock,
        on_resolved: Callable[[Intent, OrderReport], None],
        on_closed: Callable[[OrderReport], None],
        on_awaited: Callable[[str], None],
    ) -> None:
        self._gate = gate
        self._recorder = recorder
        self._ledger = recorder.ledger
        self._clock = clock
        self._on_resolved = on_resolved
        self._on_closed = on_closed
        self._on_awaited = on_awaited
        self._driven: dict[str, Intent] = {}
        self.changes = Broadcast()
        """Notified when an intent becomes unknown or settled, or the venue can be asked again."""
        self.questions = Broadcast()
        """Notified when there may be something to ask the venue for, or to settle without it: an
        intent became unknown, lost its caller before it ended, or the venue can be asked again.
        Most orders are settled by their reply; nobody has to look at them."""
        self.entries = Broadcast()
        """Notified when an entry may have begun to rest, or may not rest any more."""

    # --- whose it is -----------------------------------------------------------------

    @contextmanager
    def driven(self, intent: Intent) -> Iterator[None]:
        """Inside, a caller is there for it: nobody but `submit` may send it again or give it up."""
        self._driven[intent.client_order_id] = intent
        try:
            yield
        finally:
            del self._driven[intent.client_order_id]
            if not intent.has_ended():
                self.questions.notify()

    def is_driven(self, intent: Intent) -> bool:
        return intent.client_order_id in self._driven

    def abandon(self) -> None:
        """The engine is closed: whoever waits for an outcome is told that none will come."""
        for intent in list(self._ledger.intents.values()):
            intent.abandon()

    # --- what is learnt --------------------------------------------------------------

    def doubt(self, intent: Intent, reason: str) -> None:
        """Nobody knows whether the venue has it: its symbol may only be reduced from now on."""
        reason = writable(reason)
        intent.doubted_at = self._clock.monotonic()
        self._gate.restrict(
            intent.order.symbol, intent.client_order_id, "the outcome of an order is unknown"
        )
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
        self.questions.notify()

    def found(self, intent: Intent, order: OrderSnapshot, where: str) -> None:
        """The venue has an order under our id; `where` that was seen, in words."""
        wrong = evidence.mismatch(intent.order, order)
        if wrong is not None:
            self.close(intent, "rejected", f"the id belongs to another order: {wrong}")
        else:
            self.close(intent, "accepted", where, snapshot=order)

    def close(
        self,
        intent: Intent,
        status: EndStatus,
        why: str,
        *,
        snapshot: OrderSnapshot | None = None,
        code: int | None = None,
        sent: int | None = None,
    ) -> None:
        """It has ended, and `why` is the evidence. Once ended, nothing changes that.

        :param sent: so many attempts may have left for the venue, 0 if it provably has never
            heard of the order; None: all that were begun.
        """
        if intent.has_ended():
            return
        order = intent.order
        report = report_of(intent, status, why, snapshot=snapshot, code=code, sent=sent)
        doubted = intent.doubt != ""
        try:
            self._recorder.write(Resolved(report, snapshot))
        except JournalError:
            # The outcome is real whether it could be written or not; a restart asks again. But
            # it will not know that nothing was sent, so the key is used up in this life too.
            report = msgspec.structs.replace(report, attempts=intent.attempts_made)
            self._ledger.apply(Resolved(report, snapshot))
        self._gate.release(order.symbol, intent.client_order_id)
        self.changes.notify()
        if order.opening and order.can_rest:
            self.entries.notify()
        self._on_closed(report)
        self._await_fills(report.client_order_id)
        if doubted:
            self._on_resolved(intent, report)

    def saw(self, order: OrderSnapshot, where: str) -> None:
        """The venue speaks of an order of ours (user stream, query, snapshot).

        :raises JournalError: what it said of an order in the book could not be written down.
        """
        intent = self._ledger.intents.get(order.client_order_id)
        if intent is not None:
            self.found(intent, evidence.of_the_same(intent.order, order), where)
            return
        driven = self._driven.get(order.client_order_id)
        if driven is not None and driven.snapshot is not None and newer(order, driven.snapshot):
            driven.snapshot = order
        known = self._ledger.book.orders.get(order.client_order_id)
        if known is not None and newer(order, known.snapshot):
            self._recorder.write(OrderSeen(evidence.of_the_same(known.snapshot, order)))
            self._await_fills(order.client_order_id)

    def _await_fills(self, client_order_id: str) -> None:
        if self._ledger.book.awaits_fills(client_order_id):
            self._on_awaited(client_order_id)

    def note(self, order: OrderSnapshot, where: str) -> None:
        """As `saw`, where the caller must learn what happened even if it can not be written.

        The recorder has reported the disk, and the recovery from that asks the venue again.
        """
        try:
            self.saw(order, where)
        except JournalError as error:
            log.error("not journalled: %s", where, extra={"reason": str(error)})


def report_of(
    intent: Intent,
    status: EndStatus,
    why: str,
    *,
    snapshot: OrderSnapshot | None = None,
    code: int | None = None,
    sent: int | None = None,
) -> OrderReport:
    """How it ended, and `why` is the evidence; the rest is as of `Outcomes.close`."""
    order = intent.order
    return OrderReport(
        client_order_id=intent.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        status=status,
        filled=Decimal(0) if snapshot is None else snapshot.filled,
        average_price=None if snapshot is None else snapshot.average_price,
        venue_order_id=None if snapshot is None else snapshot.venue_order_id,
        order_status=None if snapshot is None else snapshot.status,
        attempts=intent.attempts_made if sent is None else sent,
        evidence=writable(why),
        key=order.key,
        code=code,
        price=order.price,
        updated_ms=0 if snapshot is None else snapshot.updated_ms,
    )


def conclude(report: OrderReport, intent: Intent | None) -> OrderReport:
    """Return an accepted report, raise what the others mean.

    :param intent: None where only the report is remembered.
    :raises Rejected, NotExecuted:
    """
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
            updated_ms=latest.updated_ms,
        )
    if report.status == "rejected":
        raise Rejected(report.evidence, code=report.code)
    if intent is None:
        order = Order(report.symbol, report.side, report.quantity, key=report.key)
        intent = Intent(report.client_order_id, order, created_ns=0)
        intent.stage, intent.report = Stage.CLOSED, report
    raise NotExecuted(report.evidence, intent=intent)
