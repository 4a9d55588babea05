"""Structured log lines over the standard `logging`; silent until asked.

A library does not decide where logs go: `import holdfast` gives the logger
"holdfast" a NullHandler, and every line carries its facts as `extra`:

    log = logging.getLogger("holdfast.gate")
    log.warning("gate shut", extra={"cause": reason, "trace_id": trace_id})

`configure` is for programs that want to see them without setting up logging
themselves; the two formatters can be used in a handler of one's own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

ROOT: Final = "holdfast"
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
_COLOURS: Final = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`, in the order in which it was given."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC, RFC 3339), level, logger, message, extras."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in extras(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """For eyes: `20:15:03.120Z WARNING gate: gate shut  cause='bus: connection lost'`."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<7}"
        if self._colour:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        time = _utc(record).isoformat(timespec="milliseconds")[11:23]
        facts = "".join(f"  {key}={_shown(value)}" for key, value in extras(record).items())
        line = f"{time}Z {level} {record.name.removeprefix(ROOT + '.')}: {record.getMessage()}"
        if record.exc_info:
            facts += "\n" + self.formatException(record.exc_info)
        return line + facts


def configure(
    *, json: bool | None = None, level: int | str = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Show holdfast's log. Calling it again replaces what the last call set up.

    :param json: lines for machines; None: if `stream` is no terminal.
    :param stream: standard error unless given.
    :returns: the handler, to be removed or changed.
    """
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    as_json = not terminal if json is None else json
    handler = _ConfiguredHandler(target)
    handler.setFormatter(
        JsonFormatter()
        if as_json
        else ConsoleFormatter(colour=terminal and not os.environ.get("NO_COLOR"))
    )
    logger = logging.getLogger(ROOT)
    for old in [each for each in logger.handlers if isinstance(each, _ConfiguredHandler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    return handler


class _ConfiguredHandler(logging.StreamHandler[TextIO]):
    """Marks the handler that `configure` may replace."""


def _utc(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _shown(value: object) -> str:
    return str(value) if isinstance(value, (int, float)) else repr(str(value))
