"""Positions and cash of one account, exact to the last digit.

A position is kept as quantity and cost, not as an average price: the average is
a quotient and would have to be rounded at each fill. What a reduction takes out
of the cost is rounded once and subtracted, so nothing is lost: at any moment
`wallet - sum(costs) == deposits - sum(signed quantity * price) - fees + cash flows`.

An isolated position keeps its margin in a wallet of its own, which is a part of the
account's. Only the split between the two is decided here; the sum is untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final

ZERO: Final = Decimal(0)
COST_STEP: Final = Decimal("0.00000001")
"""Binance shows wallet balances and profit with eight decimals."""


def money(value: Decimal) -> Decimal:
    """Rounded once, to what the venue books."""
    return value.quantize(COST_STEP, ROUND_HALF_EVEN)


def at_least(value: Decimal) -> Decimal:
    """Rounded up: what is required."""
    return value.quantize(COST_STEP, ROUND_CEILING)


@dataclass(slots=True)
class Holding:
    """Net position of one symbol and position side. Negative quantity is short.

    :ivar cost: signed price paid for `quantity`; `cost / quantity` is the entry price.
    :ivar isolated_wallet: its margin, if the symbol is isolated.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO
    isolated_wallet: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        return self.cost / self.quantity if self.quantity else None

    def unrealized(self, mark_price: Decimal) -> Decimal:
        return self.quantity * mark_price - self.cost

    def closes(self, signed_quantity: Decimal) -> Decimal:
        """How much of an execution of that size takes off the position; not negative."""
        held = self.quantity
        if not held or (held > 0) == (signed_quantity > 0):
            return ZERO
        return min(abs(signed_quantity), abs(held))

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

    def apply_isolated(
        self, signed_quantity: Decimal, price: Decimal, fee: Decimal, leverage: int
    ) -> tuple[Decimal, Decimal]:
        """As `apply`, with the margin moved along.

        What is closed takes its share of the isolated wallet and its profit to the cross wallet,
        which pays a loss beyond that share, and the fee; the margin of what stays is as
        good as before. What is opened brings its initial margin from the cross wallet.

        :return: profit realized, and the change of the cross wallet.
        """
        held = abs(self.quantity)
        closed = self.closes(signed_quantity)
        size = abs(signed_quantity)
        realized = self.apply(signed_quantity, price)
        cross = realized - fee
        if closed:
            share = self.isolated_wallet
            if closed < held:
                share = (share * closed / held).quantize(COST_STEP, ROUND_FLOOR)
            self.isolated_wallet -= share
            cross += share
        if opened := size - closed:
            margin = at_least(opened * price / leverage)
            self.isolated_wallet += margin
            cross -= margin
        return realized, cross
