"""A bus that comes back empty: what no life of the bot can send again is marked, not missed."""

from __future__ import annotations

import anyio
from engine_world import World

from holdfast.engine import Engine
from holdfast.model import Gap
from holdfast.policy import Mode, Policy
from holdfast.settings import PolicySettings
from holdfast.simulation import run

RESTORE = PolicySettings(initial=Policy(Mode.NORMAL), on_empty="restore")
SMALL = {
    "segment_bytes": 1 << 14,
    "retain_acked_seconds": 1.0,
    "retain_acked_bytes": 1 << 14,
}


async def shipped(engine: Engine) -> None:
    with anyio.fail_after(60):
        await engine.until_healthy()
        while engine.status()["outbox"]["behind"]:  # noqa: ASYNC110  virtual time
            await anyio.sleep(0.1)


async def fill_the_window(engine: Engine) -> None:
    for number in range(200):
        await engine.publish("filler", ("x" * 400, number))
        await anyio.sleep(0.1)


def test_events_of_an_earlier_life_that_left_the_window_stand_as_a_gap() -> None:
    async def main() -> None:
        world = World()
        world.journal_options = SMALL
        async with world.engine() as engine:
            await engine.publish("old", {})
            await shipped(engine)
            old = world.events()[0].producer
        count = sum(event.producer == old for event in world.events())
        async with world.engine() as engine:
            await fill_the_window(engine)
            await shipped(engine)
            assert engine._core.outbox._producers(0) == [engine._core.outbox.producer], (
                "nothing of the first life was dropped: the test tests nothing"
            )
        world.server.down("killed")
        world.server.wipe()
        world.server.up()
        for _ in range(2):  # and once only, however often the bot starts
            async with world.engine(policy=RESTORE) as engine:
                await shipped(engine)
                await anyio.sleep(1)
                gaps = [entry.gap for entry in world.server.log.entries if entry.gap is not None]
                assert gaps[0] == Gap(old, 1, count)
                assert [gap.producer for gap in gaps].count(old) == 1

    run(main)
