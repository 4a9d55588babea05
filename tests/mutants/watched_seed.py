"""Runs one world of the campaign with every exception watched, and prints those that are bugs.

    python watched_seed.py SEED

A patch that crashes where it stands has not shown that the campaign sees its mistake: whatever
the exception ends, or is swallowed by, may look like a broken promise. So the world in which a
promise was broken is run once more, in the same copy of the package, and no error of the kind
that a slip of the pen makes may be raised in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import holdfast
from holdfast.campaign import run_seed

SLIPS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Unless the engine has made a subclass of its own, which then means what it says."""
PACKAGE: Final = str(Path(holdfast.__file__).parent)


def slips_of(seed: int) -> list[str]:
    """Error and place of each, in the order in which they were raised first."""
    found: dict[str, None] = {}

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines = False
        return happened

    def happened(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception":
            kind, error, traceback = argument
            # Told of anew by every frame that it passes: only where it comes from counts.
            inner = None if traceback is None else traceback.tb_next
            here = inner is None or not inner.tb_frame.f_code.co_filename.startswith(PACKAGE)
            if here and issubclass(kind, SLIPS) and not kind.__module__.startswith("holdfast"):
                place = Path(frame.f_code.co_filename).relative_to(PACKAGE)
                found[f"{kind.__name__}: {error} ({place}:{frame.f_lineno})"] = None
        return happened

    sys.settrace(called)
    try:
        run_seed(seed)
    except Exception as error:  # out of the world itself; seen on its way, if it is one of them
        found.setdefault(f"{type(error).__name__}: {error} (it has left the campaign)")
    finally:
        sys.settrace(None)
    return list(found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(slips_of(int(sys.argv[1]))))
