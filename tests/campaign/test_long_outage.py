"""A day without the bus costs the engine next to nothing: it waits, it does not poll."""

from __future__ import annotations

import anyio

from holdfast.campaign import FaultPlan
from holdfast.campaign.plan import Conditions
from holdfast.campaign.process import Process
from holdfast.campaign.world import World
from holdfast.engine import Engine
from holdfast.journal import MemoryDisk
from holdfast.simulation import SimLoop, VirtualClock, run
from holdfast.states.table import State

DAY_SECONDS = 86_400
MOST_STEPS = 20_000


class Idle:
    """The engine alone, without a bot that wants something."""

    journal_failed = False

    async def run(self, engine: Engine, stop: anyio.Event) -> None: ...


def test_a_day_without_servers_takes_few_steps() -> None:
    async def main() -> None:
        # The venue's dead-man switch is no polling of what is away; it is renewed all the time,
        # so its countdown is made long, that what the outage costs be seen.
        conditions = Conditions(dead_man_seconds=3600.0)
        world, loop = World(FaultPlan(seed=1, conditions=conditions)), SimLoop.current()
        process = Process(
            world,
            copy=0,
            life=1,
            disk=MemoryDisk(),
            clock=VirtualClock(),
            diary=world.diary,
            reached=lambda point: None,
            others_open=lambda witness: [],
            halted=lambda: False,
            trader=lambda process: Idle(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(process.run)
            await anyio.sleep(10)
            engine = process.engine
            assert engine is not None
            assert engine.state is State.HEALTHY
            before = loop.steps
            world.bus_server.down("for a day")
            await anyio.sleep(DAY_SECONDS)
            assert engine.state is State.DEGRADED
            assert loop.steps - before <= MOST_STEPS
            world.bus_server.up()
            with anyio.fail_after(10):
                await engine.until_healthy()
            process.close.set()
        assert not world.breaches

    run(main)
