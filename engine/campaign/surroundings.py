"""What a plan's conditions make of an engine: its settings, and the ports it is given."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.ports import LeaseStore, MessageBus, PolicyStore
from holdfast.reconcile import Kind, Rule
from holdfast.settings import (
    GateSettings,
    LeaseSettings,
    LinkSettings,
    OrderSettings,
    OutboxSettings,
    PolicySettings,
    ReconcileSettings,
    Settings,
)
from holdfast.transports.faults import CountingClient

from .plan import Conditions

BOT_NAME: Final = "alpha"
FRESHNESS_SECONDS: Final = 1.0
"""The bound on the age of a policy that the bot is configured with."""
SEGMENT_BYTES: Final = 64 << 10
"""Of the journal: small, so that segments are closed, checkpointed and dropped within one run.
Smaller than settings may say, which leave room for the longest keys; those of this bot are short.
"""
POSITIONS: Final = (
    Kind.ORPHAN_POSITION,
    Kind.PHANTOM_POSITION,
    Kind.SIZE_MISMATCH,
    Kind.SIDE_FLIP,
)


class Ports(NamedTuple):
    """Where one process is connected to; each with the noise of the plan in front of it."""

    bus: MessageBus
    store: PolicyStore
    lease: LeaseStore
    client: CountingClient


def settings_for(conditions: Conditions, symbols: tuple[str, ...]) -> Settings:
    """How the engine of a plan is set up."""
    lease = (
        LeaseSettings(enabled=False)
        if conditions.lease_seconds is None
        else LeaseSettings(ttl_seconds=conditions.lease_seconds)
    )
    return Settings(
        bot=BOT_NAME,
        orders=OrderSettings(
            on_leaving_active="keep" if conditions.keep_resting else "cancel",
            deadline_seconds=conditions.deadline_seconds,
            dead_man_seconds=conditions.dead_man_seconds,
        ),
        symbols=symbols,
        gate=GateSettings(loop_lease_seconds=conditions.gate_lease_seconds),
        policy=PolicySettings(on_empty=conditions.on_empty, freshness_seconds=FRESHNESS_SECONDS),
        lease=lease,
        outbox=OutboxSettings(retain_acked_seconds=conditions.retain_acked_seconds),
        reconcile=ReconcileSettings(
            audit_seconds=conditions.audit_seconds,
            rules=_rules(conditions),
        ),
        # A wall clock that jumps stays wrong here, since nobody sets it right; the promises
        # have to hold although it does.
        links=LinkSettings(max_clock_skew_seconds=None),
    )


def _rules(conditions: Conditions) -> dict[str, Rule]:
    """For positions that differ."""
    rules: dict[str, Rule] = {}
    if conditions.adopt_positions:
        rules.update(dict.fromkeys(POSITIONS, "adopt"))
    if conditions.flatten_positions:
        rules.update(dict.fromkeys((Kind.ORPHAN_POSITION, Kind.SIDE_FLIP), "flatten"))
    return rules
