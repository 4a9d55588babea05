"""What commands have in common: their two options, and their two ways to answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from holdfast.config import Config, load

_Command = TypeVar("_Command", bound=Callable[..., Any])
DEFAULT_CONFIG: Final = "holdfast.toml"


def config_option(command: _Command) -> _Command:
    return click.option(
        "--config",
        "config",
        envvar="HOLDFAST_CONFIG",
        default=DEFAULT_CONFIG,
        show_default=True,
        type=click.Path(path_type=Path),
        callback=lambda _context, _option, path: load(path),
        help="The bot's configuration file.",
    )(command)


def config_file_option(command: _Command) -> _Command:
    """The path itself: for a command that has something to say of a file it can not use."""
    return click.option(
        "--config",
        "config",
        envvar="HOLDFAST_CONFIG",
        default=DEFAULT_CONFIG,
        show_default=True,
        type=click.Path(path_type=Path),
        help="The bot's configuration file.",
    )(command)


def json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def answer(result: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print one JSON object, or the lines."""
    if as_json:
        click.echo(json.dumps(plain(result), indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line)


def plain(value: Any) -> Any:
    """As JSON knows it: structs as objects, Decimal as text, bytes as base64.

    JSON has no number for what is not finite (RFC 8259, section 6); that is text, too:
    "NaN", "Infinity", "-Infinity".
    """
    return _finite(msgspec.to_builtins(value, builtin_types=(), str_keys=True))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def table(rows: Mapping[str, object]) -> Iterable[str]:
    """Names and values in two columns; empty values are left out."""
    shown = {name: str(value) for name, value in rows.items() if value not in (None, "", [], {})}
    width = max(map(len, shown), default=0)
    return (
        f"{click.style(f'{name:<{width}}', bold=True)}  {value}" for name, value in shown.items()
    )


__all__ = ["Config", "answer", "config_option", "json_option", "plain", "table"]
