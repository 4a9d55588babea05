"""What the client remembers of orders has a bound, and what is still told of is not let go."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from holdfast.model import OrderSnapshot, OrderStatus
from holdfast.transports.usdm import conditional, fills
from holdfast.transports.usdm.conditional import KnownTriggers
from holdfast.transports.usdm.fills import OrderNames


def stop(number: int) -> OrderSnapshot:
    return OrderSnapshot(
        "BTC/USDT:USDT", f"c{number}", str(number), "sell", Decimal(1), None, Decimal(0),
        OrderStatus.OPEN, trigger="stop", trigger_price=Decimal(number),
    )  # fmt: skip


def test_a_stop_that_waits_for_long_keeps_its_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditional, "MAX_KNOWN", 3)
    triggers = KnownTriggers()
    for number in (1, 2, 3, 3, 2, 1, 4):  # each is told of again at every look
        triggers.marked(stop(number))
    made = [
        msgspec.structs.replace(stop(n), trigger=None, trigger_price=None) for n in (1, 2, 3, 4)
    ]
    assert [triggers.marked(order).trigger_price for order in made] == [1, 2, None, 4]


def test_an_order_that_is_told_of_again_pushes_no_other_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fills, "MAX_KNOWN_IDS", 3)
    names = OrderNames()
    for number in (1, 2, 3, 3, 2, 1):
        names.remember(number, f"c{number}")
    assert list(names._known) == [3, 2, 1]
    names.remember(4, "c4")
    assert list(names._known) == [2, 1, 4]
