"""PNG, by one of two programs that need not be there.

`rsvg-convert` paints our own SVG and is preferred; Graphviz' `dot` lays the DOT
out anew. The other formats need neither.
"""

from __future__ import annotations

import shutil
import subprocess

from holdfast.states.table import State

from .as_dot import dot
from .as_svg import svg
from .graph import Last

_TIMEOUT_SECONDS = 30.0


class RenderError(RuntimeError):
    """No program to paint with, or it failed; the message says what to do."""


def png(*, current: State | None = None, last: Last | None = None, scale: float = 2.0) -> bytes:
    """The state machine as a PNG; the one function here that starts a program.

    :param scale: pixels for each SVG unit; 2 suits high-density screens.
    :raises RenderError: neither `rsvg-convert` nor `dot` is installed, or it failed.
    :raises ValueError: `last` is not in the table, or the scale is not above 0 and at most 16.
    """
    if not 0 < scale <= 16:
        raise ValueError(f"scale must be above 0 and at most 16, not {scale}")
    if (rsvg := shutil.which("rsvg-convert")) is not None:
        source = svg(current=current, last=last)
        return _run([rsvg, "--format=png", f"--zoom={scale}"], source)
    if (graphviz := shutil.which("dot")) is not None:
        source = dot(current=current, last=last)
        return _run([graphviz, "-Tpng", f"-Gdpi={96 * scale:g}"], source)
    raise RenderError(
        "PNG needs rsvg-convert (Debian: apt install librsvg2-bin, macOS: brew install librsvg) "
        "or Graphviz' dot (apt install graphviz, brew install graphviz); "
        "the formats svg, mermaid and dot need nothing"
    )


def _run(command: list[str], source: str) -> bytes:
    try:
        done = subprocess.run(
            command,
            input=source.encode(),
            capture_output=True,
            check=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RenderError(f"{command[0]} did not finish in {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise RenderError(f"{command[0]} failed ({error.returncode}): {reason}") from error
    except OSError as error:
        raise RenderError(f"{command[0]} could not be started: {error}") from error
    return done.stdout
