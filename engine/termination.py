"""Makes SIGTERM end a bot the way Ctrl-C does: through its `with` blocks.

Only where the program has left the signal alone and runs in the main thread; a
program that handles SIGTERM itself, or a server that hosts it, stays in charge.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STATUS = 128 + signal.SIGTERM
"""What a shell reports of a program that SIGTERM has ended."""


def _ours_to_handle() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )


@contextmanager
def on_sigterm_call(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, call `stop` on the event loop when SIGTERM arrives."""
    if not _ours_to_handle():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def on_sigterm_exit() -> Iterator[None]:
    """While inside, SIGTERM raises `SystemExit` in the main thread of a synchronous script."""
    if not _ours_to_handle():
        yield
        return

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(EXIT_STATUS)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
