"""Looks at both sides: what the venue says, and what the book says at that moment.

A leg that can not be observed raises, so nobody ever holds half a snapshot. The two sides
are never taken at one instant. `observe` looks again until the book stood still meanwhile,
which it does while the gate is shut; `follow` looks once and tells what moved, for those who
compare while the bot trades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from . import cash_flows
from .audit import Look
from .errors import LinkDown
from .ledger import Ledger
from .model import CashFlow, Fill, OrderSnapshot
from .ports import BalanceReader, CashFlowReader, ExecutionClient
from .reconcile import Snapshot, View
from .recorder import Recorder
from .records import Synced
from .settings import ReconcileSettings
from .venue_clock import VenueClock
from .wallets import drifted, watched

log = logging.getLogger("holdfast.reconcile")

TRIES = 5
"""Looks that `observe` takes at most at a book which goes on moving."""


class Observer:
    """
    :param prefix: of our client order ids.
    :param on_progress: told after every look that was taken; call it after whatever else the venue
        was asked for and has answered.
    """

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        prefix: str,
        settings: ReconcileSettings,
        client: ExecutionClient,
        recorder: Recorder,
        venue_clock: VenueClock,
        on_progress: Callable[[], None],
    ) -> None:
        self._symbols = tuple(symbols)
        self._prefix = prefix
        self._settings = settings
        self._client = client
        self._recorder = recorder
        self._ledger: Ledger = recorder.ledger
        self._venue_clock = venue_clock
        self.on_progress = on_progress
        self.undeclared: tuple[str, ...] = ()
        """Open orders of ours in symbols that are not declared: they are left alone, and told."""

    async def observe(self) -> tuple[View, Snapshot]:
        """Both sides at one moment, or as near to one as a book that goes on moving allows.

        :raises LinkDown: a leg could not be observed.
        """
        ledger, timeout = self._ledger, self._settings.snapshot_timeout_seconds
        for _ in range(TRIES):
            version, in_flight = ledger.book.version, frozenset(ledger.intents)
            orders = await self._open_orders()
            # Before positions: where nothing was counted yet, counting begins after `newest`,
            # and a fill in between must be seen in the positions rather than nowhere.
            fills, newest = await self._look_for_fills()
            latest = await self._latest_not_counted(newest)
            positions = await self._client.positions(timeout_seconds=timeout)
            asked_ms = self._venue_clock.now_ms() - self._venue_clock.error_ms
            wallets = await self._look_at_wallets()
            told_ms = self._venue_clock.now_ms() + self._venue_clock.error_ms
            self.on_progress()
            if ledger.book.version == version and in_flight == frozenset(ledger.intents):
                break
        view = self._view(in_flight)
        snapshot = Snapshot(
            tuple(positions),
            tuple(orders),
            tuple(fills),
            newest,
            wallets,
            asked_ms,
            told_ms,
            latest=tuple(latest),
        )
        cash_flows = await self._look_at_cash_flows(view, snapshot)
        return view, replace(snapshot, cash_flows=cash_flows)

    async def follow(self) -> Look | None:
        """One look at a book that moves; None: more happened than can be followed.

        :raises LinkDown: a leg could not be observed.
        """
        ledger, timeout = self._ledger, self._settings.snapshot_timeout_seconds
        before = {key: h.quantity for key, h in ledger.book.holdings.items()}
        in_flight = frozenset(ledger.intents)
        since_ms = self._venue_clock.now_ms() - round(self._settings.settle_seconds * 1000)
        with ledger.book.follow() as trail:
            orders = await self._open_orders()
            positions = await self._client.positions(timeout_seconds=timeout)
            fills, newest = await self._look_for_fills()
            self.on_progress()
        if trail.lost:
            return None
        view = self._view(in_flight)
        return Look(
            view=view,
            snapshot=Snapshot(tuple(positions), tuple(orders), tuple(fills), newest),
            before=before,
            counted=tuple(trail.fills),
            touched=view.in_flight | trail.orders,
            since_ms=since_ms,
        )

    def _view(self, in_flight: frozenset[str]) -> View:
        """The local side now.

        :param in_flight: what was on its way when the look began.
        """
        ledger, book = self._ledger, self._ledger.book
        return View(
            symbols=frozenset(self._symbols),
            prefix=self._prefix,
            positions={key: h.quantity for key, h in book.holdings.items()},
            orders={cid: o.snapshot for cid, o in book.orders.items()},
            in_flight=in_flight | frozenset(ledger.intents),
            fill_ids=book.counted_ids(),
            known_foreign=ledger.foreign_orders,
            consented=ledger.consented,
            unfilled=self._unfilled(),
            unknown=tuple(i.client_order_id for i in ledger.unknown),
            unprotected=book.unprotected(),
            wallets=dict(ledger.wallets.expected),
            wallet_tolerance=ledger.wallets.tolerance,
            wallets_until_ms=dict(ledger.wallets.until_ms),
        )

    def _unfilled(self) -> dict[str, Decimal]:
        book = self._ledger.book
        left = book.ended | {cid: order.unfilled for cid, order in book.orders.items()}
        for cid in self._ledger.intents:
            unfilled = self._ledger.unfilled(cid)
            if unfilled is not None:
                left[cid] = unfilled
        return left

    async def _open_orders(self) -> list[OrderSnapshot]:
        orders = await self._client.open_orders(
            timeout_seconds=self._settings.snapshot_timeout_seconds
        )
        self._name_undeclared(orders)
        return orders

    async def _look_at_wallets(self) -> dict[str, Decimal] | None:
        """None: the venue's client does not tell of balances. :raises LinkDown:"""
        client: object = self._client
        if not isinstance(client, BalanceReader):
            return None
        timeout = self._settings.snapshot_timeout_seconds
        return watched(await client.balances(timeout_seconds=timeout), self._symbols)

    async def _look_at_cash_flows(
        self, view: View, snapshot: Snapshot
    ) -> tuple[CashFlow, ...] | None:
        """What came and went otherwise than by our fills, if a wallet has drifted.

        It explains and proves nothing that would have to be known: a venue that does not tell
        leaves the drift unexplained, and the gate not shut for that.
        """
        client: object = self._client
        if any(
            f.client_order_id.startswith(view.prefix)
            and (f.symbol, f.trade_id) not in view.fill_ids
            for f in snapshot.fills
        ):
            return None  # these are counted first; what is off then is looked at again
        off = drifted(view.wallets, snapshot.wallets or {}, view.wallet_tolerance)
        since = self._ledger.wallets.since_ms
        begins = {asset: since[asset] for asset, _ in off if asset in since}
        if not begins or not isinstance(client, CashFlowReader):
            return None
        timeout = self._settings.snapshot_timeout_seconds
        try:
            told = await client.cash_flows(
                since_ms=min(begins.values()),
                until_ms=snapshot.wallets_told_ms,
                timeout_seconds=timeout,
            )
        except (LinkDown, ValueError) as error:
            log.info("cash flows not told", extra={"reason": str(error)})
            return None
        flows = [f for f in told if f.time_ms >= begins.get(f.asset, f.time_ms + 1)]
        listed = list(snapshot.fills)
        unknown = cash_flows.least_unknown_trades(
            flows,
            symbols=self._symbols,
            known=view.fill_ids | {(f.symbol, f.trade_id) for f in listed},
        )
        try:
            for symbol, trade_id in unknown.items():
                listed += await self._client.fills(
                    symbol, after_trade_id=trade_id - 1, timeout_seconds=timeout
                )
        except (LinkDown, ValueError) as error:  # what is of no trade still explains its part
            log.info("trades of cash flows not told", extra={"reason": str(error)})
        self.on_progress()
        foreign = (f for f in listed if not f.client_order_id.startswith(view.prefix))
        others = {(f.symbol, f.trade_id) for f in foreign}
        return cash_flows.of_others(flows, symbols=self._symbols, others=others)

    async def _look_for_fills(self) -> tuple[list[Fill], dict[str, int]]:
        """The fills after those counted, and the newest trade id, of each declared symbol.

        Before the first consent nothing is counted: what was traded until then is in the
        positions, and an account may have a past of any length.

        :raises LinkDown:
        """
        timeout = self._settings.snapshot_timeout_seconds
        fills: list[Fill] = []
        newest: dict[str, int] = {}
        for symbol in self._symbols:
            counted = self._ledger.book.synced.get(symbol)
            if counted is None:
                newest[symbol] = await self._client.newest_trade_id(symbol, timeout_seconds=timeout)
                continue
            found = await self._client.fills(
                symbol, after_trade_id=counted, timeout_seconds=timeout
            )
            newest[symbol] = max((fill.trade_id for fill in found), default=counted)
            fills += found
        return fills, newest

    async def _latest_not_counted(self, newest: Mapping[str, int]) -> list[Fill]:
        """Of each symbol of which nothing was counted yet, the latest trade of the account.

        :raises LinkDown:
        """
        latest: list[Fill] = []
        for symbol, trade_id in newest.items():
            if trade_id and symbol not in self._ledger.book.synced:
                latest += await self._client.fills(
                    symbol,
                    after_trade_id=trade_id - 1,
                    timeout_seconds=self._settings.snapshot_timeout_seconds,
                )
        return latest

    def _name_undeclared(self, orders: Sequence[OrderSnapshot]) -> None:
        found = tuple(
            f"{o.client_order_id} ({o.side} {o.quantity:f} {o.symbol})"
            for o in orders
            if o.symbol not in self._symbols and o.client_order_id.startswith(self._prefix)
        )
        if found and found != self.undeclared:
            log.warning(
                "open orders of this bot in symbols that engine.symbols does not declare: nobody "
                "watches them; cancel them at the venue or declare the symbol",
                extra={"orders": found},
            )
        self.undeclared = found

    def note_counted(self, snapshot: Snapshot, symbols: Collection[str]) -> None:
        """Remember up to which fill of these symbols everything is counted.

        :raises JournalError:
        """
        counted = self._ledger.book.synced
        for symbol, trade_id in snapshot.newest_trade_ids.items():
            if symbol in symbols and trade_id > counted.get(symbol, -1):
                self._recorder.write(Synced(symbol, trade_id))
