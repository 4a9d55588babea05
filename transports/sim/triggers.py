"""Conditional orders that wait for one price: which is next when it falls, or rises.

Binance's rules ("New Algo Order"): a stop that buys and a take-profit that sells wait for
the price to rise to their trigger, the other two for it to fall; a trailing stop that sells
waits for the price to fall by its rate from the highest since it was placed, once that has
reached its activation price; one that buys is its mirror.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Decimal
from typing import Final

from holdfast.model import Side, Trigger

from .records import ConditionalOrder

Waiting = tuple[Decimal, int, ConditionalOrder]
_HUNDRED: Final = Decimal(100)


class Triggers:
    """The conditional orders of one market that watch one of its prices."""

    __slots__ = ("_falling", "_rising", "_trailing")

    def __init__(self) -> None:
        self._falling: list[Waiting] = []
        self._rising: list[Waiting] = []
        self._trailing: list[ConditionalOrder] = []

    def __bool__(self) -> bool:
        return bool(self._falling or self._rising or self._trailing)

    def orders(self) -> list[ConditionalOrder]:
        """All of them, a copy."""
        waiting = [entry[2] for entry in self._falling] + [entry[2] for entry in self._rising]
        return waiting + self._trailing

    def add(self, order: ConditionalOrder) -> None:
        if order.trigger_price is None:
            self._trailing.append(order)
        elif falls(order.trigger, order.side):
            insort(self._falling, (-order.trigger_price, order.algo_id, order))
        else:
            insort(self._rising, (order.trigger_price, order.algo_id, order))

    def remove(self, order: ConditionalOrder) -> None:
        if order.trigger_price is None:
            self._trailing.remove(order)
            return
        fall = falls(order.trigger, order.side)
        waiting = self._falling if fall else self._rising
        key = -order.trigger_price if fall else order.trigger_price
        del waiting[bisect_left(waiting, (key, order.algo_id))]

    def below(self) -> tuple[Decimal, ConditionalOrder] | None:
        """The highest price at which one triggers when the price falls, and that one."""
        found = [(-entry[0], entry[2]) for entry in self._falling[:1]]
        found += self._thresholds("sell")
        return max(found, key=_price, default=None)

    def above(self) -> tuple[Decimal, ConditionalOrder] | None:
        """The lowest price at which one triggers when the price rises, and that one."""
        found = [(entry[0], entry[2]) for entry in self._rising[:1]]
        found += self._thresholds("buy")
        return min(found, key=_price, default=None)

    def _thresholds(self, side: Side) -> list[tuple[Decimal, ConditionalOrder]]:
        return [
            (at, order)
            for order in self._trailing
            if order.side == side and (at := threshold(order)) is not None
        ]

    def observe(self, price: Decimal) -> None:
        """Let the trailing stops see a price."""
        for order in self._trailing:
            peak = order.peak
            if peak is None or (price > peak if order.side == "sell" else price < peak):
                order.peak = price

    def quiet(self, low: float, high: float) -> tuple[float, float]:
        """The interval between `low` and `high` in which no price matters, ends excluded."""
        if (at := self.below()) is not None:
            low = max(low, float(at[0]))
        if (at := self.above()) is not None:
            high = min(high, float(at[0]))
        for order in self._trailing:
            # A new peak moves the threshold; before the activation none does.
            mark = order.peak if threshold(order) is not None else order.activate_price
            if mark is None:
                return 0.0, 0.0
            if order.side == "sell":
                high = min(high, float(mark))
            else:
                low = max(low, float(mark))
        return low, high


def _price(found: tuple[Decimal, ConditionalOrder]) -> Decimal:
    return found[0]


def falls(trigger: Trigger, side: Side) -> bool:
    """Whether such an order waits for its price to fall."""
    return (trigger == "stop") == (side == "sell")


def threshold(order: ConditionalOrder) -> Decimal | None:
    """Where a trailing stop triggers, or None before its activation."""
    peak, rate, start = order.peak, order.callback_rate, order.activate_price
    if peak is None or rate is None:
        return None
    if order.side == "sell":
        return None if start is not None and peak < start else peak * (_HUNDRED - rate) / _HUNDRED
    return None if start is not None and peak > start else peak * (_HUNDRED + rate) / _HUNDRED
