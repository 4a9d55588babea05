"""A bot of its own process against a simulated exchange, and the command line beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from holdfast.cli import main

START_SECONDS = 30.0

BOT = """
import anyio, sys
from holdfast import Engine

async def main():
    async with Engine.open(sys.argv[1]) as engine:
        with anyio.open_signal_receiver(__import__("signal").SIGTERM) as signals:
            await engine.until_healthy()
            print("healthy", flush=True)
            async for _ in signals:
                return

anyio.run(main)
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def told(self) -> Any:
        return json.loads(self.out)


def holdfast(*arguments: str | Path) -> Answer:
    """Run the command line in this process: a tenth of the time of one of its own."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Answer(done.exit_code, done.stdout, done.stderr)


def holdfast_process(
    *arguments: str | Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Answer:
    """Run the command line as a shell does."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def process(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], START_SECONDS)
    line = child.stdout.readline() if ready else ""
    if not line:
        child.kill()
        raise AssertionError(f"it did not start: {child.communicate()[1]}")
    return line


def write_config(
    folder: Path,
    *,
    port: int,
    state_dir: Path | None = None,
    policy_url: str = "memory://bot",
    bot: str = "alpha",
) -> Path:
    path = folder / "holdfast.toml"
    state = "" if state_dir is None else f'state_dir = "{state_dir}"\n'
    path.write_text(
        f'[engine]\nbot = "{bot}"\nsymbols = ["BTC/USDT:USDT"]\n{state}'
        '[bus]\nurl = "memory://bot"\n'
        f'[policy]\nurl = "{policy_url}"\non_empty = "restore"\n'
        'initial = { active_mode = "NORMAL" }\n'
        f'[exchange]\nurl = "sim://127.0.0.1:{port}"\n'
    )
    return path


@contextmanager
def exchange() -> Iterator[int]:
    """The port of a simulated exchange."""
    still = ("--still", "--limits", "off")
    with process("-m", "holdfast", "exchange", "--port", "0", *still, "--json") as child:
        yield int(json.loads(first_line(child))["port"])


@contextmanager
def bot(config: Path) -> Iterator[subprocess.Popen[str]]:
    """A bot whose engine has become healthy once."""
    with process("-c", BOT, config) as child:
        assert first_line(child) == "healthy\n"
        yield child
