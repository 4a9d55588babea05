"""How the account is set up, as Binance's USDⓈ-M JSON tells it."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from holdfast.model import Balance, CashFlow, MarginMode, SymbolSettings

from .wire import Unified


class AssetJson(msgspec.Struct, frozen=True):
    """One of `assets` of account."""

    asset: str
    walletBalance: Decimal  # noqa: N815
    unrealizedProfit: Decimal  # noqa: N815
    availableBalance: Decimal  # noqa: N815

    @property
    def balance(self) -> Balance:
        return Balance(self.asset, self.walletBalance, self.availableBalance, self.unrealizedProfit)


class AccountJson(msgspec.Struct, frozen=True):
    assets: list[AssetJson]


class IncomeJson(msgspec.Struct, frozen=True):
    """One row of income. Of a trade it names the number, else nothing."""

    asset: str
    income: Decimal
    incomeType: str  # noqa: N815
    time: int
    symbol: str = ""
    tradeId: str = ""  # noqa: N815

    def cash_flow(self, unified: Unified) -> CashFlow:
        return CashFlow(
            self.asset,
            self.income,
            self.incomeType,
            self.time,
            unified(self.symbol) if self.symbol else "",
            int(self.tradeId) if self.tradeId else 0,
        )


class PositionModeJson(msgspec.Struct, frozen=True):
    dualSidePosition: bool  # noqa: N815


class AccountConfigJson(msgspec.Struct, frozen=True):
    """accountConfig: of the account, whatever its keys may do."""

    canTrade: bool  # noqa: N815


class KeyPermissionsJson(msgspec.Struct, frozen=True):
    """apiRestrictions ("Get API Key Permission" of the wallet): of the key."""

    ipRestrict: bool  # noqa: N815
    enableWithdrawals: bool  # noqa: N815
    enableFutures: bool  # noqa: N815


class SymbolConfigJson(msgspec.Struct, frozen=True):
    """One row of symbolConfig."""

    symbol: str
    marginType: Literal["CROSSED", "ISOLATED"]  # noqa: N815
    leverage: int

    def settings(self, unified: Unified) -> SymbolSettings:
        mode: MarginMode = "isolated" if self.marginType == "ISOLATED" else "cross"
        return SymbolSettings(unified(self.symbol), self.leverage, mode)
