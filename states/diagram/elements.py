"""SVG elements as text. Numbers are short, texts are escaped."""

from __future__ import annotations

import re
from html import escape

from .shapes import Box, Route, Text
from .style import sheet

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def number(value: float) -> str:
    """At most two decimals, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def words(text: str) -> str:
    """Escaped for XML; what XML 1.0 does not allow at all becomes a replacement mark."""
    return escape(_NOT_XML.sub("\ufffd", text))


def text(item: Text, *classes: str) -> str:
    """A text element; `classes` in addition to those it has by its fonts."""
    names = [*classes, *(["hf-mono"] if item.mono else []), *(["hf-bold"] if item.bold else [])]
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    return (
        f'<text x="{number(item.x)}" y="{number(item.y)}" font-size="{number(item.size)}"'
        f'{anchor} class="{" ".join(names)}">{words(item.text)}</text>'
    )


def rect(box: Box, classes: str, *, radius: float = 0.0, extra: str = "") -> str:
    rounded = f' rx="{number(radius)}"' if radius else ""
    return (
        f'<rect x="{number(box.left)}" y="{number(box.top)}" width="{number(box.width)}" '
        f'height="{number(box.height)}"{rounded} class="{classes}"{extra}/>'
    )


def path(data: str, classes: str, *, extra: str = "") -> str:
    return f'<path d="{data}" class="{classes}"{extra}/>'


def route_data(route: Route, *, short: float = 0.0) -> str:
    """The path of a route, ending `short` units before its end (where the arrow head is)."""
    (x, y), *_ = route.corners
    parts = [f"M{number(x)} {number(y)}"]
    for (bx, by), (cx, cy), (ax, ay) in route.rounded():
        parts.append(
            f"L{number(bx)} {number(by)}Q{number(cx)} {number(cy)} {number(ax)} {number(ay)}"
        )
    dx, dy = _direction(route)
    ex, ey = route.corners[-1]
    parts.append(f"L{number(ex - dx * short)} {number(ey - dy * short)}")
    return "".join(parts)


def arrow_head(route: Route, *, length: float) -> str:
    """A triangle whose tip is the end of the route."""
    dx, dy = _direction(route)
    tip_x, tip_y = route.corners[-1]
    base_x, base_y = tip_x - dx * length, tip_y - dy * length
    half = length * 0.48
    return path(
        f"M{number(tip_x)} {number(tip_y)}"
        f"L{number(base_x - dy * half)} {number(base_y + dx * half)}"
        f"L{number(base_x + dy * half)} {number(base_y - dx * half)}Z",
        "hf-fill",
    )


def document(width: float, height: float, title: str, description: str, body: list[str]) -> str:
    """A whole picture: scalable, named for screen readers, with its style sheet."""
    frame = Box(0.5, 0.5, width - 0.5, height - 0.5)
    return "\n".join(
        (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {number(width)} {number(height)}" '
            f'width="{number(width)}" height="{number(height)}" class="hf" role="img" '
            f'style="max-width:100%;height:auto">',
            f"<title>{words(title)}</title>",
            f"<desc>{words(description)}</desc>",
            f"<style>{sheet()}</style>",
            rect(frame, "hf-ground", radius=12),
            *body,
            "</svg>",
            "",
        )
    )


def _direction(route: Route) -> tuple[float, float]:
    """The unit vector of the last segment; routes run along the axes."""
    (x0, y0), (x1, y1) = route.corners[-2:]
    return (float((x1 > x0) - (x1 < x0)), float((y1 > y0) - (y1 < y0)))
