"""`holdfast campaign`: hunt, or look at one seed."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Executor
from contextlib import closing

import click
import msgspec

from holdfast.workers import workers, workers_options

from .hunt import Tally, hunt
from .run import Verdict, run_plan
from .seeded import seeded
from .shrink import part_of, shrink, unshrunk

SEED_BITS = 40
SHOWN_AT_MOST = 3
"""Broken seeds whose plan is shrunk and shown; the others are listed."""


@click.command()
@click.option("--seeds", default=1000, show_default=True, help="How many worlds to run.")
@click.option("--first-seed", type=int, help="The first of them. Default: a random one, printed.")
@workers_options
@click.option("--seed", type=int, help="Run this one alone and print what happened in it.")
@click.option("--keep", help="With --seed: only these faults of its plan, such as 0,3,4.")
@click.option(
    "--no-noise", is_flag=True, help="With --seed: without the small mishaps on the ports."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first world with a broken promise.")
@click.option("--no-shrink", is_flag=True, help="Do not look for the shortest plan that breaks it.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def campaign(
    seeds: int,
    first_seed: int | None,
    jobs: int | None,
    cluster: str | None,
    seed: int | None,
    keep: str | None,
    no_noise: bool,
    fail_fast: bool,
    no_shrink: bool,
    as_json: bool,
) -> None:
    """Break everything around the engine, in virtual time, and look for a broken promise.

    Each seed is a world of its own: servers, venue and disk fail, the process is killed,
    clocks jump, a bot wants to trade all the time. Afterwards the promises are checked from
    outside. Exits with 1 if one was broken, and prints how to see it again.
    """
    if seed is not None:
        _replay(seed, keep, noise=not no_noise, as_json=as_json)
        return
    if seeds < 1:
        raise click.BadParameter("give at least 1", param_hint="--seeds")
    first = secrets.randbits(SEED_BITS) if first_seed is None else first_seed
    began = time.monotonic()
    with workers(
        jobs=jobs, cluster=cluster, pieces=seeds, again=f"--first-seed {first}"
    ) as executor:
        total = _gather(first, seeds, executor, fail_fast=fail_fast, as_json=as_json)
    seconds = time.monotonic() - began
    _report(total, first, seconds, shrinks=not no_shrink, as_json=as_json)
    if total.broken:
        raise SystemExit(1)


def _gather(
    first: int, seeds: int, executor: Executor | None, *, fail_fast: bool, as_json: bool
) -> Tally:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console, total = Console(stderr=True), Tally()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, disable=as_json, transient=True) as progress,
        closing(hunt(first, seeds, executor=executor)) as tallies,
    ):
        task = progress.add_task(f"worlds from seed {first}", total=seeds)
        for tally in tallies:
            total += tally
            progress.update(task, advance=tally.seeds)
            for verdict in tally.broken:
                console.print(f"seed {verdict.plan.seed}: {verdict.breaches[0]}", markup=False)
            if total.broken and fail_fast:
                break
    return total


def _report(total: Tally, first: int, seconds: float, *, shrinks: bool, as_json: bool) -> None:
    rate = total.seeds / seconds if seconds else 0.0
    shown = [
        shrink(verdict) if shrinks else unshrunk(verdict)
        for verdict in total.broken[:SHOWN_AT_MOST]
    ]
    if as_json:
        summary = msgspec.structs.replace(total, broken=())
        click.echo(
            msgspec.json.encode(
                {
                    "first_seed": first,
                    "seconds": seconds,
                    **msgspec.to_builtins(summary),
                    "broken": [_as_json(verdict) for verdict in total.broken],
                    "see_it": [found.command for found in shown],
                }
            ).decode()
        )
        return
    click.echo(
        f"{total.seeds} worlds from seed {first}: {total.faults} faults, {total.lives} lives, "
        f"{total.orders} orders, {total.events} events, {total.virtual_seconds / 3600:.1f} h of "
        f"virtual time in {seconds:.1f} s ({rate:.1f} a second)"
    )
    if not total.broken:
        click.secho("every promise was kept", fg="green", bold=True)
        return
    click.secho(f"{len(total.broken)} of them broke a promise", fg="red", bold=True)
    for found in shown:
        click.echo(f"\n{found}")
    others = ", ".join(str(v.plan.seed) for v in total.broken[SHOWN_AT_MOST:][:20])
    if others:
        click.echo(f"\nalso broken: {others}")


def _replay(seed: int, keep: str | None, *, noise: bool, as_json: bool) -> None:
    plan = seeded(seed)
    kept = tuple(range(len(plan.faults)))
    if keep is not None:
        try:
            kept = tuple(int(word) for word in keep.split(",") if word.strip())
            plan = part_of(plan, kept, noise=noise)
        except (ValueError, IndexError):
            raise click.BadParameter(
                f"{keep!r}: give numbers from 0 to {len(plan.faults) - 1}, such as 0,3",
                param_hint="--keep",
            ) from None
    else:
        plan = part_of(plan, kept, noise=noise)
    verdict = run_plan(plan)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(verdict)).decode())
    else:
        click.echo(f"the plan of seed {seed}:\n{plan}\n")
        for at, what in verdict.log:
            click.echo(f"{at:9.3f} s  {what}")
        click.echo(f"digest {verdict.digest}, {verdict.steps} steps")
        for breach in verdict.breaches:
            click.secho(f"broken: {breach}", fg="red")
        if verdict.kept:
            click.secho("every promise was kept", fg="green", bold=True)
    if not verdict.kept:
        raise SystemExit(1)


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "plan": msgspec.to_builtins(verdict.plan),
        "breaches": [breach._asdict() for breach in verdict.breaches],
        "digest": verdict.digest,
        "steps": verdict.steps,
        "log": verdict.log,
    }
