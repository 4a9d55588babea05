"""Everything outside of the bot: servers, venue, market, disks, and what is put out of order.

Make it inside a simulation. It outlives every process that runs in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any, Final, NamedTuple

import anyio
import msgspec

from holdfast.engine import Engine
from holdfast.journal import MemoryDisk
from holdfast.model import Event, PositionSide, Side
from holdfast.policy import Limits, Mode, Policy
from holdfast.ports import LeaseStore, MarketData, MessageBus, PolicyStore
from holdfast.settings import Settings
from holdfast.simulation import SeededEntropy, SimLoop, VirtualClock
from holdfast.transports.faults import (
    CountingClient,
    FaultSwitch,
    FaultyBus,
    FaultyExecutionClient,
    FaultyStore,
)
from holdfast.transports.memory import MemoryBus
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue
from holdfast.transports.sim.records import OrderTicket
from holdfast.transports.sim.rules import Market, VenueError

from .diary import Diary
from .leases import TimedServer, TimedStore
from .plan import FaultPlan, Server, VenueClockSkew
from .surroundings import FRESHNESS_SECONDS, SEGMENT_BYTES, Ports, settings_for

BASES: Final = ("BTC", "ETH")
"""Of the symbols that the campaign's own venue lists, at most."""
FIRST_PRICE: Final = Decimal(64_000)
PUSH_SECONDS: Final = 0.5
"""For a change to be announced and read."""
MARKET_PAUSE_SECONDS: Final = 0.5
TICK: Final = Decimal("0.1")


class Breach(NamedTuple):
    """A promise that was seen broken.

    :ivar promise: `gate`, `events`, `orders`, `policy`, `books`, `liveness`, `recovery`,
        `lease`, `dead man`, `exits`, `silence`, or `crash` for an engine that ended by itself.
    """

    promise: str
    at_seconds: float
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what} (at {self.at_seconds:.3f} s)"


MAX_BREACHES: Final = 20
"""The first ones tell; a broken engine breaks a promise with every order."""


class World:
    """
    :param venue: makes the venue, given UTC nanoseconds of its machine; None: one that trades
        what the plan says, at `FIRST_PRICE`.
    """

    def __init__(
        self,
        plan: FaultPlan,
        *,
        venue: Callable[[Callable[[], int]], SimulatedVenue] | None = None,
    ) -> None:
        self.plan = plan
        conditions = plan.conditions
        self.loop = SimLoop.current()
        self.clock = VirtualClock()
        """Of the machines that servers and venue run on."""
        self.entropy = SeededEntropy(plan.seed, "world")
        self.bus_server = self._server("bus")
        self.store_server = (
            self._server("store") if conditions.separate_servers else self.bus_server
        )
        self.venue = (self._own_venue if venue is None else venue)(self.clock.time_ns)
        self.symbols = tuple(book.market.symbol for book in self.venue.books.values())
        self.line = LocalLine(self.venue)
        self.diary = Diary()
        self.other_diaries: list[Diary] = []
        """Of further copies that somebody started."""
        self.disk = MemoryDisk()
        self.segment_bytes = SEGMENT_BYTES
        self.noise = {
            "bus": FaultSwitch(plan.noise.bus),
            "store": FaultSwitch(plan.noise.store),
            "exchange": FaultSwitch(plan.noise.exchange),
        }
        self.breaches: list[Breach] = []
        self.log: list[tuple[float, str]] = []
        self.bus_has_lost = False
        """The bus came back without something it had acknowledged."""
        self.prices = dict.fromkeys(self.symbols, FIRST_PRICE)
        self.venue_events = 0
        self.foreign_trades = 0
        self.history_untold = False
        """The venue was asked for the history of its cash flows, and has not answered."""
        self.overtaking: list[Callable[[], None]] = []
        """Each stores a policy; called just before the bot stores one of its own."""
        self.afterwards: list[Callable[[], None]] = []
        """Faults that strike when all else works again."""
        self.names_orders = True
        """Whether the bot that trades here gives every order a key."""
        self.unnamed: set[str] = set()
        """Client ids of orders that the engine sent for its operator."""
        self.venue.subscribe(self._on_venue_event)
        self.store_policy(Policy(Mode.NORMAL))

    def _own_venue(self, time_ns: Callable[[], int]) -> SimulatedVenue:
        liquidity, traded = self.plan.conditions.liquidity, self.plan.traded
        markets = [
            Market.perpetual(base, min_notional="100", liquidity=liquidity)
            for base in BASES[: traded.symbols]
        ]
        venue = SimulatedVenue(time_ns=time_ns, markets=markets, hedge_mode=traded.hedge_mode)
        for market in markets:
            venue.on_price(market.symbol, FIRST_PRICE)
        return venue

    def _server(self, name: str) -> TimedServer:
        return TimedServer(
            entropy=self.entropy.child(name),
            latency_seconds=0.001,
            clock=self.clock,
            ttl_seconds=self.plan.conditions.lease_seconds or 0.0,
            breach=self.breach,
        )

    def server(self, name: Server) -> TimedServer:
        return self.bus_server if name == "bus" else self.store_server

    def _on_venue_event(self, _: object) -> None:
        self.venue_events += 1

    # --- what a process is given -----------------------------------------------------

    def settings(self) -> Settings:
        return settings_for(self.plan.conditions, self.symbols)

    def ports(self, *, clock: VirtualClock, entropy: SeededEntropy) -> Ports:
        """
        :param clock: of the machine that the process runs on.
        :param entropy: of the process.
        """
        bus: MessageBus = MemoryBus(self.bus_server)
        store: PolicyStore
        lease: LeaseStore
        store = lease = timed = TimedStore(
            self.store_server, clock=clock, before_storing=self._overtake
        )
        client = self.new_client()
        if not self.plan.noise.silent:
            noise, on = entropy.child("noise"), self.noise
            bus = FaultyBus(bus, on["bus"], noise.child("bus"))
            store = lease = FaultyStore(timed, timed, on["store"], noise.child("store"))
            client = FaultyExecutionClient(client, on["exchange"], noise.child("exchange"))
        return Ports(bus, store, lease, client)

    def new_client(self) -> CountingClient:
        return SimExecutionClient(self.line, latency_seconds=self.plan.conditions.latency_seconds)

    def new_market(self) -> MarketData | None:
        """Market data for a bot that wants to be told; None: it looks at `price`."""
        return None

    def new_engine(self, **parts: Any) -> Engine:
        """
        :param parts: the arguments of `Engine`.
        """
        return Engine(**parts)

    # --- what is seen ----------------------------------------------------------------

    def now(self) -> float:
        return self.loop.time()

    def note(self, text: str) -> None:
        self.log.append((self.now(), text))

    def breach(self, promise: str, what: str) -> None:
        if len(self.breaches) < MAX_BREACHES:
            self.breaches.append(Breach(promise, self.now(), what))
        self.note(f"BROKEN {promise}: {what}")

    def on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Whatever asyncio would only have logged."""
        self.breach("crash", f"{context.get('message')}: {context.get('exception')!r}")

    # --- market and policy -----------------------------------------------------------

    async def run_market(self) -> None:
        """A random walk of each price, by which resting orders are filled."""
        entropy = self.entropy.child("market")
        while True:
            await anyio.sleep(MARKET_PAUSE_SECONDS)
            for symbol, price in self.prices.items():
                step = Decimal(entropy.randbits(8) - 128) / 100_000
                pull = (FIRST_PRICE - price) / 20
                self.prices[symbol] = ((price * (1 + step) + pull) // TICK) * TICK
                self.venue.on_price(symbol, self.prices[symbol])

    def trade_by_another_hand(self, side: Side, quantity: Decimal) -> None:
        """The owner of the account, at the venue's own website."""
        entropy = self.entropy.child(f"hand {self.foreign_trades}")
        self.foreign_trades += 1
        position_side: PositionSide = "BOTH"
        if self.venue.hedge_mode:
            position_side = "LONG" if entropy.randbits(1) else "SHORT"
        ticket = OrderTicket(
            symbol=self.symbols[entropy.randbits(16) % len(self.symbols)],
            client_order_id=f"web-{self.foreign_trades}",
            side=side,
            quantity=quantity,
            position_side=position_side,
            foreign=True,
        )
        with contextlib.suppress(VenueError):  # margin, or what is held, may not suffice
            self.venue.place(ticket)

    def store_policy(self, policy: Policy) -> None:
        """Somebody writes a policy; the server is reached from elsewhere if not from here."""
        stored = self.store_server.policy
        version = 0 if stored is None else stored.policy.version
        self.store_server.compare_and_set(policy, version)

    def _overtake(self) -> None:
        while self.overtaking:
            self.overtaking.pop()()

    def policy_in_force(self) -> Policy | None:
        """The newest policy that was stored so long ago that it must be known wherever the
        store can be reached.
        """
        latest = self.clock.monotonic() - FRESHNESS_SECONDS - PUSH_SECONDS
        for at, stored in reversed(self.store_server.stored):
            if at <= latest:
                return stored.policy
        return None

    def change_policy(self, mode: Mode, max_order_notional: Decimal | None) -> None:
        self.store_policy(Policy(mode, Limits(max_order_notional=max_order_notional)))

    @property
    def venue_clock_jumps(self) -> bool:
        """Whether countdowns at the venue can not be told by any other clock."""
        return any(isinstance(fault, VenueClockSkew) for fault in self.plan.faults)

    def counts_down(self, symbol: str) -> bool:
        """Whether the venue will cancel what rests of the symbol unless somebody is heard of."""
        return self.venue.book(symbol).countdown_ms is not None

    # --- comparisons -----------------------------------------------------------------

    def books_differ(self, engine: Engine, on_their_way: Container[str] = ()) -> str | None:
        """How the engine's book differs from the venue's at this moment.

        :param on_their_way: orders without an outcome yet, which belong to neither book.
        """
        here = {f"{p.symbol} {p.position_side}": p.quantity for p in engine.positions()}
        there = {f"{b.market.symbol} {side}": h.quantity for b, side, h in self.venue.positions()}
        if here != there:
            return f"positions are {_words(here)} here and {_words(there)} at the venue"
        orders = {o.client_order_id: o.filled for o in engine.open_orders()}
        # Not asked for, as a client would: new orders may be hidden from its answers.
        at_venue = {o.client_order_id: o.filled for o in self.venue.order_log if not o.status.final}
        at_venue |= {o.client_id: Decimal(0) for o in self.venue.conditional_log if o.waiting}
        for client_order_id in [*orders, *at_venue]:
            if client_order_id in on_their_way:
                orders.pop(client_order_id, None)
                at_venue.pop(client_order_id, None)
        if orders != at_venue:
            return f"open orders are {_words(orders)} here and {_words(at_venue)} at the venue"
        return None

    def events(self) -> list[tuple[str, int, Event | None]]:
        """What is on the bus, in its order: producer, sequence, and the event (None: a gap)."""
        return [
            (e.producer, e.sequence, None if e.gap is not None else _decoder.decode(e.payload))
            for e in self.bus_server.log.entries
        ]


_decoder = msgspec.msgpack.Decoder(Event)


def _words(values: dict[str, Decimal]) -> str:
    return ", ".join(f"{name} {value:f}" for name, value in sorted(values.items())) or "none"
