"""The page and the tables that are made of a backtest."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backtest_rigs import FIRST_MS, SYMBOL, Cross, walk

from holdfast.backtest import Backtest, BotFailure, backtest, figures, frames
from holdfast.backtest.report import page, picture
from holdfast.campaign.plan import FaultPlan, OrderFault, ServerOutage
from holdfast.campaign.planfile import DEFAULT
from holdfast.errors import ConfigError
from holdfast.states.diagram import GateSpan, StateSpan, Timeline, timeline_svg
from holdfast.states.diagram.as_timeline import MIN_WIDTH
from holdfast.states.diagram.curves import Curve, value_step
from holdfast.states.table import State

FAULTS = (
    OrderFault(at_seconds=3000, effect="lost_reply", count=3),
    ServerOutage(at_seconds=6000, seconds=1800),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    path = tmp_path_factory.mktemp("data") / "BTCUSDT.csv"
    lines = [",".join(map(str, candle)) for candle in walk(300)]
    path.write_text("\n".join(lines))
    plan = FaultPlan(seed=2, horizon_seconds=18_000, faults=FAULTS, conditions=DEFAULT)
    return backtest(Cross, [f"{SYMBOL}={path}"], faults=plan)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.outside: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.lasttag == "td":
            self.cells[-1] += data


def test_the_page_needs_nothing_else_and_shows_every_figure(result: Backtest) -> None:
    html = page(result)
    parsed = _Page()
    parsed.feed(html)
    assert not parsed.outside
    assert "$" not in re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    assert "@media (prefers-color-scheme: dark)" in html
    guarded, bare = result.run("guarded"), result.run("bare")
    assert guarded is not None
    assert bare is not None
    assert bare.counts.doubled > 0
    assert f"{guarded.profit:,.2f}" in parsed.cells
    assert f"{bare.counts.doubled}" in parsed.cells
    assert "server_outage seconds=1800" in html
    assert html.count("<svg") == 2


def test_what_a_person_gave_is_escaped(result: Backtest) -> None:
    html = page(msgspec.structs.replace(result, bot="x.py:<b>&"))
    assert "<b>&" not in html
    assert "&lt;b&gt;&amp;" in html


def test_the_picture_has_a_curve_for_each_run_over_the_states(result: Backtest) -> None:
    guarded = result.run("guarded")
    assert guarded is not None
    drawn = picture(result, guarded)
    assert [curve.label for curve in drawn.curves] == ["no faults", "with holdfast", "without"]
    assert all(len(curve.points) > 200 for curve in drawn.curves)
    assert drawn.end_seconds == 18_000
    for width in (MIN_WIDTH, 960.0):
        svg = timeline_svg(drawn, width=width)
        assert svg.count('class="hf-line" stroke-linejoin="round"') == 2 * 3
        inside = [float(x) for x in re.findall(r"[ML](\d+(?:\.\d+)?) ", svg)]
        assert max(inside) <= width
        assert "hf-red hf-tint" in svg  # the time in which the gate was shut


def test_of_much_that_was_open_the_first_is_told(result: Backtest) -> None:
    items = tuple(f"order {number}" for number in range(figures.MAX_OPEN + 4))
    failure = BotFailure(error="E: e", where="x.py:1 in f", at_ms=FIRST_MS, open=items)
    failed = msgspec.structs.replace(result.runs[0], failure=failure)
    (line,) = figures.trouble(msgspec.structs.replace(result, runs=(failed,)))
    assert line.endswith(f"order {figures.MAX_OPEN - 1}; and 4 more")
    assert "The figures" in page(msgspec.structs.replace(result, runs=(failed,)))


def test_the_word_open_stands_where_nothing_is_drawn_over_it() -> None:
    shut = [(float(at), at + 0.001) for at in (20, 46, 50, 54, 80)]
    gate, now = [], 0.0
    for start, end in shut:
        gate += [GateSpan(True, now, start), GateSpan(False, start, end)]
        now = end
    states = (StateSpan(State.HEALTHY, 0.0, 100.0),)
    drawn = Timeline(title="t", states=states, gate=(*gate, GateSpan(True, now, 100.0)), marks=())
    svg = timeline_svg(drawn, width=MIN_WIDTH)
    (word,) = re.findall(r'<text x="([\d.]+)"[^>]*>open<', svg)
    left, right = float(word) - 14, float(word) + 14
    bars = svg.rpartition('<g class="hf-red">')[2]
    boxes = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', bars)
    assert boxes
    assert not [x for x, width in boxes if float(x) < right and float(x) + float(width) > left]


def test_a_run_that_ended_early_does_not_cut_the_others_off(result: Backtest) -> None:
    drawn = picture(result, result.runs[1])
    early = drawn._replace(states=drawn.states[:2], gate=drawn.gate[:2])
    assert early.end_seconds == max(curve.points[-1][0] for curve in drawn.curves)
    assert early._replace(curves=()).end_seconds < early.end_seconds


def test_curves_without_points_and_flat_ones_can_be_drawn(result: Backtest) -> None:
    guarded = result.run("guarded")
    assert guarded is not None
    drawn = picture(result, guarded)
    for points in ((), ((0.0, 5.0), (9.0, 5.0)), ((0.0, 0.0),)):
        assert timeline_svg(drawn._replace(curves=(Curve("a", "1", "green", points),)))
    assert [value_step(span) for span in (0.9, 1000.0, 4.0)] == [0.2, 200.0, 1.0]


def test_tables_for_pandas(result: Backtest) -> None:
    pandas = pytest.importorskip("pandas")
    table = frames.equity(result)
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["time", "clean", "guarded", "bare"]
    assert table.time.iloc[0].timestamp() * 1000 >= FIRST_MS
    row = frames.summary(result).set_index("run").loc["bare"]
    bare = result.run("bare")
    assert bare is not None
    assert row.doubled == bare.counts.doubled
    assert row.profit == float(bare.profit)


class Library:
    """What both libraries have in common, as far as it is used."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    DataFrame: Any = None


Library.DataFrame = Library


def test_the_library_that_is_there_is_used(
    result: Backtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "polars", Library)  # type: ignore[arg-type]
    table = frames.summary(result)
    assert table.columns["run"] == ["clean", "guarded", "bare"]
    assert len({len(column) for column in frames.equity(result).columns.values()}) == 1
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        frames.equity(result)
    with pytest.raises(ConfigError, match="neither"):
        frames.equity(result, library="excel")


def test_a_backtest_loads_neither(tmp_path: Path) -> None:
    code = "import sys, holdfast.backtest; print({'pandas', 'polars'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
