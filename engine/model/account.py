"""The account at the venue: what is in it, how it is set up, what its key may do."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec


class Balance(msgspec.Struct, frozen=True):
    """What the account has of one asset.

    :ivar wallet: what is there, without the profit or loss of open positions.
    :ivar available: what new positions may be opened with.
    :ivar unrealized: profit or loss of the open positions that are settled in this asset.
    """

    asset: str
    wallet: Decimal
    available: Decimal
    unrealized: Decimal


class CashFlow(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cash that came to a wallet, or went from it (negative), by the venue's own history.

    :ivar kind: in the venue's words; Binance's `incomeType`: FUNDING_FEE, TRANSFER, COMMISSION,
        REALIZED_PNL and others.
    :ivar symbol: unified name; "": of none.
    :ivar trade_id: of the trade that it belongs to; 0: of none.
    """

    asset: str
    amount: Decimal
    kind: str
    time_ms: int
    symbol: str = ""
    trade_id: int = 0


MarginMode = Literal["cross", "isolated"]
"""Whether a position may lose the whole account's balance or only what was set aside for it."""


class SymbolSettings(msgspec.Struct, frozen=True):
    """How the account trades a symbol."""

    symbol: str
    leverage: int
    margin_mode: MarginMode


class ExpectedAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the bot takes the account to be set up. `holdfast doctor` compares it with the venue;
    nothing is changed there. None: the bot does not care.

    :ivar hedge_mode: long and short positions of a symbol are held side by side.
    :ivar margin_mode, leverage: of every declared symbol.
    """

    hedge_mode: bool | None = None
    margin_mode: MarginMode | None = None
    leverage: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class KeyRights(msgspec.Struct, frozen=True):
    """What the venue lets an API key do; None: it does not tell.

    :ivar trade: place orders.
    :ivar withdraw: take money out of the account.
    :ivar bound_to_addresses: it is accepted from certain IP addresses only.
    """

    trade: bool | None = None
    withdraw: bool | None = None
    bound_to_addresses: bool | None = None
