"""One run of one plan, from the first fault to the verdict.

Two phases, as in TigerBeetle's simulator. In the first one anything may fail, and what
must never happen is watched for. In the second everything outside works again, and
what must happen in the end has to, within a bound of virtual time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
import msgspec
from anyio.abc import TaskGroup

from holdfast.engine import Engine
from holdfast.simulation import Simulation, SimulationError

from .lives import Lives, Mortal
from .plan import FaultPlan
from .promises import check_events, check_orders, check_repairs
from .script import Script
from .seeded import seeded
from .supervisor import Supervisor
from .world import Breach, World

AFTERWARDS_SECONDS: Final = 2.0
"""For which the bot goes on trading where something fails once more: so long that it hears of some
orders, and shorter than an audit takes to come."""
RECOVERY_SECONDS: Final = 60.0
"""Virtual time from the last fault within which trading must be possible again."""
QUIET_AUDITS: Final = 2.4
"""So many of their intervals go by after that, without a bot that trades: two audits find what
a stream has dropped."""
MAX_STEPS: Final = 400_000
"""Of the loop in one run; a hundred times what a run takes."""
MAX_STEPS_PER_INSTANT: Final = 20_000
"""While time stands still."""

_P = TypeVar("_P", bound=Mortal)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run.

    :ivar digest: of the journal, the venue's log and the bus: equal for equal runs.
    :ivar log: what happened, in order, with its virtual time.
    """

    plan: FaultPlan
    breaches: tuple[Breach, ...]
    digest: str
    virtual_seconds: float
    steps: int
    lives: int
    orders: int
    events: int
    log: tuple[tuple[float, str], ...] = ()

    @property
    def kept(self) -> bool:
        return not self.breaches


def run_seed(seed: int) -> Verdict:
    """Draw the plan of `seed` and run it."""
    return run_plan(seeded(seed))


def run_plan(plan: FaultPlan) -> Verdict:
    """Run `plan`; nothing it does depends on anything but the plan."""
    simulation = Simulation(
        seed=plan.seed, max_steps=MAX_STEPS, max_steps_per_instant=MAX_STEPS_PER_INSTANT
    )
    worlds: list[World] = []

    async def main() -> None:
        world = World(plan)
        worlds.append(world)
        world.loop.set_exception_handler(world.on_loop_error)
        await _play(world)

    with silence():
        try:
            simulation.run(main)
        except SimulationError as error:
            worlds[0].breaches.append(
                Breach("liveness", simulation.loop.time(), f"{type(error).__name__}: {error}")
            )
    return _verdict(worlds[0], simulation)


async def _play(world: World) -> None:
    async with anyio.create_task_group() as tasks:
        supervisor = Supervisor(world, tasks)
        tasks.start_soon(world.run_market)
        tasks.start_soon(supervisor.operate)
        await act(
            world,
            supervisor,
            tasks,
            until=lambda: anyio.sleep(world.plan.horizon_seconds),
            settle=lambda: recover(world, supervisor),
        )
    check_events(world)
    check_orders(world, supervisor)
    check_repairs(world)


async def act(
    world: World,
    lives: Lives[_P],
    tasks: TaskGroup,
    *,
    until: Callable[[], Awaitable[object]],
    settle: Callable[[], Awaitable[object]],
) -> None:
    """Live, and let the faults of the plan strike, until that is over; then settle, and end.

    :param tasks: what goes on beside it; ended with it.
    """
    script, ended = Script(world, lives), anyio.Event()

    async def live() -> None:
        await lives.run()
        ended.set()

    tasks.start_soon(live)
    script.begin()
    await until()
    script.end()
    await settle()
    with anyio.move_on_after(RECOVERY_SECONDS):
        await ended.wait()
    if not ended.is_set():
        world.breach("liveness", f"the process did not stop in {RECOVERY_SECONDS:g} s")
    tasks.cancel_scope.cancel()


async def recover(world: World, supervisor: Supervisor) -> None:
    """Wait for HEALTHY twice: with a bot that trades, and again at rest; then end the process."""
    for stop_trading in (False, True):
        with anyio.move_on_after(RECOVERY_SECONDS) as scope:
            await _until_healthy(supervisor)
        engine = supervisor.process.engine if supervisor.process is not None else None
        if scope.cancelled_caught:
            stands = "not running" if engine is None else _describe(engine)
            world.breach("liveness", f"{RECOVERY_SECONDS:g} s after the last fault {stands}")
            break
        if not stop_trading:
            assert supervisor.process is not None
            for strike in world.afterwards:
                strike()
            if world.afterwards:
                await anyio.sleep(AFTERWARDS_SECONDS)
                world.venue.faults.clear()
            supervisor.process.stop.set()
            await anyio.sleep(QUIET_AUDITS * world.plan.conditions.audit_seconds)
    else:
        assert engine is not None
        differs = world.books_differ(engine)
        if differs is not None:
            world.breach("books", f"in the end {differs}")
        problem = engine.status()["policy_problem"]
        if problem is not None:
            world.breach("liveness", f"HEALTHY in the end, and no policy to trade on: {problem}")
    supervisor.finish()


def _describe(engine: Engine) -> str:
    """What a person would ask first."""
    status = engine.status()
    down = [f"{link['name']} ({link['reason']})" for link in status["links"] if not link["up"]]
    return (
        f"{engine.state}: {engine.gate.reason}; waiting for {engine.waiting_for or 'nothing'}; "
        f"links down: {', '.join(down) or 'none'}; lease: {status['lease']}; "
        f"policy: {status['policy_problem']}; unknown: {status['unknown_orders']}; "
        f"differences: {status['differences']}"
    )


async def _until_healthy(supervisor: Supervisor) -> None:
    while True:
        process = supervisor.process
        if process is not None and process.is_healthy:
            return
        await anyio.sleep(0.1)


def digest_of(world: World) -> str:
    """Of the journal, the venue's log and the bus: equal for equal runs."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(world.disk.digest().encode())
    for order in world.venue.order_log:
        digest.update(f"{order.client_order_id} {order.accepted_ns} {order.filled}".encode())
    for entry in world.bus_server.log.entries:
        digest.update(entry.payload)
    return digest.hexdigest()


def _verdict(world: World, simulation: Simulation) -> Verdict:
    return Verdict(
        plan=world.plan,
        breaches=tuple(world.breaches),
        digest=digest_of(world),
        virtual_seconds=simulation.loop.time(),
        steps=simulation.loop.steps,
        lives=world.diary.lives,
        orders=len(world.venue.order_log),
        events=len(world.diary.published),
        log=tuple(world.log),
    )


@contextmanager
def silence() -> Iterator[None]:
    """Formatting thousands of planned warnings would cost more than the run."""
    logger = logging.getLogger("holdfast")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
