"""What the bot without holdfast is told and refused: the habits are its own, the sums are right."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.backtest.bare_engine import BareEngine
from holdfast.errors import Rejected
from holdfast.model import ExecutionReport, Fill, Order, OrderSnapshot, OrderStatus
from holdfast.policy import Limits, Mode, Policy
from holdfast.simulation import run
from holdfast.transports.sim import SimulatedVenue

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def resting(symbol: str, side: Any, quantity: str, **more: Any) -> OrderSnapshot:
    return OrderSnapshot(
        symbol, f"bot-{quantity}", "1", side, Decimal(quantity), Decimal(60_000), Decimal(0),
        OrderStatus.OPEN, **more,
    )  # fmt: skip


def filled(side: Any, quantity: str, **more: Any) -> ExecutionReport:
    order = resting(BTC, side, quantity, **more)
    fill = Fill(
        BTC, 1, order.client_order_id, "1", side, Decimal(quantity), Decimal(60_000), Decimal(0),
        "USDT", 0, **more,
    )  # fmt: skip
    return ExecutionReport(order, fill)


def with_engine(act: Any) -> None:
    async def main() -> None:
        venue = SimulatedVenue(time_ns=lambda: 0)
        venue.on_price(BTC, Decimal(60_000))
        none: Any = None
        stage: Any = SimpleNamespace(settings=lambda: none, venue=venue)
        engine = BareEngine(
            stage, name="bot-1", clock=none, ports=none, market=none, reached=lambda _point: None
        )
        engine.policy = Policy(Mode.NORMAL, Limits(max_position_notional=Decimal(1000)))
        act(engine)

    run(main)


@pytest.mark.parametrize(
    "other",
    [
        resting(ETH, "buy", "10"),
        resting(BTC, "buy", "10", reduce_only=True),
        resting(BTC, "buy", "10", position_side="SHORT"),
        resting(BTC, "sell", "10"),
    ],
    ids=["another symbol", "an exit", "another side", "the other direction"],
)
def test_what_grows_another_position_is_not_counted(other: OrderSnapshot) -> None:
    def act(engine: BareEngine) -> None:
        engine._open = {"other": other}
        engine._ask_policy(Order(BTC, "buy", "0.010", price="60000"))

    with_engine(act)


def test_what_grows_the_same_position_is() -> None:
    def act(engine: BareEngine) -> None:
        engine._open = {"other": resting(BTC, "buy", "10")}
        with pytest.raises(Rejected, match="position notional"):
            engine._ask_policy(Order(BTC, "buy", "0.010", price="60000"))

    with_engine(act)


def test_each_side_of_a_hedged_position_is_told() -> None:
    def act(engine: BareEngine) -> None:
        engine._hear(filled("buy", "3", position_side="LONG"))
        engine._hear(filled("sell", "1", position_side="SHORT"))
        assert engine.position(BTC, "LONG") == 3
        assert engine.position(BTC, "SHORT") == -1
        assert engine.position(BTC) == 2
        assert [(p.position_side, p.quantity) for p in engine.positions()] == [
            ("LONG", 3),
            ("SHORT", -1),
        ]

    with_engine(act)
