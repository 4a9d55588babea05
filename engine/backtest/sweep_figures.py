"""The points of a sweep in order, as rows and as maps: the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from . import figures
from .result import Run, RunName
from .sweeping import Point


def run_of(point: Point, name: RunName) -> Run:
    """The run of that name, which every point of a sweep has or none."""
    run = point.backtest.run(name)
    assert run is not None, "each point has the same runs"
    return run


def judged(points: Sequence[Point]) -> RunName:
    """The run that decides: under the faults on holdfast, if there are faults."""
    return "clean" if points[0].backtest.run("guarded") is None else "guarded"


def in_order(points: Sequence[Point]) -> list[Point]:
    """The best first."""
    name = judged(points)
    return sorted(points, key=lambda point: (-run_of(point, name).profit, str(point.arguments)))


def heads(points: Sequence[Point]) -> list[str]:
    """Of the columns: the arguments, the profit of each run, and what else the one that decides
    has come to."""
    names = [run.name for run in points[0].backtest.runs]
    profits = ["profit and loss"] if len(names) == 1 else [_profit_of(name) for name in names]
    return [*points[0].arguments, *profits, *figures.SWEPT]


def _profit_of(name: RunName) -> str:
    return f"profit, {figures.TITLES[name]}"


def row(point: Point, name: RunName) -> list[str]:
    """The values below `heads`."""
    return [
        *map(str, point.arguments.values()),
        *(figures.money(run.profit) for run in point.backtest.runs),
        *figures.swept(run_of(point, name)),
    ]


def troubles(points: Sequence[Point]) -> Iterator[str]:
    """What kept a point from being good, in sentences."""
    for point in points:
        for line in figures.trouble(point.backtest):
            yield f"{said(point.arguments)}: {line}"


def said(arguments: dict[str, Any]) -> str:
    """`fast 10, slow 50`."""
    return ", ".join(f"{name} {value}" for name, value in arguments.items())


class Map(NamedTuple):
    """Profits over the values of two arguments, or of one.

    :ivar title: the values of all the others; "" if there are none.
    :ivar down, across: names; `down` is "" where there is one argument only.
    :ivar rows: a value of `down`, and the points along `across`.
    """

    title: str
    down: str
    across: str
    columns: list[Any]
    rows: list[tuple[Any, list[Point]]]


def maps(points: Sequence[Point]) -> list[Map]:
    """One for each combination of the arguments beyond the two with the most values, in the order
    of the best point of each."""
    values = {
        name: _in_value(list(dict.fromkeys(point.arguments[name] for point in points)))
        for name in points[0].arguments
    }
    widest = sorted(values, key=lambda name: -len(values[name]))
    across, down = widest[0], widest[1] if len(widest) > 1 else ""
    others = [name for name in values if name not in (across, down)]
    at = {tuple(point.arguments.values()): point for point in points}
    found: list[Map] = []
    for combination in product(*(values[name] for name in others)):
        fixed = dict(zip(others, combination, strict=True))
        rows = []
        for value in values[down] if down else [""]:
            here = {**fixed, down: value}
            rows.append(
                (
                    value,
                    [at[tuple({**here, across: x}[name] for name in values)]
                     for x in values[across]],
                )
            )  # fmt: skip
        found.append(Map(said(fixed), down, across, values[across], rows))
    name = judged(points)

    def best(each: Map) -> Any:
        return max(run_of(point, name).profit for _, line in each.rows for point in line)

    return sorted(found, key=best, reverse=True)


def _in_value(values: list[Any]) -> list[Any]:
    """Numbers by size; what can not be compared stays in the order in which it was given."""
    try:
        return sorted(values)
    except TypeError:
        return values
