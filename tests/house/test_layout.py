"""What the folders hold, against the rules that keep them readable and installable."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"engine": "holdfast", "states": "holdfast.states", "transports": "holdfast.transports"}
CODE = ("engine", "states", "transports")
PYTHON = (*CODE, "tests", "benchmarks", "examples")
TEXT_SUFFIXES = {".py", ".toml", ".md", ".lua", ".html", ".css", ".js", ".yaml", ".ini", ""}


def python_files(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def project_texts() -> Iterator[Path]:
    """Every text that is published, this file apart: it has to name what is forbidden."""
    for path in sorted([*ROOT.iterdir(), *(p for top in PYTHON for p in (ROOT / top).rglob("*"))]):
        if path.name == ".git":  # a file in a worktree, and git's own
            continue
        if path.is_file() and path.suffix in TEXT_SUFFIXES and path != Path(__file__):
            yield path
    yield from (ROOT / ".ci").iterdir()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def test_every_package_on_disk_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    on_disk = {
        ".".join((name, *init.parent.relative_to(ROOT / top).parts))
        for top, name in PACKAGES.items()
        for init in (ROOT / top).rglob("__init__.py")
    }
    listed = project["tool"]["setuptools"]["packages"]
    assert set(listed) == on_disk, "list it in pyproject.toml, or the wheel does not have it"
    assert listed == sorted(listed)


def test_every_folder_with_code_is_a_package() -> None:
    for path in python_files(*CODE):
        assert (path.parent / "__init__.py").exists(), path


@pytest.mark.parametrize("top", PYTHON)
def test_nothing_is_imported_by_the_name_of_its_folder(top: str) -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in python_files(top)
        for line, name in imports(path)
        if name.partition(".")[0] in PACKAGES
    ]
    assert not bare, "import holdfast.…: these would find some other file of the user"


def test_across_packages_imports_are_absolute() -> None:
    for path in python_files(*CODE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level > 1:
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno}: {'.' * node.level}…")


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files(*CODE, "benchmarks", "examples")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "base"}
    assert not [path for path in python_files(*CODE) if path.stem in empty]


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if later.search(line)
    ]
    assert not found


def test_no_path_of_somebodys_machine() -> None:
    private = re.compile(r"(?<![\w.])(/work/|/root/|/home/\w|/Users/\w|C:\\\\Users)")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if private.search(line)
    ]
    assert not found
