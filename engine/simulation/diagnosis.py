"""Says what a task waits for and what a callback belongs to, for the loop's verdicts.

Reads frames only; nothing here changes the course of a run.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

_LIBRARIES = tuple(
    str(Path(module.__file__).parent) for module in (asyncio, anyio) if module.__file__
)
_HOLDFAST = (*_LIBRARIES, str(Path(__file__).parents[1]))


def describe_task(task: asyncio.Task[Any]) -> str:
    """Name of the task, the call it sits in and the nearest line of the program's own code."""
    frames = _await_chain(task)
    if not frames:
        return f"{task.get_name()}: not started"
    frame = frames[-1]
    for others in (_HOLDFAST, _LIBRARIES):  # whoever tests a bot looks for a line of the bot
        own = [one for one in frames if not one.f_code.co_filename.startswith(others)]
        if own:
            frame = own[-1]
            break
    line = (
        f"{task.get_name()}: {frame.f_code.co_filename}:{frame.f_lineno}"
        f" in {frame.f_code.co_qualname}"
    )
    if frames[-1] is not frame:
        line += f", awaiting {frames[-1].f_code.co_qualname}"
    return line


def describe_callback(callback: object) -> str:
    """The task that the callback steps, or the callback's qualified name."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return describe_task(owner)
    return str(getattr(callback, "__qualname__", None) or type(callback).__qualname__)


def _await_chain(task: asyncio.Task[Any]) -> list[FrameType]:
    """Frames from the task's own coroutine down to the innermost one that is suspended."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = next(
            (
                found
                for name in ("cr_frame", "gi_frame", "ag_frame")
                if (found := getattr(awaited, name, None)) is not None
            ),
            None,
        )
        if frame is not None:
            frames.append(frame)
        awaited = next(
            (
                found
                for name in ("cr_await", "gi_yieldfrom", "ag_await")
                if (found := getattr(awaited, name, None)) is not None
            ),
            None,
        )
    return frames
