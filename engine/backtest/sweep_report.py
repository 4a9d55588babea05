"""A sweep as one page that needs nothing else: where the profit lies, and the best points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from html import escape
from importlib import resources
from string import Template
from typing import Final

from holdfast.page import page_style

from . import figures
from .report import circumstances
from .result import RunName
from .sweep_figures import Map, heads, in_order, judged, maps, row, run_of, said, troubles
from .sweeping import Point

ROWS: Final = 50
"""Points in the table; the maps show all of them."""
MAPS: Final = 24
FAULTS: Final = "The profit is that under the faults, on holdfast."
EXPLANATION: Final = (
    "The profit at each combination, fees and funding paid: green is gained, red is lost, the "
    "stronger the more. A good value among bad neighbours is luck; look for a field of good ones."
)


def page(points: Sequence[Point]) -> str:
    """The whole HTML document.

    :param points: at least one.
    """
    template = Template(resources.files(__package__).joinpath("sweep.html").read_text("utf-8"))
    ordered, name = in_order(points), judged(points)
    drawn = maps(points)
    largest = max((abs(run_of(point, name).profit) for point in points), default=Decimal(0))
    left_out = len(drawn) - MAPS
    best = ordered[0]
    return template.substitute(
        style=page_style(),
        title=escape(best.backtest.bot.rpartition(":")[2]),
        verdict="passed" if all(point.backtest.ok for point in points) else "failed",
        data=escape("; ".join(figures.data_lines(best.backtest))),
        account=escape(figures.account_line(best.backtest.account)),
        trouble="".join(f'<p class="wrong">{escape(line)}</p>' for line in troubles(ordered)),
        key_figures="".join(_key_figures(ordered, name)),
        explanation=EXPLANATION if name == "clean" else f"{EXPLANATION} {FAULTS}",
        maps="".join(_map(each, name, largest, best) for each in drawn[:MAPS])
        + (f"<p>and {left_out:,} more maps</p>" if left_out > 0 else ""),
        heads="".join(f'<th scope="col">{escape(head)}</th>' for head in heads(ordered)),
        rows="".join(
            "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row(point, name)) + "</tr>"
            for point in ordered[:ROWS]
        ),
        count=f"The best {ROWS:,} of {len(points):,} points"
        if len(points) > ROWS
        else "All points",
        circumstances=escape(circumstances(best.backtest)),
    )


def _key_figures(ordered: Sequence[Point], name: RunName) -> Iterator[str]:
    profits = [run_of(point, name).profit for point in ordered]
    gained = sum(profit > 0 for profit in profits)
    middle = profits[len(profits) // 2]
    yield _key(figures.money(profits[0]), f"the best: {said(ordered[0].arguments)}", profits[0] > 0)
    yield _key(f"{gained:,} of {len(profits):,}", "points with a profit", gained > 0)
    yield _key(figures.money(middle), "in the middle (median)", middle > 0)
    yield _key(figures.money(profits[-1]), f"the worst: {said(ordered[-1].arguments)}",
               profits[-1] > 0)  # fmt: skip


def _key(value: str, label: str, good: bool) -> str:
    mark = "pass" if good else "fail"
    return f'<li class="{mark}"><b>{escape(value)}</b><span>{escape(label)}</span></li>'


def _map(each: Map, name: RunName, largest: Decimal, best: Point) -> str:
    corner = f"{each.down} ↓ {each.across} →" if each.down else f"{each.across} →"
    columns = "".join(f'<th scope="col">{escape(str(value))}</th>' for value in each.columns)
    lines = "".join(
        f'<tr><th scope="row">{escape(str(value))}</th>'
        + "".join(_cell(point, name, largest, best) for point in points)
        + "</tr>"
        for value, points in each.rows
    )
    title = f"<h3>{escape(each.title)}</h3>" if each.title else ""
    return (
        f'{title}<div class="scroll"><table class="map"><thead><tr><th>{escape(corner)}</th>'
        f"{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _cell(point: Point, name: RunName, largest: Decimal, best: Point) -> str:
    profit = run_of(point, name).profit
    share = 0 if not largest else round(100 * abs(profit) / largest)
    kind = "gain" if profit > 0 else "loss"
    mark = " best" if point is best else ""
    return (
        f'<td class="{kind}{mark}" style="--share: {share}%" '
        f'title="{escape(said(point.arguments))}">{figures.money(profit)}</td>'
    )
