"""Resting entries, cancelled for as long as the bot may not trade.

An order that rests while nobody watches it fills at the worst moment. One pass on
leaving ACTIVE is not enough: an entry may be on its way then and rest only later, the
venue may be away at that moment and come back while something else is still down, and
a request may be lost. So this goes on until none is left, woken by what changes; it
sets a timer only after a cancel that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import anyio

from .broadcast import Broadcast
from .errors import LinkDown, OutcomeUnknown
from .model import OrderSnapshot
from .orders import OrderPath

log = logging.getLogger("holdfast.entries")

CANCELS_AT_ONCE: Final = 8
CANCEL_RETRY_SECONDS: Final = 1.0
"""Between two passes; one request a second and order weighs nothing in a venue's limits."""


class RestingEntries:
    """
    :param changes: notified when an entry may have begun to rest, the venue can be asked again or
        the policy has changed.
    :param resting: our orders that rest, by the book.
    :param unwanted: whether they are to be cancelled now.
    :param epoch: changes with every fault; what the venue said before counts no more.
    """

    def __init__(
        self,
        *,
        orders: OrderPath,
        changes: Broadcast,
        resting: Callable[[], list[OrderSnapshot]],
        unwanted: Callable[[], bool],
        epoch: Callable[[], int],
    ) -> None:
        self._orders = orders
        self._changes = changes
        self._resting = resting
        self._unwanted = unwanted
        self._epoch = epoch
        self._one_pass = anyio.Lock()
        self._answered: set[str] = set()
        self._answered_epoch = -1

    async def run(self) -> None:
        """Cancel what is unwanted, until cancelled."""
        while True:
            if not (self._unwanted() and self.left()):
                await self._changes.wait()
            else:
                await self.cancel()
                # Also after a pass without a failure: an answer that can not be journalled is a
                # fault, which would begin the next pass at once, and so on without end.
                await anyio.sleep(CANCEL_RETRY_SECONDS)

    async def cancel_if_unwanted(self) -> None:
        """One pass, on entering a state; `run` goes on with what it leaves."""
        try:
            if self._unwanted():
                await self.cancel()
        finally:
            self._changes.notify()

    async def cancel(self) -> int:
        """One pass over all that could open a position; exits stay.

        :returns: how many could not be cancelled now.
        """
        failed = 0
        limit = anyio.Semaphore(CANCELS_AT_ONCE)

        async def one(order: OrderSnapshot) -> None:
            nonlocal failed
            cid = order.client_order_id
            async with limit:
                try:
                    await self._orders.cancel(order.symbol, cid)
                except (LinkDown, OutcomeUnknown) as error:
                    failed += 1
                    log.warning(
                        "resting entry not cancelled",
                        extra={"client_order_id": cid, "reason": str(error)},
                    )
                else:
                    self._answered.add(cid)

        # Side by side with another pass, every order would be cancelled twice.
        async with self._one_pass, anyio.create_task_group() as group:
            for order in self.left():
                group.start_soon(one, order)
        return failed

    def left(self) -> list[OrderSnapshot]:
        """Those the venue has not answered for. The book may still show one that it has: not
        known to the venue, or not written down. Reconciling settles that, not asking again."""
        if self._answered_epoch != self._epoch():
            self._answered, self._answered_epoch = set(), self._epoch()
        return [o for o in self._resting() if o.opening and o.client_order_id not in self._answered]
