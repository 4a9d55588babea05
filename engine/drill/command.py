"""`holdfast drill`: kill a real Redis under a trading bot, and measure that it stays safe."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import NoReturn

import anyio
import click

from holdfast.errors import HoldfastError

from . import report, terminal
from .conduct import DrillResult, conduct
from .narrator import Narrator
from .options import DrillOptions

LONGEST_OUTAGE_SECONDS = 3600


@click.command("drill")
@click.option(
    "--outage",
    "outage_seconds",
    type=click.FloatRange(0.5, LONGEST_OUTAGE_SECONDS),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="How long Redis stays dead in scenario 1; the full script is 60.",
)
@click.option(
    "--scenario",
    "scenarios",
    type=click.IntRange(1, 3),
    multiple=True,
    help="Only this one: 1 outage, 2 order timeouts, 3 stale policy. May be repeated.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recorded prices: Binance kline, trade or aggTrade dump (csv, zip), OHLCV (csv, csv.gz, "
    "parquet), freqtrade feather. Without it: a random walk.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random walk.")
@click.option(
    "--redis",
    "redis_url",
    metavar="URL",
    help="Use this server instead of an own one. It is not killed: what needs that is skipped.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page (HTML, one file) with the pictures and the scorecard.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep logs, configurations and journals in this new folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def drill(
    outage_seconds: float,
    scenarios: tuple[int, ...],
    data: Path | None,
    seed: int,
    redis_url: str | None,
    report_file: Path | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Kill a real Redis under a trading bot, and measure that it stays safe.

    Starts a Redis-compatible server, a simulated exchange and a bot guarded by
    holdfast, each a process of its own, and plays three scenarios: an outage in
    active trading, order timeouts, a stale policy. Every figure is joined from the
    bot's own decision log, the exchange's logs and the stream read back from Redis.

    Exits 0 only if every check passed.
    """
    options = DrillOptions(
        outage_seconds=outage_seconds,
        scenarios=tuple(sorted(set(scenarios))) or (1, 2, 3),
        data=data,
        seed=seed,
        redis_url=redis_url,
        keep=keep,
    )
    if report_file is not None:
        _check_writable(report_file)
    try:
        result = _run(options)
    except HoldfastError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted; every process of the drill has ended", err=True)
        sys.exit(128 + signal.SIGINT)
    if report_file is not None:
        report_file.write_text(report.page(result, options=options), encoding="utf-8")
        click.echo(f"report: {report_file}", err=True)
    if as_json:
        click.echo(result.as_json().decode())
    else:
        terminal.scorecard(result, terminal.for_people(to_stderr=False))
    _exit(result)


def _run(options: DrillOptions) -> DrillResult:
    with terminal.TerminalNarrator(terminal.for_people(to_stderr=True)) as narrator:
        try:
            return anyio.run(_conduct, options, narrator)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _conduct(options: DrillOptions, narrator: Narrator) -> DrillResult:
    """SIGTERM ends the drill as Ctrl-C does: its processes and folders go with it.

    It cancels the drill, as asyncio does for SIGINT. An exception raised by a handler would
    land wherever the loop just is, also in a task that nobody waits for; and SIGINT itself is
    ignored in a shell's background.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await conduct(options, narrator)


def _check_writable(file: Path) -> None:
    """Before a minute of drill, not after it."""
    try:
        with file.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise click.ClickException(f"--report {file}: {error.strerror}") from error


def _exit(result: DrillResult) -> NoReturn:
    sys.exit(0 if result.passed else 1)
