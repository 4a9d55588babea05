"""The state picture as SVG: the `geometry`, painted."""

from __future__ import annotations

import math

from holdfast.states.table import Level, State

from .elements import arrow_head, document, number, path, rect, route_data, text
from .geometry import Card, Edge, Layout, Sample, layout
from .graph import Last, check_last, is_last
from .shapes import Box, Route, Text
from .style import KIND_HUE, LEVEL_HUE, STATE_HUE

_HEAD = 11.0


def svg(*, current: State | None = None, last: Last | None = None) -> str:
    """The state machine as a self-contained SVG, for light and dark pages.

    :param current: the state to draw with a thick border.
    :param last: the transition to draw with a thick line.
    :raises ValueError: `last` is not in the table.
    """
    check_last(last)
    plan = layout()
    body = [text(item, f"hf-{item.role}") for item in plan.heading]
    body += [_edge(edge, last) for edge in plan.edges]
    body += _start(plan)
    body += [_card(card, current, last) for card in plan.cards]
    body += [_sample(sample) for sample in plan.legend]
    body += [text(item, "hf-dim") for item in plan.notes]
    return document(plan.width, plan.height, "holdfast: states", _description(plan), body)


def _gate_icon(x: float, y: float, *, is_open: bool) -> str:
    """A level crossing's boom, 18 wide: level when shut, raised when open. (x, y): post's foot."""
    boom = f"M{number(x)} {number(y - 5)}l13 -8" if is_open else f"M{number(x)} {number(y - 6)}h17"
    post = f"M{number(x)} {number(y)}v-9"
    rest = "" if is_open else f"M{number(x + 17)} {number(y)}v-9"
    return path(post + boom + rest, "hf-line", extra=' stroke-linecap="round"')


def _description(plan: Layout) -> str:
    steps = "; ".join(
        f"{edge.arc.source} to {edge.arc.dest} on {', '.join(edge.arc.triggers)}"
        for edge in plan.edges
    )
    return f"Transitions: {steps}."


def _edge(edge: Edge, last: Last | None) -> str:
    arc = edge.arc
    lit = any(is_last(last, arc.source, trigger, arc.dest) for trigger in arc.triggers)
    hue = f"hf-{KIND_HUE[arc.kind]}"
    parts = [
        f'<g class="{hue} hf-{arc.kind}{" hf-last" if lit else ""}">',
        path(route_data(edge.route, short=_HEAD - 1), "hf-line"),
        arrow_head(edge.route, length=_HEAD + (4 if lit else 0)),
    ]
    for trigger, item in edge.label.triggers:
        if is_last(last, arc.source, trigger, arc.dest):
            parts.append(_marker(item))
        parts.append(text(item, "hf-fill"))
    parts += [text(item, "hf-dim") for item in edge.label.remarks]
    return "".join((*parts, "</g>"))


def _marker(item: Text) -> str:
    """The tinted ground of a highlighted trigger's name."""
    box = item.box
    return rect(Box(box.left - 4, box.top - 1, box.right + 4, box.bottom + 1), "hf-tint", radius=4)


def _start(plan: Layout) -> list[str]:
    (x, y), _ = plan.start.corners
    return [
        f'<g class="hf-{STATE_HUE[plan.cards[-1].state]}">'
        + path(route_data(plan.start, short=_HEAD - 1), "hf-line")
        + arrow_head(plan.start, length=_HEAD)
        + f'<circle cx="{number(x)}" cy="{number(y)}" r="5" class="hf-fill"/></g>',
        text(plan.start_text, "hf-dim"),
    ]


def _card(card: Card, current: State | None, last: Last | None) -> str:
    box, radius = card.box, 10.0
    hue = f"hf-{STATE_HUE[card.state]}"
    parts = [f'<g class="{hue}">', rect(box, "hf-card", radius=radius)]
    if card.state is current:
        parts.append(rect(box, "hf-tint", radius=radius))
    parts.append(_stripe(box, radius))
    if card.state is current:
        parts.append(rect(box, "hf-line", radius=radius, extra=' style="stroke-width:4"'))
    parts += [
        text(item, "hf-fill" if item.role == "name" else f"hf-{item.role}") for item in card.texts
    ]
    parts.append(_effects(card))
    for trigger, item in card.internal:
        if is_last(last, card.state, trigger, None):
            parts.append(_marker(item))
            parts.append(text(item._replace(bold=True), "hf-fill"))
        else:
            parts.append(text(item, "hf-dim"))
    parts.append("</g>")
    badge = card.badge
    parts += [
        f'<g class="hf-{LEVEL_HUE[card.level]}">',
        rect(badge.box, "hf-frame", radius=badge.box.height / 2),
        _gate_icon(badge.box.left + 10, badge.box.bottom - 6, is_open=card.level is Level.ACTIVE),
        text(badge.text, "hf-fill"),
        "</g>",
    ]
    return "".join(parts)


def _stripe(box: Box, radius: float) -> str:
    """The coloured left edge of a card, following its round corners."""
    width = 6.0
    drop = radius - math.sqrt(radius**2 - (radius - width) ** 2)
    return path(
        f"M{number(box.left + width)} {number(box.top + drop)}"
        f"A{number(radius)} {number(radius)} 0 0 0 {number(box.left)} {number(box.top + radius)}"
        f"V{number(box.bottom - radius)}"
        f"A{number(radius)} {number(radius)} 0 0 0 {number(box.left + width)} "
        f"{number(box.bottom - drop)}Z",
        "hf-fill",
    )


def _effects(card: Card) -> str:
    parts = []
    for number_, chip in enumerate(card.effects):
        parts.append(rect(chip.box, "hf-frame", radius=5))
        parts.append(text(chip.text, "hf-ink"))
        if number_ + 1 < len(card.effects):
            x, y = chip.box.right + 6, (chip.box.top + chip.box.bottom) / 2
            parts.append(
                path(
                    f"M{number(x)} {number(y - 4)}l4 4l-4 4",
                    "hf-line",
                    extra=' style="stroke-width:1.5;stroke-opacity:.6"',
                )
            )
    return "".join(parts)


def _sample(sample: Sample) -> str:
    box = sample.box
    if sample.kind is None:
        shape = f'<g class="hf-blue">{rect(box, "hf-frame", radius=5)}</g>'
    else:
        y = (box.top + box.bottom) / 2
        route = Route(((box.left, y), (box.right, y)))
        shape = (
            f'<g class="hf-{KIND_HUE[sample.kind]} hf-{sample.kind}">'
            f"{path(route_data(route, short=_HEAD - 1), 'hf-line')}"
            f"{arrow_head(route, length=_HEAD)}</g>"
        )
    return shape + text(sample.text, "hf-dim")
