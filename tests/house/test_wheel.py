"""What users install is what stands in the folders: built here, and compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"engine": "holdfast", "states": "holdfast/states", "transports": "holdfast/transports"}
SHIPPED = (*PACKAGES, "tests", "examples", "diagrams", "benchmarks", ".ci")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: what setuptools leaves in build/ would find its way into later wheels."""
    copy = tmp_path_factory.mktemp("sources")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    for name in SHIPPED:
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    build(sources, "--wheel", out)
    (path,) = out.glob("holdfast-*.whl")
    return zipfile.ZipFile(path)


def build(sources: Path, kind: str, out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", out, sources],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def shipped_files(sources: Path) -> set[str]:
    return {
        f"{name}/{path.relative_to(sources / top).as_posix()}"
        for top, name in PACKAGES.items()
        for path in (sources / top).rglob("*")
        if path.is_file()
    }


def test_the_wheel_holds_every_file_and_no_other(sources: Path, wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == shipped_files(sources), (
        "a pattern is missing in [tool.setuptools.package-data]"
    )
    assert "holdfast/py.typed" in packed


def test_every_entry_point_leads_somewhere(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    points = ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert {"console_scripts", "holdfast.bus", "holdfast.policy", "holdfast.execution"} <= set(
        points.sections()
    )
    for section in points.sections():
        for scheme, value in points[section].items():
            module, _, attribute = value.partition(":")
            assert callable(getattr(import_module(module), attribute)), (section, scheme)


def test_the_source_distribution_holds_what_a_packager_needs(sources: Path, tmp_path: Path) -> None:
    build(sources, "--sdist", tmp_path)
    (path,) = tmp_path.glob("holdfast-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        ".ci/run",
        ".importlinter",
        "examples/holdfast.toml",
        "engine/gate.py",
        "states/table.py",
        "tests/house/test_wheel.py",
    ):
        assert wanted in names
    assert any(name.startswith("diagrams/") for name in names)
