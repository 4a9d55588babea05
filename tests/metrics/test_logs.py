"""Silent by default; structured when asked."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from freezegun import freeze_time

from holdfast import logs

log = logging.getLogger("holdfast.example")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger("holdfast")
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_library_is_silent_until_asked() -> None:
    script = (
        "import logging, holdfast\n"
        "logging.getLogger('holdfast.gate').critical('loud')\n"
        "assert 'holdfast' in logging.root.manager.loggerDict\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json_lines_carry_the_facts() -> None:
    stream = io.StringIO()
    logs.configure(json=True, stream=stream)
    with freeze_time("2025-05-04 12:00:00.25"):
        log.info("gate %s", "shut", extra={"trace_id": "t1", "cause": "bus: lost", "ratio": 0.5})
    log.debug("not shown")
    assert json.loads(stream.getvalue()) == {
        "time": "2025-05-04T12:00:00.250000Z",
        "level": "INFO",
        "logger": "holdfast.example",
        "message": "gate shut",
        "trace_id": "t1",
        "cause": "bus: lost",
        "ratio": 0.5,
    }


def test_an_extra_can_not_forge_the_line_and_anything_can_be_shown() -> None:
    stream = io.StringIO()
    logs.configure(json=True, stream=stream)
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        log.exception("failed", extra={"level": "DEBUG", "thing": object()})
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)
    assert told["level"] == "ERROR"
    assert "ValueError: bad" in told["exception"]
    assert told["thing"].startswith("<object")


def test_the_console_shows_one_readable_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    logs.configure(json=False, stream=stream)
    with freeze_time("2025-05-04 12:00:00.25"):
        log.warning("gate shut", extra={"cause": "bus: lost", "epoch": 7})
    assert stream.getvalue() == (
        "12:00:00.250Z WARNING example: gate shut  cause='bus: lost'  epoch=7\n"
    )


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    logs.configure(stream=terminal)
    log.warning("gate shut")
    assert "\x1b[33m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure(stream=plain)
    log.warning("gate shut")
    assert "\x1b" not in plain.getvalue()
    pipe = io.StringIO()
    logs.configure(stream=pipe)
    log.warning("gate shut")
    assert json.loads(pipe.getvalue())["message"] == "gate shut"


def test_configuring_again_replaces_only_its_own_handler() -> None:
    mine = logging.NullHandler()
    logging.getLogger("holdfast").addHandler(mine)
    first, second = io.StringIO(), io.StringIO()
    logs.configure(stream=first)
    logs.configure(stream=second, level="WARNING")
    log.info("not shown")
    log.warning("shown")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
    assert mine in logging.getLogger("holdfast").handlers
