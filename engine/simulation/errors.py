"""What ends a simulation before the program does.

Each is a verdict on the program (or on what it reached for), not a fault injected into
it. They survive pickling, so that a process pool can hand them back.
"""

from __future__ import annotations


class SimulationError(RuntimeError):
    """Base of the verdicts, and of a simulation that cannot be started."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SimDeadlock(SimulationError):
    """Nothing is ready and no timer is pending: the program would wait for ever.

    :ivar tasks: one line per waiting task, in the order of their creation: name and place.
    """

    def __init__(self, message: str, tasks: tuple[str, ...] = ()) -> None:
        super().__init__(message, tasks)
        self.tasks = tasks


class SimLivelock(SimulationError):
    """The loop makes steps without end: at one instant, or beyond the total allowed.

    :ivar callbacks: the callbacks seen last, the most frequent first.
    """

    def __init__(self, message: str, callbacks: tuple[str, ...] = ()) -> None:
        super().__init__(message, callbacks)
        self.callbacks = callbacks


class SimEscape(SimulationError):
    """The program reached for the world outside: a socket, a thread, a process, a signal.

    It is raised where that happened. If the program goes on, the loop raises it again
    before time moves, and at the end of the run, so that a broad ``except`` around real
    I/O cannot turn an escape into an ordinary fault.

    :ivar call: what was called.
    """

    def __init__(self, message: str, call: str = "") -> None:
        super().__init__(message, call)
        self.call = call
