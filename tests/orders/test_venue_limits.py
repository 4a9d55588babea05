"""What the venue would refuse is refused before anything is written, naming the limit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from holdfast.errors import InvalidOrder
from holdfast.model import Instrument, Order
from holdfast.venue_limits import check

BTC = "BTC/USDT:USDT"
D = Decimal
STEPS = Instrument(
    BTC,
    price_step=D("0.1"),
    quantity_step=D("0.001"),
    min_quantity=D("0.001"),
    min_notional=D(100),
    max_quantity=D(1000),
    market_quantity_step=D("0.01"),
    market_min_quantity=D("0.02"),
    market_max_quantity=D(120),
)


def refusal(**order: Any) -> str:
    values = {"symbol": BTC, "side": "buy", "quantity": "0.010", "price": "50000", **order}
    try:
        check(Order(**values), {BTC: STEPS}, held=D(0))
    except InvalidOrder as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({}, ""),
        ({"quantity": "0.0015"}, "quantity: 0.0015 is not a multiple of the step 0.001"),
        ({"quantity": "0.0005"}, "quantity: 0.0005 is under the minimum 0.001"),
        ({"quantity": "1001"}, "quantity: 1001 is over the maximum 1000"),
        ({"price": "50000.05"}, "price: 50000.05 is not a multiple of the tick 0.1"),
        ({"quantity": "0.001"}, "quantity: notional 50.000 is under the minimum 100"),
        ({"price": None, "quantity": "0.02"}, ""),
        ({"price": None, "quantity": "0.01"}, "under the minimum 0.02 of market orders"),
        ({"price": None, "quantity": "0.025"}, "of the step 0.01 of market orders"),
        ({"price": None, "quantity": "121"}, "over the maximum 120 of market orders"),
        ({"symbol": "ETH/USDT:USDT"}, "the venue does not list 'ETH/USDT:USDT'"),
    ],
)
def test_the_limit_is_named(order: dict[str, Any], words: str) -> None:
    said = refusal(**order)
    assert words in said
    assert bool(words) == bool(said)


def test_without_bounds_of_their_own_market_orders_have_those_of_all() -> None:
    plain = Instrument(BTC, D("0.1"), D("0.001"), D("0.001"), D(100))
    check(Order(BTC, "buy", "0.001"), {BTC: plain}, held=D(0))
    with pytest.raises(InvalidOrder, match="step"):
        check(Order(BTC, "buy", "0.0015"), {BTC: plain}, held=D(0))
