"""Where a story is played: a venue, its faults and a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

from stories import (
    AnyPart,
    Conditions,
    Failure,
    Lag,
    Outage,
    Price,
    Skew,
    Story,
    Stream,
    fault_of,
)

from holdfast.model import OrderStatus
from holdfast.ports import Clock, Entropy
from holdfast.simulation import SimLoop, VirtualClock
from holdfast.transports.faults import CountingClient
from holdfast.transports.sim import LocalLine, Market, SimExecutionClient, SimulatedVenue
from holdfast.transports.sim.records import VenueOrder

SYMBOL: Final = "BTC/USDT:USDT"
LOW, PRICE, HIGH = Decimal(62_900), Decimal(64_000), Decimal(65_100)
"""Where the market is, and how far it goes."""


class Stage(Protocol):
    """
    :ivar pace: how many seconds here are one of the story.
    :ivar recovery_seconds: from the last fault until everything has to be decided.
    :ivar slack_seconds: by how much an attempt may come later than its wait asks for.
    :ivar glance_seconds: between two looks at how things stand.
    """

    clock: Clock
    pace: float
    recovery_seconds: float
    slack_seconds: float
    glance_seconds: float

    @staticmethod
    def order_settings(conditions: Conditions) -> dict[str, Any]: ...
    def client(self, entropy: Entropy) -> CountingClient: ...
    def venue_ms(self) -> int: ...
    async def fail(self, part: AnyPart) -> None: ...
    async def mend(self) -> None: ...
    async def order_log(self) -> Sequence[VenueOrder | Taken]: ...
    async def status_of(self, client_order_id: str) -> OrderStatus | None: ...


class Taken(NamedTuple):
    """An order that the venue has taken; of a conditional one, what was asked for."""

    client_order_id: str
    quantity: Decimal
    filled: Decimal
    status: OrderStatus
    foreign: bool


class LocalStage:
    """The venue in this process, in virtual time."""

    pace = 1.0
    recovery_seconds = 600.0
    slack_seconds = 0.25
    glance_seconds = 0.1

    def __init__(self, story: Story) -> None:
        self._loop = SimLoop.current()
        self.clock = VirtualClock()
        self._conditions = story.conditions
        self.venue = SimulatedVenue(
            time_ns=self.clock.time_ns, markets=[Market.perpetual("BTC", min_notional="100")]
        )
        self.venue.hedge_mode = story.conditions.hedged
        self.venue.on_price(SYMBOL, PRICE)
        self.line = LocalLine(self.venue)
        self._depth: Counter[str] = Counter()

    @staticmethod
    def order_settings(conditions: Conditions) -> dict[str, Any]:
        return {"timeout_seconds": conditions.timeout_seconds}

    def client(self, entropy: Entropy) -> CountingClient:
        return SimExecutionClient(self.line, latency_seconds=self._conditions.latency_seconds)

    def venue_ms(self) -> int:
        return self.venue.now_ms()

    async def fail(self, part: AnyPart) -> None:
        faults = self.venue.faults
        match part:
            case Failure(kind=kind, count=count):
                faults.arm(kind, fault_of(part), count=count)
            case Lag(seconds=seconds, lag_ms=lag):
                faults.query_lag_ms = lag
                self._for(seconds, "lag", lambda: setattr(faults, "query_lag_ms", 0))
            case Price(seconds=seconds, up=up):
                self.venue.on_price(SYMBOL, HIGH if up else LOW)
                self._for(seconds, "price", lambda: self.venue.on_price(SYMBOL, PRICE))
            case Skew(skew_ms=skew):
                faults.clock_skew_ms = skew
            case Stream(action=action, count=count):
                faults.arm_stream(action, count=count)
            case Outage(seconds=seconds, silent=silent, half=half):
                self.line.set_down(
                    "outage", rest=half != "stream", stream=half != "rest", silent=silent
                )
                self._for(seconds, "line", self.line.set_up)

    def _for(self, seconds: float, what: str, undo: Callable[[], object]) -> None:
        self._depth[what] += 1

        def lift() -> None:
            self._depth[what] -= 1
            if not self._depth[what]:
                undo()

        self._loop.call_later(seconds, lift)

    async def mend(self) -> None:
        faults = self.venue.faults
        skew = faults.clock_skew_ms
        faults.clear()
        faults.clock_skew_ms = skew
        self.line.set_up()
        self.venue.on_price(SYMBOL, PRICE)

    async def order_log(self) -> Sequence[VenueOrder | Taken]:
        return [*self.venue.order_log, *self._waiting()]

    def _waiting(self) -> list[Taken]:
        """Conditional orders of which no order was made (yet)."""
        return [
            Taken(order.client_id, order.quantity or Decimal(0), Decimal(0), status, False)
            for order in self.venue._conditional.log
            if order.actual is None and (status := order.snapshot().status)
        ]

    async def status_of(self, client_order_id: str) -> OrderStatus | None:
        for order in await self.order_log():
            if order.client_order_id == client_order_id:
                return order.status
        return None
