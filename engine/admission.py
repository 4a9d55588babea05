"""The word of lease, dead-man switch and policy on an order, at its making and at its write.

The gate says whether anything may be opened; this says whether this order may: under the
lease as the clock has it, and, if it opens, with the venue's dead-man switch armed and under
the policy of the moment, with all that is held, open or unknown counted as filled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Final

from . import policy as policy_rules
from .dead_man import LAPSED, DeadManSwitch
from .errors import LinkDown, Rejected, TradingHalted
from .lease import LeaseKeeper
from .ledger import Ledger
from .model import Order
from .policy_cell import PolicyCell
from .ports import Clock, ExecutionClient

log = logging.getLogger("holdfast.engine")

PRICE_SECONDS: Final = 10.0
"""A price older than this judges no notional limit."""


class Admission:
    """
    :param timeout_seconds: of the question for a price.
    :param on_blocked: told the reason of every refusal that is no fault of the order.
    """

    def __init__(
        self,
        *,
        client: ExecutionClient,
        policy: PolicyCell,
        lease: LeaseKeeper,
        dead_man: DeadManSwitch,
        ledger: Ledger,
        clock: Clock,
        timeout_seconds: float,
        on_blocked: Callable[[str], None],
    ) -> None:
        self._client = client
        self._policy = policy
        self._lease = lease
        self._dead_man = dead_man
        self._ledger = ledger
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._on_blocked = on_blocked
        self._prices: dict[str, tuple[Decimal, float]] = {}
        """Per symbol, what it last traded at, and when that was learnt."""

    def traded(self, symbol: str, price: Decimal) -> None:
        """It has just traded at this price. What can be none (0, NaN) would let any order
        through, so it is as if nothing had been said."""
        if price.is_finite() and price > 0:
            self._prices[symbol] = (price, self._clock.monotonic())
        else:
            log.warning("no price", extra={"symbol": symbol, "price": str(price)})

    async def learn_price(self, order: Order) -> None:
        """Ask for a price, where the order's own says nothing of what it may be worth.

        A market order has none, and a sell is filled at its limit or above. Without an
        answer nobody knows what it is worth, and `admit` refuses it.
        """
        policy = self._policy.get()
        has_bound = order.price is not None and order.side == "buy"
        if has_bound or policy is None or not policy.limits.on_notional:
            return
        try:
            price = await self._client.last_price(
                order.symbol, timeout_seconds=self._timeout_seconds
            )
        except LinkDown as error:
            log.info("no price", extra={"symbol": order.symbol, "reason": str(error)})
        else:
            self.traded(order.symbol, price)

    def admit(self, order: Order, client_order_id: str) -> None:
        """Raise unless the order may be sent now.

        The lease is judged by the clock here, also for an order that only reduces: its
        keeper's timers may lag behind it, for those of a machine that slept have slept as
        well, and the position may be another instance's by now.

        :raises TradingHalted: nothing may be sent (no lease), or opened (no dead-man switch, no
            policy, mode HALT), or nobody can tell whether a limit forbids it (no price).
        :raises Rejected: a limit of the policy forbids this order.
        """
        if not self._lease.held:
            reason = self._lease.reason or "it ran out before it could be renewed"
            self._on_blocked(reason)
            raise TradingHalted(f"lease: {reason}")
        if not order.opening:
            return
        if not self._dead_man.armed:
            self._on_blocked(LAPSED)
            raise TradingHalted(f"exchange: {LAPSED}")
        policy = self._policy.get()
        if policy is None:
            reason = self._policy.problem() or "no policy"
            self._on_blocked(reason)
            raise TradingHalted(f"policy: {reason}")
        price, learnt_at = self._prices.get(order.symbol, (None, -inf))
        if self._clock.monotonic() - learnt_at > PRICE_SECONDS:
            price = None
        exposure = self._ledger.exposure(order, price, without=client_order_id)
        objection = policy_rules.objection(policy, order, exposure)
        if objection is None:
            return
        if policy.active_mode is policy_rules.Mode.HALT or objection == policy_rules.NO_PRICE:
            self._on_blocked(objection)
            raise TradingHalted(f"policy: {objection}")
        raise Rejected(f"policy: {objection}")
