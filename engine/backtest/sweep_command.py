"""`holdfast sweep`: a bot's backtest at many values of its arguments, the best first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from decimal import Decimal, InvalidOperation
from math import prod
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from holdfast.errors import ConfigError
from holdfast.workers import workers, workers_options

from . import figures
from .frames import numbers
from .loading import MakeBot, find_bot
from .options import read_value, recorded_options, report_option
from .sweep_figures import heads, in_order, judged, row, troubles
from .sweeping import Options, Point
from .sweeping import sweep as sweep_all

MAX_POINTS: Final = 100_000
"""More is a slip of the pen: each is a run of its own."""
RANGE: Final = ".."


@click.command()
@click.argument("bot", metavar="BOT")
@recorded_options
@click.option(
    "--set",
    "grid",
    multiple=True,
    required=True,
    metavar="NAME=VALUES",
    help="An argument of the bot's class and its values: 5,10,20 or first..last..step. May be "
    "repeated; every combination is run.",
)
@click.option("--bare", is_flag=True, help="With --faults: also run each without holdfast.")
@click.option(
    "--top", type=click.IntRange(1), default=20, show_default=True, help="How many are shown."
)
@workers_options
@report_option("maps of the profit and the table")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, with all of them.")
def sweep(
    bot: str,
    data: tuple[str, ...],
    options: Options,
    grid: tuple[str, ...],
    bare: bool,
    top: int,
    jobs: int | None,
    cluster: str | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run a bot's backtest at every combination of its arguments' values.

    BOT, data and faults are those of `holdfast backtest`. With a fault plan the points are
    ordered by the profit under the faults: the best bot is of no use if an outage ruins it.
    Exits with 1 if a bot has raised or a promise was broken.
    """
    began = time.monotonic()
    found = find_bot(bot)
    values = dict(_values(found, text) for text in grid)
    if len(values) != len(grid):
        raise ConfigError("--set: an argument is given twice; give all its values at once")
    count = prod(map(len, values.values()))
    if count > MAX_POINTS:
        raise ConfigError(f"--set: {count:,} combinations; {MAX_POINTS:,} at most")
    options["bare"] = bare
    with workers(jobs=jobs, cluster=cluster, pieces=count, again="the same command") as executor:
        points = _gather(bot, data, values, options, executor, count=count, as_json=as_json)
    points = in_order(points)
    if as_json:
        click.echo(msgspec.json.encode([_as_json(point) for point in points]))
    else:
        _print(points, top=top, seconds=time.monotonic() - began)
    if report is not None:
        from .sweep_report import page

        report.write_text(page(points), encoding="utf-8")
        if not as_json:
            click.echo(f"written: {report}")
    if not all(point.backtest.ok for point in points):
        raise SystemExit(1)


def _values(bot: MakeBot, text: str) -> tuple[str, list[Any]]:
    name, equals, words = text.partition("=")
    if not equals or not name.isidentifier() or not words:
        raise ConfigError(f"--set: {text!r} is not NAME=VALUES")
    listed = _range(text, words) if RANGE in words else words.split(",")
    return name, [read_value(bot, name, word) for word in listed]


def _range(text: str, words: str) -> Iterator[str]:
    """Both ends are meant."""
    try:
        first, last, step = map(Decimal, [*words.split(RANGE), "1"][:3])
        if words.count(RANGE) > 2 or not (first.is_finite() and last.is_finite()):
            raise ValueError
        count = int((last - first) / step) + 1
    except (ValueError, ArithmeticError, InvalidOperation):
        raise ConfigError(f"--set: {text!r} is not first..last..step") from None
    if count < 1 or step <= 0:
        raise ConfigError(f"--set: {text!r} holds no value")
    if count > MAX_POINTS:
        raise ConfigError(f"--set: {text!r} holds {count:,} values; {MAX_POINTS:,} at most")
    for number in range(count):
        yield str(first + number * step)


def _gather(
    bot: str,
    data: tuple[str, ...],
    values: Mapping[str, Sequence[Any]],
    options: Options,
    executor: Executor | None,
    *,
    count: int,
    as_json: bool,
) -> list[Point]:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    points: list[Point] = []
    with (
        Progress(*columns, console=Console(stderr=True), disable=as_json, transient=True) as bar,
        closing(sweep_all(bot, data, values, executor=executor, **options)) as done,
    ):
        task = bar.add_task("combinations", total=count)
        for point in done:
            points.append(point)
            bar.update(task, advance=1)
    return points


def _as_json(point: Point) -> dict[str, Any]:
    result = point.backtest
    return {
        "arguments": point.arguments,
        "ok": result.ok,
        "runs": {run.name: numbers(run) for run in result.runs},
        "trouble": list(figures.trouble(result)),
    }


def _print(points: Sequence[Point], *, top: int, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    for line in figures.data_lines(points[0].backtest):
        click.echo(line)
    click.echo(figures.account_line(points[0].backtest.account))
    table = Table(*heads(points), box=None, pad_edge=False)
    for column in table.columns[len(points[0].arguments) :]:
        column.justify = "right"
    for point in points[:top]:
        table.add_row(*row(point, judged(points)))
    Console().print(table)
    if len(points) > top:
        click.echo(f"and {len(points) - top:,} more; --top, --report and --json show them")
    for line in troubles(points):
        click.secho(line, fg="red")
    click.echo(f"{len(points):,} combinations, {seconds:.1f} s")
