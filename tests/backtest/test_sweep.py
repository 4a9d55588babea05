"""A bot's backtest at many values of its arguments, here and in other processes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from backtest_rigs import walk
from click.testing import CliRunner, Result

from holdfast import Bot
from holdfast.backtest import Point, backtest, frames, sweep
from holdfast.backtest.options import read_value
from holdfast.cli import main
from holdfast.errors import ConfigError

BOT = """
from decimal import Decimal
from holdfast import Bot, Order
class Mine(Bot):
    def __init__(self, every=50, quantity="0.010", bad=False):
        self.every, self.quantity, self.bad, self.seen = every, Decimal(quantity), bad, 0
    async def on_bar(self, bar):
        self.seen += 1
        if self.bad:
            raise ZeroDivisionError("of mine")
        if self.seen % self.every == 0:
            await self.engine.submit(Order("BTC/USDT:USDT", "buy", self.quantity))
"""
PLAN = '[[faults]]\nkind = "order_fault"\nat_seconds = 3000\neffect = "lost_reply"\n'
GRID = {"every": [40, 25], "quantity": ["0.010", "0.020"]}


class Given:
    def __init__(self, folder: Path) -> None:
        self.bot = f"{folder / 'mine.py'}:Mine"
        self.data = folder / "BTCUSDT.csv"
        self.plan = folder / "plan.toml"
        (folder / "mine.py").write_text(BOT)
        self.plan.write_text(PLAN)
        self.record(150)

    def record(self, count: int) -> None:
        self.data.write_text("\n".join(",".join(map(str, candle)) for candle in walk(count)))

    def command(self, *options: str) -> Result:
        return CliRunner().invoke(main, ["sweep", self.bot, "--data", str(self.data), *options])


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return Given(tmp_path)


def test_each_combination_is_the_backtest_with_these_arguments(given: Given) -> None:
    points = list(sweep(given.bot, [str(given.data)], GRID, faults=given.plan))
    assert [point.arguments for point in points] == [
        {"every": every, "quantity": quantity}
        for every in GRID["every"]
        for quantity in GRID["quantity"]
    ]
    assert len({str(point.backtest.runs[0].profit) for point in points}) == 4
    again = backtest(given.bot, [str(given.data)], faults=given.plan, arguments=points[2].arguments)
    assert again == points[2].backtest


def test_other_processes_find_the_same_and_no_point_is_lost(given: Given) -> None:
    here = list(sweep(given.bot, [str(given.data)], GRID))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(sweep(given.bot, [str(given.data)], GRID, executor=pool))
    assert sorted(there, key=_arguments) == sorted(here, key=_arguments)


def _arguments(point: Point) -> str:
    return str(point.arguments)


def test_a_bots_file_is_not_run_for_every_combination_before_the_work(
    given: Given, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    noted = f"with open({str(trace)!r}, 'a') as trace:\n    trace.write('run ')\n"
    (tmp_path / "mine.py").write_text(BOT + noted)
    next(sweep(given.bot, [str(given.data)], {"every": list(range(100, 120))}))
    assert trace.read_text().split() == ["run"] * 2  # to look at its arguments, and at the point


def test_a_file_that_has_changed_is_read_again(given: Given) -> None:
    def candles() -> Iterator[int]:
        for point in sweep(given.bot, [str(given.data)], {"every": [1000]}):
            yield point.backtest.data[0].candles

    assert list(candles()) == [150]
    given.record(160)
    os.utime(given.data, ns=(1, 1))
    assert list(candles()) == [160]


def test_the_command_puts_the_best_first(given: Given) -> None:
    ran = given.command("--set", "every=40,25", "--set", "quantity=0.010", "--jobs", "1", "--json")
    assert ran.exit_code == 0, ran.output
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    profits = [point["runs"]["clean"]["profit"] for point in found]
    assert profits == sorted(profits, reverse=True)
    assert profits[0] != profits[1]
    shown = given.command("--set", "every=25..50..25", "--jobs", "1", "--top", "1")
    assert shown.exit_code == 0, shown.output
    assert "and 1 more" in shown.output
    assert "2 combinations" in shown.output


def test_what_is_typed_for_a_decimal_does_not_go_through_a_float() -> None:
    class Takes(Bot):
        def __init__(self, text="1", exact=Decimal(1), n=1): ...  # type: ignore[no-untyped-def]

    assert [read_value(Takes, name, "0.10") for name in ("text", "exact", "n")] == [
        "0.10",
        Decimal("0.10"),
        0.1,
    ]
    assert read_value(Takes, "n", "true") is True
    assert read_value(Takes, "n", "BTC/USDT:USDT") == "BTC/USDT:USDT"
    with pytest.raises(ConfigError, match="exact: 'much' is no number"):
        read_value(Takes, "exact", "much")


def test_the_page_maps_every_point_and_marks_the_best(given: Given, tmp_path: Path) -> None:
    report = tmp_path / "sweep.html"
    grid = ("--set", "every=25,40", "--set", "quantity=0.010..0.030..0.010", "--set", "bad=false")
    ran = given.command(*grid, "--jobs", "1", "--report", str(report), "--json")
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    html = report.read_text("utf-8")
    cells = re.findall(
        r'<td class="(\w+ ?\w*)" style="--share: (\d+)%" title="([^"]*)">([^<]*)', html
    )
    by_title = {title: (kind, share, profit) for kind, share, title, profit in cells}
    assert len(cells) == len(by_title) == len(found) == 6
    largest = max(abs(point["runs"]["clean"]["profit"]) for point in found)
    for number, point in enumerate(found):
        profit = point["runs"]["clean"]["profit"]
        kind, share, shown = by_title[
            ", ".join(f"{name} {value}" for name, value in point["arguments"].items())
        ]
        assert shown == f"{profit:,.2f}"
        assert kind == ("gain" if profit > 0 else "loss") + (" best" if number == 0 else "")
        assert int(share) == round(100 * abs(profit) / largest)
    assert "bad False" in html
    assert "http" not in html


def test_under_faults_the_order_is_by_what_is_left(given: Given) -> None:
    options = ("--faults", str(given.plan), "--bare", "--jobs", "1")
    shown = given.command("--set", "every=25,40", *options)
    assert shown.exit_code == 0, shown.output
    assert "with" in shown.output
    assert "without" in shown.output
    ran = given.command("--set", "every=25,40", *options, "--json")
    guarded = [point["runs"]["guarded"]["profit"] for point in json.loads(ran.stdout)]
    assert guarded == sorted(guarded, reverse=True)


def test_a_bot_that_raises_is_told_with_its_arguments(given: Given) -> None:
    ran = given.command("--set", "bad=true,false", "--jobs", "1")
    assert ran.exit_code == 1
    assert "bad True: no faults: the bot raised ZeroDivisionError" in ran.output
    assert "2 combinations" in ran.output


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["every"], "is not NAME=VALUES"),
        (["every="], "is not NAME=VALUES"),
        (["every=1..x"], "is not first..last..step"),
        (["every=1..9..0"], "is not first..last..step"),
        (["every=9..1"], "holds no value"),
        (["every=1..9..-1"], "holds no value"),
        (["every=1..1e9"], "100,000 at most"),
        (["every=1,2", "every=3"], "given twice"),
        (["colour=1"], "colour"),
    ],
)
def test_values_that_can_not_be_are_refused(given: Given, values: list[str], says: str) -> None:
    ran = given.command(*(part for text in values for part in ("--set", text)), "--jobs", "1")
    assert ran.exit_code == 1, ran.output
    assert says in " ".join(ran.output.replace("│", " ").split())


def test_a_slip_in_the_plan_is_told_before_any_data_is_read(given: Given) -> None:
    given.plan.write_text(PLAN.replace("order_fault", "order_falt"))
    with pytest.raises(ConfigError, match=r"plan\.toml:2: .*did you mean 'order_fault'"):
        next(sweep(given.bot, ["no such file.csv"], GRID, faults=given.plan))
    with pytest.raises(ConfigError, match=r"plan\.toml:2: .*did you mean 'order_fault'"):
        backtest(given.bot, ["no such file.csv"], faults=given.plan)
    given.plan.write_text("[rates]\nserver_outage = { per_day = 2, secnds = [1, 2] }\n")
    with pytest.raises(ConfigError, match=r"plan\.toml:2: rates.server_outage.secnds"):
        backtest(given.bot, ["no such file.csv"], faults=given.plan)


def test_a_table_of_all_points(given: Given) -> None:
    pandas = pytest.importorskip("pandas")
    table = frames.sweep(sweep(given.bot, [str(given.data)], {"every": [40, 25]}))
    assert isinstance(table, pandas.DataFrame)
    assert list(table["every"]) == [40, 25]
    assert list(table["run"]) == ["clean", "clean"]
