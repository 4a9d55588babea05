"""What the account's wallets should hold: what they last held, and every fill of ours since.

The venue books a profit and a fee with each fill and tells both, so the sum is exact; only the
venue's own rounding of each may be off. What is not made of our fills (funding, transfers,
liquidation fees, trades of another hand) is not known here, and shows as a difference, which
the venue's history of cash flows may explain. Only assets that the declared symbols are settled
in are watched. Pure: no I/O, no clock.
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


def drifted(
    expected: Mapping[str, Decimal], said: Mapping[str, Decimal], tolerance: Decimal
) -> list[tuple[str, Decimal]]:
    """Assets whose wallet is not what is expected, and by how much, signed."""
    off = [(asset, said[asset] - here) for asset, here in expected.items() if asset in said]
    return sorted((asset, drift) for asset, drift in off if abs(drift) > tolerance)


class Wallets:
    """
    :ivar expected: per asset; an asset that is not in it is not known and not compared.
    :ivar fills: counted since the venue was last believed.
    :ivar since_ms: per asset, the venue's time since when its cash flows are not in `expected`.
    :ivar until_ms: until when they may be in it all the same: the venue was being asked.
    """

    def __init__(
        self,
        expected: Mapping[str, Decimal] | None = None,
        fills: int = 0,
        since_ms: Mapping[str, int] | None = None,
        until_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.expected = dict(expected or {})
        self.fills = fills
        self.since_ms = dict(since_ms or {})
        self.until_ms = dict(until_ms or {})

    @property
    def tolerance(self) -> Decimal:
        """One step for each fill, whose profit and fee were rounded by half a step at most, and
        one for the two balances that are compared."""
        return SHOWN_STEP * (self.fills + 1)

    def believe(
        self, balances: Mapping[str, Decimal], *, since_ms: int = 0, until_ms: int = 0
    ) -> None:
        """Begin anew from what the venue has shown.

        :param since_ms, until_ms: as of `records.Balanced`. The first never goes back, as a
            venue's clock may: a cash flow that was looked at once would explain another
            difference.
        """
        self.expected.update(balances)
        self.fills = 0
        for asset in balances:
            self.until_ms[asset] = until_ms
            if since_ms:
                self.since_ms[asset] = max(since_ms, self.since_ms.get(asset, 0))
            else:
                self.since_ms.pop(asset, None)

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
