"""Results as DataFrames, for whoever has pandas or polars; neither is needed for a backtest."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from holdfast.errors import ConfigError

from .result import Backtest, Run
from .sweeping import Point

LIBRARIES: Final = ("pandas", "polars")


def equity(backtest: Backtest, *, library: str | None = None) -> Any:
    """Profit over time: a column `time` (UTC) and one for each run.

    :param library: `pandas` or `polars`; None: whichever is installed, pandas first.
    :raises ConfigError: it is not installed.
    """
    times = sorted({at for run in backtest.runs for at, _ in run.equity})
    columns: dict[str, list[Any]] = {"time": [datetime.fromtimestamp(t / 1000, UTC) for t in times]}
    for run in backtest.runs:
        known = dict(run.equity)
        columns[run.name] = [known.get(time) for time in times]
    return _frame(columns, library)


def summary(backtest: Backtest, *, library: str | None = None) -> Any:
    """A row for each run, its figures as numbers; money as floats.

    :param library: as of `equity`.
    :raises ConfigError: it is not installed.
    """
    return _table([{"run": run.name, **numbers(run)} for run in backtest.runs], library)


def sweep(points: Iterable[Point], *, library: str | None = None) -> Any:
    """A row for each run at each point: its arguments, then as of `summary`.

    :param library: as of `equity`.
    :raises ConfigError: it is not installed.
    """
    rows = [
        {**point.arguments, "run": run.name, **numbers(run)}
        for point in points
        for run in point.backtest.runs
    ]
    return _table(rows, library)


def numbers(run: Run) -> dict[str, float | int]:
    """The figures of a run; money as floats."""
    return {
        "profit": float(run.profit),
        "fees": float(run.fees),
        "funding": float(run.funding),
        "liquidations": len(run.liquidations),
        "liquidation_loss": float(run.liquidation_loss),
        "max_exposure": float(run.max_exposure),
        "max_drawdown": run.max_drawdown,
        **{field: getattr(run.counts, field) for field in run.counts.__struct_fields__},
        "fills": run.fills,
        "stale_policy_orders": run.stale_policy_orders,
        "stale_policy_seconds": run.stale_policy_seconds,
        "events_lost": run.events_lost,
        "lives": run.lives,
    }


def _table(rows: Sequence[dict[str, Any]], library: str | None) -> Any:
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return _frame(columns, library)


def _frame(columns: dict[str, list[Any]], library: str | None) -> Any:
    if library not in (None, *LIBRARIES):
        raise ConfigError(f"library: {library!r} is neither pandas nor polars")
    for name in LIBRARIES if library is None else (library,):
        try:
            return importlib.import_module(name).DataFrame(columns)
        except ImportError:
            continue
    raise ConfigError(
        f"a DataFrame needs {library or 'pandas or polars'}; install it with: pip install "
        f"{library or 'pandas'}"
    )
