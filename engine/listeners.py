"""Users' functions that are told what happens, in the callback in which it happens.

At once, because a bot that hears of a fault later acts on the past; therefore plain
functions. What one of them raises is its own affair and keeps nobody else from being told.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

log = logging.getLogger("holdfast.engine")

_T = TypeVar("_T")


class Listeners(Generic[_T]):
    """Told in the order in which they came.

    :ivar count: how many there are.
    """

    def __init__(self) -> None:
        self._functions: list[Callable[[_T], Any]] = []
        self.count = 0

    def add(self, listener: Callable[[_T], Any]) -> Callable[[], None]:
        """Tell `listener` from now on; returns what ends that.

        :raises TypeError: it can not be called, or it is asynchronous: called where it has to be
            called, it would make a coroutine that nobody awaits, and never run.
        """
        if not callable(listener):
            raise TypeError(f"{listener!r} can not be called; give a function")
        if _is_asynchronous(listener):
            raise TypeError(
                f"{listener!r} is asynchronous; listeners are called at once and are plain "
                "functions: put what you are told into a queue of your own, or use a Bot "
                "(Engine.run)"
            )
        self._functions.append(listener)
        self.count += 1

        def end() -> None:
            with suppress(ValueError):  # ended before
                self._functions.remove(listener)
                self.count -= 1

        return end

    def tell(self, value: _T) -> None:
        """Call each. What one raises is logged."""
        for listener in tuple(self._functions):
            try:
                answer = listener(value)
            except Exception:  # the user's code: whatever it was, the engine goes on
                log.exception("a listener failed")
            else:
                # As of a lambda that calls such a function.
                if answer is not None and inspect.iscoroutine(answer):
                    answer.close()
                    log.error("a listener is asynchronous and was not run: %r", listener)


def _is_asynchronous(function: Any) -> bool:
    """Whether it is such a function, or an object that is called like one."""
    return any(map(inspect.iscoroutinefunction, (function, function.__call__)))
