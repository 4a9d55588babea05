"""Upper bounds for the width of a text, without a font at hand.

A picture is laid out before anybody knows which font will draw it. So each
character is given the widest advance among the fonts that the font stacks of
`style` can end at, and whatever is drawn is never wider than what was reserved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

# Advance in hundredths of an em for the characters from space to tilde: the wider of DejaVu
# Sans 2.37 and Liberation Sans 2.1 (the metrics of Arial and Helvetica), rounded up.
# fmt: off
_REGULAR = (
    32, 41, 46, 84, 64, 96, 78, 28, 40, 40, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 56, 102, 69, 69, 73, 78, 67, 62, 78, 76, 30, 50, 67, 56, 87, 75, 79,
    67, 79, 73, 67, 62, 74, 69, 99, 69, 67, 69, 40, 34, 40, 84, 56, 50, 62, 64, 55, 64, 62, 36, 64,
    64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53, 64, 34, 64, 84,
)
_BOLD = (
    35, 46, 53, 84, 70, 101, 88, 31, 46, 46, 53, 84, 38, 42, 38, 37, 70, 70, 70, 70, 70, 70, 70, 70,
    70, 70, 40, 40, 84, 84, 84, 62, 100, 78, 77, 74, 84, 69, 69, 83, 84, 38, 56, 78, 64, 100, 84,
    86, 74, 86, 78, 73, 69, 82, 78, 111, 78, 73, 73, 46, 37, 46, 84, 56, 50, 68, 72, 60, 72, 68, 44,
    72, 72, 35, 35, 67, 35, 105, 72, 69, 72, 72, 50, 60, 48, 72, 66, 93, 65, 66, 59, 72, 37, 72, 84,
)
# fmt: on
_BEYOND_ASCII = {"·": 38, "–": 56, "…": 100, "›": 42, "×": 84}
_UNKNOWN = 110
_MONOSPACED = 62
"""SF Mono, 0.618 em, is the widest of the common monospaced fonts."""


def text_width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """The most that `text` can take, in the unit of `size` (the font size)."""
    if mono:
        ems = sum(
            _MONOSPACED if char.isascii() or char in _BEYOND_ASCII else _UNKNOWN for char in text
        )
    else:
        table = _BOLD if bold else _REGULAR
        ems = sum(
            table[ord(char) - 32] if " " <= char <= "~" else _BEYOND_ASCII.get(char, _UNKNOWN)
            for char in text
        )
    return ems * size / 100


def wrap(items: Iterable[float], room: float, *, gap: float) -> list[list[int]]:
    """Indices of items of these widths, in as few rows as fit into `room`, evenly filled.

    An item wider than the room gets a row of its own.
    """
    widths = list(items)
    rows = _fill(widths, room, gap)
    enough, too_little = room, 0.0
    while enough - too_little > 1:
        tried = (enough + too_little) / 2
        if len(_fill(widths, tried, gap)) > len(rows):
            too_little = tried
        else:
            enough = tried
    return _fill(widths, enough, gap)


def wrap_words(text: str, size: float, room: float) -> list[str]:
    """`text` in lines that each fit into `room`, broken at spaces."""
    words = text.split()
    rows = wrap((text_width(w, size) for w in words), room, gap=text_width(" ", size))
    return [" ".join(words[i] for i in row) for row in rows]


def _fill(widths: list[float], room: float, gap: float) -> list[list[int]]:
    rows: list[list[int]] = []
    used = math.inf
    for index, width in enumerate(widths):
        if used + gap + width > room:
            rows.append([index])
            used = width
        else:
            rows[-1].append(index)
            used += gap + width
    return rows


def shorten(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """`text`, or as much of its beginning as fits into `room` with an ellipsis."""
    if text_width(text, size, bold=bold) <= room:
        return text
    ellipsis = "…"
    left = room - text_width(ellipsis, size, bold=bold)
    kept = 0
    for char in text:
        left -= text_width(char, size, bold=bold)
        if left < 0:
            break
        kept += 1
    return text[:kept].rstrip() + ellipsis if kept else ""
