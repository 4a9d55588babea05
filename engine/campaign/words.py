"""The words of a venue's user stream on each order, and whether an old one is believed.

A stream repeats itself and may put its messages in another order. A word that tells less than one
before it, less filled, or open after it had ended, has to leave the book as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from holdfast.engine import Engine
from holdfast.model import OrderSnapshot


class _Standing(NamedTuple):
    final: bool
    filled: Decimal


class Words:
    """
    :param breach: told the promise and what was seen.
    """

    def __init__(self, breach: Callable[[str, str], None]) -> None:
        self._breach = breach
        self._newest: dict[str, _Standing] = {}

    def tell(self, order: OrderSnapshot, engine: Engine, report: Callable[[], None]) -> None:
        """Let the engine hear of it, by `report`, and see what it makes of it."""
        cid, word = order.client_order_id, _Standing(order.status.final, order.filled)
        newest = self._newest.get(cid, word)
        if word.final >= newest.final and word.filled >= newest.filled:
            self._newest[cid] = word
            report()
            return
        before = _filled(engine, cid)
        report()
        after = _filled(engine, cid)
        if after is not None and (before is None or after < before):
            stood = "not open" if before is None else f"open, {before:f} filled"
            self._breach(
                "books", f"{cid} was {stood}, and is open, {after:f} filled, by an old word"
            )


def _filled(engine: Engine, client_order_id: str) -> Decimal | None:
    """How much of an order is, by the engine's book; None: it is not open there."""
    found = (o.filled for o in engine.open_orders() if o.client_order_id == client_order_id)
    return next(found, None)
