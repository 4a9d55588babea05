"""The order book of one market as the world sees it, and what changed in it.

Shown is what a taker would get: the levels that the venue fills takers at, and the account's
own resting orders. Where a level has no bound, the largest quantity that one order may have
is shown. With neither quotes nor a depth model the last price is best bid and best ask at
once, and so it is shown.

Changes are numbered, as Binance numbers them ("How to manage a local order book correctly"):
the first change that a snapshot does not contain has its `lastUpdateId` as `pu`.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

from holdfast.model import Side

from .core import SimulatedVenue
from .ledger import ZERO

SHOWN_LEVELS: Final = 50
"""Levels of the market on each side; a depth model may go on for ever."""

Level = tuple[Decimal, Decimal]
"""`(price, quantity)`; a quantity of 0 says that the level is gone."""


class Change(NamedTuple):
    """What is different since update `before_id`."""

    update_id: int
    before_id: int
    bids: list[Level]
    asks: list[Level]


class ShownBook:
    """One market. It is looked at anew by `refresh` only."""

    def __init__(self, venue: SimulatedVenue, name: str) -> None:
        self.update_id = 1
        self.changed_ms = 0
        self._venue = venue
        self._name = name
        self._sides: dict[Side, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}

    def refresh(self, now_ms: int) -> Change | None:
        """Look at the book; what has changed in it, if anything has."""
        differences: dict[Side, list[Level]] = {}
        for side, shown in self._sides.items():
            now = self._seen(side)
            if now == shown:
                continue
            differences[side] = [
                *(
                    (price, quantity)
                    for price, quantity in now.items()
                    if shown.get(price) != quantity
                ),
                *((price, ZERO) for price in shown if price not in now),
            ]
            self._sides[side] = now
        if not differences:
            return None
        before_id, self.update_id = self.update_id, self.update_id + 1
        self.changed_ms = now_ms
        return Change(
            self.update_id, before_id, differences.get("buy", []), differences.get("sell", [])
        )

    def bids(self, limit: int) -> list[Level]:
        """Highest first."""
        return sorted(self._sides["buy"].items(), reverse=True)[:limit]

    def asks(self, limit: int) -> list[Level]:
        """Lowest first."""
        return sorted(self._sides["sell"].items())[:limit]

    def _seen(self, side: Side) -> dict[Decimal, Decimal]:
        """Who bids, or asks: the market, and our own orders."""
        venue, book = self._venue, self._venue.books[self._name]
        taker: Side = "sell" if side == "buy" else "buy"
        unbounded = book.market.max_quantity
        seen: dict[Decimal, Decimal] = {}
        for price, quantity in islice(venue.levels(self._name, taker), SHOWN_LEVELS):
            if quantity is None:
                quantity = unbounded
            if quantity > 0:
                seen[price] = seen.get(price, ZERO) + quantity
        for _, _, order in book.bids if side == "buy" else book.asks:
            assert order.price is not None
            seen[order.price] = seen.get(order.price, ZERO) + order.remaining
        return seen
