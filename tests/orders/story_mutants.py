"""Deliberate breakages of the order's way, each a mistake that somebody could make.

Stories that do not catch them prove nothing. Stories are played by the thousand in a test's own
process, so each is put in place there, with `monkeypatch`, and not in a copy as those that the
campaign hunts (`tests/mutants`). It is named after what the engine then does wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from holdfast import evidence, model, resolution
from holdfast.book import Book
from holdfast.broadcast import Broadcast
from holdfast.errors import LinkDown
from holdfast.evidence import Decision, Next
from holdfast.gate import Gate, Permit
from holdfast.intent import Intent
from holdfast.journal import JournalError
from holdfast.keys import Keys
from holdfast.ledger import Ledger
from holdfast.model import (
    Fill,
    OrderSnapshot,
    OrderStatus,
    OutcomeKind,
    PlaceOutcome,
    QueryKind,
    QueryOutcome,
)
from holdfast.orders import OrderPath
from holdfast.outcomes import Outcomes
from holdfast.recorder import Recorder, Recording
from holdfast.records import Attempted, Intended
from holdfast.retry import Retry
from holdfast.silence import Silence
from holdfast.transports.sim import SimExecutionClient
from holdfast.transports.usdm import errors

Mutate = Callable[[pytest.MonkeyPatch], None]


# --- what a reply proves -------------------------------------------------------------------


def _read_as(patch: pytest.MonkeyPatch, kind: OutcomeKind, *, of: tuple[int, ...]) -> None:
    patch.setattr(errors, "CODES", {**errors.CODES, **dict.fromkeys(of, kind)})


def unknown_error_read_as_not_executed(patch: pytest.MonkeyPatch) -> None:
    """503 "Unknown error, please check your request or try again later." """
    _read_as(patch, OutcomeKind.NOT_EXECUTED, of=(-1000,))


def timeout_of_the_venue_read_as_not_executed(patch: pytest.MonkeyPatch) -> None:
    _read_as(patch, OutcomeKind.NOT_EXECUTED, of=(-1006, -1007))


def duplicate_read_as_rejected(patch: pytest.MonkeyPatch) -> None:
    """ "It exists already" is a refusal, so the order is not there."""
    _read_as(patch, OutcomeKind.REJECTED, of=(-4116,))


def http_errors_read_as_not_executed(patch: pytest.MonkeyPatch) -> None:
    """A page in place of a reply: the gateway has not passed the order on."""
    kind = errors._kind

    def hopeful(status: int, code: int | None, message: str) -> OutcomeKind:
        return (
            OutcomeKind.NOT_EXECUTED
            if status >= 500 and code is None
            else kind(status, code, message)
        )

    patch.setattr(errors, "_kind", hopeful)


def _decided(patch: pytest.MonkeyPatch, kind: OutcomeKind, decision: Decision) -> None:
    decide = evidence.decide

    def wrong(outcome: PlaceOutcome, **known: Any) -> Decision:
        return decision if outcome.kind is kind else decide(outcome, **known)

    patch.setattr(evidence, "decide", wrong)


def unknown_outcome_sent_again(patch: pytest.MonkeyPatch) -> None:
    _decided(patch, OutcomeKind.UNKNOWN, Decision(Next.SEND_AGAIN, wait_seconds=1.0))


def unknown_outcome_given_up(patch: pytest.MonkeyPatch) -> None:
    """Safe from a second order, but the first one may be there."""
    _decided(patch, OutcomeKind.UNKNOWN, Decision(Next.GIVE_UP, reason="no reply"))


def banned_and_sent_again(patch: pytest.MonkeyPatch) -> None:
    """418 is taken for another 429, without its wait."""
    _decided(patch, OutcomeKind.BANNED, Decision(Next.SEND_AGAIN, wait_seconds=1.0))
    patch.setattr(Silence, "seconds", 0.0)


def silence_not_kept(patch: pytest.MonkeyPatch) -> None:
    """Only the order that was throttled waits for as long as the venue asks."""
    patch.setattr(Silence, "keep", lambda self, seconds: None)


# --- absence -------------------------------------------------------------------------------


def one_denial_is_proof(patch: pytest.MonkeyPatch) -> None:
    """-2013 is believed at once."""
    patch.setattr(evidence, "absence_proven", lambda attempts, denials, **known: bool(denials))


def absence_believed_within_the_window(patch: pytest.MonkeyPatch) -> None:
    """Two denials, but the venue may still take the attempt."""

    def hasty(attempts: Any, *, margin_ms: int) -> int:
        return max(a.timestamp_ms for a in attempts)

    patch.setattr(evidence, "absence_countable_from_ms", hasty)


def could_not_ask_read_as_absent(patch: pytest.MonkeyPatch) -> None:
    query = SimExecutionClient.query

    async def hopeful(self: SimExecutionClient, *args: Any, **known: Any) -> QueryOutcome:
        answer = await query(self, *args, **known)
        if answer.kind is QueryKind.UNANSWERED:
            return QueryOutcome(kind=QueryKind.ABSENT, reason=answer.reason)
        return answer

    patch.setattr(SimExecutionClient, "query", hopeful)


def closed_when_the_deadline_passes(patch: pytest.MonkeyPatch) -> None:
    """Time is up: the order is declared not executed, whatever became of it."""

    async def give_up(self: OrderPath, intent: Intent, deadline: float) -> None:
        self._outcomes.close(intent, "not_executed", "time is up")

    patch.setattr(OrderPath, "_until_settled", give_up)


# --- crashes, keys and callers -------------------------------------------------------------


def _nowhere() -> Recording:
    recording = Recording.__new__(Recording)
    recording.is_there, recording.is_under_way = True, False
    return recording


def intent_journalled_when_it_has_ended(patch: pytest.MonkeyPatch) -> None:
    def later(self: Recorder, fact: Any, *, live: Any = None, **options: Any) -> Recording:
        self.ledger.apply(fact, live=live)
        return _nowhere()

    patch.setattr(Recorder, "write_through", later)


def key_not_journalled(patch: pytest.MonkeyPatch) -> None:
    """It is remembered for as long as the process lives."""
    write_through = Recorder.write_through

    def forget(self: Recorder, fact: Any, *, live: Any = None, **options: Any) -> Recording:
        if isinstance(fact, Intended):
            key = fact.order.key
            fact = msgspec.structs.replace(
                fact, order=msgspec.structs.replace(fact.order, key=None)
            )
            recording = write_through(self, fact, live=live, **options)
            if key is not None and live is not None:
                self.ledger.by_key[key] = live
            return recording
        return write_through(self, fact, live=live, **options)

    patch.setattr(Recorder, "write_through", forget)


def another_id_for_each_call(patch: pytest.MonkeyPatch) -> None:
    """The key is not looked up, so a decision asked for again is a new order."""
    patch.setattr(Keys, "earlier", lambda self, order: None)


def order_of_an_earlier_life_taken_for_lost(patch: pytest.MonkeyPatch) -> None:
    """Nobody has heard of it since the crash: it can not have been sent."""
    begin = Ledger.begin

    def forget(self: Ledger) -> None:
        begin(self)
        self.intents.clear()
        self.by_key.clear()

    patch.setattr(Ledger, "begin", forget)


def stamp_of_the_next_attempt_not_journalled(patch: pytest.MonkeyPatch) -> None:
    """After a crash absence is judged by the first attempt alone."""
    write_through = Recorder.write_through

    def first_only(self: Recorder, fact: Any, **options: Any) -> Recording:
        if isinstance(fact, Attempted):
            self.ledger.apply(fact)
            return _nowhere()
        return write_through(self, fact, **options)

    patch.setattr(Recorder, "write_through", first_only)


def cancelled_call_taken_for_a_cancelled_order(patch: pytest.MonkeyPatch) -> None:
    """Who stops waiting for an order has stopped it."""

    def forget(self: Outcomes, intent: Intent, reason: str) -> None:
        if "cancelled" in reason:
            self.close(intent, "not_executed", reason)
        else:
            doubt(self, intent, reason)

    doubt = Outcomes.doubt
    patch.setattr(Outcomes, "doubt", forget)


def cancel_without_an_answer_believed(patch: pytest.MonkeyPatch) -> None:
    cancel = OrderPath.cancel

    async def hopeful(self: OrderPath, symbol: str, cid: str, **known: Any) -> Any:
        try:
            return await cancel(self, symbol, cid, **known)
        except LinkDown:
            order = self._ledger.book.orders.get(cid)
            if order is None:
                raise
            gone: OrderSnapshot = msgspec.structs.replace(
                order.snapshot, status=OrderStatus.CANCELED
            )
            self._outcomes.note(gone, "assumed")
            return gone

    patch.setattr(OrderPath, "cancel", hopeful)


# --- what may be sent, and when ------------------------------------------------------------


def sent_again_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "wait_seconds", lambda attempts, backoff_seconds: 0.0)


def deadline_of_entries_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderPath, "_patience_seconds", lambda self, order: 1e9)


def exits_given_up_like_entries(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        OrderPath,
        "_patience_seconds",
        lambda self, order: order.deadline_seconds or self.deadline_seconds,
    )


def exits_given_up_when_the_venue_is_out_of_reach(patch: pytest.MonkeyPatch) -> None:
    """Nothing may be sent, so nothing is waited for."""
    patch.setattr(Gate, "waits_for_the_venue", False)


def exits_held_up_like_entries(patch: pytest.MonkeyPatch) -> None:
    """Where the gate is shut nothing passes it."""
    permit = Gate.permit

    def strict(self: Gate, symbol: str, *, opening: bool, client_order_id: str = "") -> Permit:
        return permit(self, symbol, opening=True, client_order_id=client_order_id)

    patch.setattr(Gate, "permit", strict)


def entries_allowed_while_an_order_is_unknown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "restrict", lambda self, symbol, client_order_id, reason: None)


def full_disk_told_as_never_sent(patch: pytest.MonkeyPatch) -> None:
    """Also of an order of which an attempt was."""
    prepare = Retry.prepare

    async def careless(self: Retry, *args: Any) -> Any:
        try:
            return await prepare(self, *args)
        except Exception as error:
            if isinstance(error.__cause__, JournalError):
                raise error.__cause__ from None
            raise

    patch.setattr(Retry, "prepare", careless)


def waiters_not_woken(patch: pytest.MonkeyPatch) -> None:
    """The resolver sleeps on when an order becomes unknown."""
    patch.setattr(Broadcast, "notify", lambda self: None)


# --- conditional orders, and hedge mode ----------------------------------------------------


def conditional_orders_asked_for_among_the_others(patch: pytest.MonkeyPatch) -> None:
    """The venue keeps them elsewhere."""
    query = SimExecutionClient.query

    async def elsewhere(
        self: SimExecutionClient, *args: Any, conditional: bool = False, **known: Any
    ) -> QueryOutcome:
        return await query(self, *args, **known)

    patch.setattr(SimExecutionClient, "query", elsewhere)


def persons_word_taken_while_the_venue_may_still_accept(patch: pytest.MonkeyPatch) -> None:
    undecided = resolution.undecided

    def hasty(*args: Any, venue_ms: int, margin_ms: int) -> Intent:
        return undecided(*args, venue_ms=venue_ms + 60_000, margin_ms=margin_ms)

    patch.setattr(resolution, "undecided", hasty)


def exits_of_hedge_mode_taken_for_entries(patch: pytest.MonkeyPatch) -> None:
    """They carry no reduceOnly."""
    patch.setattr(model, "_opens_hedged", lambda side, position_side: True)


def sides_of_a_hedged_position_netted(patch: pytest.MonkeyPatch) -> None:
    count = Book.count

    def net(self: Book, fill: Fill) -> bool:
        return count(self, msgspec.structs.replace(fill, position_side="BOTH"))

    patch.setattr(Book, "count", net)


MUTANTS: Final[dict[str, tuple[Mutate, frozenset[str], int]]] = {
    mutate.__name__: (mutate, frozenset(promises), first_seed)
    for mutate, promises, first_seed in (
        (unknown_error_read_as_not_executed, {"orders", "books"}, 160),
        (timeout_of_the_venue_read_as_not_executed, {"orders", "books"}, 275),
        (duplicate_read_as_rejected, {"orders", "books"}, 365),
        (http_errors_read_as_not_executed, {"orders", "books"}, 0),
        (unknown_outcome_sent_again, {"orders"}, 0),
        (unknown_outcome_given_up, {"orders", "books"}, 0),
        (banned_and_sent_again, {"silence"}, 0),
        (silence_not_kept, {"silence"}, 0),
        (one_denial_is_proof, {"orders"}, 0),
        (absence_believed_within_the_window, {"orders"}, 0),
        (could_not_ask_read_as_absent, {"orders", "books"}, 290),
        (closed_when_the_deadline_passes, {"orders", "books"}, 0),
        (intent_journalled_when_it_has_ended, {"orders", "books"}, 0),
        (key_not_journalled, {"orders"}, 0),
        (another_id_for_each_call, {"orders"}, 0),
        (order_of_an_earlier_life_taken_for_lost, {"orders", "books"}, 0),
        # Absence is believed too early: then entries pass that have to wait.
        (stamp_of_the_next_attempt_not_journalled, {"orders", "gate"}, 290),
        (cancelled_call_taken_for_a_cancelled_order, {"orders", "books"}, 0),
        (cancel_without_an_answer_believed, {"truth"}, 40),
        (sent_again_at_once, {"orders"}, 0),
        (deadline_of_entries_ignored, {"orders"}, 0),
        (exits_given_up_like_entries, {"exits"}, 50),
        (exits_given_up_when_the_venue_is_out_of_reach, {"exits"}, 900),
        (exits_held_up_like_entries, {"exits"}, 0),
        (entries_allowed_while_an_order_is_unknown, {"gate"}, 0),
        (full_disk_told_as_never_sent, {"truth"}, 300),
        (waiters_not_woken, {"liveness"}, 0),
        (conditional_orders_asked_for_among_the_others, {"liveness", "orders"}, 0),
        (persons_word_taken_while_the_venue_may_still_accept, {"orders", "books"}, 40),
        (exits_of_hedge_mode_taken_for_entries, {"exits"}, 30),
        (sides_of_a_hedged_position_netted, {"books"}, 0),
    )
}
"""Each with the promises of which it must break one, and the seed from which to look: where a rare
row of the table has to meet a rare moment, most seeds pass."""
