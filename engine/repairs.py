"""Does what a rule says about a difference: close, cancel, take for true, write down.

Each of these can be interrupted anywhere, by a lost line or a kill, and leaves nothing that
the next comparison would not see: what is done at the venue is a journalled intent as any
order, and what is taken for true is a record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio
from msgspec.structs import replace

from .errors import InvalidOrder, LinkDown, OrderError
from .metrics import REPAIRS_CUT_SHORT, Meter
from .model import Fill, Order, OrderStatus, Position, QueryKind
from .observer import Observer
from .orders import OrderPath
from .outcomes import Outcomes
from .ports import Clock, ExecutionClient
from .reconcile import Difference, Kind, Snapshot
from .recorder import Recorder
from .records import Adopted, Balanced, ProtectionLifted
from .settings import ReconcileSettings
from .silence import Silence

log = logging.getLogger("holdfast.reconcile")

BELIEVED_AGAIN_MS: Final = 60_000
"""Wallets that are equal are written down again after this long, so that a history that has to
be asked for is short."""


class Repairs:
    """
    :param count: counts a fill: writes it, tells listeners, publishes it.
    """

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        settings: ReconcileSettings,
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
        self._client = client
        self._observer = observer
        self._recorder = recorder
        self._ledger = recorder.ledger
        self._orders = orders
        self._outcomes = outcomes
        self._silence = silence
        self._clock = clock
        self._count = count
        self._meter = meter
        self.symbols_under_way: set[str] = set()
        """Those whose position is being closed by a rule; the bot's exits of them wait."""

    async def flatten(self, difference: Difference, snapshot: Snapshot) -> Difference | None:
        """Close what the venue holds, with one order that can only reduce.

        A market order is filled as far as the book of orders reaches and expires with the rest
        (Binance, "New Order"). In a thin book the rest is told, and left to the next comparison,
        which finds it as the difference that it is: sent again at once it would go after ever
        worse prices, with nobody having been told.

        Only once the venue has that order the position is taken for true (`Intended.adopts`):
        otherwise a refused order would turn this rule into a silent `adopt`.

        :returns: what is left; the difference itself: nothing was closed; None: it is closed, or
            the order still works.
        """
        quantity = difference.quantity
        adopts = self.unknown_part(difference, snapshot)
        self.symbols_under_way.add(difference.symbol)
        try:
            report = await self._orders.submit(
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
                adopts=adopts,
            )
        except (InvalidOrder, OrderError) as error:
            log.error("not flattened", extra={"difference": str(difference), "reason": str(error)})
            return difference
        finally:
            self.symbols_under_way.discard(difference.symbol)
        left = report.quantity - report.filled
        if not left or report.order_status is None or not report.order_status.final:
            return None
        log.error(
            "repair cut short: the venue closed %s of %s of %s; the rest is compared again",
            f"{report.filled:f}",
            f"{report.quantity:f}",
            difference.symbol,
            extra={"difference": str(difference), "client_order_id": report.client_order_id},
        )
        self._meter.count(REPAIRS_CUT_SHORT)
        there = left.copy_sign(quantity)
        if not report.filled:
            return difference
        return replace(difference, venue=f"{there:f} after a repair cut short", quantity=there)

    def unknown_part(self, difference: Difference, snapshot: Snapshot) -> Position | None:
        """What an order that closes a position has to adopt: what the book does not know of it.

        If there is such a part, no fill of before the snapshot is counted any more: they are in it.
        """
        if not difference.drift:
            return None
        self._observer.note_counted(snapshot, (difference.symbol,))
        key = (difference.symbol, difference.position_side)
        return Position(
            difference.symbol,
            difference.drift,
            next((p.entry_price for p in snapshot.positions if _key(p) == key), None),
            difference.position_side,  # type: ignore[arg-type]
        )

    async def cancel_orphan(self, difference: Difference) -> None:
        order = difference.order
        await self._orders.cancel(
            difference.symbol,
            difference.client_order_id,
            conditional=order is not None and order.conditional,
        )

    def accept_unprotected(self, difference: Difference, *, by: str) -> None:
        self._recorder.write(ProtectionLifted(difference.client_order_id, by))

    def adopt_position(self, difference: Difference, snapshot: Snapshot) -> None:
        """Take one position of the venue for true, by rule; nothing is consented to by that."""
        key = (difference.symbol, difference.position_side)
        self._observer.note_counted(snapshot, (difference.symbol,))
        self.write_adopted(
            [
                *(p for p in self._ledger.book.positions() if _key(p) != key),
                *(p for p in snapshot.positions if _key(p) == key and p.quantity),
            ],
            self._ledger.foreign_orders,
            by=f"rule for {difference.kind}",
            consent=False,
        )

    def adopt_balance(self, difference: Difference) -> None:
        """By how much it drifted, on top of what was counted since the venue was asked."""
        asset, unexplained = difference.symbol, difference.kind is Kind.BALANCE_DRIFT
        log.log(
            logging.WARNING if unexplained else logging.INFO,
            "balance drift" if unexplained else "cash flow",
            extra={"asset": asset, "by": f"{difference.drift:f}", "difference": str(difference)},
        )
        expected = self._ledger.wallets.expected.get(asset)
        if expected is not None:  # else a fill came whose profit nobody told: it begins anew
            drifted = {asset: expected + difference.drift}
            by = f"rule for {difference.kind}"
            since_ms, until_ms = difference.since_ms, difference.until_ms
            self._recorder.write(Balanced(drifted, by, since_ms, until_ms))

    def believe_wallets(self, snapshot: Snapshot, *, by: str) -> None:
        """Also when they are what is expected, now and then: the history of cash flows is asked
        for from here on."""
        known = self._ledger.wallets
        if not snapshot.wallets:
            return
        believed_ms = min((known.since_ms.get(asset, 0) for asset in snapshot.wallets), default=0)
        if (
            snapshot.wallets != known.expected
            or snapshot.wallets_asked_ms - believed_ms > BELIEVED_AGAIN_MS
        ):
            asked_ms, told_ms = snapshot.wallets_asked_ms, snapshot.wallets_told_ms
            self._recorder.write(Balanced(snapshot.wallets, by, asked_ms, told_ms))

    def adopt_all(self, snapshot: Snapshot, *, by: str) -> None:
        # In this order: were the process killed in between, fills that the positions contain
        # would otherwise be counted once more.
        self._observer.note_counted(snapshot, self._symbols)
        self.believe_wallets(snapshot, by=by)
        self.write_adopted(
            [p for p in snapshot.positions if p.symbol in self._symbols],
            {
                o.venue_order_id
                for o in snapshot.open_orders
                if not o.client_order_id.startswith(self._orders.prefix)
            },
            by=by,
            consent=True,
        )

    def write_adopted(
        self, positions: Iterable[Position], foreign: Iterable[str], *, by: str, consent: bool
    ) -> None:
        self._recorder.write(
            Adopted(tuple(positions), tuple(sorted(foreign)), by, self._clock.time_ns(), consent)
        )

    async def adopt_fact(self, difference: Difference) -> int | None:
        """Write down what the venue has proven.

        :returns: how many fills were counted; None: nothing is proven yet, look again.
        """
        if difference.fill is not None:
            self._count(difference.fill)
            return 1
        if difference.kind is Kind.CASH_FLOW:
            self.adopt_balance(difference)
            return 0
        assert difference.order is not None
        if difference.kind is Kind.STALE_ORDER:
            self._outcomes.saw(difference.order, "the venue's list of open orders")
            return 0
        # Before the question: a slow answer would make the order look older than it was.
        now_ms = await self._client.venue_time_ms(
            timeout_seconds=self._settings.snapshot_timeout_seconds
        )
        if self._silence.seconds:  # asked for meanwhile, by the answer to an exit
            return None
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


def _key(position: Position) -> tuple[str, str]:
    return position.symbol, position.position_side
