"""One line of the scorecard, and the rule that nothing passes unmeasured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

Measured = float | int | str | None


class Check(msgspec.Struct, frozen=True):
    """A measured claim.

    :ivar id: unique within its scenario.
    :ivar measured: None when what it asks about never happened; it has failed then.
    :ivar limit: what `measured` may be at most, unless `what` says otherwise.
    :ivar what: how it was measured, in words.
    """

    id: str
    scenario: int
    passed: bool
    measured: Measured
    limit: Measured
    unit: str
    what: str


def none_of(
    name: str, scenario: int, count: int, what: str, *, unit: str = "", missing: str | None = None
) -> Check:
    """Passes if `count` is zero and nothing was `missing` that would have made it count."""
    if missing is not None:
        return unmeasured(name, scenario, 0, unit, what, missing)
    return Check(name, scenario, count == 0, count, 0, unit, what)


def at_most(name: str, scenario: int, value: float, limit: float, what: str, *, unit: str) -> Check:
    return Check(name, scenario, value <= limit, value, limit, unit, what)


def at_least(
    name: str, scenario: int, value: float, limit: float, what: str, *, unit: str
) -> Check:
    return Check(name, scenario, value >= limit, value, f"≥ {limit}", unit, what)


def unmeasured(
    name: str, scenario: int, limit: Measured, unit: str, what: str, missing: str
) -> Check:
    """What was to be shown did not come about: no proof, so no pass."""
    return Check(name, scenario, False, None, limit, unit, f"{what}; not measured: {missing}")


def score(checks: Sequence[Check]) -> float:
    """Passed checks per hundred."""
    return round(100 * sum(check.passed for check in checks) / len(checks), 1) if checks else 0.0


def seconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e9, 6)
