"""Fills of orders that this bot has never sent, as the venue tells of them.

From the first word of one the books of the bot can not be believed, until they were compared.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from holdfast.model import Fill

Trade = tuple[str, int]
"""Symbol and trade id."""


class Strangers:
    """
    :param own: client order ids of all that this bot has ever sent.
    """

    def __init__(self, own: Container[str]) -> None:
        self._own: Final = own
        self._told: set[Trade] = set()
        self._up_to: dict[str, int] = {}
        """Of each symbol, the newest trade of which a comparison has taken note."""

    def listed(self, fills: Iterable[Fill]) -> None:
        """The venue has listed these when it was asked for them."""
        self._told.update((fill.symbol, fill.trade_id) for fill in fills)

    def newest(self, symbol: str, trade_id: int) -> None:
        """It has been asked for no more than the newest one."""
        self._up_to[symbol] = max(trade_id, self._up_to.get(symbol, 0))

    def told(self, fill: Fill) -> bool:
        """The user stream tells of this one. True: it is news, and nobody here has sent it."""
        trade = fill.symbol, fill.trade_id
        if trade in self._told or fill.trade_id <= self._up_to.get(fill.symbol, 0):
            return False
        self._told.add(trade)
        return fill.client_order_id not in self._own
