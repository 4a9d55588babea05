"""Who is told what the venue does, and when: once its books are consistent.

Events wait until the step that made them is complete, since a listener may call in again.
They are told one after the other, in the order in which they happened, whatever their kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .records import AccountEvent, ConditionalEvent, VenueEvent

AnyEvent = VenueEvent | ConditionalEvent | AccountEvent
Listener = Callable[[VenueEvent], object]
ConditionalListener = Callable[[ConditionalEvent], object]
AccountListener = Callable[[AccountEvent], object]


class _Subscription(NamedTuple):
    orders: Listener | None
    conditional: ConditionalListener | None
    account: AccountListener | None


_PLACE: Final[dict[type, int]] = {VenueEvent: 0, ConditionalEvent: 1, AccountEvent: 2}
"""Of the listener for an event, in a subscription."""


class Announcements:
    """Events of one venue on their way to its listeners.

    :ivar pending: what has happened and was not told yet. Add only what somebody wants.
    :ivar orders, conditional, account: whether somebody hears of these.
    """

    __slots__ = ("_subscriptions", "_telling", "account", "conditional", "orders", "pending")

    def __init__(self) -> None:
        self.pending: list[AnyEvent] = []
        self.orders = self.conditional = self.account = False
        self._subscriptions: list[_Subscription] = []
        self._telling = False

    def subscribe(
        self,
        orders: Listener | None = None,
        *,
        conditional: ConditionalListener | None = None,
        account: AccountListener | None = None,
    ) -> Callable[[], None]:
        """Tell these from now on; returns what ends that."""
        subscription = _Subscription(orders, conditional, account)
        self._subscriptions.append(subscription)
        self._find_wanted()

        def end() -> None:
            self._subscriptions.remove(subscription)
            self._find_wanted()

        return end

    def tell(self) -> None:
        if self._telling:
            return
        self._telling = True
        try:
            while self.pending:
                events, self.pending = self.pending, []
                for event in events:
                    place = _PLACE[type(event)]
                    for subscription in tuple(self._subscriptions):
                        listener: Callable[[Any], object] | None = subscription[place]
                        if listener is not None:
                            listener(event)
        finally:
            self._telling = False

    def _find_wanted(self) -> None:
        self.orders, self.conditional, self.account = (
            any(subscription[place] is not None for subscription in self._subscriptions)
            for place in range(3)
        )
