"""Everyone who waits is woken once, and who gave up leaves nothing behind."""

from __future__ import annotations

import anyio
import pytest

from holdfast.broadcast import Broadcast
from holdfast.simulation import SimDeadlock, run


@pytest.mark.anyio
async def test_all_who_wait_are_woken_and_nobody_who_comes_later() -> None:
    news, woken = Broadcast(), []

    async def wait(name: str) -> None:
        await news.wait()
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "first")
        tasks.start_soon(wait, "second")
        await anyio.wait_all_tasks_blocked()
        news.notify()
        news.notify()
        tasks.start_soon(wait, "late")
        await anyio.wait_all_tasks_blocked()
        assert woken == ["first", "second"]
        news.notify()
    assert woken == ["first", "second", "late"]


@pytest.mark.anyio
async def test_who_gives_up_is_forgotten_and_the_others_are_woken() -> None:
    news, woken = Broadcast(), []

    async def wait() -> None:
        await news.wait()
        woken.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for _ in range(100):
            assert not await news.wait_at_most(0)
        assert len(news._waiting) == 1
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
            news.notify()  # in the moment between the cancellation and its delivery
    assert woken == [None]


def test_who_was_told_leaves_no_timer_behind() -> None:
    async def main() -> None:
        news = Broadcast()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(news.wait_at_most, 3600)
            await anyio.wait_all_tasks_blocked()
            news.notify()
        await anyio.sleep_forever()

    with pytest.raises(SimDeadlock, match=r"at 0\.0"):
        run(main)
