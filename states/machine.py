"""Executes the table, synchronously, one trigger at a time.

`transitions` does the table walk; everything that went wrong for others with
state machines under concurrency is kept out of its reach. Its asynchronous
machine is not used: there, an event that opens can cancel a concurrent fault,
a queued fault waits behind a running effect, and an exception empties the
queue. Its callbacks are not used either: a callback that raises leaves the
state half changed. So a trigger here is a plain function call which ends with
the state changed or not changed, and which tells what it did as a `Step`; the
effects are the runner's business.

Triggers raised while a trigger is being processed (by a listener, say) wait in
a first-in-first-out queue and are processed before the outermost call returns:
run to completion, nothing lost. Not thread-safe: call it on the loop's thread
(the gate, which can be shut from any thread, is the part that must be).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from transitions import Machine as _TableMachine

from .guards import GUARDS, Facts
from .table import INITIAL, SHUTTING, TABLE, Row, State, Trigger

# At INFO it formats every trigger, which makes each four times slower.
logging.getLogger("transitions").setLevel(logging.WARNING)

_STATES = {state.value: state for state in State}

MAX_PENDING = 1024
"""Bound on triggers that wait inside one run to completion; more is a loop in a listener."""


class Step(NamedTuple):
    """What one trigger did: the line of the audit record."""

    number: int
    """Counts every trigger processed since the machine was made."""
    trigger: Trigger
    cause: str
    source: State
    dest: State
    entered: bool
    """A state was entered and its effects are due. False: internal or refused."""
    refused: tuple[str, ...] = ()
    """Why the guards said no; empty when they did not."""
    ignored: bool = False
    """The table has no such row in this state: nothing to do."""


class _Model:
    """Private, so that nothing but `Machine` can trigger it."""

    state: str
    trigger: Callable[[str], bool]


class Machine:
    """The four states, moved by `fire`.

    :param facts: called once for each guarded trigger; what it returns decides.
    :param before_shutting: called synchronously before anything else when a
        trigger arrives that shuts the gate.
    :param on_step: told of every step, in order, after the state has changed.
    """

    def __init__(
        self,
        *,
        facts: Callable[[], Facts],
        before_shutting: Callable[[Trigger, str], None],
        on_step: Callable[[Step], None],
    ) -> None:
        self._facts = facts
        self._before_shutting = before_shutting
        self._on_step = on_step
        self._pending: deque[tuple[Trigger, str]] = deque()
        self._running = False
        self._number = 0
        self._model = _Model()
        self._rows: dict[tuple[Trigger, State], Row] = {
            (row.trigger, source): row for row in TABLE for source in row.sources
        }
        self._table = _TableMachine(
            model=self._model,
            states=[s.value for s in State],
            initial=INITIAL.value,
            transitions=[
                {
                    "trigger": row.trigger.value,
                    "source": [s.value for s in row.sources],
                    "dest": None if row.dest is None else row.dest.value,
                }
                for row in TABLE
            ],
            auto_transitions=False,
            queued=False,
            ignore_invalid_triggers=True,
        )

    @property
    def state(self) -> State:
        return _STATES[self._model.state]

    def fire(self, trigger: Trigger, cause: str) -> None:
        """Process `trigger`; when this returns (outermost call), the state is final.

        The gate is shut here, before the queue, so that even a fault that must
        wait for its turn has already stopped the trading. A trigger that leads nowhere
        from here shuts nothing: the gate is shut already (it can be open in HEALTHY alone,
        and what shuts it leads away from there), and to begin a new epoch would void
        the proofs of a recovery for news that it can do nothing with.
        """
        if trigger in SHUTTING and (self._running or (trigger, self.state) in self._rows):
            self._before_shutting(trigger, cause)
        if len(self._pending) >= MAX_PENDING:
            raise RuntimeError(f"{MAX_PENDING} triggers pending: a listener feeds itself")
        self._pending.append((trigger, cause))
        if self._running:
            return
        self._running = True
        try:
            while self._pending:
                self._on_step(self._process(*self._pending.popleft()))
        finally:
            self._running = False

    def _process(self, trigger: Trigger, cause: str) -> Step:
        self._number += 1
        source = self.state
        row = self._rows.get((trigger, source))
        if row is None:
            return Step(self._number, trigger, cause, source, source, False, ignored=True)
        if row.guards:
            try:
                facts = self._facts()
                refused = tuple(why for g in row.guards if (why := GUARDS[g](facts)) is not None)
            except Exception as error:  # a condition that cannot be judged does not hold
                self.fire(Trigger.FAULT, f"guard of {trigger} failed: {error!r}")
                refused = (f"guard failed: {error!r}",)
            if refused:
                return Step(self._number, trigger, cause, source, source, False, refused)
        # The return value is not trusted: states are compared (a refused trigger returns
        # the same False as an ignored one).
        self._model.trigger(trigger.value)
        dest = self.state
        if row.dest is not None and dest is not row.dest:
            raise RuntimeError(f"{trigger} led from {source} to {dest}, the table says {row.dest}")
        return Step(self._number, trigger, cause, source, dest, row.dest is not None)
