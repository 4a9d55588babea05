"""The venue's dead-man switch passes through what stands between a simulated bot and it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import anyio
import pytest

from holdfast.campaign.ports import Life, WatchedClient
from holdfast.errors import LinkDown
from holdfast.ports import CountsDown
from holdfast.simulation import SeededEntropy, VirtualClock, run
from holdfast.transports.faults import FaultRates, FaultSwitch, FaultyExecutionClient
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue
from holdfast.transports.sim.records import OrderTicket

BTC = "BTC/USDT:USDT"


class Rig:
    """A venue where an order rests, and a client of it that mishaps may befall."""

    def __init__(self, rates: FaultRates | None = None) -> None:
        self.venue = SimulatedVenue(time_ns=VirtualClock().time_ns)
        self.venue.on_price(BTC, Decimal(64_000))
        self.venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id="rests",
                side="buy",
                quantity=Decimal("0.01"),
                price=Decimal(60_000),
            )
        )
        inner = SimExecutionClient(LocalLine(self.venue))
        switch = FaultSwitch(FaultRates() if rates is None else rates)
        self.client = FaultyExecutionClient(inner, switch, SeededEntropy(1))

    async def is_cancelled(self, after_seconds: float) -> bool:
        await anyio.sleep(after_seconds)
        return not self.venue.open_orders(BTC)


async def arm(client: CountsDown, seconds: float) -> None:
    await client.countdown_cancel_all(BTC, countdown_seconds=seconds, timeout_seconds=1.0)


def test_a_countdown_strikes_and_is_stopped() -> None:
    async def main() -> None:
        rig = Rig()
        assert isinstance(rig.client, CountsDown)
        await arm(rig.client, 10)
        await anyio.sleep(9)
        await arm(rig.client, 10)
        assert not await rig.is_cancelled(9)
        await arm(rig.client, 0)
        assert not await rig.is_cancelled(100)
        await arm(rig.client, 10)
        assert await rig.is_cancelled(10)

    run(main)


@pytest.mark.parametrize(
    ("rates", "arms"),
    [
        (FaultRates(refused=1.0), False),
        (FaultRates(lost_request=1.0), False),
        (FaultRates(lost_reply=1.0), True),
    ],
    ids=["refused", "lost request", "lost reply"],
)
def test_what_is_lost_is_told_as_lost(rates: FaultRates, arms: bool) -> None:
    async def main() -> None:
        rig = Rig(rates)
        with pytest.raises(LinkDown):
            await arm(rig.client, 10)
        assert await rig.is_cancelled(12) is arms

    run(main)


class _Ignored:
    """A witness that nobody asks."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_a_killed_process_renews_nothing() -> None:
    async def main() -> None:
        rig = Rig()
        life = Life(_Ignored(), lambda point: None)  # type: ignore[arg-type]
        client = WatchedClient(rig.client, life, venue_ms=rig.venue.now_ms)
        assert isinstance(client, CountsDown)
        await arm(client, 10)
        life.alive = False
        with pytest.raises(LinkDown):
            await arm(client, 100)
        assert await rig.is_cancelled(10)

    run(main)
