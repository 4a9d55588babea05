"""A source of things that happen by themselves, played by the loop without a timer for each."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from holdfast.simulation import NEVER_NS, SimDeadlock, SimLoop, SimulationError, run

SECOND_NS = 1_000_000_000


class Ticks:
    def __init__(self, *seconds: int) -> None:
        self._left = [second * SECOND_NS for second in seconds]
        self.seen: list[tuple[str, float]] = []
        self.due_ns = self._left.pop(0)

    def happen(self) -> None:
        assert round(SimLoop.current().time() * SECOND_NS) == self.due_ns
        self.seen.append(("tick", SimLoop.current().time()))
        self.due_ns = self._left.pop(0) if self._left else NEVER_NS


def test_it_happens_between_the_timers_and_before_those_of_its_instant() -> None:
    ticks = Ticks(1, 2, 2, 3)

    async def main() -> None:
        SimLoop.current().play(ticks)
        for second in (1.5, 2, 2.5):
            await anyio.sleep_until(second)
            ticks.seen.append(("timer", SimLoop.current().time()))
        await anyio.sleep_until(4)

    run(main)
    assert ticks.seen == [
        ("tick", 1), ("timer", 1.5), ("tick", 2), ("tick", 2), ("timer", 2), ("timer", 2.5),
        ("tick", 3),
    ]  # fmt: skip


def test_a_source_without_an_end_to_wait_for_is_a_deadlock() -> None:
    ticks = Ticks(1, 2)

    async def main() -> None:
        SimLoop.current().play(ticks)
        await anyio.sleep_forever()

    with pytest.raises(SimDeadlock):
        run(main)
    assert len(ticks.seen) == 2


def test_a_moment_is_reached_at_once_only_if_nothing_comes_before_it() -> None:
    async def main() -> None:
        loop = SimLoop.current()
        await anyio.lowlevel.checkpoint()
        assert loop.reach(SECOND_NS)
        assert loop.time() == 1
        loop.call_at(2, lambda: None)
        assert not loop.reach(3 * SECOND_NS)
        assert loop.time() == 1
        assert loop.reach(2 * SECOND_NS)  # before the timer of that instant
        loop.call_soon(lambda: None)
        assert not loop.reach(2 * SECOND_NS)
        await anyio.sleep(0.1)
        assert not loop.reach(NEVER_NS)

    run(main)


def test_two_sources_are_refused() -> None:
    async def main() -> None:
        SimLoop.current().play(Ticks(1))
        with pytest.raises(SimulationError):
            SimLoop.current().play(Ticks(1))

    run(main)
