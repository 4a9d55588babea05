"""`holdfast diagram`: the state machine, or the timeline of a run, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from holdfast.errors import HoldfastError
from holdfast.journal import FileJournal
from holdfast.opening import JOURNAL_FOLDER
from holdfast.states import diagram as draw
from holdfast.states.table import State

from .output import answer, json_option
from .recorded_run import recorded_run

_BY_SUFFIX: Final = {".svg": "svg", ".mmd": "mermaid", ".dot": "dot", ".gv": "dot", ".png": "png"}
_FORMS: Final = (*draw.TEXT_FORMS, "png")


@click.command()
@click.option("--format", "form", type=click.Choice(_FORMS), help="Default: by --out, else svg.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: print it.")
@click.option(
    "--current",
    type=click.Choice([state.value for state in State], case_sensitive=False),
    help="Highlight this state.",
)
@click.option(
    "--timeline",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Draw the run recorded in this state or journal folder instead.",
)
@json_option
def diagram(
    form: str | None, out: Path | None, current: str | None, folder: Path | None, as_json: bool
) -> None:
    """Draw the state machine from its table as SVG, Mermaid, DOT or PNG."""
    form = form or (_BY_SUFFIX.get(out.suffix.lower(), "svg") if out is not None else "svg")
    state = None if current is None else State(current)
    if folder is not None:
        if form != "svg" or state is not None:
            raise click.UsageError("a timeline is SVG, and has no --current")
        picture = _timeline(folder)
    elif form == "png":
        picture = draw.png(current=state)
    else:
        picture = draw.text(form, current=state).encode()
    if out is not None:
        out.write_bytes(picture)
        answer(
            {"ok": True, "file": str(out), "format": form, "bytes": len(picture)},
            [f"{out} written"],
            as_json=as_json,
        )
    elif as_json:
        if form == "png":
            raise click.UsageError("PNG has no place in JSON; give --out FILE")
        answer({"ok": True, "format": form, "text": picture.decode()}, (), as_json=True)
    else:
        click.echo(picture, nl=False)


def _timeline(folder: Path) -> bytes:
    inside = folder / JOURNAL_FOLDER
    journal = inside if inside.is_dir() else folder
    records = FileJournal.inspect(journal).records()
    try:
        return draw.timeline_svg(recorded_run(records, title=f"Run of {journal}")).encode()
    except ValueError as error:
        raise HoldfastError(f"{journal}: {error}") from error
