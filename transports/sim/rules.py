"""What the venue accepts: markets, their filters, and its refusals by number.

Codes and texts are those of Binance's USDⓈ-M error list
(developers.binance.com, "Error Codes"), because clients decide by the number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from holdfast.model import Instrument

CLIENT_ORDER_ID: Final = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
"""Binance, "New Order", newClientOrderId."""


class VenueError(Exception):
    """The venue's refusal of one request.

    :ivar code: Binance's number, negative.
    :ivar message: its text.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One perpetual contract and its filters.

    :param name: the venue's name, `BTCUSDT`.
    :param symbol: the unified name, `BTC/USDT:USDT`.
    :param max_quantity: per order (LOT_SIZE).
    :param liquidity: base units that takers find per price tick; None: without bound.
    """

    name: str
    symbol: str
    base: str
    quote: str
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal = Decimal(1_000_000)
    liquidity: Decimal | None = None

    @classmethod
    def perpetual(
        cls,
        base: str,
        *,
        quote: str = "USDT",
        price_step: str = "0.1",
        quantity_step: str = "0.001",
        min_quantity: str = "0.001",
        min_notional: str = "5",
        liquidity: Decimal | None = None,
    ) -> Market:
        """A linear contract settled in `quote`, with steps given as text."""
        return cls(
            name=base + quote,
            symbol=f"{base}/{quote}:{quote}",
            base=base,
            quote=quote,
            price_step=Decimal(price_step),
            quantity_step=Decimal(quantity_step),
            min_quantity=Decimal(min_quantity),
            min_notional=Decimal(min_notional),
            liquidity=liquidity,
        )

    @property
    def instrument(self) -> Instrument:
        return Instrument(
            symbol=self.symbol,
            price_step=self.price_step,
            quantity_step=self.quantity_step,
            min_quantity=self.min_quantity,
            min_notional=self.min_notional,
        )

    def check_price(self, price: Decimal) -> None:
        """:raises VenueError: -4001, -1111 (too many digits) or -4014 (off the tick)."""
        if price <= 0:
            raise VenueError(-4001, "Price less than 0.")
        if price % self.price_step:
            if _finer(price, self.price_step):
                raise too_precise()
            raise VenueError(-4014, "Price not increased by tick size.")

    def check_quantity(self, quantity: Decimal) -> None:
        """:raises VenueError: -4003, -4004, -4005, -1111 or -4023."""
        if quantity <= 0:
            raise VenueError(-4003, "Quantity less than or equal to zero.")
        if quantity < self.min_quantity:
            raise VenueError(-4004, "Quantity less than min quantity.")
        if quantity > self.max_quantity:
            raise VenueError(-4005, "Quantity greater than max quantity.")
        if quantity % self.quantity_step:
            if _finer(quantity, self.quantity_step):
                raise too_precise()
            raise VenueError(-4023, "Quantity not increased by step size.")

    def check_notional(self, notional: Decimal) -> None:
        """:raises VenueError: -4164."""
        if notional < self.min_notional:
            raise VenueError(
                -4164,
                f"Order's notional must be no smaller than {self.min_notional}"
                " (unless you choose reduce only).",
            )


def too_precise() -> VenueError:
    return VenueError(-1111, "Precision is over the maximum defined for this asset.")


def _finer(value: Decimal, step: Decimal) -> bool:
    return int(value.normalize().as_tuple().exponent) < int(step.normalize().as_tuple().exponent)


DEFAULT_MARKETS: Final = (
    Market.perpetual("BTC", price_step="0.1", quantity_step="0.001", min_notional="100"),
    Market.perpetual("ETH", price_step="0.01", quantity_step="0.001", min_notional="20"),
    Market.perpetual(
        "SOL", price_step="0.01", quantity_step="0.01", min_quantity="0.01", min_notional="5"
    ),
)
"""Steps and minima of the real contracts of these names, late 2025."""
