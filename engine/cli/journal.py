"""`holdfast journal`: read the journal of a bot, running or dead, without changing it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from holdfast.config import load
from holdfast.errors import HoldfastError
from holdfast.journal import FileJournal, Inspection, OpenReport
from holdfast.opening import JOURNAL_FOLDER

from .export import write_records
from .output import DEFAULT_CONFIG, answer, json_option, plain
from .records import KIND_NAMES, Shown, kind_name, shown


def _folder(_context: click.Context, _option: click.Parameter, given: Path | None) -> Path:
    if given is not None:
        # Both the state folder and the journal folder in it are what people will give.
        return given / JOURNAL_FOLDER if (given / JOURNAL_FOLDER).is_dir() else given
    return load(Path(DEFAULT_CONFIG)).state_dir / JOURNAL_FOLDER


def _inspect(folder: Path) -> Inspection:
    if not FileJournal.is_at(folder):
        raise HoldfastError(f"{folder}: there is no journal here")
    return FileJournal.inspect(folder)


folder_argument = click.argument(
    "folder", required=False, type=click.Path(path_type=Path), callback=_folder
)


@click.group()
def journal() -> None:
    """Look into the journal of a bot, running or dead; nothing is changed.

    FOLDER is the bot's state folder; without it, that of ./holdfast.toml.
    """


@journal.command()
@folder_argument
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KIND_NAMES), help="Repeatable.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only records after this one.")
@click.option("--last", type=click.IntRange(1), help="Only the newest N records.")
@json_option
@click.pass_context
def show(
    context: click.Context,
    folder: Path,
    kinds: tuple[str, ...],
    after: int,
    last: int | None,
    as_json: bool,
) -> None:
    """Print records, one on a line; with --json as JSON lines.

    Exits 0 if nothing is damaged, as `verify`; what is damaged is told on standard error.
    """
    inspection = _inspect(folder)
    if last is not None:
        after = max(after, inspection.report.last_seq - last)
    for one in _selected(inspection, kinds, after):
        click.echo(one.as_json() if as_json else _text_line(one))
    _finish(context, inspection.report)


@journal.command()
@folder_argument
@click.option("--format", "form", type=click.Choice(["jsonl", "sqlite"]), default="jsonl")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KIND_NAMES), help="Repeatable.")
@json_option
@click.pass_context
def export(
    context: click.Context,
    folder: Path,
    form: str,
    out: Path,
    kinds: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the records to a new file, as JSON lines or as an SQLite table `records`.

    Of a damaged journal everything that is readable is written; exits 0 if nothing is
    damaged, as `verify`.
    """
    inspection = _inspect(folder)
    if out.exists():
        raise HoldfastError(f"{out} exists; remove it or choose another name")
    count = write_records(out, form, _selected(inspection, kinds, 0))
    report = inspection.report
    answer(
        {
            "ok": not report.damaged,
            "records": count,
            "file": str(out),
            "damaged": report.damaged,
        },
        [f"{count} records written to {out}"],
        as_json=as_json,
    )
    _finish(context, report)


@journal.command()
@folder_argument
@json_option
@click.pass_context
def verify(context: click.Context, folder: Path, as_json: bool) -> None:
    """Read and check every record. Exits 0 if nothing is damaged.

    A torn tail is the normal trace of a crash: nothing that was acknowledged is missing.
    """
    inspection = _inspect(folder)
    count = sum(1 for _ in inspection.records())
    report = inspection.report
    sound = not report.damaged
    answer(
        {"ok": sound, "readable": count, **plain(report)},
        [str(report), "sound" if sound else f"DAMAGED; {count} records are readable"],
        as_json=as_json,
    )
    context.exit(0 if sound else 1)


def _finish(context: click.Context, report: OpenReport) -> None:
    """Say what the answer does not contain, and exit as `verify` does."""
    if not report.records:
        click.echo(f"{report.path}: no records", err=True)
    for span in report.damaged:
        click.echo(f"DAMAGED, skipped: {span}", err=True)
    context.exit(1 if report.damaged else 0)


def _selected(inspection: Inspection, kinds: tuple[str, ...], after: int) -> Iterator[Shown]:
    for record in inspection.records(after=after):
        if not kinds or kind_name(record.kind) in kinds:
            yield shown(record)


def _text_line(one: Shown) -> str:
    body = json.dumps(one.body, ensure_ascii=False)
    return f"{one.seq:>8}  {one.time or '':<24}  {one.kind:<12}  {body}"
