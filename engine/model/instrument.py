"""What the venue accepts for a symbol, and numbers brought to its steps.

Prices of the market are floats (`market`), orders are exact: this is where the one becomes the
other, never on the side that costs more than what was asked for.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from holdfast.errors import InvalidOrder

from .order import Side


class Instrument(msgspec.Struct, frozen=True):
    """What the venue accepts for a symbol.

    :ivar trading: orders are accepted now; otherwise the contract is listed, and rests.

    :ivar market_quantity_step, market_min_quantity, market_max_quantity: of market orders,
        where the venue sets other bounds for them (Binance MARKET_LOT_SIZE); None: as the
        others.
    """

    symbol: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal | None = None
    market_quantity_step: Decimal | None = None
    market_min_quantity: Decimal | None = None
    market_max_quantity: Decimal | None = None
    trading: bool = True

    def price(self, value: float | Decimal | str, *, side: Side) -> Decimal:
        """`value` on the venue's ticks, never on the worse side: down to buy, up to sell."""
        rounding = ROUND_FLOOR if side == "buy" else ROUND_CEILING
        return _on_step(value, self.price_step, rounding)

    def quantity(self, value: float | Decimal | str) -> Decimal:
        """`value` in whole steps, never more than it. Zero is under one step: do not order."""
        return _on_step(value, self.quantity_step, ROUND_FLOOR)


def _on_step(value: float | Decimal | str, step: Decimal, rounding: str) -> Decimal:
    # By repr: 0.1 is meant where 0.1 is written, not the binary number beside it.
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise InvalidOrder(f"{value!r} is no finite number")
    return (number / step).to_integral_value(rounding) * step
