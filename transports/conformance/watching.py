"""What the checks of every port share: the watch that records, the switch, and patience."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

import anyio

from holdfast.errors import LinkDown

PATIENCE_SECONDS: Final = 10.0
"""For what has to happen by itself; generous, a loaded machine is no broken transport."""

_T = TypeVar("_T")


class Control(Protocol):
    """Breaks and mends the server behind a bus or a store."""

    async def stop(self) -> None:
        """Make it unreachable. Its data stay."""

    async def start(self) -> None:
        """Make it reachable again."""

    async def refuse_writes(self) -> None:
        """Let it answer reads only, as a primary that becomes a replica or runs full does. Its
        connections stay, if it has any.
        """

    async def accept_writes(self) -> None:
        """Undo `refuse_writes`."""

    async def wipe(self) -> None:
        """Lose all data. The server runs before and after, and may restart in between."""


class Recorder:
    """A watch that writes down what it is told and lets a check wait for it."""

    def __init__(self) -> None:
        self.is_up = False
        self.ups = 0
        self.reasons: list[str] = []
        self.changes = 0
        self._news = anyio.Event()

    def up(self) -> None:
        self.is_up = True
        self.ups += 1
        self.tell()

    def down(self, reason: str) -> None:
        self.is_up = False
        self.reasons.append(reason)
        self.tell()

    def changed(self) -> None:
        self.changes += 1
        self.tell()

    def tell(self) -> None:
        """Let those who wait look again."""
        self._news.set()
        self._news = anyio.Event()

    async def until(self, promise: str, holds: Callable[[], bool]) -> None:
        """:raises AssertionError: `promise`, if `holds` stays false."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            while not holds():
                await self._news.wait()
        assert holds(), f"{promise}; down because of: {self.reasons[-3:]}"


RecorderT = TypeVar("RecorderT", bound=Recorder)


def connected(link: Any) -> AbstractAsyncContextManager[Recorder]:
    """Run `link` (anything with `run(watch)`) and wait until it says that it is up.

    What the block raises is raised as it is, in no exception group.

    :raises AssertionError: `run` did not connect, or ended by itself.
    """
    return watched(link, Recorder())


@asynccontextmanager
async def watched(link: Any, watch: RecorderT) -> AsyncIterator[RecorderT]:
    """`connected`, with a watch that may hear more."""

    async def run() -> None:
        try:
            await link.run(watch)
        except Exception as error:  # whatever it is, `run` broke its promise
            raise AssertionError(
                f"`run` keeps the link up until cancelled; it raised {error!r}"
            ) from error
        raise AssertionError("`run` keeps the link up until cancelled; it returned")

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await watch.until("`run` connects and calls `up`", lambda: watch.is_up)
            yield watch
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failures:
        raise _single(failures) from None


def _single(error: BaseException) -> BaseException:
    """What a group of one holds, however deep."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def sees_that_writes_are_refused(link: Any, control: Control) -> None:
    """:raises AssertionError: it takes a server for up that reads only."""
    async with connected(link) as watch:
        await control.refuse_writes()
        try:
            await watch.until(
                "a server that refuses writes is reported by `down`, though nobody writes",
                lambda: not watch.is_up,
            )
            assert all(watch.reasons), "`down` says why"
            await raises_link_down("probe", link.probe())
        finally:
            await control.accept_writes()
        await watch.until("`run` calls `up` once it takes writes again", lambda: watch.is_up)
        await patiently(link.probe)


def expect(promise: str, found: object, expected: object) -> None:
    """:raises AssertionError: `promise`, with what was found in its stead."""
    assert found == expected, f"{promise}: found {found!r}, expected {expected!r}"


async def patiently(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask again while the link is down: a server that was just wiped may yet be restarting."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                return await ask()
            except LinkDown:
                await anyio.sleep(0.01)


async def until(promise: str, holds: Callable[[], bool]) -> None:
    """For what nobody reports. :raises AssertionError: `promise`."""
    with anyio.move_on_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert holds(), promise


async def raises_link_down(what: str, call: Awaitable[Any]) -> None:
    """:raises AssertionError: `call` hangs, answers, or does not say why it did not."""
    promise = f"{what}: what could not be asked raises LinkDown"
    reason = ""
    with anyio.move_on_after(PATIENCE_SECONDS) as scope:
        try:
            answer = await call
        except LinkDown as error:
            reason = str(error)
        except Exception as error:  # whatever it is, it should have been LinkDown
            raise AssertionError(f"{promise}; it raised {error!r}") from error
        else:
            raise AssertionError(
                f"{promise}, None or an empty list is an answer; it gave {answer!r}"
            )
    assert not scope.cancelled_caught, f"{promise}; it hangs"
    assert reason, f"{promise}, which says why"
