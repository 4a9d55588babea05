"""A strategy that wants to trade all the time. Pure: no engine, no clock.

It opens long lots, one after the other, and closes the oldest when it holds more
than it likes or enough time has passed. It has no opinion on when trading is safe,
which is the engine's business and what the drill is about.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import NamedTuple

from holdfast.model import Side

from .plan import BotPlan


class Wish(NamedTuple):
    """An order the strategy wants. `(side, quantity)` names the intent on every log."""

    side: Side
    quantity: Decimal
    opening: bool
    limit_price: Decimal
    """Far enough through the market to trade at once."""


class Strategy:
    SLIPPAGE = Decimal("0.01")
    """How much worse than the last price an order may trade, as a fraction of it."""

    def __init__(self, plan: BotPlan) -> None:
        self._plan = plan
        self._small = plan.first_quantity
        self._large = plan.large_quantity
        self._large_next = False
        self._lots: deque[Decimal] = deque()
        self._closed_at = 0.0

    @property
    def lots(self) -> int:
        return len(self._lots)

    def wish(self, *, price: Decimal, now_seconds: float) -> Wish:
        """What it wants now. A lot that is to be closed is given back by `keep` or gone."""
        due = now_seconds - self._closed_at >= self._plan.close_seconds
        if self._lots and (due or len(self._lots) > self._plan.lots):
            self._closed_at = now_seconds
            quantity = self._lots.popleft()
            return Wish("sell", quantity, False, self._through(price, -1))
        return Wish("buy", self._next_quantity(), True, self._through(price, 1))

    def keep(self, quantity: Decimal, *, oldest: bool = False) -> None:
        """A lot was opened, or could not be closed (`oldest`)."""
        if oldest:
            self._lots.appendleft(quantity)
        else:
            self._lots.append(quantity)

    def _next_quantity(self) -> Decimal:
        if self._large is not None:
            self._large_next = not self._large_next
            if not self._large_next:
                self._large += self._plan.quantity_step
                return self._large
        self._small += self._plan.quantity_step
        return self._small

    def _through(self, price: Decimal, direction: int) -> Decimal:
        step = self._plan.price_step
        return ((price * (1 + direction * self.SLIPPAGE)) / step).to_integral_value() * step
