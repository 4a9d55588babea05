"""What is replaced inside anyio and asyncio while a simulation runs, and why.

anyio (4.9 to 4.16, checked) keeps the tasks and child scopes of a cancel scope in sets
hashed by memory address, so a cancelled group wakes its tasks in an order that depends on
everything the process allocated before: the program of the tests had 8 orders in 8 processes.
The replacement is a set in order of insertion, put into the module's globals under the
name ``set``. The list of all tasks, by which the runner cancels what a program left behind
and `anyio.get_running_tasks` answers, comes from a WeakSet whose layout remembers earlier
runs; it is sorted. anyio's worker threads, which never ask the loop, are refused on a
simulated one. Other loops of the process see no difference. `asyncio.TaskGroup` and
`asyncio.wait` need nothing more than `SimTask`'s hash.

What is not reached: the program's own sets of other objects hashed by address (futures
among them) or of strings (PYTHONHASHSEED), `asyncio.as_completed` over bare coroutines,
finalizers run by the cyclic garbage collector, and texts that contain an address, such as
the message of a cancellation.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any, Final, TypeVar

import anyio._backends._asyncio as backend

from .errors import SimulationError
from .loop import SimLoop, SimTask

_T = TypeVar("_T")

_ANYIO_FIRST: Final = (4, 9)
_ANYIO_BEFORE: Final = (5,)

_one_at_a_time = threading.Lock()
_MISSING: Final = object()


class OrderedSet(dict[_T, None]):
    """The part of ``set`` that anyio uses, in order of insertion."""

    __slots__ = ()

    def __init__(self, items: Iterable[_T] = ()) -> None:
        for item in items:
            self[item] = None

    add = dict.setdefault
    remove = dict.__delitem__

    def discard(self, item: _T) -> None:
        self.pop(item, None)


@contextmanager
def deterministic_order() -> Iterator[None]:
    """Replace, for the length of the block, what makes anyio's order depend on addresses.

    :raises SimulationError: if another simulation of this process is active (the
        replacement is process-wide), or if this version of anyio is not built as expected.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise SimulationError(
            "a simulation is already running in this process; its replacements inside anyio are"
            " process-wide, so run simulations one after the other or in processes of their own"
        )
    try:
        with ExitStack() as replaced:
            for module, name, replacement in _replacements():
                _replace(replaced, module, name, replacement)
            _check_anyio()
            yield
    finally:
        _one_at_a_time.release()


@functools.cache
def _replacements() -> list[tuple[ModuleType, str, object]]:
    all_tasks = asyncio.tasks.all_tasks
    worker_thread = getattr(backend, "WorkerThread", None)
    if worker_thread is None:
        raise SimulationError(_unexpected("has no WorkerThread to refuse"))

    def all_tasks_in_order(
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> OrderedSet[asyncio.Task[Any]]:
        return OrderedSet(sorted(all_tasks(loop), key=_creation))

    class RefusedInSimulation(worker_thread):  # type: ignore[misc, valid-type]
        def __init__(self, root_task: asyncio.Task[Any], *rest: Any) -> None:
            loop = root_task.get_loop()
            if isinstance(loop, SimLoop):
                loop.escape("an anyio worker thread (anyio.to_thread, anyio.Path, open_file)")
            super().__init__(root_task, *rest)

    return [
        (backend, "set", OrderedSet),
        (backend, "WorkerThread", RefusedInSimulation),
        (backend, "all_tasks", all_tasks_in_order),
        # The module, which the runner asks; a program that asks `asyncio.all_tasks` gets a set.
        (asyncio.tasks, "all_tasks", all_tasks_in_order),
    ]


def _creation(task: asyncio.Task[Any]) -> int:
    return task.sequence if isinstance(task, SimTask) else 0


def _replace(stack: ExitStack, module: ModuleType, name: str, replacement: object) -> None:
    namespace = vars(module)
    before = namespace.get(name, _MISSING)
    namespace[name] = replacement
    if before is _MISSING:
        stack.callback(namespace.pop, name)
    else:
        stack.callback(namespace.__setitem__, name, before)


def _check_anyio() -> None:
    """Look whether the replacement arrived where the order is decided.

    :raises SimulationError: naming the version of anyio and what was found instead.
    """
    release = tuple(int(part) for part in _anyio_version().split(".")[:2] if part.isdigit())
    if not _ANYIO_FIRST <= release < _ANYIO_BEFORE:
        raise SimulationError(_unexpected("is outside the range 4.9 <= anyio < 5"))
    scope = backend.CancelScope()
    group = backend.TaskGroup()
    for owner, attribute in (
        (scope, "_tasks"),
        (scope, "_child_scopes"),
        (group, "_tasks"),
        (group.cancel_scope, "_tasks"),
    ):
        found = getattr(owner, attribute, None)
        if type(found) is not OrderedSet:
            where = f"{type(owner).__name__}.{attribute}"
            raise SimulationError(
                _unexpected(f"keeps {where} as {type(found).__name__}, not as the set replaced")
            )


@functools.cache
def _anyio_version() -> str:
    # Reads a file: several times what the rest of a short run costs.
    return metadata.version("anyio")


def _unexpected(what: str) -> str:
    return (
        f"anyio {_anyio_version()} {what}: without that a simulation is not"
        " deterministic; holdfast.simulation.ordered has to learn this version first"
    )
