"""The state machine and its runs as pictures, drawn from the table.

`svg`, `mermaid` and `dot` return text and need nothing but this package; `png`
starts a program that need not be there. All take the state to draw with a thick
border (`current`) and the transition to draw with a thick line (`last`); `text` takes the
name of the form, too. A run is drawn by `timeline_svg`. `layout` is the geometry of the SVG
as data.

Hand-made geometry, since layout programs do not know that recovery is one
straight way up: they draw a ribbon with a loop for every internal row.
"""

from .as_dot import dot
from .as_mermaid import mermaid
from .as_png import RenderError, png
from .as_svg import svg
from .as_text import TEXT_FORMS, TextForm, text
from .as_timeline import timeline_svg
from .geometry import Layout, layout
from .graph import Last
from .timeline import GateSpan, Mark, MarkKind, StateSpan, Timeline

__all__ = [
    "TEXT_FORMS",
    "GateSpan",
    "Last",
    "Layout",
    "Mark",
    "MarkKind",
    "RenderError",
    "StateSpan",
    "TextForm",
    "Timeline",
    "dot",
    "layout",
    "mermaid",
    "png",
    "svg",
    "text",
    "timeline_svg",
]
