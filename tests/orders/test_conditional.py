"""Conditional orders: what is refused at once, and what is never guessed about them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Order
from holdfast.errors import InvalidOrder

BTC = "BTC/USDT:USDT"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"trigger": "stop"}, "trigger_price"),
        ({"trigger_price": "50000"}, "trigger"),
        ({"trigger": "trail", "trigger_price": "50000"}, "trigger"),
        ({"trigger": "stop", "trigger_price": "-1"}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": "nan"}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": 0.5}, "trigger_price"),
        ({"trigger": "stop", "trigger_price": "1", "trigger_by": "index"}, "trigger_by"),
    ],
)
def test_a_wrong_trigger_is_refused_by_the_name_of_its_field(
    values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidOrder, match=rf"^{field}: "):
        Order(BTC, "sell", "0.01", reduce_only=True, **values)
