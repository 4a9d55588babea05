"""Carries out what `reconcile` decides: settles differences, waits for people.

`settle` ends only when the local book equals the venue's. Facts that the venue can
prove (fills we missed, orders that ended) are written into the book at once;
whatever would move money or guess a decision is acted on only by its rule, and
only after two snapshots have shown it. A leg of the snapshot that can not be
observed raises, so there is never half a comparison.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import NamedTuple

import anyio
from msgspec.structs import replace

from .broadcast import Broadcast
from .errors import InvalidOrder, LinkDown, OrderError
from .ledger import Ledger
from .model import Fill, Order, OrderStatus, Position, QueryKind
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
    confirmed,
    differences,
    plan,
)
from .recorder import Recorder
from .records import Adopted, Balanced, ProtectionLifted
from .settings import ReconcileSettings

log = logging.getLogger("holdfast.reconcile")

_FACTS = (
    Kind.MISSED_FILL,
    Kind.UNEXPECTED_FILL,
    Kind.STALE_ORDER,
    Kind.MISSING_ORDER,
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


class Settlement(NamedTuple):
    """What it took until both sides were equal."""

    differences: int
    actions: tuple[str, ...]
    fills_counted: int


class _Progress:
    """What was found and done since both sides were last equal; links may fail in between."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, ...]] = set()
        self.done: list[str] = []
        self.fills = 0


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
        clock: Clock,
        count: Callable[[Fill], None],
    ) -> None:
        self._symbols = tuple(symbols)
        self._settings = settings
        self._rules = rules
        self._client = client
        self._observer = observer
        self._recorder = recorder
        self._ledger: Ledger = recorder.ledger
        self._orders = orders
        self._outcomes = outcomes
        self._clock = clock
        self._count = count
        self.held: tuple[Difference, ...] = ()
        """Differences that wait for the operator."""
        self.repairing: set[str] = set()
        """Symbols whose position is being repaired; the bot's exits of them wait."""
        self.decided = Broadcast()
        """Notify when the operator has decided something."""
        self._progress = _Progress()

    async def compare(self) -> list[Difference]:
        """A dry run: what differs now. :raises LinkDown:"""
        return differences(*await self._observer.observe())

    async def settle(self, waiting: Callable[[str], AbstractContextManager[None]]) -> Settlement:
        """Make the book equal to the venue's; returns when it is.

        :raises LinkDown: the venue could not be observed.
        """
        progress = self._progress
        before: list[Difference] | None = None
        while True:
            view, snapshot = await self._observer.observe()
            found = differences(view, snapshot)
            progress.seen.update(d.identity for d in found)
            facts = [a for a in plan(found, self._rules) if a.difference.kind in _FACTS]
            adopted = [a for a in facts if a.rule == "adopt"]
            if adopted:
                version = self._ledger.book.version
                for action in adopted:
                    counted = await self._adopt_fact(action.difference)
                    if counted is not None:
                        progress.fills += counted
                        progress.done.append(str(action))
                if self._ledger.book.version == version:
                    # The venue said something older than what we know; it will catch up.
                    await anyio.sleep(self._settings.settle_seconds)
                before = None
                continue
            if not found:
                self._conclude(snapshot)
                self.held = ()
                self._progress = _Progress()
                return Settlement(len(progress.seen), tuple(progress.done), progress.fills)
            if before is None:  # it may be a race: a difference counts once it is seen twice
                before = found
                await anyio.sleep(self._settings.settle_seconds)
                continue
            lasting, before = confirmed(before, found), None
            held, in_doubt = [], False
            for action in plan(lasting, self._rules):
                difference = action.difference
                if self._outcome_is_open(difference):
                    in_doubt = True
                elif action.rule == "hold":
                    held.append(difference)
                elif await self._act(action, snapshot):
                    progress.done.append(str(action))
                elif self._outcome_is_open(difference):
                    in_doubt = True  # of the repair itself
                else:
                    held.append(difference)
            self.held = tuple(held)
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

    async def _adopt_fact(self, difference: Difference) -> int | None:
        """Write down what the venue has proven.

        :returns: how many fills were counted; None: nothing is proven yet, look again.
        """
        if difference.fill is not None:
            self._count(difference.fill)
            return 1
        assert difference.order is not None
        if difference.kind is Kind.STALE_ORDER:
            self._outcomes.saw(difference.order, "the venue's list of open orders")
            return 0
        # Before the question: a slow answer would make the order look older than it was.
        now_ms = await self._client.venue_time_ms(
            timeout_seconds=self._settings.snapshot_timeout_seconds
        )
        answer = await self._client.query(
            difference.symbol,
            difference.client_order_id,
            conditional=difference.order.conditional,
            timeout_seconds=self._settings.snapshot_timeout_seconds,
        )
        if answer.kind is QueryKind.UNANSWERED:
            raise LinkDown(f"order {difference.client_order_id}: {answer.reason}")
        ended = answer.order
        if ended is None:
            # A new order may be missing from lists and queries for a moment; that it is not
            # there says something only when it is older than that.
            too_young_ms = difference.order.updated_ms + self._orders.query_lag_ms - now_ms
            if too_young_ms > 0:
                await anyio.sleep(min(too_young_ms / 1000, self._orders.query_lag_ms / 1000))
                return None
            # Known to us as accepted, in no list and forgotten: Binance keeps unfilled
            # cancelled orders three days, filled ones ninety ("Query Order").
            ended = replace(difference.order, status=OrderStatus.CANCELED)
        self._outcomes.saw(ended, "not among the venue's open orders any more")
        return 0

    async def _act(self, action: Action, snapshot: Snapshot) -> bool:
        """Do what the rule says; False: it could not be done, a person has to look."""
        difference = action.difference
        match action.rule:
            case "adopt" if difference.kind is Kind.UNPROTECTED_POSITION:
                self._accept_unprotected(difference, by=f"rule for {difference.kind}")
            case "adopt" if difference.kind is Kind.BALANCE_DRIFT:
                self._adopt_balance(difference)
            case "adopt":
                self._adopt_position(difference, snapshot)
            case "cancel":
                await self._cancel_orphan(difference)
            case "flatten":
                return await self._flatten(difference, snapshot)
            case "ignore":
                self._write_adopted(
                    self._ledger.book.positions(),
                    self._ledger.foreign_orders | {_venue_id(difference)},
                    by=f"rule for {difference.kind}",
                    consent=False,
                )
        return True

    async def _flatten(self, difference: Difference, snapshot: Snapshot) -> bool:
        """Close what the venue holds, with one order that can only reduce.

        Only once the venue has that order the position is taken for true (`Intended.adopts`):
        otherwise a refused order would turn this rule into a silent `adopt`.
        """
        quantity = difference.quantity
        adopts = Position(
            difference.symbol,
            difference.drift,
            self._entry_price(snapshot, difference),
            difference.position_side,  # type: ignore[arg-type]
        )
        self._observer.note_counted(snapshot, (difference.symbol,))
        self.repairing.add(difference.symbol)
        try:
            await self._orders.submit(
                Order(
                    difference.symbol,
                    "sell" if quantity > 0 else "buy",
                    abs(quantity),
                    reduce_only=difference.position_side == "BOTH",
                    position_side=difference.position_side,  # type: ignore[arg-type]
                    # Then it is looked again: the difference may be another one by now.
                    deadline_seconds=self._orders.deadline_seconds,
                ),
                held=abs(quantity),
                adopts=adopts if adopts.quantity else None,
            )
        except (InvalidOrder, OrderError) as error:
            log.error("not flattened", extra={"difference": str(difference), "reason": str(error)})
            return False
        finally:
            self.repairing.discard(difference.symbol)
        return True

    @staticmethod
    def _entry_price(snapshot: Snapshot, difference: Difference) -> Decimal | None:
        key = (difference.symbol, difference.position_side)
        return next((p.entry_price for p in snapshot.positions if _key(p) == key), None)

    async def _cancel_orphan(self, difference: Difference) -> None:
        order = difference.order
        await self._orders.cancel(
            difference.symbol,
            difference.client_order_id,
            conditional=order is not None and order.conditional,
        )

    def _accept_unprotected(self, difference: Difference, *, by: str) -> None:
        self._recorder.write(ProtectionLifted(difference.client_order_id, by))

    def _adopt_position(self, difference: Difference, snapshot: Snapshot) -> None:
        """Take one position of the venue for true, by rule; nothing is consented to by that."""
        key = (difference.symbol, difference.position_side)
        self._observer.note_counted(snapshot, (difference.symbol,))
        self._write_adopted(
            [
                *(p for p in self._ledger.book.positions() if _key(p) != key),
                *(p for p in snapshot.positions if _key(p) == key and p.quantity),
            ],
            self._ledger.foreign_orders,
            by=f"rule for {difference.kind}",
            consent=False,
        )

    def _adopt_balance(self, difference: Difference) -> None:
        """By how much it drifted, on top of what was counted since the venue was asked."""
        asset = difference.symbol
        log.warning(
            "balance drift",
            extra={"asset": asset, "by": f"{difference.drift:f}", "difference": str(difference)},
        )
        expected = self._ledger.wallets.expected.get(asset)
        if expected is not None:  # else a fill came whose profit nobody told: it begins anew
            drifted = {asset: expected + difference.drift}
            self._recorder.write(Balanced(drifted, f"rule for {difference.kind}"))

    def _believe_wallets(self, snapshot: Snapshot, *, by: str) -> None:
        if snapshot.wallets and snapshot.wallets != self._ledger.wallets.expected:
            self._recorder.write(Balanced(snapshot.wallets, by))

    def _adopt_all(self, snapshot: Snapshot, *, by: str) -> None:
        # In this order: were the process killed in between, fills that the positions contain
        # would otherwise be counted once more.
        self._observer.note_counted(snapshot, self._symbols)
        self._believe_wallets(snapshot, by=by)
        self._write_adopted(
            [p for p in snapshot.positions if p.symbol in self._symbols],
            {
                o.venue_order_id
                for o in snapshot.open_orders
                if not o.client_order_id.startswith(self._orders.prefix)
            },
            by=by,
            consent=True,
        )

    def _write_adopted(
        self, positions: Iterable[Position], foreign: Iterable[str], *, by: str, consent: bool
    ) -> None:
        self._recorder.write(
            Adopted(tuple(positions), tuple(sorted(foreign)), by, self._clock.time_ns(), consent)
        )

    async def adopt(self, *, by: str) -> list[Difference]:
        """The operator's consent: the venue's positions and foreign orders are taken for true.

        :returns: the differences that were settled by it.
        :raises LinkDown:
        """
        view, snapshot = await self._observer.observe()
        found = differences(view, snapshot)
        orphans = [d for d in found if d.kind is Kind.ORPHAN_ORDER]
        for difference in orphans:
            await self._cancel_orphan(difference)
        # What the venue proves of our own orders is counted, not swallowed by the position:
        # the bot is told of its fills, and no ended order stays as exposure.
        facts = [d for d in found if d.kind in _FACTS]
        for difference in facts:
            await self._adopt_fact(difference)
        if orphans or facts:  # the account may have moved meanwhile
            _, snapshot = await self._observer.observe()
        self._adopt_all(snapshot, by=by)
        for difference in found:
            if difference.kind is Kind.UNPROTECTED_POSITION:
                self._accept_unprotected(difference, by=by)
        self.decided.notify()
        return found

    def _conclude(self, snapshot: Snapshot) -> None:
        """Both sides are equal: remember up to which fill, and that it was so once."""
        if not self._ledger.consented:
            self._adopt_all(snapshot, by="equal at the first comparison")
        self._believe_wallets(snapshot, by="equal but for what was rounded")
        self._observer.note_counted(snapshot, self._symbols)


def _key(position: Position) -> tuple[str, str]:
    return position.symbol, position.position_side


def _venue_id(difference: Difference) -> str:
    return difference.order.venue_order_id if difference.order is not None else ""
