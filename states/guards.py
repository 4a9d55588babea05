"""The conditions of the table's rows, as pure functions of what is known.

A guard answers from `Facts` alone, so a decision can be repeated from a log and
tested without a server. The engine fills `Facts` in at the moment of the
trigger; a guard that raises counts as a fault (see `machine`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .table import Guard


class Facts(NamedTuple):
    """All that the guards may look at. The defaults are the closed answers."""

    links_unproven: tuple[str, ...] = ("links",)
    """Required links without an answer to a probe begun after the last fault."""
    lease_held: bool = False
    hold: str | None = "not known"
    """Why a person must look before the engine may go on; None: no hold."""
    outbox_behind: int = 1
    """Events up to the mark that the bus has not confirmed."""
    policy_problem: str | None = "not read"
    """Why the policy at hand may not be traded on; None: it may."""
    unknown_orders: int = 1
    unsettled_differences: int | None = None
    """None: not compared since the last divergence. Never taken for zero."""
    ticket_current: bool = False


GUARDS: dict[Guard, Callable[[Facts], str | None]] = {
    Guard.LINKS_PROVEN: lambda f: (
        f"no answer yet from {', '.join(f.links_unproven)}" if f.links_unproven else None
    ),
    Guard.LEASE_HELD: lambda f: None if f.lease_held else "the lease is not ours",
    Guard.NO_HOLD: lambda f: None if f.hold is None else f"held: {f.hold}",
    Guard.OUTBOX_DRAINED: lambda f: (
        f"{f.outbox_behind} events still to be replayed" if f.outbox_behind else None
    ),
    Guard.POLICY_VERIFIED: lambda f: f.policy_problem,
    Guard.NO_UNKNOWN_ORDER: lambda f: (
        f"{f.unknown_orders} orders with unknown outcome" if f.unknown_orders else None
    ),
    Guard.BOOKS_EQUAL: lambda f: (
        "the books were not compared"
        if f.unsettled_differences is None
        else f"{f.unsettled_differences} differences unsettled"
        if f.unsettled_differences
        else None
    ),
    Guard.TICKET_CURRENT: lambda f: (
        None if f.ticket_current else "something shut the gate on the way up"
    ),
}
"""Each returns why not, in words, or None when the condition holds."""

_missing = [g.value for g in Guard if g not in GUARDS]
if _missing:  # a guard without a function would let a transition through unasked
    raise RuntimeError(f"guards without a function: {', '.join(_missing)}")
