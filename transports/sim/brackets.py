"""Margin tiers: how much leverage a position of some size may have, and what keeps it alive.

Binance's "Notional and Leverage Brackets" (GET leverageBracket). A position's maintenance
margin is `notional * rate - cum`; `cum` makes that continuous from one bracket to the next,
so it follows from floors and rates and is computed here, not typed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

ZERO: Final = Decimal(0)


class Bracket(NamedTuple):
    """One tier.

    :ivar floor, cap: notional in the quote asset, `floor < notional <= cap`.
    :ivar max_leverage: highest initial leverage of a position in it.
    :ivar rate: maintenance margin as a fraction of the notional.
    :ivar cum: what is taken off again ("maintenance amount").
    """

    floor: Decimal
    cap: Decimal
    max_leverage: int
    rate: Decimal
    cum: Decimal


def table(tiers: Iterable[tuple[int, str, str]]) -> tuple[Bracket, ...]:
    """Brackets from `(max leverage, cap, maintenance rate)`, smallest first.

    :raises ValueError: caps or rates do not ascend, or there is none.
    """
    brackets: list[Bracket] = []
    for max_leverage, cap_text, rate_text in tiers:
        cap, rate = Decimal(cap_text), Decimal(rate_text)
        floor = cum = lower_rate = ZERO
        if brackets:
            floor, lower_rate = brackets[-1].cap, brackets[-1].rate
            cum = brackets[-1].cum + floor * (rate - lower_rate)
        if cap <= floor or rate <= lower_rate:
            raise ValueError(f"brackets: cap {cap} or rate {rate} does not ascend")
        brackets.append(Bracket(floor, cap, max_leverage, rate, cum))
    if not brackets:
        raise ValueError("brackets: a market needs at least one")
    return tuple(brackets)


def bracket_of(brackets: tuple[Bracket, ...], notional: Decimal) -> Bracket:
    """The tier of a position of that size; the last one has no end."""
    for bracket in brackets:
        if notional <= bracket.cap:
            return bracket
    return brackets[-1]


def maintenance(brackets: tuple[Bracket, ...], notional: Decimal) -> Decimal:
    """Maintenance margin of a position of that size (not negative)."""
    bracket = bracket_of(brackets, notional)
    return notional * bracket.rate - bracket.cum


def max_notional(brackets: tuple[Bracket, ...], leverage: int) -> Decimal:
    """Largest position at that leverage."""
    return max(
        (bracket.cap for bracket in brackets if bracket.max_leverage >= leverage), default=ZERO
    )


BTC_BRACKETS: Final = table(
    (
        (125, "50000", "0.004"),
        (100, "600000", "0.005"),
        (75, "3000000", "0.0065"),
        (50, "12000000", "0.01"),
        (25, "70000000", "0.02"),
        (20, "100000000", "0.025"),
        (10, "230000000", "0.05"),
        (5, "480000000", "0.1"),
        (4, "600000000", "0.125"),
        (3, "800000000", "0.15"),
        (2, "1200000000", "0.25"),
        (1, "1800000000", "0.5"),
    )
)
"""BTCUSDT's at Binance in 2025 (leverageBracket); its `cum` come out as published there:
50, 950, 11450, 131450, 481450, 2981450, ..."""
