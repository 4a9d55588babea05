"""Mishaps on the way to any port: late, lost, refused, cut; by chance, but repeatable.

Each wrapper stands before a transport and keeps the promises of its port: what is
lost is reported as lost, appends stay in order, a value read is never older than the
last change announced. So whatever the engine does wrong behind it is the engine's.
"""

from __future__ import annotations

from .bus import FaultyBus
from .chance import FaultRates, FaultSwitch
from .connection import RECONNECT_SECONDS
from .execution import CountingClient, FaultyExecutionClient
from .store import FaultyStore

__all__ = [
    "RECONNECT_SECONDS",
    "CountingClient",
    "FaultRates",
    "FaultSwitch",
    "FaultyBus",
    "FaultyExecutionClient",
    "FaultyStore",
]
