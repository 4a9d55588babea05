"""The geometry of the state picture: nothing touches what it does not belong to."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations

import pytest

from holdfast.states.diagram import layout
from holdfast.states.diagram.shapes import Box, Point, Route, Text
from holdfast.states.table import STATES, State

PLAN = layout()
_PAGE = Box(0, 0, PLAN.width, PLAN.height)


def test_no_line_crosses_a_label() -> None:
    lines = [edge.route.polyline() for edge in PLAN.edges] + [PLAN.start.polyline()]
    texts = [text for edge in PLAN.edges for text in edge.label.texts] + [PLAN.start_text]
    for text in texts:
        assert not any(text.box.crossed_by(line) for line in lines), text.text


def test_no_line_runs_through_the_label_of_another() -> None:
    for labelled, crossing in permutations(PLAN.edges, 2):
        assert not labelled.label.box.crossed_by(crossing.route.polyline()), labelled.arc


def test_no_line_runs_through_a_card() -> None:
    for edge in PLAN.edges:
        for card in PLAN.cards:
            assert not card.box.crossed_by(edge.route.polyline()), (edge.arc, card.state)


def test_every_line_leads_from_its_source_to_its_destination() -> None:
    boxes = {card.state: card.box for card in PLAN.cards}
    for edge in PLAN.edges:
        assert _on_rim(edge.route.corners[0], boxes[edge.arc.source]), edge.arc
        assert _on_rim(edge.route.corners[-1], boxes[edge.arc.dest]), edge.arc
    assert _on_rim(PLAN.start.corners[-1], PLAN.cards[-1].box)


def test_no_two_lines_cross() -> None:
    for one, other in combinations(PLAN.edges, 2):
        for a in pairwise(one.route.polyline()):
            for b in pairwise(other.route.polyline()):
                assert not _cross(a, b), (one.arc, other.arc)


def test_labels_cards_and_other_texts_keep_apart() -> None:
    cards = [card.box for card in PLAN.cards]
    outside = [edge.label.box for edge in PLAN.edges]
    outside += [text.box for text in (*PLAN.heading, PLAN.start_text, *PLAN.notes)]
    outside += [box for s in PLAN.legend for box in (s.box, s.text.box)]
    for one, other in combinations(outside, 2):
        assert not one.overlaps(other)
    for box in outside:
        assert not any(box.overlaps(card) for card in cards)
    for one, other in combinations(cards, 2):
        assert not one.overlaps(other)


def test_texts_of_one_label_keep_apart() -> None:
    for edge in PLAN.edges:
        for one, other in combinations(edge.label.texts, 2):
            assert not one.box.overlaps(other.box), edge.arc


@pytest.mark.parametrize("state", State)
def test_what_belongs_to_a_card_is_inside_it_and_apart(state: State) -> None:
    card = next(c for c in PLAN.cards if c.state is state)
    boxes = [text.box for text in card.texts]
    boxes += [card.badge.box, *(chip.box for chip in card.effects)]
    boxes += [text.box for _, text in card.internal]
    for box in boxes:
        assert card.box.contains(box)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_no_text_exceeds_its_frame() -> None:
    for card in PLAN.cards:
        for chip in (card.badge, *card.effects):
            assert chip.box.contains(chip.text.box), chip.text.text
    for text in PLAN.texts:
        assert _PAGE.contains(text.box), text.text


def test_effects_stand_in_the_order_in_which_they_run() -> None:
    for card in PLAN.cards:
        assert [c.text.text for c in card.effects] == list(STATES[card.state].effects)
        places = [(c.box.top, c.box.left) for c in card.effects]
        assert places == sorted(places)


def test_spine_is_straight_and_leads_up() -> None:
    steps = [e for e in PLAN.edges if e.arc.kind == "recovery"]
    assert len(steps) == len(State) - 1
    assert {x for e in steps for x, _ in e.route.corners} == {PLAN.start.corners[0][0]}
    assert all(e.route.corners[0][1] > e.route.corners[-1][1] for e in steps)


def test_the_smallest_text_can_be_read_at_800_pixels() -> None:
    assert min(text.size for text in PLAN.texts) * 800 / PLAN.width >= 12


def test_crossing_is_seen() -> None:
    box = Box(10, 10, 20, 20)
    assert box.crossed_by(((0, 15), (30, 15)))
    assert box.crossed_by(((12, 12), (14, 14)))
    assert box.crossed_by(((0, 0), (30, 30)))
    assert not box.crossed_by(((0, 10), (30, 10)))  # along the rim
    assert not box.crossed_by(((0, 15), (10, 15)))  # up to the rim
    assert not box.crossed_by(((0, 18), (18, 0), (0, 0)))
    assert box.overlaps(Box(19, 19, 30, 30))
    assert not box.overlaps(Box(20, 10, 30, 20))


def test_a_rounded_corner_stays_inside_its_right_angle() -> None:
    line = Route(((0, 0), (50, 0), (50, 50)), 10).polyline()
    assert line[0] == (0, 0)
    assert line[-1] == (50, 50)
    assert (40.0, 0.0) in line
    assert (50.0, 10.0) in line
    assert all(0 <= x <= 50 and 0 <= y <= 50 for x, y in line)
    assert (50.0, 0.0) not in line


def test_a_text_anchored_elsewhere_has_its_box_there() -> None:
    start, end = Text("abc", 100, 50, 10, "ink"), Text("abc", 100, 50, 10, "ink", anchor="end")
    middle = Text("abc", 100, 50, 10, "ink", anchor="middle")
    assert start.box.left == 100
    assert end.box.right == pytest.approx(100)
    assert (middle.box.left + middle.box.right) / 2 == pytest.approx(100)


def _on_rim(point: Point, box: Box) -> bool:
    x, y = point
    on_side = x in (box.left, box.right) and box.top < y < box.bottom
    return on_side or (y in (box.top, box.bottom) and box.left < x < box.right)


def _cross(a: tuple[Point, Point], b: tuple[Point, Point]) -> bool:
    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return (
        turn(*a, b[0]) * turn(*a, b[1]) <= 0
        and turn(*b, a[0]) * turn(*b, a[1]) <= 0
        and Box(*_span(a)).overlaps(Box(*_span(b)))
    )


def _span(segment: tuple[Point, Point]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = segment
    # A hair of thickness, so that a level line has an inside.
    return min(x0, x1) - 0.01, min(y0, y1) - 0.01, max(x0, x1) + 0.01, max(y0, y1) + 0.01
