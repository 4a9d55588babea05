"""What an `Order(key=…)` stands for: one intent, also after a restart.

The ledger remembers the keys of intents that were journalled. Until a new one is,
its key is claimed here: two calls at the same time would both find it free.
"""

from __future__ import annotations

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

        :raises InvalidOrder: it stands for another order.
        """
        key = order.key
        if key is None:
            return None
        report = self._ledger.keyed.get(key)
        if report is not None:
            meant = (report.symbol, report.side, report.quantity)
        else:
            intent = self._ledger.by_key.get(key) or self._claimed.get(key)
            if intent is None:
                return None
            meant = (intent.order.symbol, intent.order.side, intent.order.quantity)
        if meant != (order.symbol, order.side, order.quantity):
            raise InvalidOrder(
                f"key: {key!r} already stands for {meant[1]} {meant[2]} {meant[0]}; "
                "a new decision needs a new key"
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
