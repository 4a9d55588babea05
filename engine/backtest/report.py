"""A backtest as one page that needs nothing else: equity curves over the states, and the table."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Final, NamedTuple

from holdfast import __version__
from holdfast.clock import SystemClock
from holdfast.page import page_style, pictures
from holdfast.states.diagram import GateSpan, Mark, MarkKind, StateSpan, Timeline
from holdfast.states.diagram.curves import Curve
from holdfast.states.diagram.style import BLUE, GREEN, RED
from holdfast.states.diagram.timeline import duration
from holdfast.states.table import State

from . import figures
from .result import Backtest, Run, RunName
from .states import DEAD

HUES: Final[dict[RunName, str]] = {"clean": BLUE, "guarded": GREEN, "bare": RED}
BAD: Final = ("doubled", "missed", "stale_policy_orders", "stale_policy_seconds", "events_lost",
              "wrong_positions")  # fmt: skip
"""Figures that should be nothing; where one is not, it stands out."""
_WHEN: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
NOTHING: Final = ("0", figures.NONE, "right")

EXPLANATION: Final = (
    "Three runs of the same bot on the same market: while nothing fails, under the faults with "
    "holdfast, and under the same faults without it. The curves are the profit of each, fees "
    "and funding paid; below are the states of the guarded run. Where its gate was shut the ground "
    "is shaded: there it could get out, and opened nothing."
)
EXPLANATION_OF_ONE: Final = "Profit of the run, fees and funding paid, and its states."
MEANING: Final = (
    "An order is doubled when the venue has more than one for one decision of the bot, and missed "
    "when it was sent and the venue has none. Blocked orders were refused before anything was "
    "sent: by the gate, or by a policy that forbids them. A stale policy is one that its store did "
    "not hold any more, or could not be asked for, when an opening order went by it. Without "
    "holdfast the bot sends an order again when it is not answered, trades on the policy it read "
    "last, adds up the fills that it hears of, and sends its events once."
)


def page(backtest: Backtest) -> str:
    """The whole HTML document."""
    template = Template(resources.files(__package__).joinpath("report.html").read_text("utf-8"))
    compared = len(backtest.runs) > 1
    shown = backtest.run("guarded") or backtest.runs[0]
    return template.substitute(
        style=page_style(),
        title=escape(backtest.bot.rpartition(":")[2]),
        verdict="passed" if backtest.ok else "failed",
        data=_WHEN.sub(
            r'<span class="when">\g<0></span>', escape("; ".join(figures.data_lines(backtest)))
        ),
        account=escape(figures.account_line(backtest.account)),
        trouble="".join(
            f'<p class="wrong">{escape(line)}</p>'
            for line in (*figures.liquidated(backtest), *figures.trouble(backtest))
        ),
        key_figures="".join(_key_figures(backtest)),
        table_title="Side by side" if compared else "The figures",
        picture_title="What the outages did" if compared else "The run",
        explanation=EXPLANATION if compared else EXPLANATION_OF_ONE,
        picture=pictures(picture(backtest, shown)),
        heads="".join(
            f'<th scope="col">{escape(figures.TITLES[run.name])}</th>' for run in backtest.runs
        ),
        rows="".join(_rows(backtest)),
        meaning="".join(
            f"<p>{escape(line)}</p>"
            for line in (*figures.beliefs(backtest), *figures.refused(backtest))
        )
        + (f"<p>{MEANING}</p>" if compared else ""),
        faults=_faults(backtest),
        circumstances=escape(circumstances(backtest)),
    )


class _Key(NamedTuple):
    name: str
    label: str
    bad: bool = False
    """Anything but none of it is a failure; of the others nobody says what is good."""


_KEYS: Final = (
    _Key("profit", "profit and loss"),
    _Key("doubled", "orders doubled", bad=True),
    _Key("stale_policy_seconds", "oldest policy traded on", bad=True),
    _Key("max_exposure", "most held at once"),
)


def _key_figures(backtest: Backtest) -> Iterator[str]:
    """The guarded run's figure, and below it the bare one's."""
    by_name = {row.name: row.values for row in figures.rows(backtest)}
    names = [run.name for run in backtest.runs]
    best = names.index("guarded") if "guarded" in names else 0
    for key in _KEYS:
        values = by_name[key.name]
        value = "none" if values[best] == figures.NONE else values[best]
        others = "".join(
            f"<br>{figures.TITLES[name]}: {escape(value)}"
            for i, (name, value) in enumerate(zip(names, values, strict=True))
            if i != best
        )
        verdict = "plain" if not key.bad else "pass" if values[best] in NOTHING else "fail"
        yield (
            f'<li class="{verdict}"><b>{escape(value)}</b>'
            f"<span>{escape(key.label)}{others}</span></li>"
        )


def _rows(backtest: Backtest) -> Iterator[str]:
    first_state = True
    for row in figures.rows(backtest):
        is_state = row.name.startswith("state_")
        cells = "".join(
            f'<td class="{_class(row.name, value)}">{escape(value)}</td>' for value in row.values
        )
        mark = ' class="break"' if is_state and first_state else ""
        first_state = first_state and not is_state
        yield f'<tr{mark}><th scope="row">{escape(row.label)}</th>{cells}</tr>'


def _class(name: str, value: str) -> str:
    return "worse" if name in BAD and value not in NOTHING else ""


def picture(backtest: Backtest, shown: Run) -> Timeline:
    """The curves of all runs over the states of one."""
    start_ms = min(data.first_ms for data in backtest.data)
    end = max(data.last_ms for data in backtest.data) / 1000 - start_ms / 1000
    spans = [(state, a, min(b, end)) for state, a, b in shown.states if a < end]
    return Timeline(
        title=f"from {figures.moment(start_ms)[:16]} UTC",
        states=tuple(StateSpan(State(s), a, b) for s, a, b in spans if s != DEAD),
        gate=tuple(GateSpan(s == State.HEALTHY, a, b) for s, a, b in spans),
        marks=tuple(
            Mark(
                MarkKind.FAULT,
                (fault.at_ms - start_ms) / 1000,
                fault.text.partition(" ")[0].replace("_", " "),
            )
            for fault in backtest.faults
        ),
        curves=tuple(
            _curve(run, start_ms, dashed=run.name == "clean" and len(backtest.runs) > 1)
            for run in backtest.runs
        ),
    )


def _curve(run: Run, start_ms: int, *, dashed: bool) -> Curve:
    points = [((at - start_ms) / 1000, worth) for at, worth in run.equity]
    return Curve(
        label=figures.TITLES[run.name],
        value=f"{run.profit:+,.2f}",
        hue=HUES[run.name],
        points=((0.0, 0.0), *points),
        dashed=dashed,
    )


def _faults(backtest: Backtest) -> str:
    if not backtest.faults:
        return ""
    items = "".join(
        f"<li><time>{figures.moment(fault.at_ms)}</time>{escape(fault.text)}</li>"
        for fault in backtest.faults
    )
    return (
        f"<section><h2>The faults</h2><details><summary>{len(backtest.faults)} of them, seed "
        f'{backtest.seed}</summary><ul class="faults">{items}</ul></details></section>'
    )


def circumstances(backtest: Backtest) -> str:
    """When, with what, and over how long it was run; for the foot of a page."""
    now = datetime.fromtimestamp(SystemClock().time_ns() // 10**9, UTC)
    traded = sum(data.last_ms - data.first_ms for data in backtest.data[:1]) / 1000
    return " · ".join(
        (
            f"{now:%Y-%m-%d %H:%M} UTC",
            f"holdfast {__version__}",
            f"Python {platform.python_version()}",
            f"{duration(traded)} of market time",
            "the same command gives the same figures again",
        )
    )
