"""A link of the user's own that ends or fails is a fault, not the end of the engine."""

from __future__ import annotations

import anyio
import pytest
from engine_world import World

from holdfast import Engine, EngineClosed, State
from holdfast.ports import LinkWatch
from holdfast.simulation import run


class Fragile:
    name = "model"

    def __init__(self) -> None:
        self.runs = 0
        self.end = anyio.Event()
        self.raises = False

    async def run(self, watch: LinkWatch) -> None:
        self.runs += 1
        watch.up()
        await self.end.wait()
        self.end = anyio.Event()
        if self.raises:
            raise RuntimeError("a defect of the user's")

    async def probe(self) -> None:
        pass


@pytest.mark.parametrize("raises", [False, True])
def test_a_link_that_ends_shuts_the_gate_and_is_begun_again(raises: bool) -> None:
    async def main() -> None:
        world, link = World(), Fragile()
        link.raises = raises
        async with world.engine(links=[link]) as engine:
            await engine.until_healthy()
            link.end.set()
            with anyio.fail_after(1):
                await engine.until(State.DEGRADED)
            assert "model" in engine.gate.reason
            with anyio.fail_after(10):
                await engine.until_healthy()
            assert link.runs == 2

    run(main)


def test_whoever_waits_for_a_stopped_engine_is_told() -> None:
    async def main() -> None:
        world = World()
        told: list[str] = []

        async def wait(engine: Engine) -> None:
            try:
                await engine.until_healthy()
            except EngineClosed:
                told.append("closed")

        async with anyio.create_task_group() as group:
            world.server.down("never there")
            async with world.engine() as engine:
                group.start_soon(wait, engine)
                await anyio.sleep(1)
        assert told == ["closed"]

    run(main)
