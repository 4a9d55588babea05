"""The pictures kept in the repository are the ones the table draws today."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.states.diagram.__main__ import texts, write

_FOLDER = Path(__file__).parents[2] / "diagrams"
_REDRAW = "python -m holdfast.states.diagram --write diagrams/"


@pytest.mark.parametrize("name", sorted(texts()))
def test_kept_picture_matches_the_table(name: str) -> None:
    kept = _FOLDER / name
    assert kept.exists(), f"{name} is missing; run: {_REDRAW}"
    assert kept.read_text(encoding="utf-8") == texts()[name], f"{name} is old; run: {_REDRAW}"


def test_png_is_kept() -> None:
    assert (_FOLDER / "states.png").read_bytes().startswith(b"\x89PNG"), f"run: {_REDRAW}"


def test_write_draws_every_text_picture_without_any_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write(tmp_path / "new")
    assert {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "new").iterdir()} == texts()
    assert "states.png not drawn: PNG needs rsvg-convert" in capsys.readouterr().err
