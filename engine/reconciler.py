"""Carries out what `reconcile` decides: settles differences (`repairs`), waits for people.

`settle` ends only when the local book equals the venue's. Facts that the venue can
prove (fills we missed, orders that ended) are written into the book at once;
whatever would move money or guess a decision is acted on only by its rule, and
only after two snapshots have shown it. A leg of the snapshot that can not be
observed raises, so there is never half a comparison.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import anyio

from .broadcast import Broadcast
from .ledger import Ledger
from .metrics import DIFFERENCES_HELD, Meter
from .model import Fill, Position
from .observer import Observer
from .orders import OrderPath
from .outcomes import Outcomes
from .ports import Clock, ExecutionClient
from .reconcile import (
    Action,
    Difference,
    Kind,
    Rule,
    Snapshot,
    View,
    confirmed,
    differences,
    just_traded,
    plan,
)
from .recorder import Recorder
from .repairs import Repairs
from .settings import ReconcileSettings
from .silence import Silence

log = logging.getLogger("holdfast.reconcile")

_FACTS = (
    Kind.MISSED_FILL,
    Kind.OVERFILL,
    Kind.UNEXPECTED_FILL,
    Kind.STALE_ORDER,
    Kind.MISSING_ORDER,
    Kind.CASH_FLOW,
)
"""Kinds that the venue itself proves; adopting them only writes down what happened."""


_POSITIONS = (
    Kind.ORPHAN_POSITION,
    Kind.PHANTOM_POSITION,
    Kind.SIZE_MISMATCH,
    Kind.SIDE_FLIP,
    Kind.UNPROTECTED_POSITION,
)
"""Kinds that an order on its way may be the reason for, or may be about to end."""

_LOOKS: Final = 4
"""At most, before a person's `flatten` closes what is held, explained or not, and before what he
adopts is adopted, whether it holds still or not."""


MAX_TOLD: Final = 2_000
"""Actions that are told one by one: the event that tells of them has to fit into a record, and
while another hand trades without a pause each look may find some more."""
MAX_COUNTED: Final = 10_000
"""Differences that are told apart, to be counted."""


class Settlement(NamedTuple):
    """What it took until both sides were equal.

    :ivar differences: how many there were; of very many, a part of them.
    :ivar actions: what was done, the first ones in words.
    """

    differences: int
    actions: tuple[str, ...]
    fills_counted: int


class Holding(NamedTuple):
    """A position at the venue.

    :ivar unknown: how much of it the book does not know, and nothing explains; None: all of it
        is known, or nobody can tell.
    """

    position: Position
    unknown: Position | None = None


class _Progress:
    """What was found and done since both sides were last equal; links may fail in between."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, ...]] = set()
        self.fills = 0
        self._done: list[str] = []
        self._more = 0

    def saw(self, found: Sequence[Difference]) -> None:
        if len(self.seen) < MAX_COUNTED:
            self.seen.update(d.identity for d in found)

    def did(self, action: Action) -> None:
        if len(self._done) < MAX_TOLD:
            self._done.append(str(action))
        else:
            self._more += 1

    def in_words(self) -> tuple[str, ...]:
        more = (f"and {self._more} more",) if self._more else ()
        return (*self._done, *more)


class Reconciler:
    """
    :param count: counts a fill: writes it, tells listeners, publishes it.
    :param waiting: a context in which standing still is no stall.
    """

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        settings: ReconcileSettings,
        rules: dict[Kind, Rule],
        client: ExecutionClient,
        observer: Observer,
        recorder: Recorder,
        orders: OrderPath,
        outcomes: Outcomes,
        silence: Silence,
        clock: Clock,
        count: Callable[[Fill], None],
        meter: Meter,
    ) -> None:
        self._symbols = tuple(symbols)
        self._settings = settings
        self._rules = rules
        self._observer = observer
        self._ledger: Ledger = recorder.ledger
        self._outcomes = outcomes
        self._silence = silence
        self._repairs = Repairs(
            symbols=symbols,
            settings=settings,
            client=client,
            observer=observer,
            recorder=recorder,
            orders=orders,
            outcomes=outcomes,
            silence=silence,
            clock=clock,
            count=count,
            meter=meter,
        )
        self._meter = meter
        self.held: tuple[Difference, ...] = ()
        """Differences that wait for the operator."""
        self.decided = Broadcast()
        """Notify when the operator has decided something."""
        self.waits_for = ""
        """What keeps the books from being compared to an end, in words; empty: nothing does. The
        words stay from look to look, so that an operator who asks in between is told as well."""
        self._progress = _Progress()

    async def compare(self) -> list[Difference]:
        """A dry run: what differs now. :raises LinkDown:"""
        return differences(*await self._observer.observe())

    async def settle(self, waiting: Callable[[str], AbstractContextManager[None]]) -> Settlement:
        """Make the book equal to the venue's; returns when it is.

        :raises LinkDown: the venue could not be observed.
        """
        try:
            return await self._settle(waiting)
        finally:
            self.waits_for = ""

    async def _settle(self, waiting: Callable[[str], AbstractContextManager[None]]) -> Settlement:
        progress = self._progress
        before: list[Difference] | None = None
        while True:
            if self._silence.seconds:  # asking on would make it longer, and then a ban
                before, self.waits_for = None, ""
                with waiting(f"venue: {self._silence.reason}"):
                    await anyio.sleep(self._silence.seconds)
                continue
            view, snapshot = await self._observer.observe()
            found = differences(view, snapshot)
            progress.saw(found)
            recent = self._just_traded(view, snapshot)
            if recent:
                self.waits_for = self._words_for(recent, view.prefix)
            adopted = self._provable(found)
            if adopted:
                version = self._ledger.book.version, self._ledger.wallets.expected.copy()
                await self._adopt_facts(adopted)
                if (self._ledger.book.version, self._ledger.wallets.expected) == version:
                    # The venue said something older than what we know; it will catch up.
                    self.waits_for = f"the venue to tell what it has told before ({adopted[0]})"
                    await anyio.sleep(self._settings.settle_seconds)
                before = None
                continue
            others = bool(snapshot.latest) or any(
                not f.client_order_id.startswith(view.prefix) for f in snapshot.fills
            )
            if not found and recent and others:
                before = None
                await anyio.sleep(self._settings.settle_seconds)
                continue
            if not found:
                self._conclude(snapshot)
                self._hold(())
                self._progress = _Progress()
                return Settlement(len(progress.seen), progress.in_words(), progress.fills)
            if before is None:  # it may be a race: a difference counts once it is seen twice
                before = found
                await anyio.sleep(self._settings.settle_seconds)
                continue
            lasting = confirmed(before, found)
            if recent and any(d.kind in _POSITIONS for d in lasting):
                before = found
                await anyio.sleep(self._settings.settle_seconds)
                continue
            if lasting:
                self.waits_for = ""
            before = None
            held, in_doubt = [], False
            fills_wait = {d.symbol for d in found if d.fill is not None}
            causes_wait = fills_wait or any(d.kind is Kind.CASH_FLOW for d in lasting)
            for action in plan(lasting, self._rules):
                difference = action.difference
                # What waits for a person explains it, or some of it.
                if difference.kind is Kind.BALANCE_DRIFT and causes_wait:
                    continue
                explained = difference.drift and difference.kind in _POSITIONS
                if explained and difference.symbol in fills_wait and action.rule != "hold":
                    continue
                if self._outcome_is_open(difference):
                    in_doubt = True
                elif action.rule == "hold":
                    held.append(difference)
                else:
                    left = await self._act(action, snapshot)
                    if left is not difference:
                        progress.did(action)
                    if left is not None and self._outcome_is_open(difference):
                        in_doubt = True  # of the repair itself
                    elif left is not None:
                        held.append(left)
            self._hold(held)
            if in_doubt and not held:
                with waiting("the outcome of orders is unknown"):
                    await self._outcomes.changes.wait_at_most(self._settings.audit_seconds)
            elif held:
                log.warning(
                    "waiting for the operator", extra={"differences": [str(d) for d in self.held]}
                )
                with waiting(f"{len(self.held)} differences wait for the operator"):
                    # Looked at again now and then: the owner may settle it at the venue.
                    await self.decided.wait_at_most(self._settings.audit_seconds)

    async def count_missed(self) -> None:
        """Write down what the venue proves of our own orders, and settle nothing else: for a wait
        in which the books can not be compared to an end, and must not grow old.

        :raises LinkDown: the venue could not be observed.
        """
        if not self._silence.seconds:
            found = differences(*await self._observer.observe())
            self._progress.saw(found)
            await self._adopt_facts(self._provable(found))

    def _provable(self, found: Sequence[Difference]) -> list[Action]:
        """What the venue itself proves, and no rule keeps for a person."""
        return [
            action
            for action in plan(found, self._rules)
            if action.difference.kind in _FACTS and action.rule == "adopt"
        ]

    async def _adopt_facts(self, adopted: Sequence[Action]) -> None:
        for action in adopted:
            if self._silence.seconds:  # each may be a question
                break
            counted = await self._repairs.adopt_fact(action.difference)
            if counted is not None:
                self._observer.on_progress()
                self._progress.fills += counted
                self._progress.did(action)

    def _words_for(self, recent: Sequence[Fill], prefix: str) -> str:
        symbols = ", ".join(sorted({fill.symbol for fill in recent}))
        others = any(not fill.client_order_id.startswith(prefix) for fill in recent)
        return (
            f"a pause of {self._settings.settle_seconds:g} s (reconcile.settle_seconds) in which "
            f"nobody trades {symbols}, so that its position can be compared; traded just now by "
            f"{'another hand' if others else 'this bot'}"
        )

    def _outcome_is_open(self, difference: Difference) -> bool:
        """Whether an order on its way must end before anything can be said or done.

        A position or a balance may contain its fill, which will be counted once it is known;
        and a repair made beside another one would close twice.
        """
        if difference.kind is Kind.BALANCE_DRIFT:
            return bool(self._ledger.intents)
        return difference.kind is Kind.UNKNOWN_OUTCOME or (
            difference.kind in _POSITIONS
            and any(i.order.symbol == difference.symbol for i in self._ledger.intents.values())
        )

    def _hold(self, differences: Sequence[Difference]) -> None:
        self.held = tuple(differences)
        self._meter.gauge(DIFFERENCES_HELD, len(self.held))

    async def _act(self, action: Action, snapshot: Snapshot) -> Difference | None:
        """Do what the rule says.

        :returns: what is left of the difference, for a person to look at; the difference itself:
            nothing could be done.
        """
        difference = action.difference
        match action.rule:
            case "adopt" if difference.kind is Kind.UNPROTECTED_POSITION:
                self._repairs.accept_unprotected(difference, by=f"rule for {difference.kind}")
            case "adopt" if difference.kind is Kind.BALANCE_DRIFT:
                self._repairs.adopt_balance(difference)
            case "adopt":
                self._repairs.adopt_position(difference, snapshot)
            case "cancel":
                await self._repairs.cancel_orphan(difference)
            case "flatten":
                return await self._repairs.flatten(difference, snapshot)
            case "ignore":
                self._repairs.write_adopted(
                    self._ledger.book.positions(),
                    self._ledger.foreign_orders | {_venue_id(difference)},
                    by=f"rule for {difference.kind}",
                    consent=False,
                )
        return None

    def is_repairing(self, symbol: str) -> bool:
        """Whether a rule is closing its position at this moment."""
        return symbol in self._repairs.symbols_under_way

    async def holdings(self) -> list[Holding]:
        """What the venue holds of our symbols, for a person who closes it.

        What the book does not know of it has to be taken for true by the order that closes it:
        otherwise that order's fills, which are counted, leave a position of the opposite side
        in the book. But a fill of ours that was missed, or that an order on its way may still
        have, is counted by itself. So missed fills are counted here, and what is unknown is what
        two looks show beside them. No rule is asked: that it is to be closed was decided.

        :raises LinkDown: the venue could not be observed.
        """
        unknown: list[Difference] = []
        for _ in range(_LOOKS):
            view, snapshot = await self._observer.observe()
            found = differences(view, snapshot)
            missed = [d for d in found if d.fill is not None]
            counted = [d for d in missed if self._rules[d.kind] == "adopt"]
            for difference in counted:
                await self._repairs.adopt_fact(difference)
            before, unknown = unknown, []
            if counted:
                continue
            not_counted = {d.symbol for d in missed}
            drifted = [
                d
                for d in found
                if d.drift
                and d.kind in _POSITIONS
                and d.symbol not in not_counted
                and not self._outcome_is_open(d)
            ]
            lasting = confirmed(before, drifted)
            if lasting == drifted:
                unknown = lasting
                break
            unknown = drifted
            await anyio.sleep(self._settings.settle_seconds)
        else:
            unknown = []
        parts = {
            (d.symbol, d.position_side): self._repairs.unknown_part(d, snapshot) for d in unknown
        }
        return [
            Holding(p, parts.get(_key(p)))
            for p in snapshot.positions
            if p.symbol in self._symbols and p.quantity
        ]

    async def adopt(self, *, by: str) -> list[Difference]:
        """The operator's consent: the venue's positions and foreign orders are taken for true.

        :returns: the differences that were settled by it.
        :raises LinkDown:
        """
        view, snapshot = await self._settled_look()
        found = differences(view, snapshot)
        orphans = [d for d in found if d.kind is Kind.ORPHAN_ORDER]
        for difference in orphans:
            await self._repairs.cancel_orphan(difference)
        # What the venue proves of our own orders is counted, not swallowed by the position:
        # the bot is told of its fills, and no ended order stays as exposure.
        facts = [d for d in found if d.kind in _FACTS]
        for difference in facts:
            await self._repairs.adopt_fact(difference)
        if orphans or facts:  # the account may have moved meanwhile
            _, snapshot = await self._settled_look()
        self._repairs.adopt_all(snapshot, by=by)
        for difference in found:
            if difference.kind is Kind.UNPROTECTED_POSITION:
                self._repairs.accept_unprotected(difference, by=by)
        self.decided.notify()
        return found

    def _just_traded(self, view: View, snapshot: Snapshot) -> list[Fill]:
        return just_traded(view, snapshot, within_ms=round(1000 * self._settings.settle_seconds))

    async def _settled_look(self) -> tuple[View, Snapshot]:
        """Both sides, with positions that lag behind no trade; at most so many looks."""
        for _ in range(_LOOKS):
            view, snapshot = await self._observer.observe()
            if not self._just_traded(view, snapshot):
                break
            await anyio.sleep(self._settings.settle_seconds)
        return view, snapshot

    def _conclude(self, snapshot: Snapshot) -> None:
        """Both sides are equal: remember up to which fill, and that it was so once."""
        if not self._ledger.consented:
            self._repairs.adopt_all(snapshot, by="equal at the first comparison")
        self._repairs.believe_wallets(snapshot, by="equal but for what was rounded")
        self._observer.note_counted(snapshot, self._symbols)


def _key(position: Position) -> tuple[str, str]:
    return position.symbol, position.position_side


def _venue_id(difference: Difference) -> str:
    return difference.order.venue_order_id if difference.order is not None else ""
