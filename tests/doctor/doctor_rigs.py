"""Verdicts by id, and configurations to examine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from holdfast.doctor.finding import Finding, Verdict

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def verdicts(findings: Iterable[Finding]) -> dict[str, str]:
    """By id, and by subject where there is one."""
    return {f"{f.id} {f.subject}".rstrip(): f.verdict.value for f in findings}


def the(findings: Iterable[Finding], check: str) -> Finding:
    """The only finding of this id. What is not well always says what to do."""
    (found,) = [finding for finding in findings if finding.id == check]
    assert found.found
    assert bool(found.remedy) is (found.verdict in (Verdict.WARN, Verdict.FAIL))
    return found


def write(folder: Path, *, bus: str = "memory://bot", exchange: str, more: str = "") -> Path:
    """:param exchange: the lines of that section."""
    path = folder / "holdfast.toml"
    path.write_text(
        f'[engine]\nbot = "alpha"\nsymbols = ["{BTC}"]\n[bus]\nurl = "{bus}"\n'
        f"[exchange]\n{exchange}\n{more}"
    )
    return path
