"""The market of a drill: recorded prices at a pace of their own.

Bot and exchange play the same file from the same moment, so both know the same
price without speaking of it, as two readers of one feed do.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from holdfast.marketdata import DataError, Tick, random_walk, ticks

LOWEST_PRICE = Decimal(1)
"""The contract that is traded has a price step of 0.1."""


class Market:
    """Prices by time. Ask with times that do not go back.

    :param data: None: a random walk from `seed`.
    :raises DataError: the file can not be used.
    """

    def __init__(
        self,
        data: str | Path | None,
        *,
        seed: int,
        began_ns: int,
        tick_seconds: float,
        price_step: Decimal,
    ) -> None:
        self._data = data
        self._seed = seed
        self._began_ns = began_ns
        self._tick_ns = int(tick_seconds * 1e9)
        self._step = price_step
        self._ticks = self._open()
        self._played = 0
        self.price = self._next()

    def price_at(self, now_ns: int) -> Decimal:
        due = (now_ns - self._began_ns) // self._tick_ns
        while self._played < due:
            self._played += 1
            self.price = self._next()
        return self.price

    def _open(self) -> Iterator[Tick]:
        if self._data is None:
            return random_walk(self._seed, price_step=self._step)
        return ticks(self._data)

    def _next(self) -> Decimal:
        tick = next(self._ticks, None)
        if tick is None:  # a drill longer than its data plays them again
            self._ticks = self._open()
            tick = next(self._ticks)
        if tick.price < LOWEST_PRICE:
            raise DataError(
                f"{self._data}: price {tick.price} is too low for the contract the drill trades "
                f"(steps of {self._step}); give data with prices above {LOWEST_PRICE}"
            )
        return (tick.price / self._step).to_integral_value() * self._step
