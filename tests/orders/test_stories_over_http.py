"""Seeded stories over real sockets, against an exchange that is another process.

What is judged is the same as in virtual time, for the promises hold at any speed. Such a story is
not the same one twice; what it shows is its seed and its timeline.
"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from http_stage import Exchange, served_exchange, stage_of
from stories import seeded
from story_world import Verdict, World, silence, verdict_of
from test_stories import BASE_SEED

PARTS, EXCHANGES, STORIES = 4, 5, 10
"""In each part so many exchanges at a time, and at each of them so many stories in turn."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_one_execution_each_and_none_lost(
    part: int, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    record_property("base_seed", BASE_SEED)
    verdicts: list[Verdict] = []

    async def tell(exchange: Exchange, first: int) -> None:
        for seed in range(first, first + STORIES):
            story = seeded(seed)
            world = World(story, await stage_of(exchange, story))
            await world.play()
            verdicts.append(verdict_of(world))

    async def at_an_exchange(first: int) -> None:
        async with served_exchange(tmp_path) as exchange:
            await tell(exchange, first)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(EXCHANGES):
                first = BASE_SEED + (part * EXCHANGES + number) * STORIES
                group.start_soon(at_an_exchange, first)

    with silence():
        anyio.run(main)
    broken = [verdict for verdict in verdicts if not verdict.kept]
    assert not broken, "\n\n".join(map(str, broken))
    assert len(verdicts) == EXCHANGES * STORIES
