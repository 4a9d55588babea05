"""Samples, medians, goals, and the one way in which benchmarks print them.

A benchmark adds samples by name, states its goals, and ends with `show`. What is compared is
measured in turns within each round, so that a noisy neighbour hits all alike; ratios are
medians of the ratios within the rounds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    :ivar goal: None: nothing is asked of it, it stands there to be compared with.
    :ivar measured: None: it could not be measured here.
    :ivar higher: on which side of the goal it passes.
    """

    what: str
    goal: float | None
    measured: float | None
    detail: str = ""
    higher: bool = False

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "skipped"
        if self.goal is None:
            return ""
        met = self.measured >= self.goal if self.higher else self.measured <= self.goal
        return "pass" if met else "MISS"


class Figures:
    """Samples by name; the medians of all rounds."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        self.samples[name].append(value)

    def __getitem__(self, name: str) -> float | None:
        return statistics.median(self.samples[name]) if self.samples.get(name) else None

    def ratio(self, over: str, under: str) -> float | None:
        """Median of the ratios within each round."""
        pairs = zip(self.samples.get(over, ()), self.samples.get(under, ()), strict=False)
        ratios = [above / below for above, below in pairs]
        return statistics.median(ratios) if ratios else None

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.samples.items()}


def show(
    goals: Sequence[Goal],
    *,
    as_json: bool,
    medians: Mapping[str, float],
    setting: str,
    skipped: Mapping[str, str] | None = None,
    in_full: bool = False,
    **more: Any,
) -> None:
    """Print the table, or one JSON object.

    :param medians: by name; a table shows them only `in_full`.
    :param setting: how it was measured, in a few words.
    :param skipped: what could not be measured, and why.
    :param more: for the JSON alone.
    """
    if as_json:
        rows = [asdict(goal) | {"verdict": goal.verdict} for goal in goals]
        whole = {"goals": rows, "medians": dict(medians), "skipped": dict(skipped or {}), **more}
        json.dump(whole, sys.stdout, indent=1)
        print()
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cpus, {setting}")
    if in_full:
        for name, value in medians.items():
            print(f"    {name:<44}{value:>14,.1f}")
    width = max((len(goal.what) for goal in goals), default=0) + 2
    for goal in goals:
        measured = "-" if goal.measured is None else _number(goal.measured)
        asked = "" if goal.goal is None else f"{'>=' if goal.higher else '<='} {_number(goal.goal)}"
        print(f"{goal.what:<{width}}{asked:>14}{measured:>14}  {goal.verdict:<8}{goal.detail}")
    for name, why in (skipped or {}).items():
        print(f"    {name}: skipped, {why}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"
