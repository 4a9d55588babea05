"""Runs an async function from start to end in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar, TypeVarTuple

import anyio

from .errors import SimulationError
from .loop import DEFAULT_MAX_STEPS_PER_INSTANT, SimLoop
from .ordered import deterministic_order

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")

DEFAULT_START = "2026-01-01T00:00:00Z"
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Simulation:
    """One run, whose loop can be looked at afterwards: steps, timers fired, time elapsed.

    The parameters are those of `run`.
    """

    def __init__(
        self,
        *,
        seed: int | None = 0,
        start: str | int = DEFAULT_START,
        max_steps: int | None = None,
        max_steps_per_instant: int = DEFAULT_MAX_STEPS_PER_INSTANT,
        on_advance: Callable[[int], object] | None = None,
    ) -> None:
        self._seed = seed
        self._start_ns = _epoch_ns(start)
        self._max_steps = max_steps
        self._max_steps_per_instant = max_steps_per_instant
        self._on_advance = on_advance
        self._loop: SimLoop | None = None

    @property
    def loop(self) -> SimLoop:
        """The loop of the run; its counters stay readable when it is closed.

        :raises RuntimeError: before `run`.
        """
        if self._loop is None:
            raise RuntimeError("the simulation has not been run")
        return self._loop

    def run(self, async_fn: Callable[[*_Args], Awaitable[_T]], *args: *_Args) -> _T:
        """Run once; see `holdfast.simulation.run`."""
        if self._loop is not None:
            raise RuntimeError("a simulation runs once")
        try:
            with deterministic_order():
                return anyio.run(async_fn, *args, backend_options={"loop_factory": self._make_loop})
        except SimulationError as error:
            first = self._first_verdict()
            if first is None or first is error:
                raise
            # A program that cannot end may not be able to clean up either: the cause comes first.
            first.add_note(f"and again while cleaning up: {error}")
            raise first from None

    def _first_verdict(self) -> SimulationError | None:
        return None if self._loop is None else self._loop.verdict

    def _make_loop(self) -> SimLoop:
        self._loop = SimLoop(
            seed=self._seed,
            start_ns=self._start_ns,
            max_steps=self._max_steps,
            max_steps_per_instant=self._max_steps_per_instant,
            on_advance=self._on_advance,
        )
        return self._loop


def run(
    async_fn: Callable[[*_Args], Awaitable[_T]],
    *args: *_Args,
    seed: int | None = 0,
    start: str | int = DEFAULT_START,
    max_steps: int | None = None,
    max_steps_per_instant: int = DEFAULT_MAX_STEPS_PER_INSTANT,
    on_advance: Callable[[int], object] | None = None,
) -> _T:
    """Run ``async_fn(*args)`` with `anyio.run` on a `SimLoop` and return its result.

    :param seed: draws the order of timers that are due in the same nanosecond; ``None``
        keeps the order in which they were set.
    :param start: UTC wall clock at the start: ISO 8601 with an offset, or nanoseconds
        since the Unix epoch.
    :param max_steps: most callbacks the whole run may take; ``None`` for no limit.
    :param max_steps_per_instant: most callbacks it may take while time stands still.
    :param on_advance: called with the new wall clock (UTC nanoseconds since the Unix
        epoch) each time it moved, before anything due then runs; for instance to keep a
        patched ``datetime.now`` in step.
    :raises SimDeadlock: everything waits and no timer is pending.
    :raises SimLivelock: a limit of steps was exceeded.
    :raises SimEscape: the program used a socket, a thread, a process or a signal handler.
    :raises SimulationError: another simulation is active in this process, or the
        installed anyio is not one whose order can be made deterministic.
    """
    simulation = Simulation(
        seed=seed,
        start=start,
        max_steps=max_steps,
        max_steps_per_instant=max_steps_per_instant,
        on_advance=on_advance,
    )
    return simulation.run(async_fn, *args)


def _epoch_ns(start: str | int) -> int:
    if isinstance(start, int):
        return start
    moment = datetime.fromisoformat(start)
    if moment.tzinfo is None:
        raise ValueError(f"the start {start!r} has no offset from UTC; add Z")
    return (moment - _UNIX_EPOCH) // timedelta(microseconds=1) * 1_000
