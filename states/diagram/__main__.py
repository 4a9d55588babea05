"""`python -m holdfast.states.diagram --write diagrams/` draws the kept pictures anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.states.table import State

from . import (
    GateSpan,
    Mark,
    MarkKind,
    RenderError,
    StateSpan,
    Timeline,
    dot,
    mermaid,
    png,
    svg,
    timeline_svg,
)

EXAMPLE = Timeline(
    title="Example: the bus is killed, comes back, and a fill arrives that nobody expected",
    states=(
        StateSpan(State.DEGRADED, 0.0, 1.2),
        StateSpan(State.RECOVERING, 1.2, 2.0),
        StateSpan(State.RECONCILING, 2.0, 3.5),
        StateSpan(State.HEALTHY, 3.5, 30.0),
        StateSpan(State.DEGRADED, 30.0, 52.0),
        StateSpan(State.RECOVERING, 52.0, 54.5),
        StateSpan(State.RECONCILING, 54.5, 57.0),
        StateSpan(State.HEALTHY, 57.0, 96.0),
        StateSpan(State.RECONCILING, 96.0, 99.0),
        StateSpan(State.HEALTHY, 99.0, 120.0),
    ),
    gate=(
        GateSpan(False, 0.0, 3.5),
        GateSpan(True, 3.5, 30.0),
        GateSpan(False, 30.0, 57.0),
        GateSpan(True, 57.0, 96.0),
        GateSpan(False, 96.0, 99.0),
        GateSpan(True, 99.0, 120.0),
    ),
    marks=(
        Mark(MarkKind.ORDER, 18.0, "order filled"),
        Mark(MarkKind.FAULT, 30.0, "bus killed"),
        Mark(MarkKind.ORDER, 38.0, "order refused: gate shut"),
        Mark(MarkKind.EVENT, 50.0, "bus back, empty"),
        Mark(MarkKind.EVENT, 54.5, "41 events replayed"),
        Mark(MarkKind.ORDER, 71.0, "order filled"),
        Mark(MarkKind.FAULT, 96.0, "unexpected fill"),
    ),
)


def texts() -> dict[str, str]:
    """The kept pictures that are text, by file name."""
    return {
        "states.svg": svg(),
        "states.mmd": mermaid(),
        "states.dot": dot(),
        "timeline.svg": timeline_svg(EXAMPLE),
    }


def write(folder: Path) -> None:
    """Draw all of them; without a program for the PNG, that one is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in texts().items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    try:
        (folder / "states.png").write_bytes(png())
    except RenderError as error:
        sys.stderr.write(f"states.png not drawn: {error}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m holdfast.states.diagram")
    parser.add_argument("--write", type=Path, metavar="FOLDER", required=True)
    write(parser.parse_args().write)


if __name__ == "__main__":
    main()
