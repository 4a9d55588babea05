"""Curves over the time of a run, in a panel of their own: what an account was worth, say.

They share the time axis with the lanes below them, and times in which the gate was shut
are shaded, so that it can be seen what a standstill was worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .elements import number, path, rect, text
from .metrics import text_width, wrap
from .shapes import Box, Text

PANEL = 210.0
"""Height of the panel, legend excluded."""
_LEGEND_ROW, _SAMPLE, _SIZE, _MOST_LINES = 22.0, 26.0, 12.0, 5
_PAD = 0.06
"""Of the range, above the highest and below the lowest point."""


class Curve(NamedTuple):
    """
    :ivar value: what it ends at, in words, for the legend.
    :ivar hue: one of those of `style`.
    :ivar points: seconds and value, in order of time.
    :ivar dashed: so that two can be told apart without colours.
    """

    label: str
    value: str
    hue: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


class Panel(NamedTuple):
    parts: list[str]
    bottom: float


def panel(
    curves: Sequence[Curve],
    *,
    shut: Sequence[tuple[float, float]],
    x: Callable[[float], float],
    left: float,
    right: float,
    margin: float,
    top: float,
) -> Panel:
    """The panel from `top` on.

    :param shut: from when to when the gate was shut, as x.
    :param x: from seconds to x.
    :param left, right: of the time axis; labels stand left of it, from `margin` on.
    """
    parts, y = _legend(curves, margin, right, top)
    box = Box(left, y + 10, right, y + 10 + PANEL)
    values = [value for curve in curves for _, value in curve.points]
    low, high = min(values, default=0.0), max(values, default=0.0)
    pad = (high - low) * _PAD or max(abs(high), 1.0) * _PAD
    low, high = low - pad, high + pad

    def height(value: float) -> float:
        return box.bottom - (value - low) / (high - low) * box.height

    parts += [rect(Box(start, box.top, end, box.bottom), "hf-red hf-tint") for start, end in shut]
    step = value_step(high - low)
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        at = height(i * step)
        parts.append(path(f"M{number(left)} {number(at)}H{number(right)}", "hf-rim"))
        label = Text(f"{i * step:,.10g}", left - 8, at + 4, 11, "dim", anchor="end")
        parts.append(text(label, "hf-dim"))
    for curve in curves:
        line = "L".join(f"{number(x(at))} {number(height(value))}" for at, value in curve.points)
        if line:
            parts.append(
                f'<g class="hf-{curve.hue}">{path(f"M{line}", "hf-line", extra=_look(curve))}</g>'
            )
    return Panel(parts, box.bottom)


def _legend(
    curves: Sequence[Curve], left: float, right: float, top: float
) -> tuple[list[str], float]:
    entries = [f"{curve.label} {curve.value}" for curve in curves]
    widths = [_SAMPLE + 8 + text_width(entry, _SIZE, bold=True) for entry in entries]
    parts, y = [], top
    for row in wrap(widths, right - left, gap=24):
        x, y = left, y + _LEGEND_ROW
        for i in row:
            parts.append(f'<g class="hf-{curves[i].hue}">')
            sample = f"M{number(x)} {number(y - 4)}h{number(_SAMPLE)}"
            parts.append(path(sample, "hf-line", extra=_look(curves[i])))
            label = Text(entries[i], x + _SAMPLE + 8, y, _SIZE, "ink", bold=True)
            parts.append(f"</g>{text(label, 'hf-ink')}")
            x += widths[i] + 24
    return parts, y


def _look(curve: Curve) -> str:
    return ' stroke-linejoin="round"' + (' stroke-dasharray="6 4"' if curve.dashed else "")


def value_step(span: float) -> float:
    """The finest of 1, 2, 5 times a power of ten that makes at most a handful of lines."""
    power = 10.0 ** math.floor(math.log10(span / _MOST_LINES))
    return next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= _MOST_LINES)
