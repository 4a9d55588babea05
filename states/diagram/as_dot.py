"""The state machine as Graphviz DOT.

Only the steps up decide where a state stands (`constraint`), which keeps the
spine straight; everything else is drawn around it.
"""

from __future__ import annotations

from html import escape

from holdfast.states.table import INITIAL, STATES, State, Trigger

from .graph import Arc, Kind, Last, check_last, graph, is_last
from .style import KIND_HUE, LEVEL_HUE, LIGHT, STATE_HUE

_FONT = "Helvetica,Arial,sans-serif"
_STYLE = {Kind.RECOVERY: "solid", Kind.FAULT: "dashed", Kind.BACKSLIDE: "solid"}
_PER_LINE = 3


def dot(*, current: State | None = None, last: Last | None = None) -> str:
    """The state machine as a DOT digraph.

    :param current: the state to draw with a thick border.
    :param last: the transition to draw with a thick line.
    :raises ValueError: `last` is not in the table.
    """
    check_last(last)
    drawn = graph()
    lines = [
        "digraph holdfast {",
        '  graph [rankdir=BT, nodesep=0.6, ranksep=0.45, pad=0.3, bgcolor="#ffffff",',
        f'         fontname="{_FONT}", fontsize=20, labelloc=t, ',
        r'         label="Four states, one way up\n "]',
        f'  node [shape=plain, fontname="{_FONT}", fontsize=12]',
        f'  edge [fontname="{_FONT}", fontsize=12, arrowsize=0.8]',
        f'  start [shape=point, width=0.12, color="{LIGHT[STATE_HUE[INITIAL]]}"]',
        f'  start -> {INITIAL} [color="{LIGHT[STATE_HUE[INITIAL]]}", penwidth=1.6, weight=100]',
    ]
    lines += [
        f"  {state} [label=<{_card(state, drawn.internal[state], current, last)}>]"
        for state in drawn.spine
    ]
    lines += [f"  {arc.source} -> {arc.dest} [{_attributes(arc, last)}]" for arc in drawn.arcs]
    return "\n".join((*lines, "}", ""))


def _card(
    state: State, internal: tuple[Trigger, ...], current: State | None, last: Last | None
) -> str:
    spec = STATES[state]
    colour, dim = LIGHT[STATE_HUE[state]], LIGHT["dim"]
    effects = [
        " › ".join(spec.effects[i : i + _PER_LINE]) for i in range(0, len(spec.effects), _PER_LINE)
    ]
    rows = [
        f'<b><font point-size="16" color="{colour}">{state}</font></b>  '
        f'<font point-size="11" color="{LIGHT[LEVEL_HUE[spec.level]]}">{spec.level}</font>',
        escape(spec.meaning),
        *(f'<font face="Courier" point-size="11">{line}</font>' for line in effects),
    ]
    if internal:
        names = ", ".join(
            f"<b>{name}</b>" if is_last(last, state, name, None) else name for name in internal
        )
        rows.append(f'<font point-size="10" color="{dim}">stays on {names}</font>')
    cells = "".join(f'<tr><td align="left" border="0">{row}</td></tr>' for row in rows)
    border, fill = (4, f"{colour}22") if state is current else (1, "#ffffff")
    return (
        f'<table border="{border}" color="{colour}" bgcolor="{fill}" style="rounded" '
        f'cellborder="0" cellspacing="2" cellpadding="3">{cells}</table>'
    )


def _attributes(arc: Arc, last: Last | None) -> str:
    lit = {name for name in arc.triggers if is_last(last, arc.source, name, arc.dest)}
    names = ", ".join(f"<u>{name}</u>" if name in lit else name for name in arc.triggers)
    small = f'<font point-size="10" color="{LIGHT["dim"]}">'
    rows = [f"<b>{names}</b>"]
    rows += [
        f"{small}{', '.join(arc.guards[i : i + _PER_LINE])}</font>"
        for i in range(0, len(arc.guards), _PER_LINE)
    ]
    label = "".join(f'&#160;&#160;{row}<br align="left"/>' for row in rows)
    colour = LIGHT[KIND_HUE[arc.kind]]
    place = "weight=100" if arc.kind is Kind.RECOVERY else "constraint=false"
    return (
        f'label=<{label}>, color="{colour}", fontcolor="{colour}", style={_STYLE[arc.kind]}, '
        f"penwidth={4 if lit else 1.6}, {place}"
    )
