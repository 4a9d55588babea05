"""What comes of a backtest, as plain values: for a person, for JSON, for a page."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from holdfast.model import PositionSide

from .account import Account
from .recording import DataSummary
from .tally import Counts, Refusal

RunName = Literal["clean", "guarded", "bare"]
"""`clean`: on holdfast, and nothing fails. `guarded`: on holdfast, under the faults. `bare`:
under the same faults, without holdfast."""


class BotFailure(msgspec.Struct, frozen=True, kw_only=True):
    """The bot has raised an error, which ended its run.

    :ivar at_ms: market time, UTC.
    :ivar where: file, line and function of the bot's own that it came from.
    :ivar open: positions, resting orders and orders without an outcome, at the venue then.
    """

    error: str
    where: str
    at_ms: int
    open: tuple[str, ...]


def position_name(symbol: str, position_side: PositionSide) -> str:
    """What a position is called: by its side as well, where there are two of a symbol."""
    return symbol if position_side == "BOTH" else f"{symbol} {position_side}"


class Liquidation(msgspec.Struct, frozen=True, kw_only=True):
    """A position that the venue has closed because its margin was used up.

    :ivar at_ms: market time, UTC.
    :ivar quantity: that was held; negative was short.
    :ivar price: that it was closed at, on average.
    :ivar lost: since it was opened, with the liquidation fee, in the quote asset; of an isolated
        position never more than the margin set aside for it.
    """

    at_ms: int
    symbol: str
    position_side: PositionSide
    quantity: Decimal
    price: Decimal
    lost: Decimal


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three.

    :ivar profit: of wallet and open positions since the start, fees paid, in the quote asset.
    :ivar funding: paid (negative) or received.
    :ivar fees: of trades; liquidation fees are told with the `liquidations`.
    :ivar max_exposure: most that was held at once, quantity times price over all symbols, in
        hedge mode of LONG and SHORT each.
    :ivar equity: time (UTC ms) and profit until then, evenly over the recording.
    :ivar max_drawdown: deepest fall of `equity` below an earlier height, or below the start.
    :ivar stale_policy_seconds: the oldest policy that an opening order went by: since when its
        store did not hold it any more, or could not be asked. `stale_policy_orders`: how many
        orders went by one.
    :ivar events_published, events_lost: of the bot's own; lost are those that are not on the bus.
    :ivar wrong_positions: where the bot's side believed another position at the end than the
        venue's, of LONG and SHORT each. None: nobody can tell, for the run was cut off, or no
        engine lived then.
    :ivar state_seconds: how long in each state; `no process` while it was dead.
    :ivar breaches: promises that were seen broken.
    :ivar digest: of journal, venue and bus; equal for equal runs.
    """

    name: RunName
    profit: Decimal
    fees: Decimal
    funding: Decimal
    max_exposure: Decimal
    max_drawdown: float
    counts: Counts
    fills: int
    stale_policy_seconds: float
    stale_policy_orders: int
    events_published: int
    events_lost: int
    wrong_positions: tuple[str, ...] | None
    state_seconds: dict[str, float]
    states: tuple[tuple[str, float, float], ...]
    equity: tuple[tuple[int, float], ...]
    lives: int
    failure: BotFailure | None
    breaches: tuple[str, ...]
    digest: str
    steps: int
    log: tuple[tuple[float, str], ...] = ()
    liquidations: tuple[Liquidation, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def liquidation_loss(self) -> Decimal:
        """What was lost by all of them."""
        return sum((one.lost for one in self.liquidations), Decimal(0))


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of the plan, for display."""

    at_ms: int
    seconds: float
    text: str


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Without a fault plan there is the clean run alone.

    :ivar account: what was traded with; what was left to the data and to the venue, as they
        decided it.
    """

    bot: str
    data: tuple[DataSummary, ...]
    account: Account
    runs: tuple[Run, ...]
    faults: tuple[PlannedFault, ...] = ()
    seed: int = 0

    def run(self, name: RunName) -> Run | None:
        return next((run for run in self.runs if run.name == name), None)

    @property
    def ok(self) -> bool:
        """Whether every bot came through, and every promise was kept."""
        return not any(run.failure or run.breaches for run in self.runs)
