"""The shape of the command line: help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_rigs import holdfast_process
from click.testing import CliRunner

from holdfast.cli import main
from holdfast.cli.commands import COMMANDS

CONTEXT = click.Context(main)


def leaves() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = main.get_command(CONTEXT, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", each) for sub, each in command.commands.items()]
        else:
            found.append((name, command))
    return found


def test_every_command_loads_has_help_and_takes_json() -> None:
    for name, command in leaves():
        assert command.help, name
        options = [option for each in command.params for option in each.opts]
        assert "--json" in options, name
        done = CliRunner().invoke(main, [*name.split(), "--help"])
        assert done.exit_code == 0, name
        assert done.output.startswith("Usage: "), name


def test_help_lists_every_command_and_loads_none() -> None:
    script = (
        "import sys\nfrom holdfast.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'ccxt', 'aiohttp', 'redis', 'rich', 'pyarrow', 'sqlite3'}\n"
        "heavy |= {m for m in sys.modules if m.startswith('holdfast.transports')}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name, address in COMMANDS.items():
        assert name in done.stdout
        assert " ".join(address.summary.split()) in " ".join(done.stdout.split())


def test_a_terminal_without_our_signs_is_answered_all_the_same() -> None:
    whole = holdfast_process("exchange", "--help")
    poor = holdfast_process("exchange", "--help", environment={"PYTHONIOENCODING": "latin-1"})
    assert not whole.out.isascii(), "a page with such a sign"
    assert (poor.code, poor.err) == (0, "")
    assert poor.out == whole.out.encode("latin-1", "replace").decode("latin-1")


def test_the_module_and_the_script_are_the_same_program() -> None:
    done = holdfast_process("--version")
    assert done.code == 0
    assert done.out.startswith("holdfast, version ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["hlat"], 2, "No such command 'hlat' (did you mean 'halt'?)"),
        (["xyz"], 2, "No such command 'xyz'; there are drill, "),
        (["status", "--nope"], 2, "see holdfast status --help"),
        (["reconcile", "--adopt", "--dry-run"], 2, "exclude each other"),
        (["policy", "set", "YOLO"], 2, "'MODE': 'YOLO' is not one of 'aggressive'"),
        (["policy", "set", "NORMAL", "--max-order-notional", "nan"], 2, "finite"),
        (["status", "--config", "no.toml"], 1, "no.toml: there is no such file"),
        (["journal", "verify", "."], 1, "there is no journal here"),
        (["journal", "verify", "nowhere"], 1, "nowhere: there is no journal here"),
        (["diagram", "--timeline", "."], 1, "no transition is recorded"),
        (["diagram", "--out", "no/such/folder.svg"], 1, "No such file"),
        (["exchange", "--port", "99999"], 2, "65535"),
    ],
)
def test_an_error_is_one_clear_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holdfast.toml").write_text(
        '[engine]\nsymbols = ["BTC/USDT:USDT"]\n[bus]\nurl = "memory://b"\n'
        '[exchange]\nurl = "sim://127.0.0.1:1"\n'
    )
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    if code:
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
        assert "\x1b" not in line


def test_machines_get_their_error_in_json(tmp_path: Path) -> None:
    done = holdfast_process("status", "--json", cwd=tmp_path)
    assert done.code == 1
    assert done.told["ok"] is False
    assert "holdfast.toml" in done.told["error"]
    assert done.err.startswith("error: holdfast.toml")


def test_a_reader_that_left_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "holdfast", "diagram"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.wait(30)
        assert child.stderr.read() == ""


def test_diagrams_in_every_text_form(tmp_path: Path) -> None:
    for name, begin in (("a.svg", "<svg"), ("a.mmd", "stateDiagram"), ("a.dot", "digraph")):
        out = tmp_path / name
        done = CliRunner().invoke(main, ["diagram", "--out", str(out), "--current", "HEALTHY"])
        assert done.exit_code == 0, done.output
        assert begin in out.read_text()[:400]
    told = CliRunner().invoke(main, ["diagram", "--format", "mermaid", "--json"])
    assert "stateDiagram" in json.loads(told.stdout)["text"]
    assert "<svg" in CliRunner().invoke(main, ["diagram"]).stdout
