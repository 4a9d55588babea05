"""What may be gone after a power cut, and what the campaign calls a breach."""

from __future__ import annotations

import pytest

from holdfast.campaign import FaultPlan, run_plan
from holdfast.campaign.diary import Diary
from holdfast.campaign.plan import AnyFault, DiskError, Kill, ServerOutage
from holdfast.campaign.promises import lost_with_the_power
from holdfast.journal import MemoryJournal

OUTAGE = ServerOutage(at_seconds=2.5, seconds=2.0)
POWER_CUT = Kill(at_seconds=3.4, seconds=1.0, power_loss=True)
"""While the bus is away, so that what was published is on the disk alone."""


def plan(seed: int, *faults: AnyFault) -> FaultPlan:
    return FaultPlan(seed=seed, horizon_seconds=5.0, faults=faults)


@pytest.mark.parametrize("seed", [1, 2, 6])
def test_what_the_device_refused_may_be_lost(seed: int) -> None:
    """Published long before the cut; its sync was due, and refused."""
    refused = DiskError(at_seconds=3.0, syncs=2)
    verdict = run_plan(plan(seed, OUTAGE, refused, POWER_CUT))
    assert verdict.kept, verdict.breaches


def test_a_journal_that_does_not_sync_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryJournal, "_sync_if_due", lambda self: None)
    broken = [run_plan(plan(seed, OUTAGE, POWER_CUT)).breaches for seed in range(12)]
    assert any(breach.promise == "events" for breaches in broken for breach in breaches)


@pytest.mark.parametrize(
    ("published", "refused", "born", "lost"),
    [
        (9.98, None, None, True),  # within the time a sync may take to come
        (9.90, None, None, False),
        (9.00, 9.04, None, True),  # its sync was due, and refused
        (9.00, 9.05, None, True),  # as late as it can have been due
        (9.00, 9.06, None, False),  # it had been synced before that one
        (9.00, 8.99, None, False),  # so had whatever was refused before it
        (9.00, 9.04, 9.50, False),  # another life has found it, and synced it
        (9.00, 9.04, 8.00, True),
    ],
)
def test_which_events_may_be_lost(
    published: float, refused: float | None, born: float | None, lost: bool
) -> None:
    diary = Diary(power_losses=[10.0], births=[0.0] if born is None else [0.0, born])
    refusals = [] if refused is None else [refused]
    assert lost_with_the_power(published, diary, refused_at=refusals) is lost


@pytest.mark.parametrize(
    ("said", "power", "failed", "born", "lost"),
    [
        (9.0, [], [], [0.0], False),
        (9.0, [10.0], [], [0.0], True),
        (9.0, [8.0], [], [0.0, 8.5], False),
        (9.0, [], [8.9], [0.0], True),  # it could not be written down any more
        (9.0, [], [9.0], [0.0], True),
        (9.0, [], [9.1], [0.0], False),  # it had been
        (9.0, [], [8.0], [0.0, 8.5], False),  # by another journal, since
    ],
)
def test_what_the_engine_has_said_may_be_forgotten(
    said: float, power: list[float], failed: list[float], born: list[float], lost: bool
) -> None:
    diary = Diary(power_losses=power, journal_failures=failed, births=born)
    assert diary.may_be_forgotten(said) is lost
