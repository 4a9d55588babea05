"""One path for live and replayed events: exactly once, in order, and never silence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio
import pytest
from outbox_world import Place

from holdfast.batching import BATCH_BYTES
from holdfast.errors import InvalidPayload
from holdfast.event_record import event_of
from holdfast.journal import Durability, JournalFull
from holdfast.model import Gap
from holdfast.ports import AppendStatus, Batch, BusPosition
from holdfast.records import EVENT
from holdfast.simulation import run


def in_place(body: Callable[[Place], Awaitable[None]], *, latency_seconds: float = 0.001) -> None:
    async def main() -> None:
        await body(Place(latency_seconds=latency_seconds))

    run(main)


def test_events_reach_the_bus_in_order() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            for number in range(1200):
                await outbox.publish("test", number)
            await place.drained(outbox)
        assert place.bodies() == list(range(1200))

    in_place(body)


@pytest.mark.parametrize("batch_events", [1, 2, 3, 7])
@pytest.mark.parametrize("batches_in_flight", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 6, 7, 8, 15])
def test_batch_boundaries(batch_events: int, batches_in_flight: int, count: int) -> None:
    async def body(place: Place) -> None:
        sizes = {"batch_events": batch_events, "batches_in_flight": batches_in_flight}
        for life in range(3):
            async with place.life(**sizes) as outbox:
                if life == 1:
                    place.server.down()
                for number in range(count):
                    outbox.publish_nowait("test", (life, number))
                if life != 1:  # that one is killed with all of it unsent
                    await place.drained(outbox)
            place.server.up()
        assert place.bodies() == [[life, n] for life in range(3) for n in range(count)]

    async def rig(place: Place) -> None:
        await body(place)
        assert place.gaps == place.faults == []

    in_place(rig)


def test_other_records_of_the_journal_are_left_alone() -> None:
    async def body(place: Place) -> None:
        async with place.life(batch_events=2) as outbox:
            for number in range(9):
                outbox.publish_nowait("test", number)
                outbox._journal.append_nowait(7, b"not an event")
            await place.drained(outbox)
            assert outbox.mark == 17
        assert place.bodies() == list(range(9))

    in_place(body)


def test_what_an_outage_left_is_shipped_before_what_is_new() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", "before")
            await place.drained(outbox)
            place.server.down("killed")
            await anyio.sleep(60)
            outbox.publish_nowait("test", "during")
            assert place.bodies() == ["before"]
            place.server.up()
            outbox.publish_nowait("test", "after")
            await place.drained(outbox)
        assert place.bodies() == ["before", "during", "after"]

    in_place(body)


def test_a_restarted_bot_ships_what_the_killed_one_left_then_its_own() -> None:
    async def body(place: Place) -> None:
        place.server.down()
        for life in range(4):
            async with place.life() as outbox:
                outbox.publish_nowait("test", life)
                await anyio.sleep(1)
        place.server.up()
        async with place.life() as outbox:
            outbox.publish_nowait("test", "own")
            await place.drained(outbox)
        assert place.bodies() == [0, 1, 2, 3, "own"]
        assert place.gaps == []

    in_place(body)


def test_lost_acknowledgements_cause_no_duplicates() -> None:
    async def body(place: Place) -> None:
        async with place.life(batch_events=2) as outbox:
            for number in range(20):
                if number % 3 == 0:
                    place.server.lose_acks(1)
                outbox.publish_nowait("test", number)
                await anyio.sleep(0.01)
            await place.drained(outbox)
        assert place.bodies() == list(range(20))

    in_place(body)


@pytest.mark.parametrize("while_connected", [True, False])
def test_a_bus_that_comes_back_empty_gets_it_all_again(while_connected: bool) -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            for number in range(30):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
            if not while_connected:
                place.server.down("killed")
            place.server.wipe()
            place.server.up()
            outbox.publish_nowait("test", 30)
            await place.drained(outbox)
        assert place.bodies() == list(range(31))
        assert place.gaps == []

    in_place(body)


def test_a_tail_lost_by_a_failover_is_sent_again() -> None:
    async def body(place: Place) -> None:
        async with place.life(batch_events=3) as outbox:
            for number in range(30):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
            place.server.down("failover")
            place.server.roll_back(11)
            place.server.up()
            await place.drained(outbox)
            assert place.bodies() == list(range(30))
            outbox.publish_nowait("test", 30)
            await place.drained(outbox)
        assert place.bodies() == list(range(31))

    in_place(body)


def test_what_the_bus_lost_between_two_lives_is_part_of_the_recovery() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            for number in range(20):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
        place.server.wipe()
        async with place.life(batch_events=1, batches_in_flight=1) as outbox:
            assert outbox.mark == 20
            await place.drained(outbox)
            assert place.bodies() == list(range(20))

    in_place(body)


def test_a_tail_of_an_earlier_life_lost_is_sent_again_too() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            for number in range(5):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
        async with place.life() as outbox:
            outbox.publish_nowait("test", 5)
            await place.drained(outbox)
            place.server.down("failover")
            place.server.roll_back(3)
            place.server.up()
            await place.drained(outbox)
        assert place.bodies() == [0, 1, 2, 3, 4, 5]

    in_place(body)


def test_a_tail_of_an_earlier_life_lost_while_this_one_is_silent_is_sent_again() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            for number in range(5):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
        async with place.life() as outbox:
            await place.drained(outbox)
            place.server.down("failover")
            place.server.roll_back(3)
            place.server.up()
            await place.drained(outbox)
            await anyio.sleep(1)
        assert place.bodies() == [0, 1, 2, 3, 4]

    in_place(body)


def test_a_hole_in_the_journal_is_marked_on_the_bus() -> None:
    """Damage took a record from the middle: the bus says which event is missing."""

    async def body(place: Place) -> None:
        place.server.down()
        async with place.life() as outbox:
            for number in range(1, 8):
                outbox.publish_nowait("test", number)
            segment = place.disk.segments[-1]
            for damaged in (2, 3):
                segment.records[damaged] = segment.records[damaged]._replace(kind=7)
            place.server.up()
            await place.drained(outbox)
            gap = Gap(outbox.producer, 3, 4)
            assert place.bodies() == [1, 2, gap, 5, 6, 7]
            assert place.gaps == [gap]

    in_place(body)


def test_events_published_while_the_bus_is_asked_about_past_lives_follow_their_markers() -> None:
    async def body(place: Place) -> None:
        place.last_sequences.update({1: 5, 2: 7, 3: 9})
        async with place.life() as outbox:
            ask = outbox._bus.position

            async def asked(producer: str) -> BusPosition:
                if producer == outbox.producer_of(2):  # in the middle of it
                    outbox.publish_nowait("test", "now")
                return await ask(producer)

            outbox._bus.position = asked  # type: ignore[method-assign]
            with anyio.fail_after(5):
                while not place.bodies():  # noqa: ASYNC110  virtual time
                    await anyio.sleep(0.01)
            await place.drained(outbox)
            past = [Gap(outbox.producer_of(i), 1, last) for i, last in ((1, 5), (2, 7), (3, 9))]
            assert place.bodies() == [*past, "now"]
            assert place.gaps == past

    in_place(body)


def test_a_marker_whose_answer_is_lost_does_not_hide_the_next_life() -> None:
    async def body(place: Place) -> None:
        place.last_sequences.update({1: 5, 2: 7, 3: 9})
        place.server.lose_acks(1)
        async with place.life() as outbox:
            with anyio.fail_after(60):
                while len(place.bodies()) < 3:  # noqa: ASYNC110  virtual time
                    await anyio.sleep(0.01)
            past = [Gap(outbox.producer_of(i), 1, last) for i, last in ((1, 5), (2, 7), (3, 9))]
            assert place.bodies() == past

    in_place(body)


def test_a_life_that_the_journal_lets_go_while_the_bus_is_asked_is_marked() -> None:
    """When the question was put, its events were still there to be sent again."""

    async def body(place: Place) -> None:
        small = {
            "segment_bytes": 4096,
            "retain_acked_seconds": 1.0,
            "retain_acked_bytes": 4096,
        }
        async with place.life(**small) as outbox:
            former = outbox.producer
            for number in range(10):
                outbox.publish_nowait("test", ("x" * 200, number))
            await place.drained(outbox)
        place.server.wipe()
        async with place.life(**small) as outbox:
            ask = outbox._bus.position

            async def asked(producer: str) -> BusPosition:
                answer = await ask(producer)
                if producer == former and outbox._journal.first_seq == 1:
                    for number in range(100):
                        outbox.publish_nowait("test", ("x" * 200, number))
                        outbox._journal.checkpoint(b"state")
                        await anyio.sleep(0.2)
                    assert outbox._journal.first_seq > 10, "nothing was let go"
                return answer

            outbox._bus.position = asked  # type: ignore[method-assign]
            with anyio.fail_after(60):
                while len(place.bodies()) < 101:  # noqa: ASYNC110  virtual time
                    await anyio.sleep(0.1)
            gap = Gap(former, 1, 10)
            assert place.gaps == [gap]
            assert place.bodies()[0] == gap
            assert [number for _, number in place.bodies()[1:]] == list(range(100))

    in_place(body)


def test_what_nobody_has_any_more_is_marked_and_told() -> None:
    """The bus lost it, the outbox had dropped it: a gap stands in its place, never silence."""

    async def body(place: Place) -> None:
        small = {
            "segment_bytes": 4096,
            "retain_acked_seconds": 1.0,
            "retain_acked_bytes": 4096,
        }
        async with place.life(**small) as outbox:
            for number in range(100):
                outbox.publish_nowait("test", ("x" * 200, number))
                outbox._journal.checkpoint(b"state")
                await anyio.sleep(0.2)
            await place.drained(outbox)
            first = event_of(outbox._journal.read(after=0, limit=1, kinds=(EVENT,))[0])
            assert first.sequence > 10, "nothing was dropped: the test tests nothing"
            place.server.down("killed")
            place.server.wipe()
            place.server.up()
            outbox.publish_nowait("test", ("x", 100))
            await place.drained(outbox)
            gap = Gap(outbox.producer, 1, first.sequence - 1)
            assert place.gaps == [gap]
            assert place.bodies()[0] == gap
            assert [number for _, number in place.bodies()[1:]] == list(
                range(first.sequence - 1, 101)
            )

    in_place(body)


# --- behind: what a recovery waits for ---------------------------------------------------


def test_never_drained_before_the_bus_was_asked_over_the_present_connection() -> None:
    """What it confirmed over an earlier connection it may have lost since."""

    async def body(place: Place) -> None:
        place.server.down()
        async with place.life() as outbox:
            await anyio.sleep(1)
            assert outbox.mark == 0
            assert outbox.behind(0) == 1, "nothing to send, but nobody was asked"
            place.server.up()
            assert outbox.behind(0) == 1
            await anyio.sleep(0.1)
            assert outbox.behind(0) == 0
            outbox.publish_nowait("test", 1)
            assert outbox.behind(outbox.mark) == 1
            await anyio.sleep(0.1)
            assert outbox.behind(outbox.mark) == 0
            place.server.down("killed")
            assert outbox.behind(outbox.mark) == 1
            await anyio.sleep(10)
            assert outbox.behind(outbox.mark) == 1
            place.server.wipe()
            place.server.up()
            assert outbox.behind(outbox.mark) == 1
            await place.drained(outbox)
            assert place.bodies() == [1]

    in_place(body)


@pytest.mark.parametrize("latency_seconds", [0.0, 0.001])
@pytest.mark.parametrize("idle", [True, False])
def test_a_connection_lost_and_found_in_one_moment_is_asked_anew(
    latency_seconds: float, idle: bool
) -> None:
    """Down and up before the shipper has run once: it is another connection all the same."""

    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", 1)
            await place.drained(outbox)
            if not idle:
                outbox.publish_nowait("test", 2)
            place.server.down("gone")
            place.server.wipe()
            place.server.up()
            assert outbox.behind(outbox.mark) >= 1
            await place.drained(outbox, seconds=5)
            assert place.bodies() == ([1] if idle else [1, 2])

    in_place(body, latency_seconds=latency_seconds)


def test_a_connection_lost_and_found_while_the_bus_is_asked_is_asked_anew() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", 1)
            await place.drained(outbox)
            for _ in range(200):
                place.server.down("gone")
                place.server.up()
                await anyio.sleep(0.0001)  # a tenth of the way of one question
                assert not outbox._agreed
            await anyio.sleep(0.01)
            assert outbox.behind(outbox.mark) == 0

    in_place(body)


def test_data_that_were_replaced_under_a_connection_are_not_taken_for_delivered() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", 1)
            await place.drained(outbox)
            mark = outbox.mark
            place.server.wipe()
            outbox.publish_nowait("test", 2)
            await anyio.sleep(0.0015)  # the bus has answered that it is another one
            while not place.server.log.entries:
                assert outbox.behind(mark)
                await anyio.sleep(0.0005)
            await place.drained(outbox)
            assert place.bodies() == [1, 2]

    in_place(body)


# --- refusals ----------------------------------------------------------------------------


def test_a_bus_that_refuses_is_a_fault_and_gets_it_later() -> None:
    async def body(place: Place) -> None:
        async with place.life(batch_events=4) as outbox:
            await anyio.sleep(0.1)
            place.server.refuse_append("OOM command not allowed", after=2)
            for number in range(8):
                outbox.publish_nowait("test", number)
            await place.drained(outbox)
        assert place.faults == ["bus refused an append: OOM command not allowed"]
        assert place.bodies() == list(range(8))

    in_place(body)


def test_events_of_a_later_life_do_not_overtake_refused_ones_of_an_earlier() -> None:
    async def body(place: Place) -> None:
        place.server.down()
        async with place.life() as outbox:
            outbox.publish_nowait("trade.opened", "opened")
        async with place.life() as outbox:
            outbox.publish_nowait("trade.closed", "closed")
            place.server.refuse_append("OOM")
            place.server.up()
            await place.drained(outbox)
        assert place.bodies() == ["opened", "closed"]

    in_place(body)


def test_a_newer_holder_of_the_lease_is_not_written_over() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.fencing_token = 1
            await anyio.sleep(0.1)
            place.server.log.fence = 2
            outbox.publish_nowait("test", "by the former holder")
            await anyio.sleep(30)
            assert set(place.fenced) == {1}
            assert 1 < len(place.fenced) < 60, "asked again with growing pauses"
            assert place.bodies() == []
            outbox.fencing_token = 3
            await place.drained(outbox)
            assert place.bodies() == ["by the former holder"]

    in_place(body)


def test_presence_is_shown_by_events_and_where_there_are_none_by_an_empty_batch() -> None:
    async def body(place: Place) -> None:
        append = place.server.append
        batches: list[Batch] = []

        def watched(batch: Batch) -> AppendStatus:
            batches.append(batch)
            return append(batch)

        place.server.append = watched  # type: ignore[method-assign]
        async with place.life() as outbox:
            outbox.fencing_token = 7
            outbox.publish_nowait("test", 1)
            await place.drained(outbox)
            await anyio.sleep(60)
            assert len(batches) == 1
            outbox.show_presence()
            outbox.publish_nowait("test", 2)
            await anyio.sleep(1)
            assert [len(batch.payloads) for batch in batches] == [1, 1], "that is enough"
            outbox.show_presence()
            await anyio.sleep(1)
            assert [len(batch.payloads) for batch in batches] == [1, 1, 0]
            assert {batch.fencing_token for batch in batches} == {7}
            assert place.server.log.silence(now=anyio.current_time()).silent_seconds <= 1
            place.server.down("killed")
            outbox.show_presence()
            await anyio.sleep(1)
            place.server.up()
            await anyio.sleep(1)
            assert [len(batch.payloads) for batch in batches] == [1, 1, 0, 0]
            place.server.wipe()  # under a connection that stands: nobody would notice
            outbox.show_presence()
            await anyio.sleep(1)
            assert place.bodies() == [1, 2]

    in_place(body)


def test_an_idle_holder_hears_that_it_was_fenced_off() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.fencing_token = 1
            await anyio.sleep(1)
            place.server.log.raise_fence(2)
            outbox.show_presence()
            await anyio.sleep(0.01)
            assert place.fenced == [1]

    in_place(body)


def test_a_journal_that_was_rolled_back_is_named_and_nothing_is_sent() -> None:
    """The bus has events of this very incarnation that the journal does not know."""

    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", 1)
            await place.drained(outbox)
            place.server.log.last_sequences[outbox.producer] = 17
            place.server.drop_connections("reconnect")
            await anyio.sleep(10)
            assert "the bus has event 17" in place.faults[0]
            assert "restored from a copy" in place.faults[0]
            outbox.publish_nowait("test", 2)
            await anyio.sleep(10)
            assert place.bodies() == [1]
            assert outbox.behind(outbox.mark) > 0

    in_place(body)


# --- publishing --------------------------------------------------------------------------


class Opaque:
    """Nothing that msgpack knows."""


def nested(depth: int) -> object:
    body: object = 0
    for _ in range(depth):
        body = [body]
    return body


@pytest.mark.parametrize(
    "payload",
    [
        Opaque(),
        {"deep": Opaque()},
        nested(5000),
        1 << 70,
        "\udcff",
        b"x" * (1 << 20),
        {(1, 2): Opaque()},
    ],
    ids=["object", "inner", "nested", "integer", "surrogate", "large", "key"],
)
def test_what_can_not_be_encoded_leaves_no_trace(payload: object) -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", "first")
            mark = outbox.mark
            with pytest.raises(InvalidPayload):
                await outbox.publish("test", payload)
            assert outbox.mark == mark
            outbox.publish_nowait("test", "second")
            await place.drained(outbox)
        assert place.bodies() == ["first", "second"]
        assert [e.sequence for e in place.server.log.entries] == [1, 2]

    in_place(body)


@pytest.mark.parametrize("type_", ["", None, 7])
def test_an_event_needs_a_name(type_: str) -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            with pytest.raises(InvalidPayload, match="is no name"):
                outbox.publish_nowait(type_, None)

    in_place(body)


def test_numbers_are_exact() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", {"price": Decimal("64000.10"), "n": (1 << 64) - 1})
            await place.drained(outbox)
        assert place.bodies() == [{"price": "64000.10", "n": (1 << 64) - 1}]

    in_place(body)


def test_a_full_journal_takes_nothing_says_so_and_goes_on_later() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            outbox.publish_nowait("test", 1)
            place.disk.full = True
            with pytest.raises(JournalFull):
                outbox.publish_nowait("test", "lost")
            assert len(place.disk_faults) == 1
            outbox.publish_nowait("engine.transition", 2, reserve=True)
            place.disk.full = False
            outbox.publish_nowait("test", 3)
            await place.drained(outbox)
        assert place.bodies() == [1, 2, 3]

    in_place(body)


def test_power_durability_waits_for_the_sync() -> None:
    async def body(place: Place) -> None:
        async with place.life() as outbox:
            await outbox.publish("test", 1, durability=Durability.POWER)
            place.disk.crash(lose_unsynced=True)
        async with place.life() as outbox:
            await place.drained(outbox)
        assert place.bodies() == [1]

    in_place(body)


def test_batches_are_bounded_in_bytes_and_shrink_on_a_line_that_breaks_under_them() -> None:
    """Else a backlog that is more than the line carries within the heartbeat never gets out."""

    async def body(place: Place) -> None:
        append = place.server.append
        sizes: list[int] = []
        carries = 1 << 30

        def counted(batch: Batch) -> AppendStatus:
            sizes.append(sum(map(len, batch.payloads)))
            if sizes[-1] > carries:
                place.server.lose_acks(1)
                return AppendStatus("gap", 0)
            return append(batch)

        place.server.append = counted  # type: ignore[method-assign]
        place.server.down("killed")
        async with place.life() as outbox:
            for number in range(300):
                outbox.publish_nowait("test", (number, "x" * 10_000))
            outbox.publish_nowait("test", (300, "x" * 500_000))
            place.server.up()
            await place.drained(outbox)
            assert max(sizes[:-1]) <= BATCH_BYTES
            assert len(sizes) < 20, "and not one event at a time"
            carries = 30_000
            place.server.down("killed")
            for number in range(301, 400):
                outbox.publish_nowait("test", (number, "x" * 10_000))
            place.server.up()
            await place.drained(outbox)
        assert [number for number, _ in place.bodies()] == list(range(400))

    in_place(body)
