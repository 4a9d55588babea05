"""What the engine knows, as a fold over its journal.

Everything that must survive a kill -9 changes only through `apply`, live and on
opening alike, so what a restart knows is what the running engine knew. Pure: no
I/O, no clock. A checkpoint is the folded state itself; the journal keeps the
records after the last one, so the past may be dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

import msgspec

from . import checkpoint
from .book import Book, BookState
from .checkpoint import Checkpoint, IntentState, Keyed, Terms
from .intent import Attempt, Intent, Stage
from .model import Fill, Order, OrderReport, OrderSnapshot
from .policy import Exposure, Identity
from .records import (
    Adopted,
    Attempted,
    Balanced,
    Doubted,
    Fact,
    Filled,
    Held,
    Intended,
    Named,
    OrderSeen,
    PolicySeen,
    ProtectionLifted,
    Resolved,
    Synced,
    Transitioned,
)
from .wallets import Wallets

MAX_PRODUCERS = 32
"""Lives of the bot whose last event is remembered; the bus is asked about each of them."""


class Ledger:
    """
    :param keys_kept: how many ended intents with a key are remembered.
    """

    def __init__(self, *, keys_kept: int) -> None:
        self.book = Book()
        self.wallets = Wallets()
        self.intents: dict[str, Intent] = {}
        """Not yet resolved, by client order id."""
        self.by_key: dict[str, Intent] = {}
        """Of those, the ones with a key."""
        self.keyed: OrderedDict[str, OrderReport] = OrderedDict()
        """Ended intents by key, oldest first."""
        self.terms: dict[str, Terms] = {}
        """Of those, by key; not of one whose record is lost to damage."""
        self.hold: str | None = None
        self.policy_seen: PolicySeen | None = None
        self.consented = False
        """The account's state was compared once and found equal, or adopted by consent."""
        self.foreign_orders: frozenset[str] = frozenset()
        self.transitions = 0
        self.bot = ""
        """Whose journal it is; empty until it was named."""
        self.last_sequences: dict[int, int] = {}
        """Per incarnation, oldest first, the number of its last event. Kept longer than the
        events: it is what tells that a bus which came back empty has lost some of them."""
        self.untold_fill: Fill | None = None
        """Counted, and the event that tells of it is not written yet: it is the next one, unless
        the process ends in between."""
        self._keys_kept = keys_kept
        self._resting_keys: dict[str, str] = {}
        """Keys of ended intents whose order may still fill, by client order id."""

    @property
    def policy_identity(self) -> Identity | None:
        seen = self.policy_seen
        return None if seen is None else Identity(seen.lineage, seen.version, seen.content_hash)

    @property
    def unknown(self) -> list[Intent]:
        return [i for i in self.intents.values() if i.stage is Stage.UNKNOWN]

    def unfilled(self, client_order_id: str) -> Decimal | None:
        """How much of an order of ours may still be filled; None: it is not known (any more)."""
        known = self.book.orders.get(client_order_id)
        if known is not None:
            return known.unfilled
        intent = self.intents.get(client_order_id)
        if intent is None:
            return self.book.ended.get(client_order_id)
        return intent.order.quantity - self.book.counted_early(client_order_id)

    def exposure(
        self, judged: Order, reference_price: Decimal | None, *, without: str = ""
    ) -> Exposure:
        """What the position that `judged` would grow is, and may become on its side; unknown
        orders count as filled. And how many orders of the bot's may be open, whatever their
        symbol.

        :param without: client order id of the order that is judged by it.
        """
        book, grown = self.book, (judged.symbol, judged.position_side, judged.side)
        pending, count = Decimal(0), 0
        for open_order in book.orders.values():
            order = open_order.snapshot
            count += not order.status.final
            if order.opening and (order.symbol, order.position_side, order.side) == grown:
                pending += open_order.expected
        for intent in self.intents.values():
            if intent.client_order_id == without:
                continue
            count += 1
            sent = intent.order
            if sent.opening and (sent.symbol, sent.position_side, sent.side) == grown:
                pending += sent.quantity
        signed = pending if judged.side == "buy" else -pending
        held = book.position(judged.symbol, judged.position_side)
        return Exposure(held, signed, reference_price, count)

    def apply(self, fact: Fact, *, live: Intent | None = None) -> None:
        """Fold one fact in.

        What speaks of an intent that is not known is passed over: damage may have taken
        its record, and the reconciliation finds what the venue has of it.

        :param live: the caller's own object for a new intent, so that those who
            wait on it are woken; replayed facts make their own.
        """
        match fact:
            case Filled(fill):
                if self.book.count(fill):
                    self.wallets.count(fill)
                    self.untold_fill = fill
            case OrderSeen(order):
                self.book.saw(order)
                self._update_keyed(order)
            case Intended():
                self._intended(fact, live)
            case Attempted() if (intent := self.intents.get(fact.client_order_id)) is not None:
                attempt = Attempt(fact.timestamp_ms, fact.recv_window_ms)
                if fact.number == intent.attempts_made:
                    intent.stamp_anew(attempt)
                else:
                    intent.begin_attempt(attempt)
            case Doubted() if (intent := self.intents.get(fact.client_order_id)) is not None:
                intent.stage = Stage.UNKNOWN
                intent.doubt = fact.reason
                intent.notify()
            case Resolved():
                self._resolved(fact)
            case Synced(symbol, trade_id):
                self.book.sync(symbol, trade_id)
            case Adopted():
                self.book.adopt(
                    fact.positions,
                    {p.symbol for p in fact.positions} | {s for s, _ in self.book.holdings},
                )
                if fact.consent:  # of the whole account: what repairs would add is in it
                    for intent in self.intents.values():
                        intent.adopts = None
                self.foreign_orders = frozenset(fact.foreign_orders)
                self.consented = self.consented or fact.consent
            case Balanced(wallets):
                self.wallets.believe(wallets, since_ms=fact.since_ms, until_ms=fact.until_ms)
            case Transitioned():
                self.transitions = fact.number
            case Held():
                self.hold = fact.reason
            case PolicySeen():
                self.policy_seen = fact
            case Named(bot):
                self.bot = bot
            case ProtectionLifted(client_order_id):
                self.book.lift_protection(client_order_id)

    def published(self, incarnation: int, sequence: int) -> None:
        """Fold one event in; what it says is the outbox's affair."""
        self.last_sequences[incarnation] = sequence
        self.untold_fill = None
        if len(self.last_sequences) > MAX_PRODUCERS:
            del self.last_sequences[next(iter(self.last_sequences))]

    def _intended(self, fact: Intended, live: Intent | None) -> None:
        intent = live or Intent(
            fact.client_order_id, fact.order, created_ns=fact.created_ns, adopts=fact.adopts
        )
        intent.begin_attempt(Attempt(fact.timestamp_ms, fact.recv_window_ms))
        self.intents[fact.client_order_id] = intent
        if fact.order.key is not None:
            self.by_key[fact.order.key] = intent

    def _resolved(self, fact: Resolved) -> None:
        report = fact.report
        intent = self.intents.pop(report.client_order_id, None)
        adopts = None if intent is None or report.status != "accepted" else intent.adopts
        if fact.order is not None:
            if adopts is not None:
                self.book.take_over(adopts)
            adopted = Decimal(0) if adopts is None else adopts.quantity
            self.book.opened(fact.order, adopted=adopted)
        elif adopts is not None:  # by a person's word, who does not say how much it has closed
            self.book.close_with_fills(report.client_order_id, adopts)
        if report.key is not None:
            if self.by_key.get(report.key) is intent:
                self.by_key.pop(report.key, None)
            if report.sent:  # what was never sent leaves its key free
                self._remember(report, None if intent is None else Terms.of(intent.order))
            self._forget_beyond_bound()
        if intent is not None:
            intent.stage = Stage.CLOSED
            intent.report = report
            intent.snapshot = fact.order
            intent.notify()

    def _remember(self, report: OrderReport, terms: Terms | None) -> None:
        assert report.key is not None
        known = self.keyed.get(report.key)
        if known is not None and known.status == "accepted" != report.status:
            return  # two orders of one key: damage took the record that one was never sent
        self.keyed[report.key] = report
        if terms is not None:
            self.terms[report.key] = terms
        if report.order_status is not None and not report.order_status.final:
            self._resting_keys[report.client_order_id] = report.key

    def _forget_beyond_bound(self) -> None:
        while len(self.keyed) > self._keys_kept:
            key, forgotten = self.keyed.popitem(last=False)
            self.terms.pop(key, None)
            self._resting_keys.pop(forgotten.client_order_id, None)

    def _update_keyed(self, order: OrderSnapshot) -> None:
        """A later call with the same key is told how the order stands, not how it began."""
        key = self._resting_keys.get(order.client_order_id)
        if key is None:
            return
        self.keyed[key] = msgspec.structs.replace(
            self.keyed[key],
            filled=order.filled,
            average_price=order.average_price,
            order_status=order.status,
            updated_ms=order.updated_ms,
        )
        if order.status.final:
            del self._resting_keys[order.client_order_id]

    def client_order_id(self, symbol: str, name: str) -> str | None:
        """The order of ours that goes by `name`: its key, its client order id, its number.

        The venue's number is known of orders that rest, the key of the latest ones.
        """
        intent = self.by_key.get(name) or self.intents.get(name)
        if intent is not None:
            return intent.client_order_id if intent.order.symbol == symbol else None
        report = self.keyed.get(name)
        if report is not None:
            return report.client_order_id if report.symbol == symbol else None
        for open_order in self.book.orders.values():
            order = open_order.snapshot
            if order.symbol == symbol and name in (order.client_order_id, order.venue_order_id):
                return order.client_order_id
        return None

    def checkpoint(self) -> bytes:
        """The folded state, whole: of its keys none is left out for want of room."""
        return checkpoint.encode(
            Checkpoint(
                book=BookState.of(self.book),
                intents=tuple(
                    IntentState(
                        i.client_order_id,
                        i.order,
                        i.created_ns,
                        tuple(i.attempts),
                        i.doubt,
                        i.adopts,
                        i.attempts_made,
                    )
                    for i in self.intents.values()
                ),
                keyed=tuple(
                    Keyed.of(report, self.terms.get(key)) for key, report in self.keyed.items()
                ),
                hold=self.hold,
                policy=self.policy_seen,
                consented=self.consented,
                foreign_orders=tuple(sorted(self.foreign_orders)),
                last_transition=self.transitions,
                bot=self.bot,
                last_sequences=dict(self.last_sequences),
                wallets=dict(self.wallets.expected),
                wallet_fills=self.wallets.fills,
                wallets_since_ms=dict(self.wallets.since_ms),
                wallets_until_ms=dict(self.wallets.until_ms),
                untold_fill=self.untold_fill,
            )
        )

    def restore(self, body: bytes) -> None:
        """Begin from a checkpoint.

        :raises msgspec.DecodeError: it was written by something else.
        """
        state = checkpoint.decode(body)
        self.book = state.book.restore()
        self.wallets = Wallets(
            state.wallets, state.wallet_fills, state.wallets_since_ms, state.wallets_until_ms
        )
        self.keyed, self.terms, self._resting_keys = OrderedDict(), {}, {}
        for kept in state.keyed:
            self._remember(kept.report(), kept.terms)
        self._forget_beyond_bound()  # which may have been a higher one
        self.hold = state.hold
        self.policy_seen = state.policy
        self.consented = state.consented
        self.foreign_orders = frozenset(state.foreign_orders)
        self.transitions = state.last_transition
        self.bot = state.bot
        self.last_sequences = dict(state.last_sequences)
        self.untold_fill = state.untold_fill
        self.intents, self.by_key = {}, {}
        for one in state.intents:
            intent = Intent(
                one.client_order_id, one.order, created_ns=one.created_ns, adopts=one.adopts
            )
            intent.attempts = [Attempt(*a) for a in one.attempts]
            intent.attempts_made = one.attempts_made or len(intent.attempts)
            intent.doubt = one.doubt
            self.intents[one.client_order_id] = intent
            if one.order.key is not None:
                self.by_key[one.order.key] = intent

    def begin(self) -> None:
        """After the last record was folded in: whoever was sending is gone, so nobody knows."""
        for intent in self.intents.values():
            intent.stage = Stage.UNKNOWN
            intent.doubt = intent.doubt or "the process ended while the order was being sent"
