"""Whatever happens between bot and bus: every event exactly once, in the order published.

The oracle is a list: what was published, in order. Actions are drawn, played in virtual
time over several lives of the bot, and at the end the bus must hold that list.
"""

from __future__ import annotations

from typing import Any

import anyio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from outbox_world import Place

from holdfast.outbox import Outbox
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
    actions=st.lists(ACTIONS | st.just(("fill",)), max_size=25),
    padding=st.integers(50, 400),
    patience_seconds=st.sampled_from([0.0, 5.0]),
)
@example(
    actions=[("publish", 5), ("kill",), ("fill",), ("wipe",)], padding=400, patience_seconds=0.0
)
@example(  # the bus takes the marker, and the answer is lost
    actions=[("publish", 1), ("kill",), ("fill",), ("lose_acks", 1), ("wipe",)],
    padding=50,
    patience_seconds=0.0,
)
def test_beyond_the_window_a_gap_never_silence(
    actions: list[Action], padding: int, patience_seconds: float
) -> None:
    """With a window so short that events, and whole lives, are dropped: each event is on the
    bus or under a marker.
    """

    async def main() -> None:
        place = Place()
        small = {
            "segment_bytes": 4096,
            "retain_acked_seconds": 0.0,
            "retain_acked_bytes": 0,
        }
        counts: dict[str, int] = {}

        def publish(outbox: Outbox) -> None:
            counts[outbox.producer] += 1
            outbox.publish_nowait("test", "x" * padding)
            if outbox._journal.wants_checkpoint:
                outbox._journal.checkpoint(b"state")

        remaining = [*actions, ("up",), ("publish", 1)]
        while remaining:
            async with place.life(batch_events=3, **small) as outbox:
                counts[outbox.producer] = 0
                while remaining:
                    match remaining.pop(0):
                        case ("publish", number):
                            for _ in range(number):
                                publish(outbox)
                        case ("fill",):  # until what was there before has left the window
                            for _ in range(40):
                                publish(outbox)
                                await anyio.sleep(0.06)
                        case ("wait", seconds):
                            await anyio.sleep(seconds)
                        case ("kill",):
                            await anyio.sleep(patience_seconds)  # time for the window to close
                            break
                        case other:
                            act(place, other)
                else:
                    place.server.down("the last one")
                    place.server.up()
                    await place.drained(outbox, seconds=30)
        seen = dict.fromkeys(counts, 0)
        for entry in place.server.log.entries:
            first = entry.sequence if entry.gap is None else entry.gap.first
            assert first == seen[entry.producer] + 1
            seen[entry.producer] = entry.sequence
        assert seen == counts
        assert len(place.gaps) >= sum(e.gap is not None for e in place.server.log.entries)

    run(main)
