"""What the account's wallets should hold: what they last held, and every fill of ours since.

The venue books a profit and a fee with each fill and tells both, so the sum is exact; only the
venue's own rounding of each may be off. What is not made of our fills (funding, transfers,
liquidation fees, trades of another hand) is not known here, and shows as a difference. Only
assets that the declared symbols are settled in are watched. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from .model import Balance, Fill

SHOWN_STEP: Final = Decimal("1e-8")
"""Binance books and shows cash with eight decimals ("Account Trade List", "Account
Information")."""


def settled_in(symbol: str) -> str:
    """The asset in which a contract pays: `USDT` of `BTC/USDT:USDT`."""
    return symbol.rpartition(":" if ":" in symbol else "/")[2]


def watched(balances: Iterable[Balance], symbols: Iterable[str]) -> dict[str, Decimal]:
    """What the venue says of the assets that these symbols are settled in.

    An asset that it does not list was observed to be empty.
    """
    said = {b.asset: b.wallet for b in balances}
    return {asset: said.get(asset, Decimal(0)) for asset in sorted(map(settled_in, symbols))}


class Wallets:
    """
    :ivar expected: per asset; an asset that is not in it is not known and not compared.
    :ivar fills: counted since the venue was last believed.
    """

    def __init__(self, expected: Mapping[str, Decimal] | None = None, fills: int = 0) -> None:
        self.expected = dict(expected or {})
        self.fills = fills

    @property
    def tolerance(self) -> Decimal:
        """One step for each fill, whose profit and fee were rounded by half a step at most, and
        one for the two balances that are compared."""
        return SHOWN_STEP * (self.fills + 1)

    def believe(self, balances: Mapping[str, Decimal]) -> None:
        """Begin anew from what the venue has shown."""
        self.expected.update(balances)
        self.fills = 0

    def count(self, fill: Fill) -> None:
        """A fill of ours was counted."""
        self.fills += 1
        asset = settled_in(fill.symbol)
        if fill.realized is None:  # a venue that does not tell it: nobody knows any more
            self.expected.pop(asset, None)
        elif asset in self.expected:
            self.expected[asset] += fill.realized
        if fill.fee_asset in self.expected:
            self.expected[fill.fee_asset] -= fill.fee
