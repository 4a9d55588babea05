"""A timeline as SVG: a swim-lane for each state, the gate below, what went wrong above,
and between them the curves of the run, if it has any.

The lanes stand in the order of the state picture, HEALTHY on top, so a fault is
a fall and a recovery a staircase. However long the record, the picture stays
small: spans too close to be told apart are drawn as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from holdfast.states.table import State

from .curves import panel
from .elements import document, number, path, rect, text
from .graph import graph
from .metrics import shorten, text_width, wrap
from .shapes import Box, Text
from .style import GREEN, RED, STATE_HUE
from .timeline import Mark, MarkKind, Timeline, axis_step, duration

MIN_WIDTH = 400.0
"""What a phone shows with its text still readable: it scales no more than to six sevenths."""
_MARGIN, _LANE_LABELS = 28.0, 118.0
_LANE, _BAR, _GATE = 34.0, 18.0, 22.0
_LABEL, _LABEL_ROW, _MOST_LABEL_ROWS, _LABEL_ROOM = 11.5, 18.0, 5, 190.0
_MOST_LABELS = 200
_NARROWEST = 1.5
"""A span is drawn at least so wide: a gate shut for a millisecond still shows."""
_MOST_TICKS_DRAWN = 2000
_MARK_HUE = {MarkKind.FAULT: "hf-red", MarkKind.ORDER: "hf-blue", MarkKind.EVENT: "hf-violet"}


class _Place(NamedTuple):
    """Where a label goes: its row, 0 the lowest, and the text, its y still to be set."""

    row: int
    text: Text


class _Scale(NamedTuple):
    """From seconds to the x of the picture."""

    start_seconds: float
    end_seconds: float
    left: float
    right: float

    def x(self, seconds: float) -> float:
        whole = self.end_seconds - self.start_seconds
        share = (seconds - self.start_seconds) / whole if whole > 0 else 0.0
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)


def timeline_svg(timeline: Timeline, *, width: float = 960.0) -> str:
    """A run as a self-contained SVG, for light and dark pages.

    :param width: in SVG units; the text keeps its size, the time gets the rest.
    :raises ValueError: the timeline contradicts itself (see `Timeline.check`), or
        the width is below `MIN_WIDTH`.
    """
    if not MIN_WIDTH <= width <= 10_000:
        raise ValueError(f"width must be from {MIN_WIDTH:g} to 10000, not {width}")
    timeline.check()
    scale = _Scale(
        timeline.start_seconds, timeline.end_seconds, _MARGIN + _LANE_LABELS, width - _MARGIN
    )
    title = shorten(timeline.title, 19, width - 2 * _MARGIN, bold=True)
    body = [text(Text(title, _MARGIN, 42, 19, "ink", bold=True), "hf-ink")]
    figures, y = _figures(timeline, width)
    body += figures
    rows, hidden = _place_labels(timeline.marks, scale)
    ticks_top = y + 14
    lanes_top = ticks_top + _LABEL_ROW * _depth(rows) + 14
    if timeline.curves:
        drawn = panel(
            timeline.curves,
            shut=_joined(
                ((s.start_seconds, s.end_seconds) for s in timeline.gate if not s.is_open), scale
            ),
            x=scale.x,
            left=scale.left,
            right=scale.right,
            margin=_MARGIN,
            top=lanes_top,
        )
        body += drawn.parts
        lanes_top = drawn.bottom + 16
    lanes = tuple(reversed(graph().spine))
    gate_top = lanes_top + _LANE * len(lanes) + 12
    axis_y = gate_top + _GATE + 10
    body += _grid(scale, lanes_top, axis_y)
    # Through curves no stem goes: there the shaded times say what was when.
    stem_end = None if timeline.curves else gate_top
    body += _marks(timeline.marks, rows, ticks_top, stem_end, scale)
    body += _lanes(timeline, lanes, lanes_top, scale)
    body += _gate(timeline, gate_top, scale)
    height = axis_y + 44
    if hidden:
        note = Text(
            f"marks without room for their label: {hidden}", width - _MARGIN, height - 4,
            11, "dim", anchor="end",
        )  # fmt: skip
        body.append(text(note, "hf-dim"))
        height += 12
    return document(width, height, timeline.title, _description(timeline), body)


def _description(timeline: Timeline) -> str:
    return "; ".join(f"{what}: {value}" for what, value in _key_figures(timeline))


def _key_figures(timeline: Timeline) -> tuple[tuple[str, str], ...]:
    share = timeline.open_share
    faults = sum(mark.kind is MarkKind.FAULT for mark in timeline.marks)
    return (
        ("gate open", "not recorded" if share is None else f"{_percent(share)} %"),
        ("downtime", duration(timeline.downtime_seconds)),
        ("longest shut", duration(timeline.longest_shut_seconds)),
        ("fault" if faults == 1 else "faults", str(faults)),
        *timeline.figures,
    )


def _percent(share: float) -> str:
    """One decimal, never rounded up to 100: a gate that was shut for a moment was shut."""
    percent = round(100 * share, 1)
    return f"{99.9 if percent == 100 and share < 1 else percent:.1f}"


def _figures(timeline: Timeline, width: float) -> tuple[list[str], float]:
    """The key figures in rows, and the y where they end."""
    entries = [
        (shorten(what, 11.5, width / 2), shorten(value, 18, width / 2, bold=True))
        for what, value in _key_figures(timeline)
    ]
    widths = [
        max(text_width(what, 11.5), text_width(value, 18, bold=True)) for what, value in entries
    ]
    parts, y = [], 76.0
    for row in wrap(widths, width - 2 * _MARGIN, gap=30):
        x = _MARGIN
        for i in row:
            what, value = entries[i]
            hue = f"hf-{GREEN} hf-fill" if i == 0 else "hf-ink"
            parts.append(text(Text(value, x, y, 18, "ink", bold=True), hue))
            parts.append(text(Text(what, x, y + 17, 11.5, "dim"), "hf-dim"))
            x += widths[i] + 30
        y += 50
    return parts, y - 30


def _grid(scale: _Scale, top: float, bottom: float) -> list[str]:
    length = scale.end_seconds - scale.start_seconds
    most = max(2, int((scale.right - scale.left) // 85))
    step = axis_step(length, most) if length > 0 else 1.0
    parts = []
    free_from = 0.0
    for i in range(int(length / step + 1e-9) + 1):
        x = scale.x(scale.start_seconds + i * step)
        parts.append(path(f"M{number(x)} {number(top)}V{number(bottom)}", "hf-rim"))
        words = duration(i * step)
        half = text_width(words, 11) / 2
        inside = min(max(x, scale.left + half), scale.right - half)
        label = Text(words, inside, bottom + 17, 11, "dim", anchor="middle")
        if label.box.left >= free_from:  # the last one, moved inside, may have no room left
            parts.append(text(label, "hf-dim"))
            free_from = label.box.right + 4
    return parts


def _joined(spans: Iterable[tuple[float, float]], scale: _Scale) -> list[tuple[float, float]]:
    """The x of bars; those less than half a unit apart become one."""
    bars: list[tuple[float, float]] = []
    for start, end in spans:
        left = scale.x(start)
        right = max(scale.x(end), left + _NARROWEST)
        if right > scale.right:
            left, right = min(left, scale.right - _NARROWEST), scale.right
        if bars and left - bars[-1][1] < 0.5:
            bars[-1] = (bars[-1][0], max(right, bars[-1][1]))
        else:
            bars.append((left, right))
    return bars


def _lanes(timeline: Timeline, lanes: tuple[State, ...], top: float, scale: _Scale) -> list[str]:
    parts = []
    middle = {state: top + _LANE * i + _LANE / 2 for i, state in enumerate(lanes)}
    joints: dict[tuple[float, State, State], None] = {}
    for before, after in zip(timeline.states, timeline.states[1:], strict=False):
        if before.state is not after.state and before.end_seconds == after.start_seconds:
            joints[(round(scale.x(after.start_seconds)), before.state, after.state)] = None
    for x, above, below in joints:
        low, high = sorted((middle[above], middle[below]))
        parts.append(path(f"M{number(x)} {number(low)}V{number(high)}", "hf-rim hf-joint"))
    for state in lanes:
        y = middle[state]
        label = Text(state.value, _MARGIN, y + 4.5, 12, "name", bold=True)
        spans = (
            (span.start_seconds, span.end_seconds)
            for span in timeline.states
            if span.state is state
        )
        bars = [
            rect(
                Box(left, y - _BAR / 2, right, y + _BAR / 2),
                "hf-fill",
                radius=min(4, (right - left) / 2),
            )
            for left, right in _joined(spans, scale)
        ]
        parts += [f'<g class="hf-{STATE_HUE[state]}">', text(label, "hf-fill"), *bars, "</g>"]
    return parts


def _gate(timeline: Timeline, top: float, scale: _Scale) -> list[str]:
    label = Text("gate", _MARGIN, top + _GATE / 2 + 4.5, 12, "ink", bold=True)
    parts = [text(label, "hf-ink")]
    spans = {
        is_open: list(
            _joined(
                ((s.start_seconds, s.end_seconds) for s in timeline.gate if s.is_open is is_open),
                scale,
            )
        )
        for is_open in (True, False)
    }
    # Shut is drawn last: where both are too short to be told apart, it was shut.
    for is_open, hue, word in ((True, GREEN, "open"), (False, RED, "shut")):
        parts.append(f'<g class="hf-{hue}">')
        for left, right in spans[is_open]:
            box = Box(left, top, right, top + _GATE)
            parts.append(rect(box, "hf-card"))
            parts.append(rect(box, "hf-frame" if is_open else "hf-fill", extra=_shade(is_open)))
            left, right = _widest(left, right, spans[False]) if is_open else (left, right)
            if right - left > text_width(word, 11.5, bold=True) + 10:
                item = Text(
                    word, (left + right) / 2, top + 15, 11.5, "ink", bold=True, anchor="middle"
                )
                parts.append(text(item, "hf-fill" if is_open else "hf-on"))
        parts.append("</g>")
    return parts


def _widest(left: float, right: float, over: list[tuple[float, float]]) -> tuple[float, float]:
    """The widest part of a box that none of those drawn over it covers."""
    parts, begin = [], left
    for start, end in over:
        if left <= end and start <= right:
            parts.append((begin, start))
            begin = end
    return max((*parts, (begin, right)), key=lambda part: part[1] - part[0])


def _shade(is_open: bool) -> str:
    return ' style="fill-opacity:.2"' if is_open else ""


def _place_labels(marks: tuple[Mark, ...], scale: _Scale) -> tuple[dict[int, _Place], int]:
    """For each mark whose label has room, its row; and how many labels have none.

    From right to left, so that a label which reaches over later marks goes above
    theirs. If that leaves a fault without its label, faults choose first.
    """
    labelled = [i for i, mark in enumerate(marks) if mark.label]
    by_time = sorted(labelled, key=lambda i: -marks[i].at_seconds)[:_MOST_LABELS]
    rows = _assign(marks, by_time, scale)
    faults = [i for i in labelled if marks[i].kind is MarkKind.FAULT]
    if not all(i in rows for i in faults):
        faults_first = sorted(
            labelled, key=lambda i: (marks[i].kind is not MarkKind.FAULT, -marks[i].at_seconds)
        )
        rows = _assign(marks, faults_first[:_MOST_LABELS], scale)
    return rows, len(labelled) - len(rows)


def _assign(marks: tuple[Mark, ...], order: list[int], scale: _Scale) -> dict[int, _Place]:
    """To each mark the lowest place where its label touches no other, nor its stem a label."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_MOST_LABEL_ROWS)]
    stems: list[tuple[float, int]] = []
    placed: dict[int, _Place] = {}
    for i in order:
        x = scale.x(marks[i].at_seconds)
        words = shorten(" ".join(marks[i].label.split()), _LABEL, _LABEL_ROOM)
        sides = (
            Text(words, x + 6, 0, _LABEL, "ink"),
            Text(words, x - 6, 0, _LABEL, "ink", anchor="end"),
        )
        for item, row in product(sides, range(_MOST_LABEL_ROWS)):
            left, right = item.box.left - 6, item.box.right + 6
            below = (span for lower in taken[:row] for span in lower)
            if (
                scale.left <= item.box.left
                and item.box.right <= scale.right
                and all(right <= low or high <= left for low, high in taken[row])
                and not any(low < x < high for low, high in below)
                and not any(left < stem < right for stem, above in stems if above > row)
            ):
                taken[row].append((left, right))
                stems.append((x, row))
                placed[i] = _Place(row, item)
                break
    return placed


def _depth(rows: dict[int, _Place]) -> int:
    return max((place.row for place in rows.values()), default=-1) + 1


def _marks(
    marks: tuple[Mark, ...],
    rows: dict[int, _Place],
    top: float,
    bottom: float | None,
    scale: _Scale,
) -> list[str]:
    parts = []
    depth = _depth(rows)
    labels_bottom = top + _LABEL_ROW * depth
    drawn: dict[tuple[float, MarkKind], None] = {}
    for i, mark in enumerate(marks):
        x = scale.x(mark.at_seconds)
        label = rows.get(i)
        place = (round(x, 1), mark.kind)
        if label is None and (place in drawn or len(drawn) >= _MOST_TICKS_DRAWN):
            continue
        drawn[place] = None
        # The nearer a row to the lanes, the shorter the stem: row 0 is the lowest.
        y = labels_bottom - _LABEL_ROW * label.row if label else labels_bottom + 12
        end = labels_bottom + 16
        if mark.kind is MarkKind.FAULT and bottom is not None:
            end = bottom
        parts.append(f'<g class="{_MARK_HUE[mark.kind]}">')
        stem = path(f"M{number(x)} {number(y - 9)}V{number(end)}", "hf-line hf-stem")
        parts.append(stem)
        if mark.kind is MarkKind.FAULT:
            parts.append(path(f"M{number(x - 4.5)} {number(y - 9)}h9l-4.5 8Z", "hf-fill"))
        if label is not None:
            parts.append(text(label.text._replace(y=y), "hf-ink"))
        parts.append("</g>")
    return parts
