"""The venue's clock as it is measured, and the machine's clock as a link."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from engine_world import World
from hypothesis import given
from hypothesis import strategies as st

from holdfast.clock_link import CHECK_SECONDS
from holdfast.clock_offset import SAMPLES, ClockOffset
from holdfast.engine import Engine
from holdfast.errors import ConfigError, LinkDown
from holdfast.settings import LinkSettings, Settings
from holdfast.simulation import VirtualClock, run
from holdfast.states.table import State, Trigger
from holdfast.venue_clock import VenueClock

MS = 1_000_000


# --- the measurement -----------------------------------------------------------------------


@given(
    offset_ms=st.integers(-(10**12), 10**12),
    trips=st.lists(
        st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 60_000)),
        min_size=1,
        max_size=20,
    ),
)
def test_an_offset_is_never_further_off_than_it_says(
    offset_ms: int, trips: list[tuple[int, int, int]]
) -> None:
    offset, now_ms = ClockOffset(), 0
    for there_ms, back_ms, pause_ms in trips:
        now_ms += pause_ms
        stamp_ms = now_ms + there_ms + offset_ms
        before_ms, now_ms = now_ms, now_ms + there_ms + back_ms
        jump_ms = offset.observe(before_ns=before_ms * MS, after_ns=now_ms * MS, venue_ms=stamp_ms)
        assert jump_ms == 0, "nobody set a clock"
        told_ms = offset.venue_ms(now_ms * MS)
        assert told_ms is not None
        assert abs(told_ms - now_ms - offset_ms) <= offset.error_ms
    best_ms = min((there + back) // 2 for there, back, _ in trips)
    longest_ms = sum(sum(trip) for trip in trips)
    assert offset.error_ms <= best_ms + 2 + longest_ms * 2e-4, "the best of several is kept"


@given(jump_ms=st.integers(-100_000, 100_000), trip_ms=st.integers(0, 400))
def test_a_clock_that_was_set_is_noticed(jump_ms: int, trip_ms: int) -> None:
    offset = ClockOffset()
    offset.observe(before_ns=0, after_ns=trip_ms * MS, venue_ms=1000 + trip_ms // 2)
    later_ms = 30_000
    seen_ms = offset.observe(
        before_ns=later_ms * MS,
        after_ns=(later_ms + trip_ms) * MS,
        venue_ms=1000 + later_ms + trip_ms // 2 + jump_ms,
    )
    if abs(jump_ms) > trip_ms + 15:
        assert abs(seen_ms - jump_ms) <= 1
        assert offset.venue_ms(later_ms * MS) == pytest.approx(1000 + later_ms + jump_ms, abs=1)
    else:
        assert seen_ms == 0 or abs(seen_ms - jump_ms) <= 1


class Venue:
    """Answers after the given round trips (seconds); None: not at all."""

    def __init__(self, *trips: float | None) -> None:
        self.trips: Iterator[float | None] = iter(trips)
        self.asked = 0

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        self.asked += 1
        trip = next(self.trips)
        if trip is None:
            raise LinkDown("no answer")
        await anyio.sleep(trip / 2)
        now_ms = round(anyio.current_time() * 1000)
        await anyio.sleep(trip / 2)
        return now_ms + 7_000


def synced(*trips: float | None) -> tuple[VenueClock, Venue]:
    async def main() -> tuple[VenueClock, Venue]:
        venue = Venue(*trips)
        clock = VenueClock(venue, VirtualClock())  # type: ignore[arg-type]
        await clock.sync(timeout_seconds=1)
        return clock, venue

    return run(main)


def test_the_best_of_several_measurements_is_kept() -> None:
    clock, venue = synced(0.4, 0.06, 0.2)
    assert venue.asked == SAMPLES
    assert 30 <= clock.error_ms <= 31


def test_a_good_measurement_needs_no_second_one() -> None:
    clock, venue = synced(0.004)
    assert (venue.asked, clock.error_ms) == (1, 3)


def test_what_fails_after_a_first_measurement_does_not_undo_it() -> None:
    clock, venue = synced(0.4, None)
    assert (venue.asked, clock.is_measured) == (2, True)
    with pytest.raises(LinkDown):
        synced(None)


# --- the link ------------------------------------------------------------------------------


def faults(engine: Engine) -> list[str]:
    return [s.cause for s in engine.history if s.trigger is Trigger.FAULT]


def test_a_machine_whose_clock_is_wrong_does_not_trade_until_it_is_right() -> None:
    async def main() -> None:
        world = World()
        world.venue.faults.clock_skew_ms = 5_000  # the venue's is ahead
        async with world.engine() as engine:
            await anyio.sleep(60)
            assert engine.state is State.DEGRADED
            (clock,) = [link for link in engine.status()["links"] if link["name"] == "clock"]
            assert not clock["up"]
            assert "5.0" in clock["reason"]
            assert "behind the venue's" in clock["reason"]
            assert "links.max_clock_skew_seconds" in clock["reason"]
            world.venue.faults.clock_skew_ms = 0
            with anyio.fail_after(2 * CHECK_SECONDS):
                await engine.until_healthy()

    run(main)


def test_a_jump_of_the_venues_clock_is_one_fall_and_one_recovery() -> None:
    async def main() -> None:
        world = World()
        async with world.engine(link_settings=LinkSettings(max_clock_skew_seconds=60)) as engine:
            await engine.until_healthy()
            world.venue.faults.clock_skew_ms = 100_000
            await anyio.sleep(2 * CHECK_SECONDS)
            assert engine.state is State.DEGRADED, "a minute and a half is too much"
            assert any("venue's clock was set by +100.0" in cause for cause in faults(engine))
            world.venue.faults.clock_skew_ms = 50_000
            await anyio.sleep(2 * CHECK_SECONDS)
            assert engine.state is State.HEALTHY
            world.venue.faults.clock_skew_ms = 0  # within the bound, and a jump within it
            settled = len(faults(engine))
            await anyio.sleep(3 * CHECK_SECONDS)
            assert len(faults(engine)) == settled

    run(main)


def test_a_clock_that_somebody_sets_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            known = len(faults(engine))
            true_ns = world.clock.time_ns
            monkeypatch.setattr(
                type(world.clock), "time_ns", lambda _self: true_ns() + 3_000 * MS, raising=True
            )
            await anyio.sleep(2 * CHECK_SECONDS)
            assert engine.state is State.DEGRADED
            news = faults(engine)[known:]
            assert any("machine's clock was set by +3.000 s" in cause for cause in news), news
            monkeypatch.undo()
            await anyio.sleep(2 * CHECK_SECONDS)
            assert engine.state is State.HEALTHY

    run(main)


def test_while_the_venue_is_away_its_clock_is_not_asked_for() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            asked: list[str] = []
            world.line.set_down("cut by the test")
            world.venue.faults.decide = lambda kind, _ms: asked.append(kind)  # type: ignore[func-returns-value]
            await anyio.sleep(3 * CHECK_SECONDS)
            assert asked == []
            clock, *_ = [link for link in engine.status()["links"] if link["name"] == "clock"]
            assert clock["up"], "that the venue is away says nothing about the clock"

    run(main)


def test_nobody_has_to_look_at_the_clock() -> None:
    async def main() -> None:
        world = World()
        world.venue.faults.clock_skew_ms = 600_000
        async with world.engine(link_settings=LinkSettings(max_clock_skew_seconds=None)) as engine:
            await engine.until_healthy()
            assert "clock" not in {link["name"] for link in engine.status()["links"]}

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 4000.0])
def test_a_bound_that_makes_no_sense_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="max_clock_skew_seconds"):
        Settings(symbols=("BTC/USDT:USDT",), links=LinkSettings(max_clock_skew_seconds=seconds))
