"""What the pages that holdfast writes have in common: one style, and pictures for two widths.

A page needs no other file and no network, so that it can be sent to somebody.
"""

from __future__ import annotations

from importlib import resources

from holdfast.states.diagram import Timeline, timeline_svg
from holdfast.states.diagram.as_timeline import MIN_WIDTH


def page_style() -> str:
    """The style sheet, for light and dark, for a phone and a desk."""
    return resources.files(__package__).joinpath("page.css").read_text("utf-8")


def pictures(timeline: Timeline) -> str:
    """The run drawn twice, for a wide and for a narrow screen; the style shows one of them."""
    return (
        f'<div class="picture wide">{timeline_svg(timeline)}</div>'
        f'<div class="picture narrow">{timeline_svg(timeline, width=MIN_WIDTH)}</div>'
    )
