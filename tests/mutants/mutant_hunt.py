"""Hunts the mutants: every deliberate breakage of the engine must be caught by the campaign.

    make mutants ARGS="--json"           all of them
    make mutants ARGS="gate_left_open"   one

A campaign that does not catch them proves nothing. Each patch is put into a copy of the package,
and `holdfast campaign` runs on that copy, in a process of its own, until a promise of those that
the patch must break is broken. A world in which the patch itself crashes is no catch
(`watched_seed`). First of all the copy without a patch has to keep every promise, and may not
crash: else nothing is told by a mutant that breaks one.

Exits with 1 if one was not caught.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import click
from mutant_patches import Mutant, PatchError, copy_of_package, for_the_campaign, patched
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

SEEDS: Final = 400
"""Within which each is caught; most are within five of their first one."""
CONTROL_SEEDS: Final = 10
CRASHES: Final = 5
"""Worlds in which a patch may crash before it is given up: it needs to be written better."""
PATIENCE_SECONDS: Final = 900.0
"""For the campaign on one patch; a patch that makes the engine spin for ever is not caught."""
WATCHED_SEED: Final = Path(__file__).with_name("watched_seed.py")


class Result(NamedTuple):
    """
    :ivar seed: of the world that told.
    :ivar seeds: worlds that were run, that one included.
    :ivar promise: the first of those it must break that was broken; `what` was seen.
    """

    name: str
    ending: Literal["caught", "survived", "crashed", "hung"]
    seconds: float
    seeds: int
    seed: int | None = None
    promise: str = ""
    what: str = ""


class HarnessError(Exception):
    """The campaign on a copy said something that is no answer."""


def hunt(
    name: str, mutant: Mutant, *, base: Path, seeds: int = SEEDS, workshop: Path | None = None
) -> Result:
    """Run the campaign on a copy with the patch until it is caught.

    :param base: as of `copy_of_package`.
    :param workshop: where the copy is made.
    :raises PatchError: the patch does not fit.
    """
    began, crashed = time.monotonic(), ""
    first, last, crashes = mutant.first_seed, mutant.first_seed + seeds, 0
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=workshop) as folder:
        copy = patched(name, mutant, base=base, to=Path(folder) / "copy")
        while first < last and crashes < CRASHES:
            left = PATIENCE_SECONDS - (time.monotonic() - began)
            try:
                broken = campaign(copy, first, last - first, timeout_seconds=left)
            except subprocess.TimeoutExpired:
                return Result(name, "hung", time.monotonic() - began, first - mutant.first_seed)
            except HarnessError as error:  # it has left even the campaign by an exception
                lines = str(error).splitlines()
                crashed = next((line for line in reversed(lines) if "Error" in line), lines[-1])
                break
            if broken is None:
                break
            seed, breaches = broken
            first = seed + 1
            wanted = [b for b in breaches if b["promise"] in mutant.breaks]
            if not wanted:
                continue
            if slips := slips_of(copy, seed):
                crashed = f"seed {seed}: {'; '.join(slips[:3])}"
                crashes += 1
                continue
            told = wanted[0]
            return Result(
                name,
                "caught",
                time.monotonic() - began,
                first - mutant.first_seed,
                seed,
                told["promise"],
                told["what"],
            )
    ending: Literal["crashed", "survived"] = "crashed" if crashed else "survived"
    run = min(first, last) - mutant.first_seed if crashed else seeds
    return Result(name, ending, time.monotonic() - began, run, what=crashed)


def campaign(
    copy: Path, first: int, seeds: int, *, timeout_seconds: float
) -> tuple[int, list[dict[str, Any]]] | None:
    """`holdfast campaign` on a copy: the first broken seed and its breaches; None: all is well.

    :raises subprocess.TimeoutExpired:
    """
    options = ["--first-seed", str(first), "--seeds", str(seeds), "--jobs", "1"]
    told = _run(
        copy,
        ["-m", "holdfast", "campaign", *options, "--fail-fast", "--no-shrink", "--json"],
        timeout_seconds=timeout_seconds,
    )
    if not told["broken"]:
        return None
    verdict = told["broken"][0]
    return verdict["plan"]["seed"], verdict["breaches"]


def slips_of(copy: Path, seed: int) -> list[str]:
    """See `watched_seed`."""
    told: list[str] = _run(copy, [str(WATCHED_SEED), str(seed)], timeout_seconds=PATIENCE_SECONDS)
    return told


def _run(copy: Path, arguments: list[str], *, timeout_seconds: float) -> Any:
    child = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    try:
        return json.loads(child.stdout)
    except json.JSONDecodeError:
        raise HarnessError(f"{' '.join(arguments)}: {child.stderr or child.stdout}") from None


def check_the_control(base: Path, *, seeds: int = CONTROL_SEEDS) -> None:
    """:raises HarnessError: the package without a patch breaks a promise, or crashes."""
    broken = campaign(base, 0, seeds, timeout_seconds=PATIENCE_SECONDS)
    if broken is not None:
        raise HarnessError(f"without any patch seed {broken[0]} breaks {broken[1][0]}")
    if slips := slips_of(base, 0):
        raise HarnessError(f"without any patch seed 0 has {slips}")


def hunt_all(
    mutants: dict[str, Mutant], *, jobs: int, seeds: int, on_result: Callable[[Result], None]
) -> list[Result]:
    """All of them, several at a time, in the order of the patches.

    :raises PatchError, HarnessError: nothing is told by the others then.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        workshop = Path(folder)
        base = copy_of_package(workshop / "base")
        check_the_control(base)
        found: dict[str, Result] = {}
        with ThreadPoolExecutor(jobs) as pool:
            futures = [
                pool.submit(hunt, name, mutant, base=base, seeds=seeds, workshop=workshop)
                for name, mutant in mutants.items()
            ]
            try:
                for future in as_completed(futures):
                    result = future.result()
                    found[result.name] = result
                    on_result(result)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [found[name] for name in mutants]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", default=SEEDS, show_default=True, help="Within which one must be caught.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="At a time.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def main(names: tuple[str, ...], seeds: int, jobs: int, as_json: bool) -> None:
    """Hunt the mutants with these NAMES, or all."""
    console = Console(stderr=True)
    try:
        mutants = _chosen(names)
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=as_json, transient=True) as progress:
            task = progress.add_task("mutants", total=len(mutants))

            def on_result(result: Result) -> None:
                progress.update(task, advance=1)
                if not as_json:
                    console.print(f"{result.name}: {_in_words(result)}", markup=False)

            results = hunt_all(mutants, jobs=jobs, seeds=seeds, on_result=on_result)
    except (PatchError, HarnessError) as error:
        raise click.ClickException(str(error)) from None
    free = [result for result in results if result.ending != "caught"]
    if as_json:
        click.echo(json.dumps([result._asdict() for result in results], indent=1))
    else:
        _show(results)
        words = f"{len(results) - len(free)} of {len(results)} mutants caught"
        click.secho(words, fg="red" if free else "green", bold=True)
    if free:
        raise SystemExit(1)


def _chosen(names: Iterable[str]) -> dict[str, Mutant]:
    mutants = for_the_campaign()
    if not names:
        return mutants
    if unknown := [name for name in names if name not in mutants]:
        raise PatchError(f"no patch is named {', '.join(unknown)}; there are: {', '.join(mutants)}")
    return {name: mutants[name] for name in names}


def _in_words(result: Result) -> str:
    if result.ending == "caught":
        return f"caught by {result.promise} in seed {result.seed}: {result.what}"
    return f"{result.ending.upper()} after {result.seeds} seeds {result.what}"


def _show(results: Iterable[Result]) -> None:
    table = Table("mutant", "caught by", "seed", "seeds run", "seconds", box=None, pad_edge=False)
    for result in results:
        caught = result.ending == "caught"
        table.add_row(
            result.name,
            result.promise if caught else result.ending.upper(),
            "" if result.seed is None else str(result.seed),
            str(result.seeds),
            f"{result.seconds:.1f}",
            style=None if caught else "red",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
