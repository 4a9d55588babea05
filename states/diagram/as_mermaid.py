"""The state machine as Mermaid text, which GitHub and many editors draw themselves.

Mermaid's grammar (stateDiagram.jison) ends a description at a colon, a semicolon
or the end of the line, and draws a backslash-n as those two characters. So lines
are broken with `<br/>` and the table's words lose their semicolons. It can style
states but no transition, so the last transition is marked in its label.
"""

from __future__ import annotations

import re

from holdfast.states.table import INITIAL, STATES, State

from .graph import Arc, Last, check_last, graph, is_last
from .style import LIGHT, STATE_HUE

_HEADER = (
    "---",
    "title: Four states, one way up",
    "---",
    "stateDiagram-v2",
    "    direction BT",
)
_WIDTH = 4
"""Stroke of the current state; the others have 1."""


def mermaid(*, current: State | None = None, last: Last | None = None) -> str:
    """The state machine as a Mermaid `stateDiagram-v2`.

    :param current: the state to draw with a thick border.
    :param last: the transition whose label is marked with a dot and "last".
    :raises ValueError: `last` is not in the table.
    """
    check_last(last)
    drawn = graph()
    lines = [*_HEADER]
    lines += [f'    state "{_card(state, last)}" as {state}' for state in drawn.spine]
    lines.append(f"    [*] --> {INITIAL}")
    between: dict[tuple[State, State], list[Arc]] = {}
    for arc in drawn.arcs:
        between.setdefault((arc.source, arc.dest), []).append(arc)
    for (source, dest), arcs in between.items():
        lines.append(f"    {source} --> {dest} : {_label(arcs, last)}")
    for state in drawn.spine:
        colour = LIGHT[STATE_HUE[state]]
        stroke = _WIDTH if state is current else 1
        fill = "33" if state is current else "14"
        lines.append(
            f"    classDef {state.lower()} fill:{colour}{fill},stroke:{colour},"
            f"stroke-width:{stroke}px"
        )
        lines.append(f"    class {state} {state.lower()}")
    return "\n".join((*lines, ""))


def _card(state: State, last: Last | None) -> str:
    spec = STATES[state]
    parts = [
        f"<b>{state}</b> ({spec.level})",
        f"<small>{_plain(spec.meaning)}</small>",
        f"<small>{' > '.join(spec.effects)}</small>",
    ]
    if internal := graph().internal[state]:
        names = ", ".join(_marked(name, is_last(last, state, name, None)) for name in internal)
        parts.append(f"<small>stays on {names}</small>")
    return "<br/>".join(parts)


def _label(arcs: list[Arc], last: Last | None) -> str:
    """The words of one line. Parallel lines would differ in colour only, which Mermaid lacks."""
    names = "<br/>".join(
        _marked(name, is_last(last, arc.source, name, arc.dest))
        for arc in arcs
        for name in arc.triggers
    )
    guards = (f"<small>{guard}</small>" for arc in arcs for guard in arc.guards)
    return "<br/>".join((f"<b>{names}</b>", *guards))


def _marked(name: str, lit: bool) -> str:
    return f"● {name} (last)" if lit else name


def _plain(text: str) -> str:
    """Without the characters that end a description or open a tag."""
    return re.sub(r"\s+", " ", re.sub(r"[:;#<>\"\\]", ",", text)).replace(" ,", ",")
