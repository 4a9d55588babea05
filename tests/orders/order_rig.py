"""An engine that is HEALTHY, and a log of what its venue was asked, in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from engine_world import BTC, World

from holdfast.engine import Engine
from holdfast.model import Order
from holdfast.simulation import run
from holdfast.transports.sim.faults import Fault, RequestKind

ETH = "ETH/USDT:USDT"
ENTRY = Order(BTC, "buy", "0.010", price="64000")
"""Fills at once: the venue's price is 64,000."""
RESTING = Order(BTC, "buy", "0.010", price="60000")
EXIT = Order(BTC, "sell", "0.004", price="64000", reduce_only=True)
OVERLOADED = Fault.refusal(-1008, "overloaded", status=503)


class Asked(NamedTuple):
    kind: str
    seconds: float
    venue_ms: int


class Rig:
    """World, engine, and the log.

    :ivar plan: faults for the next requests of a kind, in turn.
    """

    def __init__(self, world: World, engine: Engine) -> None:
        self.world = world
        self.engine = engine
        self.venue = world.venue
        self.asked: list[Asked] = []
        self.plan: dict[str, list[Fault | None]] = {}
        world.venue.faults.decide = self._decide

    def _decide(self, kind: RequestKind, now_ms: int) -> Fault | None:
        self.asked.append(Asked(kind, self.world.clock.monotonic(), now_ms))
        queue = self.plan.get(kind)
        return queue.pop(0) if queue else None

    def fail(self, kind: RequestKind, *faults: Fault | None) -> None:
        self.plan.setdefault(kind, []).extend(faults)

    def seconds(self, kind: str) -> list[float]:
        return [a.seconds for a in self.asked if a.kind == kind]

    def waits(self) -> list[float]:
        """Between the attempts."""
        at = self.seconds("place")
        return [round(b - a, 1) for a, b in itertools.pairwise(at)]

    @property
    def core(self) -> Any:
        return self.engine._core

    @property
    def orders(self) -> list[Any]:
        """Everything the venue ever accepted."""
        return self.venue.order_log

    def assert_clean(self) -> None:
        """Nothing unknown, nothing left over, both books equal."""
        core = self.core
        assert core.ledger.intents == {}
        assert core.ledger.by_key == {}
        assert core.execution.outcomes._driven == {}
        assert core.execution.orders._keys._claimed == {}
        assert core.gate._restricted == {}
        held = {b.market.symbol: h.quantity for b, _, h in self.venue.positions()}
        assert {p.symbol: p.quantity for p in self.engine.positions()} == held
        assert {o.client_order_id for o in self.engine.open_orders()} == {
            o.client_order_id for o in self.venue.open_orders()
        }


def healthy(body: Callable[[Rig], Awaitable[None]], **changes: Any) -> None:
    """Run `body` on an engine that trades."""

    async def main() -> None:
        world = World()
        world.venue.on_price(ETH, world.venue.book(BTC).last or 0)  # type: ignore[arg-type]
        async with world.engine(**{"symbols": (BTC, ETH), **changes}) as engine:
            await engine.until_healthy()
            await body(Rig(world, engine))

    run(main)
