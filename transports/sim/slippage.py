"""Models of what a taker pays beyond the best price: `Depth` functions for the venue.

`SimulatedVenue(depth=slippage.linear(...))`. All round against the taker.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from holdfast.model import Side

from .matching import Depth
from .rules import Market


def ticks(count: int) -> Depth:
    """So many ticks worse than the best price, whatever the quantity.

    :raises ValueError: a negative number.
    """
    if count < 0:
        raise ValueError(f"count: {count} is negative; give the ticks that a taker loses")

    def depth(market: Market, side: Side, best: Decimal) -> Iterator[tuple[Decimal, None]]:
        yield max(_worse(market, side, best, count), market.price_step), None

    return depth


def fraction(rate: Decimal) -> Depth:
    """Worse than the best price by a fraction of it, whatever the quantity.

    :param rate: 0.0001 is one basis point.
    :raises ValueError: not between 0 and 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: {rate} is not between 0 and 1")

    def depth(market: Market, side: Side, best: Decimal) -> Iterator[tuple[Decimal, None]]:
        price = best * (1 + rate) if side == "buy" else best * (1 - rate)
        rounding = ROUND_CEILING if side == "buy" else ROUND_FLOOR
        steps = (price / market.price_step).to_integral_value(rounding)
        yield max(steps, Decimal(1)) * market.price_step, None

    return depth


def linear(quantity: Decimal, *, step: int = 1) -> Depth:
    """A book with the same quantity at every level: large orders walk through it.

    :param quantity: base units at each level.
    :param step: ticks from one level to the next.
    :raises ValueError: one of them is not above 0.
    """
    if quantity <= 0 or step <= 0:
        raise ValueError(f"quantity {quantity} and step {step} must be above 0")

    def depth(market: Market, side: Side, best: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
        away = 0
        while (price := _worse(market, side, best, away)) > 0:
            yield price, quantity
            away += step

    return depth


def _worse(market: Market, side: Side, best: Decimal, count: int) -> Decimal:
    away = count * market.price_step
    return best + away if side == "buy" else best - away
