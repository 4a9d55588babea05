"""What the venue accepts: markets, their filters, and its refusals by number.

Codes and texts are those of Binance's USDⓈ-M error list
(developers.binance.com, "Error Codes"), because clients decide by the number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from holdfast.model import Instrument

from .brackets import BTC_BRACKETS, Bracket

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
    :param brackets: margin tiers, smallest first.
    :param liquidation_fee: on the notional that is liquidated (`liquidationFee` of
        exchangeInfo; 0.0125 is BTCUSDT's in 2025).
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
    brackets: tuple[Bracket, ...] = BTC_BRACKETS
    liquidation_fee: Decimal = Decimal("0.0125")
    ticks_per_unit: float = field(init=False, repr=False, compare=False)
    steps_per_unit: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticks_per_unit", float(1 / self.price_step))
        object.__setattr__(self, "steps_per_unit", float(1 / self.quantity_step))

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
        brackets: tuple[Bracket, ...] = BTC_BRACKETS,
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
            brackets=brackets,
        )

    def price(self, value: Decimal | float) -> Decimal:
        """A price of market data, exact: a Decimal as it is, a float on the nearest tick.

        What was recorded as text and read as a float comes back as that text says, as long
        as it has fewer than 2**53 ticks.
        """
        if isinstance(value, Decimal):
            return value
        return round(value * self.ticks_per_unit) * self.price_step

    def quantity(self, value: Decimal | float) -> Decimal:
        """A quantity of market data, exact: a Decimal as it is, a float on the nearest step."""
        if isinstance(value, Decimal):
            return value
        return round(value * self.steps_per_unit) * self.quantity_step

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
