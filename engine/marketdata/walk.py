"""Prices that need no file: a random walk, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from .records import Tick

START_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_STEPS_PER_PRICE: Final = 5_000
"""One step of the walk is at most 0.02 % of the first price: a lively market, no crash."""


def random_walk(
    seed: int,
    *,
    price: Decimal = Decimal(60_000),
    price_step: Decimal = Decimal("0.1"),
    interval_ms: int = 100,
) -> Iterator[Tick]:
    """Endless ticks around `price`, which the walk is drawn back to.

    The pull keeps a long run inside what a venue's filters and a wallet allow.
    """
    generator = random.Random(seed)
    units = first = int(price / price_step)
    reach = max(1, first // _STEPS_PER_PRICE)
    time_ms = START_MS
    while True:
        yield Tick(time_ms, units * price_step, Decimal(generator.randint(1, 500)) / 1000)
        units = max(1, units + generator.randint(-reach, reach) + (first - units) // 200)
        time_ms += interval_ms
