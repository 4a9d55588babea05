"""The behaviour of holdfast as data: what it may be in, and what moves it.

`table` is the one screen to read. `machine` executes it, `guards` are its
conditions as pure functions, `diagram` draws it. This package imports no I/O,
no clock and no chance, and nothing from the engine.
"""

from .machine import Machine, Step
from .table import LEVELS, STATES, TABLE, Level, Row, State, StateSpec, Trigger

__all__ = [
    "LEVELS",
    "STATES",
    "TABLE",
    "Level",
    "Machine",
    "Row",
    "State",
    "StateSpec",
    "Step",
    "Trigger",
]
