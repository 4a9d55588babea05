"""A policy store that is connected to for one thing and left again.

For commands and observers, which are no engine: they keep no link, trade on nothing they have
read, and want to know soon whether the store can be reached at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .errors import HoldfastError, LinkDown
from .ports import PolicyStore

_T = TypeVar("_T")


async def at_store(
    store: PolicyStore,
    act: Callable[[PolicyStore], Awaitable[_T]],
    *,
    name: object,
    timeout_seconds: float,
) -> _T:
    """What `act` answers, given the store once it is connected.

    :param name: of the store, in the error that it can not be reached.
    :raises LinkDown: that was not done within `timeout_seconds`, and why.
    :raises HoldfastError: what `act` raised.
    """
    watch = _FirstConnection()
    failure: HoldfastError | None = None
    done: list[_T] = []
    async with anyio.create_task_group() as group:
        group.start_soon(store.run, watch)
        with anyio.move_on_after(timeout_seconds):
            await watch.connected.wait()
            try:
                done.append(await act(store))
            except HoldfastError as error:  # raised after the group, which would wrap it
                failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not done:
        raise LinkDown(f"{name}: not reached within {timeout_seconds:g} s: {watch.reason}")
    return done[0]


class _FirstConnection:
    """Satisfies `ports.PolicyWatch`."""

    def __init__(self) -> None:
        self.connected = anyio.Event()
        self.reason = "no answer"

    def up(self) -> None:
        self.connected.set()

    def down(self, reason: str) -> None:
        self.reason = reason

    def changed(self) -> None:
        """What is read once can not go stale."""
