"""A venue with a clock moved by hand, and short ways to trade on it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from holdfast.model import PositionSide
from holdfast.transports.sim.core import SimulatedVenue
from holdfast.transports.sim.ledger import Holding
from holdfast.transports.sim.records import (
    AccountEvent,
    ConditionalEvent,
    ConditionalOrder,
    ConditionalTicket,
    OrderTicket,
    VenueEvent,
    VenueOrder,
)
from holdfast.transports.sim.rules import VenueError

D = Decimal
BTC = "BTC/USDT:USDT"
DEPOSIT = D(1_000_000)


class Hand:
    """
    :ivar events: every step of an order.
    :ivar heard: everything, in a word or two.
    """

    def __init__(self, *, price: str | None = "50000", **options: Any) -> None:
        self.now_ns = 1_700_000_000_000_000_000
        options.setdefault("deposit", DEPOSIT)
        self.venue = SimulatedVenue(time_ns=lambda: self.now_ns, **options)
        self.events: list[VenueEvent] = []
        self.account_events: list[AccountEvent] = []
        self.heard: list[str] = []
        self.venue.subscribe(
            self._on_order, conditional=self._on_conditional, account=self._on_account
        )
        self._ids: Iterator[int] = iter(range(1, 1_000_000))
        if price is not None:
            self.venue.on_price(BTC, D(price))

    def _on_order(self, event: VenueEvent) -> None:
        self.events.append(event)
        self.heard.append(f"{event.execution} {event.status.value}")

    def _on_conditional(self, event: ConditionalEvent) -> None:
        self.heard.append(event.status)

    def _on_account(self, event: AccountEvent) -> None:
        self.account_events.append(event)

    def sleep_ms(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000

    def place(self, side: str, quantity: str, price: str | None = None, **more: Any) -> VenueOrder:
        more.setdefault("client_order_id", f"t{next(self._ids)}")
        more.setdefault("symbol", BTC)
        return self.venue.place(
            OrderTicket(
                side=side,  # type: ignore[arg-type]
                quantity=D(quantity),
                price=None if price is None else D(price),
                **more,
            )
        )

    def refused(self, *args: str, **more: Any) -> int:
        log, wallet = len(self.venue.order_log), self.venue.wallet_balance
        with pytest.raises(VenueError) as refusal:
            self.place(*args, **more)
        assert len(self.venue.order_log) == log
        assert self.venue.wallet_balance == wallet
        return refusal.value.code

    def keep(
        self,
        kind: str,
        side: str,
        trigger: str | None = None,
        quantity: str | None = "0.010",
        price: str | None = None,
        **more: Any,
    ) -> ConditionalOrder:
        """Place a conditional order; without a quantity one that closes the position."""
        more.setdefault("client_id", f"c{next(self._ids)}")
        more.setdefault("symbol", BTC)
        more.setdefault("close_position", quantity is None)
        return self.venue.place_conditional(
            ConditionalTicket(
                type=kind,  # type: ignore[arg-type]
                side=side,  # type: ignore[arg-type]
                trigger_price=None if trigger is None else D(trigger),
                quantity=None if quantity is None else D(quantity),
                price=None if price is None else D(price),
                **more,
            )
        )

    def not_kept(self, *args: Any, **more: Any) -> int:
        with pytest.raises(VenueError) as refusal:
            self.keep(*args, **more)
        return refusal.value.code

    def price(self, price: str) -> None:
        self.venue.on_price(BTC, D(price))

    def candle(self, *prices: str, **more: Any) -> None:
        """Open, high, low, close."""
        self.venue.on_candle(BTC, *(D(price) for price in prices), **more)

    def holding(self, side: PositionSide = "BOTH") -> Holding:
        return self.venue.book(BTC).holdings[side]

    @property
    def position(self) -> Decimal:
        return self.holding().quantity

    def history(self) -> list[tuple[str, str]]:
        return [(event.execution, event.status.value) for event in self.events]
