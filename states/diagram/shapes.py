"""Boxes, texts and routes as data: what a layout is made of and a test can measure.

Coordinates are SVG user units, y grows downwards, a text's `y` is its baseline.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from .metrics import text_width

Point = tuple[float, float]

_CORNER_STEPS = 6


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def overlaps(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def contains(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def crossed_by(self, line: tuple[Point, ...]) -> bool:
        """Whether any segment of the polyline touches the inside of this box."""
        return any(self._crossed_by_segment(start, end) for start, end in pairwise(line))

    def _crossed_by_segment(self, start: Point, end: Point) -> bool:
        # Liang-Barsky clipping: the part of the segment inside all four half-planes.
        enter, leave = 0.0, 1.0
        for low, high, origin, step in (
            (self.left, self.right, start[0], end[0] - start[0]),
            (self.top, self.bottom, start[1], end[1] - start[1]),
        ):
            if step == 0:
                if not low < origin < high:
                    return False
                continue
            near, far = sorted(((low - origin) / step, (high - origin) / step))
            enter, leave = max(enter, near), min(leave, far)
        return enter < leave


def around(boxes: tuple[Box, ...]) -> Box:
    """The smallest box that contains all of them."""
    return Box(
        min(b.left for b in boxes),
        min(b.top for b in boxes),
        max(b.right for b in boxes),
        max(b.bottom for b in boxes),
    )


class Text(NamedTuple):
    text: str
    x: float
    y: float
    size: float
    role: str
    """What it is; whoever paints it chooses the colour by that."""
    bold: bool = False
    mono: bool = False
    anchor: str = "start"

    @property
    def width(self) -> float:
        return text_width(self.text, self.size, bold=self.bold, mono=self.mono)

    @property
    def box(self) -> Box:
        """The most it can take: ascent 0.8 em, descent 0.24 em."""
        left = self.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor] * self.width
        return Box(left, self.y - 0.8 * self.size, left + self.width, self.y + 0.24 * self.size)


class Route(NamedTuple):
    """A line through right-angled corners which are rounded off, with an arrow at its end."""

    corners: tuple[Point, ...]
    radius: float = 0.0

    def rounded(self) -> tuple[tuple[Point, Point, Point], ...]:
        """For each inner corner: where the curve begins, the corner, where it ends."""
        curves = []
        for before, corner, after in zip(
            self.corners, self.corners[1:], self.corners[2:], strict=False
        ):
            radius = min(self.radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
            curves.append(
                (_towards(corner, before, radius), corner, _towards(corner, after, radius))
            )
        return tuple(curves)

    def polyline(self) -> tuple[Point, ...]:
        """The line with its curves flattened."""
        points = [self.corners[0]]
        for start, corner, end in self.rounded():
            for step in range(_CORNER_STEPS + 1):
                t = step / _CORNER_STEPS
                points.append(
                    (
                        (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * corner[0] + t**2 * end[0],
                        (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * corner[1] + t**2 * end[1],
                    )
                )
        points.append(self.corners[-1])
        return tuple(points)


def _towards(start: Point, end: Point, distance: float) -> Point:
    whole = math.dist(start, end)
    share = distance / whole if whole else 0.0
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
