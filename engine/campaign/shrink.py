"""Makes a plan that breaks a promise as short as it will go, by leaving faults out.

Greedy: each fault is left out in turn, and stays out if the same promise is still
broken; again from the start until nothing more can go. That works because each part of
a run draws from a stream of its own: what is left out does not change what remains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .plan import FaultPlan, Noise
from .run import Verdict, run_plan

MAX_RUNS = 400


class Shrunk(NamedTuple):
    """
    :ivar kept: positions in the original plan of the faults that are needed.
    :ivar noise: whether the noise on the ports is.
    """

    verdict: Verdict
    kept: tuple[int, ...]
    noise: bool

    @property
    def command(self) -> str:
        """Replays it, with a timeline."""
        kept = ",".join(map(str, self.kept))
        quiet = "" if self.noise else " --no-noise"
        return f"holdfast campaign --seed {self.verdict.plan.seed} --keep '{kept}'{quiet}"

    def __str__(self) -> str:
        """Seed, promise, plan, and how to see it."""
        plan = self.verdict.plan
        first = self.verdict.breaches[0]
        return f"seed {plan.seed} breaks {first}\n{plan}\n  see it:  {self.command}"


def part_of(plan: FaultPlan, kept: tuple[int, ...], *, noise: bool) -> FaultPlan:
    """`plan` with only the faults at these positions.

    :raises IndexError: it has no such position.
    """
    return msgspec.structs.replace(
        plan,
        faults=tuple(plan.faults[i] for i in kept),
        noise=plan.noise if noise else Noise(),
    )


def unshrunk(broken: Verdict) -> Shrunk:
    """The plan of `broken` as it is."""
    return Shrunk(broken, tuple(range(len(broken.plan.faults))), not broken.plan.noise.silent)


def shrink(broken: Verdict, *, run: Callable[[FaultPlan], Verdict] = run_plan) -> Shrunk:
    """Leave out whatever the first broken promise of `broken` does not need."""
    plan, promise = broken.plan, broken.breaches[0].promise
    noise, verdict = not plan.noise.silent, broken

    def still_broken(kept: tuple[int, ...], *, noise: bool) -> bool:
        nonlocal verdict
        tried = run(part_of(plan, kept, noise=noise))
        if all(breach.promise != promise for breach in tried.breaches):
            return False
        verdict = tried
        return True

    everything = tuple(range(len(plan.faults)))
    if noise and still_broken(everything, noise=False):
        noise = False
    kept = leave_out(everything, lambda fewer: still_broken(fewer, noise=noise))
    return Shrunk(verdict, kept, noise)


def leave_out(
    kept: tuple[int, ...], still_broken: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...]:
    """What remains of `kept` when nothing more can go.

    :param still_broken: whether what was broken still is, with these alone.
    """
    runs, shorter = 0, True
    while shorter and runs < MAX_RUNS:
        shorter = False
        for position in reversed(kept):
            fewer = tuple(i for i in kept if i != position)
            if runs < MAX_RUNS:
                runs += 1
                if still_broken(fewer):
                    kept, shorter = fewer, True
    return kept
