"""What every format must show, and what its own grammar demands."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from holdfast.states.diagram import Last, RenderError, dot, graph, mermaid, png, svg
from holdfast.states.diagram.style import DARK, LIGHT, sheet
from holdfast.states.table import INITIAL, STATES, TABLE, Effect, Guard, Level, State, Trigger

Draw = Callable[..., str]
_FORMATS: tuple[Draw, ...] = (mermaid, dot, svg)
_NAMES = (*State, *Trigger, *Guard, *Effect, *(spec.level for spec in STATES.values()))
_ROWS: tuple[Last, ...] = tuple(
    (source, row.trigger, row.dest) for row in TABLE for source in row.sources
)
every_format = pytest.mark.parametrize("draw", _FORMATS, ids=lambda d: d.__name__)


@every_format
@pytest.mark.parametrize("name", sorted(set(_NAMES)))
def test_every_name_of_the_table_is_drawn(draw: Draw, name: str) -> None:
    assert re.search(rf"\b{name}\b", draw())


@every_format
def test_meanings_are_drawn(draw: Draw) -> None:
    words = set(re.findall(r"\w+", draw()))
    for spec in STATES.values():
        assert set(re.findall(r"\w+", spec.meaning)) - {"s"} <= words


@every_format
def test_every_highlight_looks_different(draw: Draw) -> None:
    pictures = [draw()]
    pictures += [draw(current=state) for state in State]
    pictures += [draw(last=row) for row in _ROWS]
    pictures += [draw(current=row[2] or row[0], last=row) for row in _ROWS]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("row", [r for r in _ROWS if r[2] is not None])
def test_the_last_transition_is_a_thick_line(row: Last) -> None:
    drawn = graph.graph().arcs
    arc = next(a for a in drawn if (a.source, a.dest) == (row[0], row[2]) and row[1] in a.triggers)
    root = ET.fromstring(svg(last=row))
    thick = [e for e in root.iter() if "hf-last" in e.get("class", "").split()]
    assert len(thick) == 1
    assert {e.text for e in thick[0] if e.text} >= set(arc.triggers)
    assert ".hf-last .hf-line{stroke-width:4.5}" in sheet()
    thick_in_dot = [line for line in dot(last=row).splitlines() if "penwidth=4," in line]
    assert len(thick_in_dot) == 1
    assert thick_in_dot[0].lstrip().startswith(f"{row[0]} -> {row[2]} ")


@pytest.mark.parametrize("state", State)
def test_the_current_state_has_a_thick_border(state: State) -> None:
    cards = [
        {child.text for child in e}
        for e in ET.fromstring(svg(current=state)).iter()
        if any(child.get("style") == "stroke-width:4" for child in e)
    ]
    assert len(cards) == 1
    assert state in cards[0]
    assert len(re.findall(rf"{state} \[label=<<table border=\"4\"", dot(current=state))) == 1
    assert dot(current=state).count('border="4"') == 1
    assert mermaid(current=state).count("stroke-width:4px") == 1
    assert f"classDef {state.lower()} " in next(
        line for line in mermaid(current=state).splitlines() if "stroke-width:4px" in line
    )


@every_format
def test_highlighting_changes_no_word_but_the_mark(draw: Draw) -> None:
    marked = draw(current=State.DEGRADED, last=_ROWS[0])
    for name in _NAMES:
        assert name in marked


@every_format
@pytest.mark.parametrize("row", [r for r in _ROWS if r[2] is None])
def test_an_internal_transition_may_name_its_source_as_destination(draw: Draw, row: Last) -> None:
    assert draw(last=(row[0], row[1], row[0])) == draw(last=row)


@every_format
@pytest.mark.parametrize(
    "row",
    [
        (State.HEALTHY, Trigger.REPLAYED, State.RECONCILING),
        (State.DEGRADED, Trigger.LINKS_RESTORED, State.HEALTHY),
        (State.HEALTHY, Trigger.FAULT, None),
        (State.DEGRADED, Trigger.RESUME, State.HEALTHY),
    ],
)
def test_a_transition_the_table_lacks_is_refused(draw: Draw, row: Last) -> None:
    with pytest.raises(ValueError, match=f"no row {row[0]} --{row[1]}-->"):
        draw(last=row)


@every_format
def test_nothing_about_a_transition_is_written_elsewhere(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = draw()
    monkeypatch.setattr(graph, "TABLE", tuple(r for r in TABLE if r.trigger is not Trigger.STALLED))
    after = draw()
    assert "stalled" in before
    assert "stalled" not in after


def test_a_table_that_is_no_spine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        graph, "TABLE", tuple(r for r in TABLE if r.trigger is not Trigger.REPLAYED)
    )
    with pytest.raises(ValueError, match="not on the way up"):
        svg()


def test_arcs_are_the_rows_of_the_table() -> None:
    drawn = graph.graph()
    from_arcs = {(a.source, t, a.dest, a.guards) for a in drawn.arcs for t in a.triggers}
    from_arcs |= {(s, t, None, ()) for s, triggers in drawn.internal.items() for t in triggers}
    assert from_arcs == {(s, r.trigger, r.dest, r.guards) for r in TABLE for s in r.sources}


_MERMAID_LINES = (
    r"---",
    r"title: [^:;\n]+",
    r"stateDiagram-v2",
    r"    direction BT",
    r'    state "[^"\n:;]+" as [A-Z]+',
    r"    (\[\*\]|[A-Z]+) --> [A-Z]+( : [^:;\n]+)?",
    r"    classDef [a-z]+ fill:#\w{8},stroke:#\w{6},stroke-width:\dpx",
    r"    class [A-Z]+ [a-z]+",
)


@pytest.mark.parametrize("last", [None, *_ROWS])
def test_mermaid_keeps_to_the_grammar(last: Last | None) -> None:
    text = mermaid(current=INITIAL, last=last)
    assert "\\" not in text  # Mermaid draws a backslash and an n as those two characters
    for line in text.splitlines():
        assert any(re.fullmatch(rule, line) for rule in _MERMAID_LINES), line


def test_mermaid_edges_are_those_of_the_table() -> None:
    edges = set(re.findall(r"^    ([A-Z]+) --> ([A-Z]+)", mermaid(), re.MULTILINE))
    assert edges == {(s, r.dest) for r in TABLE for s in r.sources if r.dest is not None}
    assert f"[*] --> {INITIAL}" in mermaid()


def test_svg_is_well_formed_and_can_stand_in_any_page() -> None:
    picture = svg(current=State.HEALTHY)
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    # Two pictures in one HTML page share one name space of ids, and none may load anything.
    assert not [e for e in root.iter() if "id" in e.attrib or "href" in str(e.attrib)]
    assert "url(" not in picture
    assert "@import" not in picture
    selectors = re.findall(r"([^{}]+)\{", sheet())
    assert all(s.startswith((".hf", "@media (prefers-color-scheme:dark)")) for s in selectors)
    used = {c for e in root.iter() for c in e.get("class", "").split() if c.startswith("hf-")}
    known = set(re.findall(r"\.(hf-\w+)", sheet()))
    assert used - known <= {"hf-recovery", "hf-backslide"}


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "card"])
def test_every_colour_of_text_can_be_read(palette: dict[str, str], ground: str) -> None:
    for name, colour in palette.items():
        if name in ("ground", "card", "rim"):
            continue
        dark, light = sorted((_luminance(colour), _luminance(palette[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {ground}"  # WCAG 2.2, AA


def test_both_palettes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("last", [None, _ROWS[0], _ROWS[3]])
def test_graphviz_accepts_the_dot(last: Last | None) -> None:
    done = subprocess.run(
        ["dot", "-Tplain"],
        input=dot(current=State.HEALTHY, last=last).encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    places = {
        line.split()[1]: float(line.split()[3])
        for line in done.stdout.decode().splitlines()
        if line.startswith("node ")
    }
    spine = graph.graph().spine
    assert sorted(spine, key=places.__getitem__) == list(spine)  # upwards


@pytest.mark.parametrize("program", ["rsvg-convert", "dot"])
def test_png_by_either_program(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    (tmp_path / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert png(current=State.HEALTHY, scale=0.5).startswith(b"\x89PNG\r\n")


def test_png_without_a_program_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match=r"librsvg2-bin.*graphviz.*need nothing"):
        png()


def test_png_passes_on_why_the_program_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "rsvg-convert"
    broken.write_text("#!/bin/sh\necho 'no fonts here' >&2\nexit 3\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match=r"failed \(3\): no fonts here"):
        png()


@pytest.mark.parametrize("scale", [0.0, -1.0, 17.0, float("nan")])
def test_png_refuses_a_scale_out_of_bounds(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        png(scale=scale)


def test_levels_have_a_gate_that_is_open_only_when_active() -> None:
    boom_raised = "l13 -8"
    active = sum(spec.level is Level.ACTIVE for spec in STATES.values())
    assert svg().count(boom_raised) == active
