"""What `exchangeInfo` tells: the contracts, what is accepted of each, and the request limits.

Only the fields that are needed are declared; as in `wire`, what lacks one of them is a
`msgspec.DecodeError`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from holdfast.model import Instrument

from .limits import Kind, Limit
from .parameters import venue_name

_LIMIT_KIND: Final[dict[str, Kind]] = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}
_UNIT_MS: Final = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class _FilterJson(msgspec.Struct, frozen=True):
    filterType: str  # noqa: N815
    tickSize: Decimal | None = None  # noqa: N815
    stepSize: Decimal | None = None  # noqa: N815
    minQty: Decimal | None = None  # noqa: N815
    maxQty: Decimal | None = None  # noqa: N815
    notional: Decimal | None = None


class MarketJson(msgspec.Struct, frozen=True):
    """One symbol of exchangeInfo."""

    symbol: str
    baseAsset: str  # noqa: N815
    quoteAsset: str  # noqa: N815
    marginAsset: str  # noqa: N815
    filters: list[_FilterJson]
    status: str = "TRADING"

    @property
    def unified(self) -> str:
        """`BTC/USDT:USDT`, of a contract that expires `BTC/USDT:USDT-261225`.

        One whose name is not made of its assets keeps it: `BNXUSDTSETTLED` was settled, and is
        listed with the assets of the contract that trades now.
        """
        expiry = self.symbol.partition("_")[2]
        name = f"{self.baseAsset}/{self.quoteAsset}:{self.marginAsset}"
        name = f"{name}-{expiry}" if expiry else name
        return name if venue_name(name) == self.symbol else self.symbol

    def instrument(self) -> Instrument:
        """:raises msgspec.ValidationError: a filter is missing."""
        by_type = {item.filterType: item for item in self.filters}
        price, lot = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
        notional, market = by_type.get("MIN_NOTIONAL"), by_type.get("MARKET_LOT_SIZE")
        if price is None or lot is None or not price.tickSize or not lot.stepSize:
            raise msgspec.ValidationError(f"{self.symbol}: no PRICE_FILTER or LOT_SIZE")
        return Instrument(
            symbol=self.unified,
            price_step=price.tickSize,
            quantity_step=lot.stepSize,
            min_quantity=lot.minQty or lot.stepSize,
            min_notional=(notional.notional if notional else None) or Decimal(0),
            max_quantity=lot.maxQty or None,
            market_quantity_step=(market.stepSize if market else None) or None,
            market_min_quantity=(market.minQty if market else None) or None,
            market_max_quantity=(market.maxQty if market else None) or None,
            trading=self.status == "TRADING",
        )


class RateLimitJson(msgspec.Struct, frozen=True):
    """One of `rateLimits` of exchangeInfo."""

    rateLimitType: str  # noqa: N815
    interval: str
    intervalNum: int  # noqa: N815
    limit: int


class ExchangeInfoJson(msgspec.Struct, frozen=True):
    symbols: list[MarketJson]
    rateLimits: list[RateLimitJson] = []  # noqa: N815

    @property
    def limits(self) -> list[Limit]:
        """Those that are known; of others nobody knows the header."""
        return [
            Limit(kind, unit_ms, row.intervalNum, row.limit)
            for row in self.rateLimits
            if (kind := _LIMIT_KIND.get(row.rateLimitType)) is not None
            and (unit_ms := _UNIT_MS.get(row.interval)) is not None
        ]
