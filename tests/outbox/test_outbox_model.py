"""Whatever happens between bot and bus: every event exactly once, in the order published.

The oracle is a list: what was published, in order. Actions are drawn, played in virtual
time over several lives of the bot, and at the end the bus must hold that list.
"""

from __future__ import annotations

from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from outbox_world import Place

from holdfast.simulation import run

Action = tuple[Any, ...]

ACTIONS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 12)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.0005, 0.002, 0.03, 1.0])),
    st.tuples(st.just("down")),
    st.tuples(st.just("up")),
    st.tuples(st.just("flap")),
    st.tuples(st.just("wipe")),
    st.tuples(st.just("failover"), st.integers(1, 15)),
    st.tuples(st.just("lose_acks"), st.integers(1, 3)),
    st.tuples(st.just("refuse"), st.integers(0, 4)),
    st.tuples(st.just("kill")),
)


def act(place: Place, action: Action) -> None:
    server = place.server
    match action:
        case ("down",):
            server.down("killed")
        case ("up",):
            server.up()
        case ("flap",):
            server.drop_connections("reset by peer")
        case ("wipe",):
            server.wipe()
        case ("failover", count):
            server.down("failover")
            server.roll_back(count)
            server.up()
        case ("lose_acks", count):
            server.lose_acks(count)
        case ("refuse", after):
            server.refuse_append("OOM", after=after)


@settings(max_examples=150, deadline=None)
@given(
    actions=st.lists(ACTIONS, max_size=40),
    batch_events=st.integers(1, 6),
    batches_in_flight=st.integers(1, 3),
    latency_seconds=st.sampled_from([0.0, 0.001]),
)
def test_exactly_once_and_in_order(
    actions: list[Action], batch_events: int, batches_in_flight: int, latency_seconds: float
) -> None:
    async def main() -> None:
        place = Place(latency_seconds=latency_seconds)
        published: list[int] = []
        remaining = list(actions)
        while True:
            async with place.life(
                batch_events=batch_events, batches_in_flight=batches_in_flight
            ) as outbox:
                while remaining:
                    match remaining.pop(0):
                        case ("kill",):
                            break
                        case ("publish", count):
                            for _ in range(count):
                                published.append(len(published))
                                outbox.publish_nowait("test", published[-1])
                        case ("wait", seconds):
                            await anyio.sleep(seconds)
                        case other:
                            act(place, other)
                else:
                    # The faults stop: what is left is safety (nothing wrong) and liveness.
                    place.server.lose_acks(0)
                    place.server.down("the last one")
                    place.server.up()
                    await place.drained(outbox, seconds=30)
                    break
        assert place.bodies() == published
        assert place.gaps == []
        by_producer: dict[str, int] = {}
        for entry in place.server.log.entries:
            by_producer[entry.producer] = by_producer.get(entry.producer, 0) + 1
            assert entry.sequence == by_producer[entry.producer], "a hole or a repetition"

    run(main)


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(ACTIONS, max_size=30),
    padding=st.integers(50, 400),
)
def test_beyond_the_window_a_gap_never_silence(actions: list[Action], padding: int) -> None:
    """With a window so short that events are dropped: each is on the bus or inside a gap."""

    async def main() -> None:
        place = Place()
        small = {
            "segment_bytes": 4096,
            "retain_acked_seconds": 0.0,
            "retain_acked_bytes": 0,
        }
        count = 0
        async with place.life(batch_events=3, **small) as outbox:
            for action in [*actions, ("up",), ("publish", 1)]:
                match action:
                    case ("publish", number):
                        for _ in range(number):
                            count += 1
                            outbox.publish_nowait("test", (count, "x" * padding))
                            if outbox._journal.wants_checkpoint:
                                outbox._journal.checkpoint(b"state")
                    case ("wait", seconds):
                        await anyio.sleep(seconds)
                    case ("kill",):
                        await anyio.sleep(5)  # time for the window to close
                    case other:
                        act(place, other)
            place.server.down("the last one")
            place.server.up()
            await place.drained(outbox, seconds=30)
        expected = 1
        for entry in place.server.log.entries:
            if entry.gap is not None:
                assert entry.gap.first == expected
                expected = entry.gap.last + 1
            else:
                assert entry.sequence == expected
                expected += 1
        assert expected == count + 1
        assert len(place.gaps) >= sum(e.gap is not None for e in place.server.log.entries)

    run(main)
