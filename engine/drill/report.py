"""The drill as one page that needs nothing else: figures, pictures, scorecard."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Final

from holdfast.clock import SystemClock
from holdfast.page import page_style, pictures

from . import figures
from .checks import Check
from .conduct import DrillResult, Story
from .options import DrillOptions
from .scenarios import TITLES
from .story import sentences
from .timeline import Moment, picture

KEY_FIGURES: Final = (
    (1, "gate_shut_seconds", "Redis killed → first order refused"),
    (1, "opening_orders_after_shut", "opening orders after the gate shut"),
    (1, "events_lost", "events lost"),
    (1, "resume_seconds", "first PONG → trading again"),
    (2, "executions_per_intent_max", "executions of one order, at most"),
    (3, "policy_fresh_seconds", "first PONG → fresh policy"),
)
"""What stands on top: scenario, check, and what it is in few words."""

EXPLANATIONS: Final = {
    1: "Redis is killed with SIGKILL while the bot holds positions and tries an order every few "
    "milliseconds. From then on no order may open a position, nothing that was published may get "
    "lost, and trading may go on only after everything was replayed in order, the policy read "
    "anew and the positions compared with the exchange's.",
    2: "An order times out. A bot that sends it again may double it; one that does not may lose "
    "the trade. Here the first attempt never reaches the exchange and the second one is taken but "
    "never answered, while the bot, as bots do, impatiently submits the same order again and "
    "again.",
    3: "The policy changes when the bot can not hear it: just before Redis is killed, while it is "
    "dead, and by Redis coming back without its data. The old one must never be traded on. After "
    'an empty restart the engine writes the newest policy it knows back (on_empty = "restore"), or '
    'waits until a person has confirmed one (on_empty = "hold"); both are run.',
}


def page(result: DrillResult, *, options: DrillOptions) -> str:
    """The whole HTML document."""
    template = Template(resources.files(__package__).joinpath("report.html").read_text("utf-8"))
    passed = sum(check.passed for check in result.checks)
    return template.substitute(
        style=page_style(),
        verdict="passed" if result.passed else "failed",
        verdict_word="Passed" if result.passed else "Failed",
        score=escape(figures.percent(result.score)),
        passed=passed,
        count=len(result.checks),
        key_figures="".join(_key_figures(result.checks)),
        scenarios="".join(_scenario(result, number) for number in options.scenarios),
        circumstances=_circumstances(result, options),
    )


def _key_figures(checks: Iterable[Check]) -> Iterable[str]:
    by_name = {(check.scenario, check.id): check for check in checks}
    for scenario, name, label in KEY_FIGURES:
        check = by_name.get((scenario, name))
        if check is not None:
            yield (
                f'<li class="{_class(check)}"><b>{escape(figures.measured(check))}</b>'
                f"<span>{escape(label)}</span></li>"
            )


def _scenario(result: DrillResult, number: int) -> str:
    checks = [check for check in result.checks if check.scenario == number]
    stories = [story for story in result.stories if story.scenario == number]
    skipped = [m.text for m in result.timeline if m.scenario == number and m.kind == "skipped"]
    return (
        f"<section><h2><small>Scenario {number}</small> {escape(TITLES[number])}</h2>"
        f"<p>{escape(EXPLANATIONS[number])}</p>"
        + "".join(f'<p class="skipped">Skipped: {escape(text)}</p>' for text in skipped)
        + "".join(_story(story, result.timeline) for story in stories)
        + _table(checks)
        + "</section>"
    )


def _table(checks: list[Check]) -> str:
    rows = "".join(
        f'<tr class="{_class(check)}"><th scope="row">{_breakable(check.id)}'
        f"<small>{escape(check.what)}</small></th>"
        f'<td data-label="measured">{escape(figures.measured(check))}</td>'
        f'<td data-label="limit">{escape(figures.limit(check)) or "–"}</td>'
        f'<td class="verdict">{figures.verdict(check)}</td></tr>'
        for check in checks
    )
    return (
        '<table><thead><tr><th scope="col">check</th><th scope="col">measured</th>'
        f'<th scope="col">limit</th><th scope="col">verdict</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _story(story: Story, timeline: list[Moment]) -> str:
    drawn = picture(story.seen, title=story.run.title)
    svg = f"<h3>{escape(story.run.title)}</h3>" if drawn is None else pictures(drawn)
    told = "".join(f"<p>{escape(text)}</p>" for text in sentences(story.seen))
    moments = "".join(
        f"<tr><td>{moment.at_seconds:.3f} s</td><td>{escape(moment.kind)}</td>"
        f"<td>{escape(moment.text)}</td></tr>"
        for moment in timeline
        if moment.run == story.run.name
    )
    return (
        f'<div class="story">{svg}{told}'
        f'<details><summary>Moment by moment</summary><table class="moments">{moments}</table>'
        "</details></div>"
    )


def _circumstances(result: DrillResult, options: DrillOptions) -> str:
    now = datetime.fromtimestamp(SystemClock().time_ns() // 10**9, UTC)
    parts = [
        f"{now:%Y-%m-%d %H:%M} UTC",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
        result.server or "a Redis server of somebody else's, never killed",
        f"prices: {options.data.name}" if options.data else f"random walk, seed {options.seed}",
        f"outage of scenario 1: {options.outage_seconds:g} s",
    ]
    return " · ".join(escape(part) for part in parts)


def _class(check: Check) -> str:
    return "pass" if check.passed else "fail"


def _breakable(name: str) -> str:
    return f"<code>{escape(name).replace('_', '_<wbr>')}</code>"
