"""What one check found: a verdict, the fact behind it, and what to do."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """In the order of how much they matter."""

    OK = "ok"
    SKIPPED = "skip"  # it could not be looked at, for a reason that another check tells
    WARN = "warn"  # it works, and may cost something one day
    FAIL = "fail"  # the bot will not trade, or not safely


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    :ivar id: stable, for machines: `bus.eviction`.
    :ivar subject: what of several it speaks of, such as a symbol.
    :ivar found: the fact.
    :ivar remedy: what to do; "" where nothing has to be done.
    """

    id: str
    verdict: Verdict
    found: str
    remedy: str = ""
    subject: str = ""


def ok(check: str, found: str, *, subject: str = "") -> Finding:
    return Finding(id=check, verdict=Verdict.OK, found=found, subject=subject)


def warn(check: str, found: str, remedy: str, *, subject: str = "") -> Finding:
    return Finding(id=check, verdict=Verdict.WARN, found=found, remedy=remedy, subject=subject)


def fail(check: str, found: str, remedy: str, *, subject: str = "") -> Finding:
    return Finding(id=check, verdict=Verdict.FAIL, found=found, remedy=remedy, subject=subject)


def skipped(check: str, why: str, *, subject: str = "") -> Finding:
    return Finding(id=check, verdict=Verdict.SKIPPED, found=why, subject=subject)
