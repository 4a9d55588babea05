"""Checks of a message bus (`holdfast.ports.MessageBus`)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import anyio

from holdfast.model import Gap
from holdfast.ports import Batch, BusEntry, BusPosition, MessageBus

from .watching import (
    PATIENCE_SECONDS,
    Control,
    Recorder,
    connected,
    expect,
    patiently,
    raises_link_down,
    sees_that_writes_are_refused,
)

MakeBus = Callable[[], MessageBus]


async def check_bus(make_bus: MakeBus, control: Control) -> None:
    """Run every check of `BUS_CHECKS`, each on an emptied server."""
    for check in BUS_CHECKS:
        await control.wipe()
        await check(make_bus, control)


async def appends_once_and_in_order(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        for promise, first, count, last in (
            ("a batch is appended", 1, 5, 5),
            ("sending again appends nothing", 1, 5, 5),
            ("what is new of a batch is appended", 4, 5, 8),
            ("an old batch changes nothing", 1, 1, 8),
            ("an empty batch is no error", 9, 0, 8),
        ):
            expect(promise, await _append(bus, lineage, first, count), ("ok", last))
        expect("`position` tells what was appended", await bus.position("a"), (lineage, 8))
        entries = await _collect(bus, 8)
        expect(
            "each event is on the bus once, in order, as it was sent",
            [(e.sequence, e.payload) for e in entries],
            [(n, _payload(n)) for n in range(1, 9)],
        )


async def refuses_a_hole(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        expect("a batch may not leave a hole", await _append(bus, lineage, 2, 3), ("gap", 0))
        await _append(bus, lineage, 1, 3)
        in_flight = [bus.append(_batch(lineage, first, 3)) for first in (4, 10, 7, 13)]
        answers = [tuple(await answer)[:2] for answer in in_flight]
        expect(
            "batches are judged in call order, each by itself",
            answers,
            [("ok", 6), ("gap", 6), ("ok", 9), ("gap", 9)],
        )


async def keeps_producers_apart(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3, producer="a")
        expect("each producer counts from 1", await bus.position("b"), (lineage, 0))
        await _append(bus, lineage, 1, 2, producer="b")
        expect("one producer moves no other", await bus.position("a"), (lineage, 3))
        entries = await _collect(bus, 5)
        expect(
            "the bus keeps the order of all that was appended",
            [(e.producer, e.sequence) for e in entries],
            [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)],
        )


async def marks_a_gap(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 2)
        wrong = Gap("a", 4, 9)
        expect(
            "a marker has to begin where the bus ends",
            await _append(bus, lineage, 10, 1, gap=wrong),
            ("gap", 2),
        )
        gap = Gap("a", 3, 9)
        for promise in ("a marker closes the gap", "a marker sent again has no effect"):
            expect(promise, await _append(bus, lineage, 10, 2, gap=gap), ("ok", 11))
        entries = await _collect(bus, 5)
        expect(
            "the marker stands in the place of the events, once",
            [e.gap for e in entries],
            [None, None, gap, None, None],
        )
        expect(
            "the marker carries the last sequence it stands for",
            [e.sequence for e in entries],
            [1, 2, 9, 10, 11],
        )


async def refuses_another_lineage(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        kind, _ = await _append(bus, "other", 1, 1)
        expect("a batch made for other data is refused", kind, "lineage")
        expect("nothing was appended", await bus.position("a"), (lineage, 0))


async def fences_off_an_older_token(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        for promise, first, token, answer in (
            ("the first token counts", 1, 7, ("ok", 1)),
            ("an older token is fenced off", 2, 6, ("fenced", 1)),
            ("a newer token takes over", 2, 8, ("ok", 2)),
            ("the token that was taken over from is fenced off", 3, 7, ("fenced", 2)),
            ("0 takes no part in leases", 3, 0, ("ok", 3)),
        ):
            expect(promise, await _append(bus, lineage, first, 1, fencing_token=token), answer)


async def tells_whether_the_holder_of_the_fence_is_there(
    make_bus: MakeBus, control: Control
) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        expect("an unused bus has seen no token", (await bus.fence()).token, 0)
        began = monotonic()
        for promise, first, count, token, newest in (
            ("also an unused bus is told that a holder is there", 1, 0, 5, 5),
            ("a token that was written with is told", 1, 1, 7, 7),
            ("a batch without payloads counts", 2, 0, 9, 9),
            ("what was refused does not", 2, 1, 8, 9),
            ("nor what takes no part in leases", 2, 1, 0, 9),
        ):
            await _append(bus, lineage, first, count, fencing_token=token)
            fence = await bus.fence()
            expect(promise, fence.token, newest)
            found = (await bus.position("a")).lineage
            expect("a token is no part of the data that the lineage names", found, lineage)
            took = monotonic() - began
            assert 0 <= fence.silent_seconds <= took + 0.1, "silence counts from the last write"
        expect("the fence belongs to no producer", await bus.position("b"), (lineage, 0))


async def survives_an_outage(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus) as watch:
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3)
        await control.stop()
        await watch.until("a stopped server is reported by `down`", lambda: not watch.is_up)
        assert all(watch.reasons), "`down` says why"
        await raises_link_down("position", bus.position("a"))
        await raises_link_down("append", bus.append(_batch(lineage, 4, 1)))
        await raises_link_down("probe", bus.probe())
        await control.start()
        await watch.until("`run` reconnects by itself and calls `up`", lambda: watch.is_up)
        await bus.probe()
        expect("data that survived keep their lineage", await bus.position("a"), (lineage, 3))
        expect("appending goes on", await _append(bus, lineage, 3, 2), ("ok", 4))


async def a_bus_that_refuses_writes_is_down(make_bus: MakeBus, control: Control) -> None:
    await sees_that_writes_are_refused(make_bus(), control)


async def tells_that_the_data_were_lost(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus) as watch:
        before = await _fresh(bus, "a")
        await _append(bus, before, 1, 3)
        await control.wipe()
        await watch.until("`run` reconnects by itself", lambda: watch.is_up)
        after = await _position(bus, "a")
        assert after.lineage != before, "lost data have a new lineage"
        expect("lost data are not counted", after.last_sequence, 0)
        kind, _ = await _append(bus, before, 4, 1)
        expect("what was made for the lost data is refused", kind, "lineage")
        expect("the empty bus is filled anew", await _append(bus, after.lineage, 1, 4), ("ok", 4))


async def a_subscription_loses_nothing(make_bus: MakeBus, control: Control) -> None:
    """Across an outage and a loss of all data, which is filled up again from the start."""
    bus = make_bus()
    seen: list[BusEntry] = []
    watch = Recorder()

    async def follow() -> None:
        async for entry in bus.subscribe():
            seen.append(entry)
            watch.tell()

    async def until_seen(count: int) -> None:
        await watch.until(
            f"a subscription goes on by itself: {count} entries", lambda: len(seen) >= count
        )

    async with connected(bus) as link, anyio.create_task_group() as group:
        group.start_soon(follow)
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3)
        await until_seen(3)
        await control.stop()
        await link.until("`down` is called", lambda: not link.is_up)
        await control.start()
        await link.until("`up` is called", lambda: link.is_up)
        await _append(bus, (await _position(bus, "a")).lineage, 4, 3)
        await until_seen(6)
        await control.wipe()
        await link.until("`up` is called", lambda: link.is_up)
        await _append(bus, (await _position(bus, "a")).lineage, 1, 8)
        await until_seen(8)
        expect("each event once, in order", [e.sequence for e in seen], list(range(1, 9)))
        group.cancel_scope.cancel()


async def a_subscription_resumes(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 5)
        entries = await _collect(bus, 5)
        rest = await _collect(bus, 2, after=entries[2].id)
        expect("`after` is not delivered again", [e.sequence for e in rest], [4, 5])


async def a_cancelled_append_harms_nobody(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        for first in range(1, 20):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await bus.append(_batch(lineage, first, 1))
            answer = await _append(bus, lineage, first, 1, producer="b")
            expect("each question gets its own reply", answer, ("ok", first))
        position = await bus.position("b")
        expect("what was acknowledged is there", position.last_sequence, 19)


async def a_link_that_is_not_run_says_so(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    await raises_link_down("position before run", bus.position("a"))
    async with connected(bus):
        await bus.position("a")
    await raises_link_down("position after run", bus.position("a"))
    await raises_link_down("append after run", bus.append(_batch("any", 1, 1)))


BUS_CHECKS: Final = (
    appends_once_and_in_order,
    refuses_a_hole,
    keeps_producers_apart,
    marks_a_gap,
    refuses_another_lineage,
    fences_off_an_older_token,
    tells_whether_the_holder_of_the_fence_is_there,
    survives_an_outage,
    a_bus_that_refuses_writes_is_down,
    tells_that_the_data_were_lost,
    a_subscription_loses_nothing,
    a_subscription_resumes,
    a_cancelled_append_harms_nobody,
    a_link_that_is_not_run_says_so,
)


def _payload(sequence: int) -> bytes:
    return b"event %d" % sequence


def _batch(lineage: str, first: int, count: int, *, producer: str = "a", **more: Any) -> Batch:
    payloads = [_payload(n) for n in range(first, first + count)]
    return Batch(producer, first, payloads, lineage, **more)


async def _append(
    bus: MessageBus, lineage: str, first: int, count: int, **more: Any
) -> tuple[str, int]:
    with anyio.fail_after(PATIENCE_SECONDS):
        status = await bus.append(_batch(lineage, first, count, **more))
    return status.kind, status.last_sequence


async def _fresh(bus: MessageBus, producer: str) -> str:
    position = await _position(bus, producer)
    assert position.last_sequence == 0, "the check needs an empty server"
    return position.lineage


async def _position(bus: MessageBus, producer: str) -> BusPosition:
    return await patiently(lambda: bus.position(producer))


async def _collect(bus: MessageBus, count: int, *, after: str | None = None) -> list[BusEntry]:
    found: list[BusEntry] = []
    with anyio.move_on_after(PATIENCE_SECONDS):
        async for entry in bus.subscribe(after=after):
            found.append(entry)
            if len(found) == count:
                break
    assert len(found) == count, f"a subscription delivers what is there: {len(found)} of {count}"
    return found
