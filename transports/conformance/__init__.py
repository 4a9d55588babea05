"""Checks that a transport keeps its promises, for those who write one."""

from __future__ import annotations

from .bus import BUS_CHECKS, MakeBus, check_bus
from .lease import LEASE_CHECKS, check_lease_store
from .policy import POLICY_CHECKS, MakeStore, Store, check_policy_store
from .watching import PATIENCE_SECONDS, Control, Recorder, connected

__all__ = [
    "BUS_CHECKS",
    "LEASE_CHECKS",
    "PATIENCE_SECONDS",
    "POLICY_CHECKS",
    "Control",
    "MakeBus",
    "MakeStore",
    "Recorder",
    "Store",
    "check_bus",
    "check_lease_store",
    "check_policy_store",
    "connected",
]
