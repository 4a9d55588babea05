"""Deterministic simulation: the same async code in virtual time, repeatable from a seed.

`run` is `anyio.run` on a loop without file descriptors, whose clock jumps to the next
timer. `VirtualClock` and `SeededEntropy` are the ports Clock and Entropy for code that
runs inside. Blocking calls (`time.sleep`, a synchronous socket) cannot be seen from here;
what goes through the loop or through anyio's threads ends the run with `SimEscape`.
"""

from .clock import VirtualClock
from .entropy import SeededEntropy
from .errors import SimDeadlock, SimEscape, SimLivelock, SimulationError
from .loop import NEVER_NS, SimLoop, Source
from .runner import Simulation, run

__all__ = [
    "NEVER_NS",
    "SeededEntropy",
    "SimDeadlock",
    "SimEscape",
    "SimLivelock",
    "SimLoop",
    "Simulation",
    "SimulationError",
    "Source",
    "VirtualClock",
    "run",
]
