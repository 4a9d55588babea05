"""The fall and the way up that are under way, or were the last: what is remembered of them.

The ticket is the gate epoch that began with the last fault, and the only one the gate can be
opened in. Everything proven on the way up is proven for it.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from holdfast.states.machine import Step
from holdfast.states.table import SHUTTING, State, Trigger

HISTORY: Final = 1000
"""Steps kept in memory; the journal has all of them."""


class Moment(NamedTuple):
    """A step and when it was made."""

    time_ns: int
    monotonic: float
    step: Step


class Recovery:
    """
    :param ticket: the gate's epoch now.
    """

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.history: deque[Moment] = deque(maxlen=HISTORY)
        self.entered: deque[Moment] = deque(maxlen=HISTORY)
        """Of them, those that entered a state: a link that fails a thousand times while all is
        down must not push the run out of its own picture."""
        self.failed_climbs = 0
        """Ways up since HEALTHY that ended in DEGRADED again."""
        self.replay_mark = 0
        """Newest event when RECOVERING was entered: what has to be on the bus before going on."""
        self.bus_lost_at: float | None = None
        """Monotonic; None: it is there, and what it missed has been replayed."""
        self.divergences = 0
        """Counts the times the books were found not to be believed."""
        self.compared: tuple[int, int] | None = None
        """(value of `divergences`, unsettled differences) of the last comparison."""

    @property
    def unsettled_differences(self) -> int | None:
        """Of the last comparison; None: there was none since the books were last doubted."""
        if self.compared is None or self.compared[0] != self.divergences:
            return None
        return self.compared[1]

    def took(self, step: Step, *, gate_epoch: int, time_ns: int, monotonic: float) -> None:
        """The machine has made this step, and the gate's epoch is now this."""
        if step.trigger in SHUTTING:
            self.ticket = gate_epoch
        if step.trigger is Trigger.DIVERGED:
            self.divergences += 1
        moment = Moment(time_ns, monotonic, step)
        self.history.append(moment)
        if step.entered:
            self.entered.append(moment)
        if step.entered and step.source in (State.RECOVERING, State.RECONCILING):
            if step.dest is State.DEGRADED:
                self.failed_climbs += 1
            elif step.dest is State.HEALTHY:
                self.failed_climbs = 0
