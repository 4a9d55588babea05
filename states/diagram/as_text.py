"""The machine in any form that is text, chosen by the name of the form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from holdfast.states.table import State

from .as_dot import dot
from .as_mermaid import mermaid
from .as_svg import svg
from .graph import Last

TextForm = Literal["svg", "mermaid", "dot"]
_DRAWN: Final[Mapping[str, Callable[..., str]]] = {"svg": svg, "mermaid": mermaid, "dot": dot}
TEXT_FORMS: Final = tuple(_DRAWN)


def text(form: str, *, current: State | None = None, last: Last | None = None) -> str:
    """The machine as `form`. :raises ValueError: there is no such form, or it is no text."""
    draw = _DRAWN.get(form)
    if draw is None:
        hint = "; PNG is bytes: see diagram_png and png" if form == "png" else ""
        raise ValueError(f"form: {form!r} is not one of {', '.join(TEXT_FORMS)}{hint}")
    return draw(current=current, last=last)
