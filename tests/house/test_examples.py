"""Each example runs as its docstring says, on a server and an exchange of its own."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.transports.server import RedisServer

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
LIMIT_SECONDS = 60


@pytest.fixture
def config(tmp_path: Path, redis_server: RedisServer, exchange_port: int) -> Path:
    """The example's own configuration, with other addresses and a short lease.

    On a store that never knew a lease the first holder waits a full term before it trades.
    """
    text = (ROOT / "examples" / "holdfast.toml").read_text()
    for shown, used in (
        ("redis://127.0.0.1:6379/0", redis_server.url),
        ("sim://127.0.0.1:9000", f"sim://127.0.0.1:{exchange_port}"),
    ):
        assert f'\nurl = "{shown}"' in text
        text = text.replace(f'\nurl = "{shown}"', f'\nurl = "{used}"')
    assert "\nttl_seconds = 15.0" in text
    text = text.replace("\nttl_seconds = 15.0", "\nttl_seconds = 1.0")
    path = tmp_path / "holdfast.toml"
    path.write_text(text)
    return path


@pytest.fixture
def run(config: Path, redis_server: RedisServer) -> Callable[[str], str]:
    def example(name: str) -> str:
        path = ROOT / "examples" / name
        documented = ast.get_docstring(ast.parse(path.read_text())) or ""
        usage = re.search(rf"^\s*python examples/{re.escape(name)}(.*)$", documented, re.M)
        assert usage is not None, "its docstring does not say how to run it"
        arguments = [
            {
                "examples/holdfast.toml": str(config),
                "redis://127.0.0.1:6379/0": redis_server.url,
            }.get(word, word)
            for word in shlex.split(usage[1])
        ]
        done = subprocess.run(
            [sys.executable, "-W", "error", path, *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            cwd=config.parent,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    return example


@pytest.mark.server
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, run: Callable[[str], str]) -> None:
    if name == "read_events.py":  # somebody has to have published what it reads
        run("first_order.py")
    assert run(name).strip()


def test_the_readmes_ten_lines_run_word_for_word(tmp_path: Path, exchange_port: int) -> None:
    text = (ROOT / "README.md").read_text().partition("## Ten lines in your bot")[2]
    (tmp_path / "bot.py").write_text(_first_block(text, "python"))
    config = _first_block(text, "toml")
    assert 'url = "sim://127.0.0.1:9000"' in config
    (tmp_path / "holdfast.toml").write_text(config.replace(":9000", f":{exchange_port}"))
    for start in ("the first", "one on what the first has left"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "bot.py"],
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            cwd=tmp_path,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), start
    shown = subprocess.run(
        [sys.executable, "-m", "holdfast", "journal", "show", "state", "--kind", "event"],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        cwd=tmp_path,
    )
    assert shown.stdout.count("trade.opened") == 2
    assert "hf-alpha-" in shown.stdout


def _first_block(text: str, language: str) -> str:
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def test_there_are_examples() -> None:
    assert "first_order.py" in EXAMPLES
