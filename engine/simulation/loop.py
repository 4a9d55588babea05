"""An asyncio event loop whose time is virtual and which owns no file descriptor.

When nothing is ready, the clock jumps to the next timer; when there is no timer either,
nothing can ever happen again, and the loop says so (`SimDeadlock`). A program therefore
runs as fast as its own code, and the same program with the same seed takes the same
steps in the same order (see `ordered` for what that asks of anyio).

Time is kept as integer nanoseconds since the start; `time()` is their image in float
seconds. It starts at 0, where a float resolves nanoseconds for 97 days (from the Unix
epoch it would resolve 240 ns). A delay is added in integers, so sleeping adds up without
drift, and no timer runs before `time()` has reached the float it was set for: anyio arms
a deadline again when it finds itself early, and would do so for ever with time at rest.

Timers of the same nanosecond run in an order drawn from the seed. The ready queue stays
first in, first out: anyio relies on that, and a program may.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVarTuple
from weakref import WeakKeyDictionary

from .diagnosis import describe_callback, describe_task
from .errors import SimDeadlock, SimEscape, SimLivelock, SimulationError

NANOSECONDS_PER_SECOND: Final = 1_000_000_000
DEFAULT_MAX_STEPS_PER_INSTANT: Final = 1_000_000

# `anyio.sleep_forever` asks for an infinite delay. What lies beyond three centuries is no event
# that could end a wait, so it neither keeps a deadlock from being seen nor overflows.
_NEVER_SECONDS: Final = 1e10

NEVER_NS: Final = 1 << 62
"""When the next of a `Source` comes that has no next."""

# Cancelled timers leave the heap when they reach its head; when they outnumber the live ones,
# at once. Below this size that is not worth the pass.
_PURGE_ABOVE_TIMERS: Final = 128

_LIVELOCK_SAMPLE: Final = 1_000

_Args = TypeVarTuple("_Args")


class Source(Protocol):
    """What happens in a world by itself, in order of time: recorded market data, say.

    A timer for each of a million candles would cost more than all that comes of them. So
    the loop looks here when nothing is ready, as it looks for its timers.

    :ivar due_ns: when the next comes, nanoseconds since the start; `NEVER_NS`: none does.
    """

    due_ns: int

    def happen(self) -> None:
        """Do what is due, and move `due_ns` on. The time is `due_ns`."""


class SimTask(asyncio.Task[Any]):
    """A task hashed by its number in the loop instead of by its address.

    Sets of tasks, the program's own included, then iterate alike in every process.
    """

    __slots__ = ("sequence",)

    def __init__(
        self, coro: Coroutine[Any, Any, Any], *, sequence: int, loop: SimLoop, **options: Any
    ) -> None:
        # First, because the constructor of Task already puts the task into a set.
        self.sequence = sequence
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.sequence

    def __repr__(self) -> str:
        # Not where it stands: anyio and asyncio put this into texts that nobody reads, at each
        # cancellation and each end of a run. `describe_task` tells it to those who do.
        return f"<SimTask {self.get_name()}>"


class SimHandle(asyncio.Handle):
    """A callback; the attributes are those of asyncio's own, which have no public names.

    Made without its constructor, which asks the loop whether it debugs: a step of a simulation
    costs about as much as making its handle.
    """

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None


class SimTimer(asyncio.TimerHandle):
    """A timer; see `SimHandle`."""

    __slots__ = ()

    if TYPE_CHECKING:
        _scheduled: bool
        _when: float

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None
        self._when = when


class _OrderedWeakSet(WeakKeyDictionary[Any, None]):
    """The part of WeakSet that BaseEventLoop needs, iterated in the order of insertion."""

    def add(self, item: object) -> None:
        self[item] = None

    def discard(self, item: object) -> None:
        self.pop(item, None)


class SimLoop(asyncio.BaseEventLoop):
    """The event loop of a simulation. `holdfast.simulation.run` makes one and runs on it.

    :param seed: draws the order of timers that are due in the same nanosecond; ``None``
        keeps the order in which they were set.
    :param start_ns: UTC wall clock at the start, nanoseconds since the Unix epoch.
    :param max_steps: ends the run with `SimLivelock` after so many steps; ``None``: no end.
    :param max_steps_per_instant: the same for steps between two moves of the clock.
    :param on_advance: called with the new wall clock (UTC nanoseconds since the Unix epoch)
        each time the clock moved, before anything due then runs.
    :ivar steps: callbacks run so far: one per switch to a task and per timer.
    :ivar timers_fired: timers among them.
    :ivar verdict: the first error by which the loop itself ended the run, if it did.
    """

    if TYPE_CHECKING:  # what BaseEventLoop shares with its subclasses, unknown to its type stubs
        _closed: bool
        _debug: bool
        _ready: deque[asyncio.Handle]
        _stopping: bool
        _task_factory: object
        _thread_id: int | None

        def _check_closed(self) -> None: ...

    def __init__(
        self,
        *,
        seed: int | None = 0,
        start_ns: int = 0,
        max_steps: int | None = None,
        max_steps_per_instant: int = DEFAULT_MAX_STEPS_PER_INSTANT,
        on_advance: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__()
        self.start_ns = start_ns
        self.steps = 0
        self.timers_fired = 0
        self._now_ns = 0
        self._now_seconds = 0.0
        self._timers: list[tuple[int, float, int, SimTimer]] = []
        self._timers_cancelled = 0
        self._timers_set = 0
        self._tie: Callable[[], float] = float if seed is None else random.Random(seed).random
        self._tasks_created = 0
        self._max_steps: float = math.inf if max_steps is None else max_steps
        self._max_steps_per_instant = max_steps_per_instant
        # One comparison per pass guards both limits: the step at which the nearer one is reached.
        self._step_limit: float = 0
        self._on_advance = on_advance
        self._source: Source | None = None
        self.verdict: SimulationError | None = None
        self._escape: SimEscape | None = None
        self._asyncgens = _OrderedWeakSet()
        self._begin_instant()

    @classmethod
    def current(cls) -> SimLoop:
        """The loop of the simulation that the caller runs in.

        :raises RuntimeError: outside a simulation.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, cls):
            raise RuntimeError(f"not inside a simulation: the running loop is {loop!r}")
        return loop

    # --- time -------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now_seconds

    @property
    def elapsed_ns(self) -> int:
        """Virtual nanoseconds since the start, exact."""
        return self._now_ns

    def stall(self, seconds: float) -> None:
        """Let time pass while nothing runs, as when a call blocks or the process is stopped.

        What fell due in between is late, and runs in the order of its deadlines.
        """
        if not 0 <= seconds < _NEVER_SECONDS:
            raise ValueError(f"a stall lasts a finite time, not {seconds!r} s")
        self._move_to(self._now_ns + round(seconds * NANOSECONDS_PER_SECOND))

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> SimTimer:
        when = self._now_seconds + delay
        if delay >= _NEVER_SECONDS:
            return self._set_timer(None, when, callback, args, context)
        due_ns = self._now_ns
        if delay > 0:
            # At least one: time that a program waits for passes, even where it is lost in
            # the float (`while time() < deadline: sleep(deadline - time())` has to end).
            due_ns += int(delay * 1e9 + 0.5) or 1
        # Rounding may not add up: beyond half a nanosecond the integer is right.
        latest = due_ns / 1e9 + 0.5e-9
        return self._set_timer(due_ns, when if when < latest else latest, callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> SimTimer:
        due_ns = None if when >= _NEVER_SECONDS else int(when * 1e9 + 0.5)
        return self._set_timer(due_ns, when, callback, args, context)

    def _set_timer(
        self,
        due_ns: int | None,
        when_seconds: float,
        callback: Callable[[*_Args], object],
        args: tuple[*_Args],
        context: Context | None,
    ) -> SimTimer:
        if self._closed:
            self._check_closed()
        timer = SimTimer(when_seconds, callback, args, self, context)
        if due_ns is not None:
            self._timers_set += 1
            heapq.heappush(self._timers, (due_ns, self._tie(), self._timers_set, timer))
            timer._scheduled = True
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, SimTimer) and handle._scheduled:
            self._timers_cancelled += 1
            if self._timers_cancelled * 2 > len(self._timers) > _PURGE_ABOVE_TIMERS:
                # The key is total, so the order of what stays does not depend on the purge.
                self._timers = [entry for entry in self._timers if not entry[3]._cancelled]
                heapq.heapify(self._timers)
                self._timers_cancelled = 0

    # --- running ----------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*_Args], object], *args: *_Args, context: Context | None = None
    ) -> asyncio.Handle:
        if self._debug or self._closed:
            return super().call_soon(callback, *args, context=context)
        handle = SimHandle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """Pass after pass until the loop is to stop; a call for each is not needed here."""
        ready = self._ready
        while True:
            if not ready and not self._stopping:
                self._advance()
            timers = self._timers
            while timers and timers[0][0] <= self._now_ns:
                timer = heapq.heappop(timers)[3]
                timer._scheduled = False
                if timer._cancelled:
                    self._timers_cancelled -= 1
                    continue
                if timer._when > self._now_seconds:
                    self._now_seconds = timer._when
                self.timers_fired += 1
                ready.append(timer)
            # Only what is ready now: what these callbacks add runs in the next pass.
            due = len(ready)
            self.steps += due
            if self.steps > self._step_limit:
                self._end_with(self._escape or self._livelock())
            handle: Any
            for _ in range(due):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                # As `Handle._run`, without the call.
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # the program's: asyncio has a handler for it
                    what = f"Exception in callback {describe_callback(handle._callback)}"
                    self.call_exception_handler(
                        {"message": what, "exception": error, "handle": handle}
                    )
            handle = None  # breaks the cycle of an exception's traceback with its handle
            if self._stopping:
                return

    def play(self, source: Source) -> None:
        """Let the things of `source` happen, each at its time, before the timers of that instant.

        :raises SimulationError: another source is played already.
        """
        if self._source is not None:
            raise SimulationError("a simulation plays one source at a time")
        self._source = source

    def reach(self, due_ns: int) -> bool:
        """Move to a moment at once, if nothing else happens before it.

        For the task that is to be told of it anyway: it saves two passes of the loop.
        """
        if self._ready or self._stopping or due_ns >= NEVER_NS:
            return False
        timers = self._timers
        if timers and timers[0][0] < due_ns:
            return False
        if due_ns > self._now_ns:
            if self._on_advance is not None:
                self._move_to(due_ns)
                return True
            # As `_move_to`, without its calls: it is done for every candle of a recording.
            self._now_ns = due_ns
            seconds = due_ns / 1e9
            if seconds > self._now_seconds:
                self._now_seconds = seconds
            limit = self.steps + self._max_steps_per_instant
            self._step_limit = limit if limit < self._max_steps else self._max_steps
        return True

    def _advance(self) -> None:
        """Jump to the next timer, or to the next of the source."""
        if self._escape is not None:
            self._end_with(self._escape)
        timers = self._timers
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)[3]._scheduled = False
            self._timers_cancelled -= 1
        source = self._source
        if source is not None and source.due_ns < NEVER_NS:
            due_ns = source.due_ns
            if not timers or due_ns <= timers[0][0]:
                if due_ns > self._now_ns:
                    self._move_to(due_ns)
                while source.due_ns <= due_ns:
                    source.happen()
                return
        if not timers:
            self._end_with(self._deadlock())
        due_ns = timers[0][0]
        if due_ns > self._now_ns:
            self._move_to(due_ns)

    def _move_to(self, now_ns: int) -> None:
        self._now_ns = now_ns
        # Never back: a timer's float may lie a fraction of a nanosecond above the integer.
        seconds = now_ns / NANOSECONDS_PER_SECOND
        if seconds > self._now_seconds:
            self._now_seconds = seconds
        limit = self.steps + self._max_steps_per_instant
        self._step_limit = limit if limit < self._max_steps else self._max_steps
        if self._on_advance is not None:
            self._on_advance(self.start_ns + now_ns)

    def _begin_instant(self) -> None:
        limit = self.steps + self._max_steps_per_instant
        self._step_limit = limit if limit < self._max_steps else self._max_steps

    def run_until_complete(self, future: Any) -> Any:
        try:
            return super().run_until_complete(future)
        finally:
            # Whatever the program made of its escape: swallowed, wrapped in a group, or raised.
            if self._escape is not None:
                self._end_with(self._escape)

    # --- tasks ------------------------------------------------------------------------

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        self._check_closed()
        if self._task_factory is not None:
            return super().create_task(coro, name=name, context=context, **options)
        self._tasks_created += 1
        # The default name counts the tasks of the process, so a second run would differ.
        return SimTask(
            coro,
            sequence=self._tasks_created,
            loop=self,
            name=f"Task-{self._tasks_created}" if name is None else name,
            context=context,
            **options,
        )

    # --- verdicts ---------------------------------------------------------------------

    def _end_with(self, verdict: SimulationError) -> NoReturn:
        """Stop the run; the runner then cancels every task, and their cleanup may use the loop."""
        self._escape = None
        self._max_steps = math.inf
        self._begin_instant()
        if self.verdict is None:
            self.verdict = verdict
        raise verdict

    def _deadlock(self) -> SimDeadlock:
        tasks = sorted(asyncio.all_tasks(self), key=_sequence)
        lines = tuple(describe_task(task) for task in tasks)
        return SimDeadlock(
            f"deadlock at {self._now_seconds:.9f} s: nothing is ready and no timer is pending;"
            f" {len(lines)} waiting:" + "".join(f"\n  {line}" for line in lines),
            lines,
        )

    def _livelock(self) -> SimLivelock:
        """Run a little further, to see which callbacks the loop is busy with."""
        over_total = self.steps > self._max_steps
        seen: Counter[str] = Counter()
        # At least what is ready, or the end of the main task would be left to stop the clean-up.
        for _ in range(max(_LIVELOCK_SAMPLE, len(self._ready))):
            if not self._ready:
                break
            handle = self._ready.popleft()
            if not handle._cancelled:
                seen[describe_callback(handle._callback)] += 1  # type: ignore[attr-defined]
                handle._run()
        busiest = tuple(f"{count} x {label}" for label, count in seen.most_common(5))
        limit = (
            f"more than {self._max_steps} steps in total"
            if over_total
            else f"more than {self._max_steps_per_instant} steps while time stood still"
        )
        return SimLivelock(
            f"livelock at {self._now_seconds:.9f} s: {limit};"
            f" of the last {seen.total()}:" + "".join(f"\n  {line}" for line in busiest),
            busiest,
        )

    def escape(self, call: str) -> NoReturn:
        """End the simulation because the program left it.

        :param call: what the program called.
        :raises SimEscape: always.
        """
        escape = SimEscape(
            f"{call} leaves the simulation: the loop has no file descriptors, threads,"
            " processes or signals",
            call,
        )
        self._escape = escape
        raise escape

    def call_soon_threadsafe(
        self, callback: Callable[[*_Args], object], *args: *_Args, context: Context | None = None
    ) -> asyncio.Handle:
        if self._thread_id is not None and self._thread_id != threading.get_ident():
            self.escape("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, event_list: object) -> None:
        """Nothing to process: BaseEventLoop asks its subclasses for it."""

    def close(self) -> None:
        super().close()
        self._timers.clear()


def _sequence(task: asyncio.Task[Any]) -> float:
    return task.sequence if isinstance(task, SimTask) else math.inf


def _refusal(call: str) -> Callable[..., NoReturn]:
    def refuse(self: SimLoop, *_args: object, **_options: object) -> NoReturn:
        self.escape(f"loop.{call}")

    return refuse


for _call in (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "remove_reader",
    "remove_writer",
    "run_in_executor",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
):
    setattr(SimLoop, _call, _refusal(_call))
