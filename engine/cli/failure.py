"""How a command fails: one line for people, one object for machines."""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from holdfast.errors import HoldfastError
from holdfast.journal import JournalError
from holdfast.states.diagram import RenderError

REPORTED: Final = (HoldfastError, JournalError, RenderError)
"""Errors whose message is for the person at the keyboard; all others are bugs."""


def tell(message: str, *, as_json: bool) -> None:
    """Write the error: always to standard error, with `--json` to standard output as well."""
    line = " ".join(message.split("\n"))
    if as_json:
        click.echo(json.dumps({"ok": False, "error": line}))
    colour = sys.stderr.isatty()
    click.echo(
        f"{click.style('error:', fg='red', bold=True) if colour else 'error:'} {line}", err=True
    )
