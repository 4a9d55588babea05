"""The drill for people at a terminal: what is going on, then the scorecard.

Progress goes to standard error, so that a pipe gets the scorecard or the JSON alone.
Colour and the live line appear only on a terminal; without one the same words come
as plain lines.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from . import figures
from .checks import Check
from .conduct import DrillResult
from .narrator import Counts

FRAMES_PER_SECOND = 8
WIDTH_WITHOUT_TERMINAL = 110


class TerminalNarrator:
    """Shows steps as they come and, on a terminal, a live line of what the bot does."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._counts = Counts()
        self._waiting: tuple[str, float, float] | None = None
        self._live = (
            Live(
                get_renderable=self._status,
                console=console,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
            )
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def scenario(self, number: int, title: str) -> None:
        self._waiting = None
        self._console.print(Text(f"\nScenario {number}  {title}", style="bold"))

    def step(self, text: str) -> None:
        self._waiting = None
        elapsed = Text(f"{time.monotonic() - self._began:7.2f} s  ", style="dim")
        self._console.print(elapsed + Text(text, style=_style(text)), highlight=False)

    def countdown(self, text: str, seconds: float) -> None:
        if self._live is None:
            self.step(f"{text}, for {seconds:g} s")
        self._waiting = (text, time.monotonic(), seconds)

    def counts(self, counts: Counts) -> None:
        self._counts = counts

    def _status(self) -> Padding:
        counts = self._counts
        line = Text.assemble(
            ("tries ", "dim"),
            f"{counts.tried:,}",
            ("   accepted ", "dim"),
            (f"{counts.accepted:,}", "green"),
            ("   refused, gate shut ", "dim"),
            (f"{counts.halted:,}", "yellow"),
            ("   events published ", "dim"),
            f"{counts.published:,}",
            ("   policy ", "dim"),
            counts.policy or "–",
        )
        if self._waiting is None:
            return Padding(line, (0, 0, 0, 11))
        text, began, seconds = self._waiting
        passed = min(time.monotonic() - began, seconds)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            Text(text, style="bold"),
            ProgressBar(total=seconds, completed=passed, width=24),
            Text(f"{seconds - passed:4.1f} s", style="dim"),
        )
        return Padding(Group(bar, line), (0, 0, 0, 11))


def scorecard(result: DrillResult, console: Console) -> None:
    """The table, what failed in words, what was skipped, and the score."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", justify="right")
    table.add_column("check", no_wrap=True)
    table.add_column("measured", justify="right", overflow="fold")
    table.add_column("limit", justify="right", overflow="fold")
    table.add_column("verdict")
    before: int | None = None
    for check in result.checks:
        if check.id.startswith("ran_to_end") and check.passed:
            continue  # counted, but nothing to look at
        table.add_row(
            "" if check.scenario == before else Text(str(check.scenario), style="bold"),
            check.id,
            figures.measured(check),
            Text(figures.limit(check), style="dim"),
            Text(figures.verdict(check), style="green" if check.passed else "bold red"),
        )
        before = check.scenario
    console.print()
    console.print(table)
    for check in result.checks:
        if not check.passed:
            console.print()
            console.print(_failure(check))
    for text in result.skipped:
        console.print(Text(f"skipped  {text}", style="yellow"))
    passed = sum(check.passed for check in result.checks)
    console.print()
    console.print(
        Text.assemble(
            (
                "PASSED" if result.passed else "FAILED",
                "bold green" if result.passed else "bold red",
            ),
            f"  score {figures.percent(result.score)} of 100: {passed} of {len(result.checks)} "
            "checks passed",
        )
    )


def _failure(check: Check) -> Text:
    return Text.assemble(
        (f"scenario {check.scenario}, {check.id}: ", "bold red"),
        f"measured {figures.measured(check)}, limit {figures.limit(check) or 'none'}. {check.what}",
    )


def _style(text: str) -> str:
    if "killed (SIGKILL)" in text or text.startswith("broken off"):
        return "red"
    return "green" if "started again" in text else ""


def for_people(*, to_stderr: bool) -> Console:
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console
