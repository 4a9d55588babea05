"""A run as a picture: figures that are right, and a picture that stays small and whole."""

from __future__ import annotations

import math
import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.states.diagram import (
    GateSpan,
    Mark,
    MarkKind,
    StateSpan,
    Timeline,
    as_timeline,
    timeline_svg,
)
from holdfast.states.diagram.metrics import shorten, text_width, wrap
from holdfast.states.diagram.shapes import Box
from holdfast.states.diagram.timeline import axis_step, duration
from holdfast.states.table import State

_NS = "{http://www.w3.org/2000/svg}"
RUN = Timeline(
    "run",
    (StateSpan(State.HEALTHY, 100.0, 172.7), StateSpan(State.DEGRADED, 172.7, 200.0)),
    (GateSpan(True, 100.0, 172.7), GateSpan(False, 172.7, 200.0)),
    (Mark(MarkKind.FAULT, 172.7, "bus killed"),),
)


def _texts(picture: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(picture).iter(f"{_NS}text")]


def test_key_figures() -> None:
    words = _texts(timeline_svg(RUN._replace(figures=(("orders", "17"),))))
    for value, what in (
        ("72.7 %", "gate open"),
        ("27.3 s", "downtime"),
        ("1", "fault"),
        ("17", "orders"),
    ):
        assert words[words.index(value) + 1] == what


def test_longest_shut_joins_spans_that_touch() -> None:
    gate = (
        GateSpan(False, 0, 3),
        GateSpan(False, 3, 5),
        GateSpan(True, 5, 6),
        GateSpan(False, 6, 10),
        GateSpan(False, 20, 24),  # nobody knows about the time between
    )
    run = RUN._replace(gate=gate)
    assert run.longest_shut_seconds == 5
    assert run.downtime_seconds == 13


def test_a_gate_shut_for_a_moment_is_never_100_percent() -> None:
    gate = (GateSpan(True, 0, 9_999), GateSpan(False, 9_999, 9_999.001))
    picture = timeline_svg(RUN._replace(states=(), gate=gate, marks=()))
    assert "99.9 %" in picture
    assert "100.0 %" not in picture
    shut = re.findall(r'<rect [^>]*width="([\d.]+)"[^>]*class="hf-fill"/>', picture)
    assert [float(w) for w in shut] == [1.5]


def test_without_a_gate_nothing_is_claimed_about_it() -> None:
    assert "not recorded" in _texts(timeline_svg(RUN._replace(gate=())))


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (Timeline("", (), ()), "at least one span"),
        (RUN._replace(gate=(GateSpan(True, 2, 1),)), "ends before it begins"),
        (RUN._replace(states=(StateSpan(State.HEALTHY, 0, math.nan),)), "no finite number"),
        (RUN._replace(marks=(Mark(MarkKind.FAULT, math.inf),)), "no finite number"),
        (RUN._replace(gate=(GateSpan(True, 0, 5), GateSpan(False, 4, 6))), "overlap"),
    ],
)
def test_a_record_that_can_not_have_happened_is_refused(run: Timeline, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        timeline_svg(run)


@pytest.mark.parametrize("width", [100, math.nan, 1e9])
def test_width_is_bounded(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        timeline_svg(RUN, width=width)


def test_labels_are_escaped_and_what_xml_forbids_is_replaced() -> None:
    hostile = "<script>&\x00\x1b\ud800"
    run = RUN._replace(title=hostile, marks=(Mark(MarkKind.EVENT, 150, hostile),))
    picture = timeline_svg(run)
    ET.fromstring(picture.encode())
    assert "<script" not in picture


def test_a_long_noisy_run_gives_a_small_picture() -> None:
    flaps = 50_000
    states = tuple(StateSpan(list(State)[i % 4], i, i + 1) for i in range(flaps))
    gate = tuple(GateSpan(i % 2 == 0, i, i + 1) for i in range(flaps))
    marks = tuple(Mark(MarkKind.FAULT, i, f"fault {i}") for i in range(flaps))
    picture = timeline_svg(Timeline("noise", states, gate, marks))
    assert len(picture) < 1_000_000
    assert "marks without room" in picture


def test_a_run_without_length_is_drawn() -> None:
    run = Timeline("at once", (StateSpan(State.DEGRADED, 5, 5),), (GateSpan(False, 5, 5),))
    ET.fromstring(timeline_svg(run))


def test_shut_is_drawn_over_open() -> None:
    gate = tuple(GateSpan(i % 2 == 0, i, i + 1) for i in range(5_000))
    picture = timeline_svg(RUN._replace(states=(), gate=gate, marks=()))
    assert picture.rindex('<g class="hf-red">') > picture.rindex('<g class="hf-green">')


def test_every_fault_keeps_its_label_when_others_crowd() -> None:
    marks = (
        Mark(MarkKind.FAULT, 150, "the fault that matters"),
        *(Mark(MarkKind.ORDER, 150 + i / 10, f"order number {i}") for i in range(40)),
    )
    assert "the fault that matters" in _texts(timeline_svg(RUN._replace(marks=marks)))


_marks = st.lists(
    st.builds(
        Mark,
        st.sampled_from(MarkKind),
        st.floats(100, 200),
        st.text(min_size=1, max_size=60).filter(str.strip),
    ),
    max_size=12,
)


@given(_marks, st.floats(as_timeline.MIN_WIDTH, 1600))
def test_no_label_touches_another_or_leaves_the_page(marks: list[Mark], width: float) -> None:
    picture = timeline_svg(RUN._replace(marks=tuple(marks)), width=width)
    root = ET.fromstring(picture.encode())
    boxes = []
    for element in root.iter(f"{_NS}text"):
        size, x = float(element.get("font-size", "0")), float(element.get("x", "0"))
        length = text_width(element.text or "", size, bold="hf-bold" in element.get("class", ""))
        share = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor", ""), 0.0)
        y = float(element.get("y", "0"))
        left = x - share * length
        boxes.append(Box(left + 0.01, y - 0.8 * size, left + length - 0.01, y + 0.24 * size))
    page = Box(0, 0, width, float(root.get("height", "0")))
    for box in boxes:
        assert page.contains(box)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    stems = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)" class="hf-line hf-stem"', picture)
    for x, top, bottom in stems:
        stem = ((float(x), float(top)), (float(x), float(bottom)))
        assert not any(box.crossed_by(stem) for box in boxes)


@given(st.floats(1e-5, 1e9), st.integers(2, 30))
def test_an_axis_has_neither_too_many_ticks_nor_none(span: float, most: int) -> None:
    assert span / axis_step(span, most) <= most


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0032, "3.2 ms"),
        (0.9999, "1 s"),
        (27.3, "27.3 s"),
        (59.96, "1 min"),
        (90, "1 min 30 s"),
        (3_725, "1 h 2 min"),
        (86_400 * 2 + 3_600, "2 d 1 h"),
        (-2, "-2 s"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text(max_size=80), st.floats(0, 300))
def test_shortened_text_fits(text: str, room: float) -> None:
    assert text_width(shorten(text, 12, room), 12) <= max(room, text_width("…", 12))


@given(st.lists(st.floats(1, 100), max_size=30), st.floats(100, 400), st.floats(0, 20))
def test_wrapped_rows_fit_and_lose_nothing(widths: list[float], room: float, gap: float) -> None:
    rows = wrap(widths, room, gap=gap)
    assert [i for row in rows for i in row] == list(range(len(widths)))
    for row in rows:
        assert sum(widths[i] for i in row) + gap * (len(row) - 1) <= room + 1e-6
