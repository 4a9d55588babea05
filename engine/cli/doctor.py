"""`holdfast doctor`: examine everything that a bot needs, and say what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import click

from holdfast.doctor.examination import Examination
from holdfast.doctor.finding import Finding, Verdict
from holdfast.errors import ConfigError

from .output import answer, config_file_option, json_option, plain

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


class UnusableConfiguration(click.ClickException):
    """There is nothing to examine."""

    exit_code = 2


@click.command()
@config_file_option
@json_option
def doctor(config: Path, as_json: bool) -> None:
    """Examine keys, account, servers, disk and versions, and say what to do.

    Reads only: it orders nothing and changes nothing, so a running bot may be examined. No
    key or password is shown.

    Exits 0 if nothing failed (warnings do not count), 1 if something did, 2 if the
    configuration can not be used.
    """
    try:
        findings = anyio.run(_examine, config, as_json)
    except ConfigError as error:
        raise UnusableConfiguration(str(error)) from error
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    counts = {
        verdict.value: sum(finding.verdict is verdict for finding in findings)
        for verdict in Verdict
    }
    skip = counts.pop(Verdict.SKIPPED.value)
    told = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    if skip:
        told.append(f"{skip} could not be looked at")
    answer(
        {
            "ok": not failed,
            "config": str(config),
            "counts": {**counts, "skip": skip},
            "checks": plain(findings),
        },
        ["", ", ".join(told)],
        as_json=as_json,
    )
    sys.exit(1 if failed else 0)


async def _examine(file: Path, as_json: bool) -> list[Finding]:
    """Every finding, each part of them told to people as soon as it is known."""
    examination = Examination(file)
    findings: list[Finding] = []
    async with aclosing(examination.findings()) as parts:
        async for part in parts:
            findings += part
            if not as_json:
                for line in _lines(part):
                    click.echo(line)
    return findings


def _lines(findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        if finding.verdict is Verdict.SKIPPED:
            continue  # another line tells why
        name = f"{finding.id} {finding.subject}".rstrip()
        colour = _COLOURS.get(finding.verdict)
        verdict = click.style(f"{finding.verdict.value:<4}", fg=colour, bold=colour == "red")
        yield f"{verdict}  {name:<28}  {finding.found}"
        if finding.remedy:
            yield f"      {'':<28}  → {finding.remedy}"
