"""Where everything of the state picture stands, computed from the table.

The states are cards on one straight spine, the initial one at the bottom, since
the way back is a way up. Steps up run between the cards, with their guards
beside them. What falls, falls outside: faults on the right, backslides on the
left, each on a lane of its own; the longer the fall, the further out the lane,
so that no two of them cross. The result is data, and a test measures on it that
no label touches a line, a card or another label.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.states.table import STATES, Level, State, Trigger

from .graph import Arc, Graph, Kind, graph
from .metrics import text_width, wrap, wrap_words
from .shapes import Box, Route, Text, around

WIDTH = 720.0
_MARGIN = 28.0
_LANE_STEP = 17.0
_STUB_PAD = 9.0  # between a label on a stub and the card or the lane beside it
_RADIUS = 14.0
_TITLE = "Four states, one way up"
_LEAD = (
    "Whatever fails, the gate shuts first and the engine falls to DEGRADED. It climbs back one "
    "proven step at a time; orders that open a position exist only at the top."
)
_NOTES = (
    "ACTIVE: any order the policy allows. REDUCING: only orders that shrink a position, and "
    "cancels. Grey beside a step: its guards, all of which must hold."
)

_NAME, _BODY, _CODE, _SMALL, _TRIGGER = 18.0, 13.0, 12.0, 11.5, 13.5
_CARD_PAD = 17.0
_CHIP_HEIGHT, _CHIP_PAD, _CHIP_GAP, _CHIP_ROW = 22.0, 8.0, 17.0, 28.0
_ARRIVAL_STEP = 19.0


class Chip(NamedTuple):
    """A name in a small frame."""

    box: Box
    text: Text


class Card(NamedTuple):
    state: State
    box: Box
    level: Level
    badge: Chip
    texts: tuple[Text, ...]
    effects: tuple[Chip, ...]
    """In the order in which they run."""
    internal: tuple[tuple[Trigger, Text], ...]


class Label(NamedTuple):
    """The words of an arc: each trigger, then its guards and remarks."""

    triggers: tuple[tuple[Trigger, Text], ...]
    remarks: tuple[Text, ...]

    @property
    def texts(self) -> tuple[Text, ...]:
        return (*(text for _, text in self.triggers), *self.remarks)

    @property
    def box(self) -> Box:
        return around(tuple(text.box for text in self.texts))


class Edge(NamedTuple):
    arc: Arc
    route: Route
    label: Label


class Sample(NamedTuple):
    """An entry of the legend; `kind` None stands for an effect's frame."""

    kind: Kind | None
    box: Box
    text: Text


class Layout(NamedTuple):
    width: float
    height: float
    heading: tuple[Text, ...]
    cards: tuple[Card, ...]
    edges: tuple[Edge, ...]
    start: Route
    """The arrow to the state in which every run begins."""
    start_text: Text
    legend: tuple[Sample, ...]
    notes: tuple[Text, ...]

    @property
    def texts(self) -> tuple[Text, ...]:
        """Every text of the picture."""
        found = [*self.heading, self.start_text, *self.notes]
        for card in self.cards:
            found += [card.badge.text, *card.texts, *(chip.text for chip in card.effects)]
            found += [text for _, text in card.internal]
        for edge in self.edges:
            found += edge.label.texts
        return (*found, *(sample.text for sample in self.legend))


def layout() -> Layout:
    """Lay the table out.

    :raises ValueError: when the table is no spine with arcs that fall (see `graph`).
    """
    drawn = graph()
    left_lanes = _lanes(drawn, Kind.BACKSLIDE)
    right_lanes = _lanes(drawn, Kind.FAULT)
    left_stub, right_stub = _stub(drawn, Kind.BACKSLIDE), _stub(drawn, Kind.FAULT)
    card_left = _MARGIN + left_stub + _LANE_STEP * max(left_lanes.values(), default=0)
    card_right = WIDTH - _MARGIN - right_stub - _LANE_STEP * max(right_lanes.values(), default=0)

    heading = (
        Text(_TITLE, _MARGIN, 50, 25, "ink", bold=True),
        *_paragraph(_LEAD, 76, 13.5),
    )
    top = heading[-1].y + 30
    cards: dict[State, Card] = {}
    edges: list[Edge] = []
    for state in reversed(drawn.spine):
        cards[state] = _card(state, drawn.internal[state], card_left, card_right, top)
        top = cards[state].box.bottom
        for arc in drawn.arcs:
            if arc.kind is Kind.RECOVERY and arc.dest is state:
                edges.append(_step(arc, cards[state].box))
                top = edges[-1].route.corners[0][1]
    for kind, lanes, stub in (
        (Kind.BACKSLIDE, left_lanes, left_stub),
        (Kind.FAULT, right_lanes, right_stub),
    ):
        edges += _falls(lanes, cards, kind, stub)

    spine_x = _spine_x(card_left)
    start = Route(((spine_x, top + 34), (spine_x, top)))
    start_text = Text("every run begins here", spine_x + 16, top + 30, _SMALL, "dim")
    legend = _legend(top + 62)
    notes = _paragraph(_NOTES, legend[-1].text.y + 27, _SMALL)
    return Layout(
        width=WIDTH,
        height=notes[-1].y + 24,
        heading=heading,
        cards=tuple(cards.values()),
        edges=tuple(edges),
        start=start,
        start_text=start_text,
        legend=legend,
        notes=notes,
    )


def _paragraph(words: str, y: float, size: float) -> tuple[Text, ...]:
    lines = wrap_words(words, size, WIDTH - 2 * _MARGIN)
    return tuple(
        Text(line, _MARGIN, y + round(1.45 * size) * i, size, "dim") for i, line in enumerate(lines)
    )


def _spine_x(card_left: float) -> float:
    return card_left + 42


def _card(
    state: State, internal: tuple[Trigger, ...], left: float, right: float, top: float
) -> Card:
    spec = STATES[state]
    inner_left, inner_right = left + _CARD_PAD + 6, right - _CARD_PAD
    room = inner_right - inner_left
    y = top + 32
    texts = [Text(state.value, inner_left, y, _NAME, "name", bold=True)]
    width = text_width(spec.level.value, _SMALL, bold=True) + 44
    badge_box = Box(inner_right - width, y - 18, inner_right, y + 6)
    badge = Chip(
        badge_box,
        Text(spec.level.value, badge_box.left + 34, y - 2, _SMALL, "level", bold=True),
    )
    for line in wrap_words(spec.meaning, _BODY, room):
        y += 21
        texts.append(Text(line, inner_left, y, _BODY, "ink"))
    chips = []
    widths = [text_width(effect.value, _CODE, mono=True) + 2 * _CHIP_PAD for effect in spec.effects]
    y += 12
    for row in wrap(widths, room, gap=_CHIP_GAP):
        x = inner_left
        for index in row:
            box = Box(x, y, x + widths[index], y + _CHIP_HEIGHT)
            name = spec.effects[index].value
            middle = x + widths[index] / 2
            chips.append(
                Chip(box, Text(name, middle, y + 15, _CODE, "code", mono=True, anchor="middle"))
            )
            x = box.right + _CHIP_GAP
        y += _CHIP_ROW
    y += _CHIP_HEIGHT - _CHIP_ROW
    stays = []
    if internal:
        y += 21
        lead = Text("stays on", inner_left, y, _SMALL, "dim")
        texts.append(lead)
        x = lead.box.right + 4
        for trigger in internal:
            stays.append((trigger, Text(trigger.value, x, y, _SMALL, "dim", mono=True)))
            x = stays[-1][1].box.right + 9
        texts.append(Text("and voids the ticket", x - 2, y, _SMALL, "dim"))
    return Card(
        state=state,
        box=Box(left, top, right, y + 17),
        level=spec.level,
        badge=badge,
        texts=tuple(texts),
        effects=tuple(chips),
        internal=tuple(stays),
    )


def _step(arc: Arc, above: Box) -> Edge:
    """The arrow that ends at the card above, and its words to the right of it."""
    x = _spine_x(above.left)
    left, y = x + 18, above.bottom + 25
    triggers = tuple(
        (trigger, Text(trigger.value, left, y, _TRIGGER, "recovery", bold=True, mono=True))
        for trigger in arc.triggers
    )
    widths = [text_width(f"{guard} ·", _CODE, mono=True) for guard in arc.guards]
    remarks = []
    for row in wrap(widths, above.right - left, gap=text_width(" ", _CODE, mono=True)):
        y += 17
        line = " · ".join(arc.guards[i].value for i in row)
        remarks.append(Text(line, left, y, _CODE, "dim", mono=True))
    route = Route(((x, y + 17), (x, above.bottom)))
    return Edge(arc, route, Label(triggers, tuple(remarks)))


def _lanes(drawn: Graph, kind: Kind) -> dict[Arc, int]:
    """For each arc of a side its lane, 0 the innermost: shorter falls inside longer ones."""
    lanes: dict[Arc, int] = {}
    rank = {state: i for i, state in enumerate(drawn.spine)}
    arcs = [arc for arc in drawn.arcs if arc.kind is kind]
    for arc in sorted(arcs, key=lambda a: rank[a.source] - rank[a.dest]):
        taken = {
            lane
            for other, lane in lanes.items()
            if rank[arc.dest] < rank[other.source] and rank[other.dest] < rank[arc.source]
        }
        lanes[arc] = max(taken, default=-1) + 1
    return lanes


def _remark(arc: Arc) -> str | None:
    bound = STATES[arc.source].stall_seconds
    return f"after {bound:g} s" if Trigger.STALLED in arc.triggers and bound is not None else None


def _stub(drawn: Graph, kind: Kind) -> float:
    """How far the innermost lane of a side must stand off for every label to fit."""
    widths = [
        text_width(trigger.value, _TRIGGER, bold=True, mono=True)
        for arc in drawn.arcs
        if arc.kind is kind
        for trigger in arc.triggers
    ]
    widths += [
        text_width(remark, _SMALL)
        for arc in drawn.arcs
        if arc.kind is kind and (remark := _remark(arc))
    ]
    return max(widths, default=0.0) + 2 * _STUB_PAD


def _falls(lanes: dict[Arc, int], cards: dict[State, Card], kind: Kind, stub: float) -> list[Edge]:
    """The arcs of one side: out of a card, down their lane, into a card below.

    On a card, what arrives stands above what leaves, and the inner lane arrives
    above the outer one: in any other order two of them would cross.
    """
    side = -1.0 if kind is Kind.BACKSLIDE else 1.0
    edges = []
    for arc, lane in lanes.items():
        source, dest = cards[arc.source].box, cards[arc.dest].box
        arriving = sorted(
            (other for other in lanes if other.dest is arc.dest), key=lanes.__getitem__
        )
        arrivals_at_source = sum(other.dest is arc.source for other in lanes)
        start_x = source.left if side < 0 else source.right
        end_x = dest.left if side < 0 else dest.right
        lane_x = start_x + side * (stub + _LANE_STEP * lane)
        start_y = source.top + (62 if arrivals_at_source else 46)
        end_y = dest.top + 26 + _ARRIVAL_STEP * arriving.index(arc)
        route = Route(
            ((start_x, start_y), (lane_x, start_y), (lane_x, end_y), (end_x, end_y)), _RADIUS
        )
        middle = start_x + side * stub / 2
        above = len(arc.triggers) - (0 if _remark(arc) else len(arc.triggers) // 2)
        triggers = tuple(
            (
                trigger,
                Text(
                    trigger.value,
                    middle,
                    start_y - 7 - 17 * (above - 1 - i)
                    if i < above
                    else start_y + 17 + 17 * (i - above),
                    _TRIGGER,
                    kind.value,
                    bold=True,
                    mono=True,
                    anchor="middle",
                ),
            )
            for i, trigger in enumerate(arc.triggers)
        )
        remark = _remark(arc)
        remarks = (
            (Text(remark, middle, start_y + 16, _SMALL, "dim", anchor="middle"),) if remark else ()
        )
        edges.append(Edge(arc, route, Label(triggers, remarks)))
    return edges


def _legend(top: float) -> tuple[Sample, ...]:
    entries = (
        (Kind.RECOVERY, "a step up"),
        (Kind.FAULT, "fault or halt"),
        (Kind.BACKSLIDE, "backslide"),
        (None, "effects, run in this order"),
    )
    sample, gap = 34.0, 22.0
    widths = [sample + 8 + text_width(words, _SMALL) for _, words in entries]
    placed = []
    for number, row in enumerate(wrap(widths, WIDTH - 2 * _MARGIN, gap=gap)):
        x, y = _MARGIN, top + 22 * number
        for index in row:
            kind, words = entries[index]
            text = Text(words, x + sample + 8, y, _SMALL, "dim")
            placed.append(Sample(kind, Box(x, y - 12, x + sample, y + 4), text))
            x += widths[index] + gap
    return tuple(placed)
