"""What README.md and CONTRIBUTING.md tell people to type exists, as they tell it."""

from __future__ import annotations

import importlib
import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest

from holdfast.cli import main
from holdfast.transports.conformance import EXECUTION_CHECKS

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def blocks(document: str, *languages: str) -> list[str]:
    text = (ROOT / document).read_text()
    return [body for language, body in FENCE.findall(text) if language in languages]


def typed(document: str) -> list[str]:
    """Everything that is shown as a command: fenced after `$`, or in backticks."""
    fenced = [
        line.removeprefix("$ ")
        for body in blocks(document, "console", "sh", "bash")
        for line in body.splitlines()
        if line.startswith("$ ")
    ]
    text = FENCE.sub("", (ROOT / document).read_text())
    return [
        part.strip()
        for line in [*fenced, *INLINE.findall(text)]
        for part in re.split(r"&&|\|\||[|;]| #", line)
    ]


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z]+):", text, re.M))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_exists(document: str) -> None:
    named = {
        word
        for command in typed(document)
        if command.startswith("make ")
        for word in command.split()[1:2]
    }
    assert named, "it shows no make target at all"
    assert named <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_holdfast_command_exists_with_its_options(document: str) -> None:
    for command in typed(document):
        words = shlex.split(command)
        if not words or Path(words[0]).name != "holdfast" or words[1:] == []:
            continue
        known: click.Command | None = main
        context = click.Context(main, info_name="holdfast")
        rest = words[1:]
        while rest and isinstance(known, click.Group) and not rest[0].startswith("-"):
            known = known.get_command(context, rest[0])
            assert known is not None, f"{document}: {command}"
            rest = rest[1:]
        options = {name for each in known.params for name in each.opts} | {"--help", "--version"}
        for word in rest:
            if word.startswith("-"):
                assert word.partition("=")[0] in options, f"{document}: {command}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_in_the_package_exists(document: str) -> None:
    for name in INLINE.findall((ROOT / document).read_text()):
        if not re.fullmatch(r"holdfast(\.\w+)+", name) or name.endswith(".toml"):
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), f"{document}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_it_points_to_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    linked = re.findall(r"\]\(([^)#]+)\)|(?:src|href)=\"([^\"#]+)\"", text)
    for target in (one or other for one, other in linked):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{document}: {target}"
    for name in INLINE.findall(text):
        if re.fullmatch(r"(engine|states|transports|tests|examples|benchmarks|diagrams)/\S*", name):
            assert (ROOT / name).exists(), f"{document}: {name}"


def test_its_python_compiles() -> None:
    shown = blocks("README.md", "python")
    assert shown
    for code in shown:
        compile(textwrap.dedent(code), "README.md", "exec")


def test_it_counts_the_conformance_checks_as_they_are() -> None:
    told = re.search(r"(\d+) of them for an execution client", (ROOT / "README.md").read_text())
    assert told is not None
    assert int(told[1]) == len(EXECUTION_CHECKS)


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_no_gap_is_left_to_be_filled(document: str) -> None:
    assert not re.findall(r"@[A-Z]+@|\bTBD\b|<[a-z]+-here>", (ROOT / document).read_text())
