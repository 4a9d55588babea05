"""`holdfast backtest`: a bot on recorded prices, and what outages would have cost it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from holdfast.errors import ConfigError

from . import figures
from .conduct import backtest as conduct
from .loading import find_bot
from .options import read_value, recorded_options, report_option
from .result import Backtest
from .sweeping import Options


@click.command()
@click.argument("bot", metavar="BOT")
@recorded_options
@click.option(
    "--set",
    "arguments",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument of the bot's class. May be repeated.",
)
@click.option("--no-bare", is_flag=True, help="Leave out the run without holdfast.")
@report_option("the curves, the states and the table")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def backtest(
    bot: str,
    data: tuple[str, ...],
    options: Options,
    arguments: tuple[str, ...],
    no_bare: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run a bot on recorded prices in virtual time: the same engine, the same bot as live.

    BOT is module:Class or path/to/file.py:Class, a class made from holdfast.Bot. With a fault
    plan it is run three times: while nothing fails, under the faults on holdfast, and under
    the faults without it, so that what the outages cost stands side by side. Exits with 1 if
    the bot raises or a promise is broken.
    """
    began = time.monotonic()
    options["bare"] = not no_bare
    with _progress(as_json=as_json) as progress:
        result = conduct(
            bot, data, arguments=_arguments(bot, arguments), progress=progress, **options
        )
    if as_json:
        click.echo(msgspec.json.encode({"ok": result.ok, **msgspec.structs.asdict(result)}))
    else:
        _print(result, time.monotonic() - began)
    if report is not None:
        from .report import page

        report.write_text(page(result), encoding="utf-8")
        if not as_json:
            click.echo(f"written: {report}")
    if not result.ok:
        raise SystemExit(1)


def _arguments(bot: str, given: tuple[str, ...]) -> dict[str, Any]:
    if not given:
        return {}
    arguments: dict[str, Any] = {}
    found = find_bot(bot)
    for text in given:
        name, equals, words = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--set: {text!r} is not NAME=VALUE")
        arguments[name] = read_value(found, name, words)
    return arguments


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[str, int | None, int], None]]:
    """Shows which run is at which candle, where somebody looks on."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json, transient=True) as bar:
        tasks: dict[str, Any] = {}
        titles: dict[str, str] = {str(name): title for name, title in figures.TITLES.items()}

        def show(title: str, total: int | None, done: int) -> None:
            if title not in tasks:
                tasks[title] = bar.add_task(titles.get(title, title), total=total)
            bar.update(tasks[title], completed=done)

        yield show


def _print(result: Backtest, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for line in figures.data_lines(result):
        click.echo(line)
    click.echo(figures.account_line(result.account))
    table = Table("", *(figures.TITLES[run.name] for run in result.runs), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in figures.rows(result):
        table.add_row(row.label, *row.values)
    console.print(table)
    for line in (*figures.beliefs(result), *figures.refused(result)):
        click.echo(line)
    for line in (*figures.liquidated(result), *figures.trouble(result)):
        click.secho(line, fg="red")
    rows = sum(data.candles + data.trades + data.quotes for data in result.data)
    runs = "1 run" if len(result.runs) == 1 else f"{len(result.runs)} runs"
    click.echo(f"{rows:,} recorded events, {runs}, {seconds:.1f} s")
