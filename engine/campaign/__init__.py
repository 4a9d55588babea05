"""Hunts for broken promises: thousands of worlds in virtual time, each with its own faults.

The engine, its journal and its state machine are the real ones; the bus, the store, the
venue, the disk and time itself are simulated, so a run takes milliseconds and a seed
repeats it exactly. Every promise is checked from outside.
"""

from .plan import Conditions, FaultPlan, Noise
from .run import Verdict, run_plan, run_seed
from .seeded import seeded
from .world import Breach

__all__ = [
    "Breach",
    "Conditions",
    "FaultPlan",
    "Noise",
    "Verdict",
    "run_plan",
    "run_seed",
    "seeded",
]
