"""Longer bars out of shorter candles or of trades; none that is not whole.

A bar is whole if all that happened in its time is recorded: the one in which a recording begins is
not, nor is one with a hole in it. Those are not handed out, for what is computed over a part of
a bar is not what it seems. Volumes are added exactly, as the decimal numbers that they were
written as.
"""

from __future__ import annotations

from typing import Final

BarRow = tuple[int, float, float, float, float, float]
"""When it opened (UTC ms), open, high, low, close, volume."""
_UNITS: Final = 10**8
"""Binance writes quantities with at most eight decimals."""


class BarBuilder:
    """
    :param length_ms: bars open at its multiples since 1970 (UTC), as at Binance.
    :param first_ms: when the recording begins.
    """

    def __init__(self, length_ms: int, first_ms: int) -> None:
        self.length_ms = length_ms
        self._open = self._high = self._low = self._close = 0.0
        self.hole(first_ms)

    def hole(self, until_ms: int) -> None:
        """What was before then is not known, or not all of it."""
        length = self.length_ms
        self._whole_from_ms = -(-until_ms // length) * length
        self._empty, self._units = True, 0

    def add(self, opened: float, high: float, low: float, close: float, volume: float) -> None:
        """The next candle, or a trade, at one price."""
        if self._empty:
            self._empty = False
            self._open, self._high, self._low = opened, high, low
        else:
            self._high = max(self._high, high)
            self._low = min(self._low, low)
        self._close = close
        whole = int(volume)
        self._units += whole * _UNITS + round((volume - whole) * _UNITS)

    def end(self, end_ms: int) -> BarRow | None:
        """The bar that ends now; None: it is not whole. Without a trade it is flat, as at Binance.

        :param end_ms: a multiple of the length.
        """
        open_ms = end_ms - self.length_ms
        if self._empty:
            self._open = self._high = self._low = self._close
        bar = (
            open_ms,
            self._open,
            self._high,
            self._low,
            self._close,
            self._units / _UNITS,  # the nearest float: a quotient of integers is rounded once
        )
        self._empty, self._units = True, 0
        return bar if open_ms >= self._whole_from_ms else None
