"""Colours and fonts, for a light and a dark page.

One style sheet serves every picture, so that several of them can stand in one
HTML page; all its names begin with `hf-`. The pictures bring their own ground,
because an image in a README follows the reader's system, not the page's theme.
Colours are GitHub's (Primer), whose contrast is tested on both grounds.
"""

from __future__ import annotations

from holdfast.states.table import Level, State

from .graph import Kind

SANS = "'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace"

RED, AMBER, GREEN, BLUE, VIOLET = "red", "amber", "green", "blue", "violet"

STATE_HUE = {
    State.HEALTHY: GREEN,
    State.RECONCILING: BLUE,
    State.RECOVERING: VIOLET,
    State.DEGRADED: RED,
}
KIND_HUE = {Kind.RECOVERY: GREEN, Kind.FAULT: RED, Kind.BACKSLIDE: AMBER}
LEVEL_HUE = {Level.ACTIVE: GREEN, Level.REDUCING: AMBER, Level.HALTED: RED}

LIGHT = {
    "ground": "#f6f8fa", "card": "#ffffff", "rim": "#d1d9e0", "ink": "#1f2328", "dim": "#59636e",
    RED: "#cf222e", AMBER: "#9a6700", GREEN: "#1a7f37", BLUE: "#0969da", VIOLET: "#8250df",
}  # fmt: skip
DARK = {
    "ground": "#0d1117", "card": "#161b22", "rim": "#3d444d", "ink": "#f0f6fc", "dim": "#9198a1",
    RED: "#f85149", AMBER: "#d29922", GREEN: "#3fb950", BLUE: "#4493f8", VIOLET: "#ab7df8",
}  # fmt: skip


def sheet() -> str:
    """The style sheet of every picture.

    `color` carries the hue and shapes refer to it as `currentColor`: CSS
    variables would be shorter, but librsvg does not know them.
    """
    fixed = (
        f".hf text{{font-family:{SANS};white-space:pre}}"
        f".hf .hf-mono{{font-family:{MONO}}}"
        ".hf .hf-bold{font-weight:600}"
        ".hf-line{fill:none;stroke:currentColor;stroke-width:2}"
        ".hf-fault .hf-line{stroke-dasharray:7 5}"
        ".hf-last .hf-line{stroke-width:4.5}"
        ".hf .hf-stem{stroke-width:1.5;stroke-opacity:.75}"
        ".hf-rim{fill:none;stroke-width:1}"
        ".hf-joint{stroke-width:1.5}"
        ".hf-fill{fill:currentColor;stroke:none}"
        ".hf-tint{fill:currentColor;fill-opacity:.12;stroke:none}"
        ".hf-frame{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.35}"
    )
    dark = _colours(DARK)
    return f"{fixed}{_colours(LIGHT)}@media (prefers-color-scheme:dark){{{dark}}}"


def _colours(palette: dict[str, str]) -> str:
    rules = [
        f".hf-ground{{fill:{palette['ground']};stroke:{palette['rim']}}}",
        f".hf-card{{fill:{palette['card']};stroke:{palette['rim']}}}",
        f".hf-ink{{fill:{palette['ink']}}}",
        f".hf-dim{{fill:{palette['dim']}}}",
        f".hf-on{{fill:{palette['card']}}}",
        f".hf-rim{{stroke:{palette['rim']}}}",
    ]
    rules += [f".hf-{hue}{{color:{palette[hue]}}}" for hue in (RED, AMBER, GREEN, BLUE, VIOLET)]
    return "".join(rules)
