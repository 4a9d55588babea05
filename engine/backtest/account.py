"""The account that a backtest trades on: what its venue takes, gives and demands.

Everything that differs between two traders with the same bot is here, so that the command line,
`backtest` and the test kit can say it alike, and a report can say it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from holdfast.errors import ConfigError
from holdfast.model import MarginMode
from holdfast.transports.sim import Market, slippage
from holdfast.transports.sim.book import DEFAULT_LEVERAGE
from holdfast.transports.sim.core import Depth, MakerRule

from .recording import Recording

MAX_LEVERAGE: Final = 125
"""Of any contract at Binance ("Notional and Leverage Brackets"); a market may allow less."""
MAX_FEE: Final = Decimal("0.01")
"""Far above any venue's; who types more has typed per cent."""
MODES: Final = ("cross", "isolated")
RULES: Final = ("touch", "through")


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the venue takes and gives.

    :ivar deposit: in the quote asset.
    :ivar hedge_mode: LONG and SHORT of a symbol are held side by side, and every order names its
        `position_side`.
    :ivar leverage: of every symbol, 1 to 125, as far as its market allows it. None: the venue's
        default, 20.
    :ivar margin_mode: `cross`: all positions stand on the whole wallet; `isolated`: each on what
        was set aside for it, and it can lose no more.
    :ivar maker_fee, taker_fee: fractions of the notional, 0.01 at most; a negative maker's fee is
        a rebate. Binance's regular ones if not told.
    :ivar maker_rule: when a resting order is filled (`SimulatedVenue`): `touch`, or `through`,
        once a worse price is traded. None: by the data, `through` where trades or quotes of
        others are recorded, `touch` on candles.
    :ivar slippage_ticks: ticks beyond the best price that a taker pays. None: by the data, one
        where trades are recorded and no quotes (the last trade was on one side of a spread that
        nobody knows), none elsewhere.
    :raises ConfigError: a value that no account has; names the field and what is allowed.
    """

    deposit: Decimal = Decimal(100_000)
    hedge_mode: bool = False
    leverage: int | None = None
    margin_mode: MarginMode = "cross"
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    maker_rule: MakerRule | None = None
    slippage_ticks: int | None = None

    def __post_init__(self) -> None:
        for name in ("deposit", "maker_fee", "taker_fee"):
            self._make_decimal(name)
        if not self.deposit.is_finite() or self.deposit <= 0:
            raise ConfigError(f"deposit: {self.deposit} is not above 0")
        leverage: object = self.leverage
        if leverage is not None and leverage not in range(1, MAX_LEVERAGE + 1):
            raise ConfigError(f"leverage: {leverage} is no whole number within 1 to {MAX_LEVERAGE}")
        for name, word, words in (
            ("margin_mode", self.margin_mode, MODES),
            ("maker_rule", self.maker_rule or RULES[0], RULES),
        ):
            if word not in words:
                raise ConfigError(f"{name}: {word!r} is not one of {', '.join(words)}")
        for name, fee, lowest in (
            ("maker_fee", self.maker_fee, -MAX_FEE),
            ("taker_fee", self.taker_fee, Decimal(0)),
        ):
            if not fee.is_finite() or not lowest <= fee <= MAX_FEE:
                raise ConfigError(
                    f"{name}: {fee} is not within {lowest} to {MAX_FEE}; give the fraction of the "
                    "notional, 0.0005 for 0.05 %"
                )
        if self.slippage_ticks is not None and self.slippage_ticks < 0:
            raise ConfigError(f"slippage_ticks: {self.slippage_ticks} is below 0")

    def _make_decimal(self, name: str) -> None:
        """A whole number is as exact; a float is not what was meant."""
        value = getattr(self, name)
        if isinstance(value, int):
            msgspec.structs.force_setattr(self, name, Decimal(value))
        elif not isinstance(value, Decimal):
            raise ConfigError(f'{name}: {value!r} is no Decimal; give Decimal("{value}")')

    def check(self, markets: Iterable[Market]) -> None:
        """:raises ConfigError: a market does not allow the leverage."""
        for market in markets:
            highest = market.brackets[0].max_leverage
            if self.leverage is not None and self.leverage > highest:
                raise ConfigError(
                    f"leverage: {self.leverage} is beyond what {market.name} allows; "
                    f"{highest} at most"
                )

    def settled(self, markets: Iterable[Market], recordings: Sequence[Recording]) -> Account:
        """The same, and what is None decided: by the data, and by the venue. A leverage stays
        None where it differs between the markets."""
        data = [recording.summary for recording in recordings]
        blind = any(one.trades for one in data) and not any(one.quotes for one in data)
        limits = [market.brackets[0].max_leverage for market in markets]
        leverage, slippage_ticks = self.leverage, self.slippage_ticks
        if leverage is None and min(limits) >= DEFAULT_LEVERAGE:
            leverage = DEFAULT_LEVERAGE
        if slippage_ticks is None:
            slippage_ticks = 1 if blind else 0
        return msgspec.structs.replace(
            self,
            leverage=leverage,
            maker_rule=self.maker_rule or ("touch" if all(d.candles for d in data) else "through"),
            slippage_ticks=slippage_ticks,
        )

    @property
    def depth(self) -> Depth | None:
        """What takers find; None: all at the best price, as far as its quantity is known."""
        return slippage.ticks(self.slippage_ticks) if self.slippage_ticks else None
