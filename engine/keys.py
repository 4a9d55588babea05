"""What an `Order(key=…)` stands for: one intent, also after a restart.

The ledger remembers the keys of intents that were journalled. Until a new one is,
its key is claimed here: two calls at the same time would both find it free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from .checkpoint import Terms
from .errors import InvalidOrder
from .intent import Intent, Stage
from .ledger import Ledger
from .model import Order, OrderReport


class Keys:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._claimed: dict[str, Intent] = {}
        """Keys whose intent is being journalled right now."""

    def earlier(self, order: Order) -> Intent | OrderReport | None:
        """The intent that the order's key already stands for, or how it ended; None: it is new.

        The order is the same if it is in all that the venue is told of it; how long it may be
        tried is no part of it.

        :raises InvalidOrder: it stands for another order; the text says in what it differs.
        """
        key = order.key
        if key is None:
            return None
        report = self._ledger.keyed.get(key)
        meant: OrderReport | Order
        if report is not None:
            meant, terms = report, self._ledger.terms.get(key)
        else:
            intent = self._ledger.by_key.get(key) or self._claimed.get(key)
            if intent is None:
                return None
            meant, terms = intent.order, Terms.of(intent.order)
        if other := [*_unlike(order, meant, _SAID), *_unlike(Terms.of(order), terms, _TERMS)]:
            raise InvalidOrder(
                f"key: {key!r} already stands for {meant.side} {meant.quantity} {meant.symbol}, "
                f"another order: {', '.join(other)}; a new decision needs a new key"
            )
        return report or intent

    def claim(self, intent: Intent) -> None:
        """Its key stands for it from now on. Await nothing between `earlier` and this."""
        if intent.order.key is not None:
            self._claimed[intent.order.key] = intent

    def release(self, intent: Intent) -> None:
        """It is in the ledger now, or it never came to be: whoever waits on it looks again."""
        if intent.order.key is not None:
            del self._claimed[intent.order.key]
        if intent.client_order_id not in self._ledger.intents and not intent.has_ended():
            intent.stage = Stage.CLOSED
            intent.notify()


_SAID: Final = ("symbol", "side", "quantity", "price")
"""What a report says of its order."""
_TERMS: Final = Terms.__struct_fields__


def _unlike(given: object, meant: object | None, fields: Iterable[str]) -> Iterator[str]:
    """What differs, in words; nothing where it is not known any more what was meant."""
    for field in fields if meant is not None else ():
        here, there = getattr(given, field), getattr(meant, field)
        if here != there:
            yield f"{field} was {_shown(there)}, now it is {_shown(here)}"


def _shown(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
