"""The figures of a backtest side by side, in words: the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from holdfast.states.diagram.timeline import duration
from holdfast.states.table import State

from .account import Account
from .recording import DataSummary
from .result import Backtest, Run, RunName, position_name
from .states import DEAD

TITLES: Final[dict[RunName, str]] = {
    "clean": "no faults",
    "guarded": "with holdfast",
    "bare": "without",
}
NONE: Final = "–"
MAX_OPEN: Final = 5
"""Of what was open when a bot raised, and of liquidations, in sentences; JSON has all of it."""
WRONG_SIDE: Final = -4061
"""Binance: "Order's position side does not match user's setting"."""
STATES: Final = (*map(str, State), DEAD)


class Row(NamedTuple):
    """
    :ivar name: for machines and style sheets.
    :ivar values: of each run.
    """

    name: str
    label: str
    values: tuple[str, ...]


class _Figure(NamedTuple):
    name: str
    label: str
    of: Callable[[Run], str]


def money(value: Decimal | float) -> str:
    return f"{value:,.2f}"


def _count(value: int) -> str:
    return f"{value:,}"


_FIGURES: Final = (
    _Figure("profit", "profit and loss", lambda run: money(run.profit)),
    _Figure("fees", "fees paid", lambda run: money(run.fees)),
    _Figure("funding", "funding paid", lambda run: money(-run.funding)),
    _Figure(
        "liquidations",
        "positions liquidated",
        lambda run: _count(len(run.liquidations)) if run.liquidations else NONE,
    ),
    _Figure(
        "liquidation_loss",
        "lost by liquidation",
        lambda run: money(run.liquidation_loss) if run.liquidations else NONE,
    ),
    _Figure("max_exposure", "most held at once", lambda run: money(run.max_exposure)),
    _Figure("max_drawdown", "deepest drawdown", lambda run: money(run.max_drawdown)),
    _Figure("decisions", "orders wanted", lambda run: _count(run.counts.decisions)),
    _Figure("orders", "orders taken", lambda run: _count(run.counts.orders)),
    _Figure("doubled", "orders doubled", lambda run: _count(run.counts.doubled)),
    _Figure("missed", "orders missed", lambda run: _count(run.counts.missed)),
    _Figure("blocked", "orders blocked", lambda run: _count(run.counts.blocked)),
    _Figure("rejected", "orders rejected", lambda run: _count(run.counts.rejected)),
    _Figure(
        "stale_policy_orders",
        "orders on a stale policy",
        lambda run: _count(run.stale_policy_orders),
    ),
    _Figure(
        "stale_policy_seconds",
        "oldest stale policy",
        lambda run: duration(run.stale_policy_seconds) if run.stale_policy_orders else NONE,
    ),
    _Figure(
        "events_lost",
        "events lost",
        lambda run: _count(run.events_lost) if run.events_published else NONE,
    ),
    _Figure(
        "wrong_positions",
        "position at the end",
        lambda run: (
            NONE if run.wrong_positions is None else "wrong" if run.wrong_positions else "right"
        ),
    ),
)


SWEPT: Final = (
    "fees paid",
    "positions liquidated",
    "most held at once",
    "deepest drawdown",
    "orders taken",
)
"""What a sweep shows of each point, beside its profit."""


def swept(run: Run) -> Iterator[str]:
    """The values of `SWEPT`."""
    return (figure.of(run) for figure in _FIGURES if figure.label in SWEPT)


def rows(backtest: Backtest) -> Iterator[Row]:
    """All figures, then the time in each state."""
    for figure in _FIGURES:
        yield Row(figure.name, figure.label, tuple(map(figure.of, backtest.runs)))
    for state in STATES:
        seconds = [run.state_seconds.get(state, 0.0) for run in backtest.runs]
        if any(seconds):
            yield Row(
                f"state_{state}".lower().replace(" ", "_"),
                f"time {state}" if state != DEAD else "time without a process",
                tuple(
                    duration(s) if run.name != "bare" else NONE
                    for run, s in zip(backtest.runs, seconds, strict=True)
                ),
            )


def moment(time_ms: int) -> str:
    """`2025-05-06 12:00:00`, UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def account_line(account: Account) -> str:
    """What was traded with, and on which terms."""
    leverage = "the venue's leverage" if account.leverage is None else f"{account.leverage}x"
    said = [
        f"account: {account.deposit:,f} deposited",
        "hedge mode" if account.hedge_mode else "one-way mode",
        f"{account.margin_mode} margin at {leverage}",
        f"fees {_percent(account.maker_fee)} maker and {_percent(account.taker_fee)} taker",
    ]
    if account.maker_rule is not None:
        said.append(f"resting orders filled by {account.maker_rule}")
    if account.slippage_ticks:
        said.append(f"takers slip by {_some(account.slippage_ticks, 'tick')}")
    return ", ".join(said)


def _percent(fraction: Decimal) -> str:
    return f"{(fraction * 100).normalize():f} %"


def data_lines(backtest: Backtest) -> Iterator[str]:
    """What was traded on, a line for each file."""
    for data in backtest.data:
        yield (
            f"{data.symbol}: {', '.join(_content(data))}, "
            f"{moment(data.first_ms)} to {moment(data.last_ms)} UTC{''.join(_flaws(data))}"
        )


def _some(count: int, noun: str) -> str:
    return f"{_count(count)} {noun}{'' if count == 1 else 's'}"


def _content(data: DataSummary) -> Iterator[str]:
    if data.candles:
        yield f"{_some(data.candles, 'candle')} of {data.interval}"
    if data.trades:
        yield _some(data.trades, "trade")
    if data.quotes:
        yield _some(data.quotes, "quote")
    if data.bars not in ((), (data.interval,)):
        yield f"bars of {' and '.join(data.bars)}"
    if data.fundings:
        yield _some(data.fundings, "funding fee")


def _flaws(data: DataSummary) -> Iterator[str]:
    if data.gaps:
        yield f", {_count(data.missing)} missing in {_some(data.gaps, 'gap')} from {data.first_gap}"
    if data.dropped:
        yield (
            f", {_count(data.dropped)} told twice or out of order and dropped from "
            f"{data.first_dropped}"
        )


def beliefs(backtest: Backtest) -> Iterator[str]:
    """Where the bot's side believed in another position than the venue had, in sentences."""
    for run in backtest.runs:
        for wrong in run.wrong_positions or ():
            yield f"{TITLES[run.name]}, at the end: {wrong}"


def liquidated(backtest: Backtest) -> Iterator[str]:
    """Which positions the venue has closed for want of margin, in sentences."""
    for run in backtest.runs:
        for one in run.liquidations[:MAX_OPEN]:
            yield (
                f"{TITLES[run.name]}, at {moment(one.at_ms)} UTC: {one.quantity:f} "
                f"{position_name(one.symbol, one.position_side)} liquidated at "
                f"{float(one.price):,.10g}, "
                f"{money(one.lost)} lost"
            )
        more = len(run.liquidations) - MAX_OPEN
        if more > 0:
            yield f"{TITLES[run.name]}: {_count(more)} more liquidated"


def refused(backtest: Backtest) -> Iterator[str]:
    """Why orders were refused, in sentences."""
    for run in backtest.runs:
        for one in run.refusals[:MAX_OPEN]:
            remedy = ""
            if one.code == WRONG_SIDE:
                remedy = (
                    "; in hedge mode every order names a position_side"
                    if backtest.account.hedge_mode
                    else "; orders that name a position_side need --hedge"
                )
            what = "that could not be right" if one.code is None else "rejected"
            reason = one.reason.rstrip(".")
            yield f"{TITLES[run.name]}: {_some(one.count, 'order')} {what}: {reason}{remedy}"


def _shortened(items: Sequence[str]) -> Iterator[str]:
    yield from items[:MAX_OPEN]
    if len(items) > MAX_OPEN:
        yield f"and {len(items) - MAX_OPEN} more"


def trouble(backtest: Backtest) -> Iterator[str]:
    """What kept a run from being good, in sentences."""
    for run in backtest.runs:
        failure = run.failure
        if failure is not None:
            held = "; ".join(_shortened(failure.open)) or "nothing"
            yield (
                f"{TITLES[run.name]}: the bot raised {failure.error} at "
                f"{moment(failure.at_ms)} UTC, in {failure.where}. Open were: {held}"
            )
        for breach in run.breaches:
            yield f"{TITLES[run.name]}: a promise was broken: {breach}"
