"""Positions and cash of one account, exact to the last digit.

A position is kept as quantity and cost, not as an average price: the average is
a quotient and would have to be rounded at each fill. What a reduction takes out
of the cost is rounded once and subtracted, so nothing is lost: at any moment
`wallet - sum(costs) == deposits - sum(signed quantity * price) - fees`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

ZERO: Final = Decimal(0)
COST_STEP: Final = Decimal("0.00000001")
"""Binance shows wallet balances and profit with eight decimals."""


def money(value: Decimal) -> Decimal:
    """Rounded once, to what the venue books."""
    return value.quantize(COST_STEP, ROUND_HALF_EVEN)


@dataclass(slots=True)
class Holding:
    """Net position of one symbol and position side. Negative quantity is short.

    :ivar cost: signed price paid for `quantity`; `cost / quantity` is the entry price.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        return self.cost / self.quantity if self.quantity else None

    def unrealized(self, mark_price: Decimal) -> Decimal:
        return self.quantity * mark_price - self.cost

    def apply(self, signed_quantity: Decimal, price: Decimal) -> Decimal:
        """Take in one execution and return the profit it realized (average-cost method)."""
        held = self.quantity
        if not held or (held > 0) == (signed_quantity > 0):
            self.quantity = held + signed_quantity
            self.cost += signed_quantity * price
            return ZERO
        closed = signed_quantity if abs(signed_quantity) <= abs(held) else -held
        released = self.cost if closed == -held else money(self.cost * -closed / held)
        realized = -closed * price - released
        opened = signed_quantity - closed
        self.quantity = held + signed_quantity
        self.cost += opened * price - released
        self.realized += realized
        return realized
