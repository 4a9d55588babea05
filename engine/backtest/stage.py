"""The world of one backtest run: the campaign's, with a recorded market and someone who measures.

All three runs have the same one, so that they differ in the bot's side only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.broadcast import Broadcast
from holdfast.campaign.leases import TimedServer
from holdfast.campaign.plan import FaultPlan
from holdfast.campaign.world import World
from holdfast.engine import Engine
from holdfast.model import Order, OrderReport, PlaceOutcome, PlaceRequest, PositionSide
from holdfast.policy import Policy
from holdfast.ports import MarketData
from holdfast.settings import AlertSettings, MarketSettings, Settings
from holdfast.transports.faults import CountingClient
from holdfast.transports.sim import (
    LocalLine,
    Market,
    SimExecutionClient,
    SimulatedVenue,
)
from holdfast.transports.sim.records import VenueEvent

from .account import Account
from .feed import Feed, RecordedMarket
from .recording import Recording
from .result import BotFailure, Liquidation, position_name
from .states import StateLog
from .tally import Tally


class Stage(World):
    """
    :param samples: points of the equity curve.
    :param told: called with the number of rows so far, at each of these points.
    :ivar equity: time (UTC ms) and profit until then.
    :ivar policy_in_use: the policy that the bot's side goes by now.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        markets: Sequence[Market],
        recordings: Sequence[Recording],
        account: Account,
        samples: int,
        told: Callable[[int], object] | None = None,
    ) -> None:
        terms = account.settled(markets, recordings)

        def venue(time_ns: Callable[[], int]) -> SimulatedVenue:
            made = SimulatedVenue(
                time_ns=time_ns,
                markets=markets,
                deposit=terms.deposit,
                maker_fee=terms.maker_fee,
                taker_fee=terms.taker_fee,
                hedge_mode=terms.hedge_mode,
                depth=terms.depth,
                maker_rule=terms.maker_rule or "touch",
            )
            for market in markets:
                if terms.leverage is not None:
                    made.set_leverage(market.symbol, terms.leverage)
                if terms.margin_mode == "isolated":
                    made.set_isolated(market.symbol, isolated=True)
            for recording in recordings:  # what it stood at when the bot was started
                made.on_price(recording.symbol, recording.first_price)
            return made

        self.deposit = account.deposit
        self._told = told
        data = [recording.summary for recording in recordings]
        self._market = MarketSettings(
            intervals=tuple(dict.fromkeys(name for one in data for name in one.bars)) or ("1m",),
            trades=any(one.trades for one in data),
            quotes=any(one.quotes for one in data),
            stale_seconds=None,
        )
        super().__init__(plan, venue=venue)
        self.segment_bytes = self.settings().outbox.segment_bytes  # thousands of keys may be kept
        self.names_orders = False  # a user's bot may, and need not
        self.states = StateLog(self.loop)
        self.tally = Tally()
        self.failure: BotFailure | None = None
        self.policy_in_use: Callable[[], Policy | None] = lambda: None
        self.equity: list[tuple[int, float]] = []
        self.max_exposure = Decimal(0)
        self.stale_seconds = 0.0
        self.stale_orders = 0
        self.published: list[tuple[str, int]] = []
        """Producer and sequence of every event that the bot has published."""
        self.liquidated = Broadcast()
        """Notified when the venue closes a position by itself."""
        self.venue.subscribe(self._on_order)
        self.feed = Feed(recordings, self.line, samples=samples, on_sample=self._sample)
        self.loop.play(self.feed)

    # --- what a process is given -----------------------------------------------------

    def settings(self) -> Settings:
        settings = super().settings()
        return msgspec.structs.replace(
            settings,
            market=self._market,
            alerts=AlertSettings(sample_seconds=None),
        )

    def new_client(self) -> CountingClient:
        return _SeenClient(self, self.line, self.plan.conditions.latency_seconds)

    def new_market(self) -> MarketData:
        return RecordedMarket(self.feed)

    def new_engine(self, **parts: Any) -> Engine:
        return _CountedEngine(self, **parts)

    def _server(self, name: str) -> TimedServer:
        return _WatchedServer(
            entropy=self.entropy.child(name),
            latency_seconds=0.001,
            clock=self.clock,
            ttl_seconds=self.plan.conditions.lease_seconds or 0.0,
            breach=self.breach,
        )

    # --- what is measured ------------------------------------------------------------

    def worth(self) -> Decimal:
        """The wallet and what the positions would bring now."""
        return self.venue.wallet_balance + self.venue.unrealized()

    def wrong_positions(self, believed: Callable[[str, PositionSide], Decimal]) -> tuple[str, ...]:
        """Where the bot's side believes in another position than the venue has. In hedge mode
        LONG and SHORT are two: as much too many of both would be right in sum.

        :param believed: quantity of a symbol and position side.
        """
        return tuple(
            f"{position_name(book.market.symbol, side)}: {here:f} believed, "
            f"{holding.quantity:f} at the venue"
            for book in self.venue.books.values()
            for side, holding in book.holdings.items()
            if (here := believed(book.market.symbol, side)) != holding.quantity
        )

    def liquidations(self) -> Iterator[Liquidation]:
        """Positions that the venue has closed for want of margin."""
        for order, realized, fee in self.venue.liquidations:
            assert order.average_price is not None
            yield Liquidation(
                at_ms=order.accepted_ns // 1_000_000,
                symbol=order.market.symbol,
                position_side=order.position_side,
                quantity=order.filled if order.side == "sell" else -order.filled,
                price=order.average_price,
                lost=fee - realized,
            )

    def events_lost(self) -> int:
        """Events of the bot's own that are not on the bus."""
        on_bus: set[tuple[str, int]] = set()
        first: dict[str, int] = {}
        for entry in self.bus_server.log.entries:
            on_bus.add((entry.producer, entry.sequence))
            first.setdefault(entry.producer, entry.sequence)
        trimmed = not self.bus_has_lost  # the bus keeps the newest; what is older was there
        return sum(
            event not in on_bus and not (trimmed and event[1] < first.get(event[0], 0))
            for event in self.published
        )

    def _sample(self, time_ms: int) -> None:
        worth, exposure = self.venue.wallet_balance, Decimal(0)
        for book, _, holding in self.venue.positions():
            mark, last = book.mark, book.last
            assert mark is not None
            assert last is not None
            worth += holding.unrealized(mark)
            exposure += abs(holding.quantity) * last
        self.equity.append((time_ms, float(worth - self.deposit)))
        self.max_exposure = max(self.max_exposure, exposure)
        if self._told is not None:
            self._told(self.feed.done)

    def _on_order(self, event: VenueEvent) -> None:
        if event.trade is not None:
            self._look_at_exposure()
        if event.order.forced:
            self.liquidated.notify()

    def _look_at_exposure(self) -> None:
        exposure = Decimal(0)
        for book, _, holding in self.venue.positions():
            assert book.last is not None
            exposure += abs(holding.quantity) * book.last
        self.max_exposure = max(self.max_exposure, exposure)

    def order_is_sent(self, request: PlaceRequest) -> None:
        """An order leaves the bot's side."""
        self.tally.sends(request.client_order_id)
        if request.order.opening:
            policy, store = self.policy_in_use(), self.store_server
            assert isinstance(store, _WatchedServer)
            age = store.stale_seconds(None if policy is None else policy.version)
            if age > 0:
                self.stale_orders += 1
                self.stale_seconds = max(self.stale_seconds, age)


class _SeenClient(SimExecutionClient):
    """Tells of each order in the moment in which it is written."""

    def __init__(self, stage: Stage, line: LocalLine, latency_seconds: float) -> None:
        super().__init__(line, latency_seconds=latency_seconds)
        self._stage = stage

    async def place(
        self, request: PlaceRequest, *, permit: Callable[[], object], timeout_seconds: float
    ) -> PlaceOutcome:
        def write() -> None:
            permit()
            self._stage.order_is_sent(request)

        return await super().place(request, permit=write, timeout_seconds=timeout_seconds)


class _CountedEngine(Engine):
    """The engine, whose callers' decisions are counted."""

    def __init__(self, stage: Stage, **parts: Any) -> None:
        super().__init__(**parts)
        self._stage = stage

    async def submit(self, order: Order) -> OrderReport:
        with self._stage.tally.deciding(order):
            return await super().submit(order)

    async def publish(self, *arguments: Any, **options: Any) -> Any:
        event = await super().publish(*arguments, **options)
        self._stage.published.append((event.producer, event.sequence))
        return event


class _WatchedServer(TimedServer):
    """Keeps since when a policy is not what whoever asks the store is told."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._away_since: float | None = None
        self._replaced_at: dict[int, float] = {}

    def down(self, reason: str = "the server was stopped") -> None:
        if self.is_up:
            self._away_since = self._now()
        super().down(reason)

    def up(self) -> None:
        self._away_since = None
        super().up()

    def wipe(self) -> None:
        self._replace()
        super().wipe()

    def compare_and_set(self, policy: Policy, expected_version: int | None) -> Any:
        self._replace()
        return super().compare_and_set(policy, expected_version)

    def _replace(self) -> None:
        if self.policy is not None:
            self._replaced_at[self.policy.policy.version] = self._now()

    def stale_seconds(self, version: int | None) -> float:
        """How old a policy is that somebody goes by: since when he could not have read it."""
        since = [] if self._away_since is None else [self._away_since]
        stored = None if self.policy is None else self.policy.policy.version
        if version is not None and version != stored:
            since.append(self._replaced_at.get(version, self._now()))
        return self._now() - min(since, default=self._now())
