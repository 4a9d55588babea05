"""What a tester is told: what was not checked, and a failure as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sim_controls import LocalControl, on_local

from holdfast.errors import LinkDown
from holdfast.transports import conformance
from holdfast.transports.conformance import MakeClient, NotChecked, VenueControl

SUITE = """
import pytest
from sim_controls import LocalControl
from holdfast.clock import SystemClock
from holdfast.transports import conformance
from holdfast.transports.sim import SimExecutionClient, SimulatedVenue

class Control(LocalControl):
    spoil = conformance.VenueControl.spoil

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
@pytest.mark.parametrize("check", conformance.EXECUTION_CHECKS)
async def test_client(check):
    clock = SystemClock()
    control = Control(SimulatedVenue(time_ns=clock.time_ns), clock)
    await check(lambda: SimExecutionClient(control.line), control)
"""


class ClumsyControl(LocalControl):
    """Can neither skew the clock nor page."""

    page_of_fills = None
    skew_clock = VenueControl.skew_clock


Step = Callable[[MakeClient, VenueControl], Awaitable[Any]]


def with_clumsy_control(step: Step) -> None:
    async def check(make: MakeClient, control: VenueControl) -> None:
        assert isinstance(control, LocalControl)
        clumsy = ClumsyControl(control.venue, control.clock)
        clumsy.line = control.line
        await step(make, clumsy)

    on_local(check)


def test_what_cannot_be_checked_has_to_be_named() -> None:
    with pytest.raises(AssertionError, match="not checked") as caught:
        with_clumsy_control(conformance.check_execution_client)
    for name in ("the_time_is_the_venues", "skew_clock", "page_of_fills"):
        assert name in str(caught.value)


def test_what_was_named_is_returned() -> None:
    async def step(make: MakeClient, control: VenueControl) -> None:
        skipped = await conformance.check_execution_client(
            make, control, without={"skew_clock", "page_of_fills"}
        )
        assert set(skipped) == {
            "the_venue_judges_the_signed_time_and_window",
            "the_time_is_the_venues",
            "fills_are_read_over_all_pages",
        }

    with_clumsy_control(step)


def test_an_ability_that_nothing_needs_is_a_slip() -> None:
    async def step(make: MakeClient, control: VenueControl) -> None:
        await conformance.check_execution_client(make, control, without={"skew_the_clock"})

    with pytest.raises(ValueError, match="skew_the_clock"):
        with_clumsy_control(step)


def test_a_control_says_what_it_has_not() -> None:
    class Bare(VenueControl):
        reset = resting_price = None  # type: ignore[assignment]

    async def main() -> None:
        with pytest.raises(NotChecked, match="`cut_stream`"):
            await Bare().cut_stream()

    anyio.run(main)


def test_pytest_shows_what_was_skipped_and_why(tmp_path: Path) -> None:
    (tmp_path / "test_my_client.py").write_text(SUITE)
    asked = "connects_and_answers or a_lost_request"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-k", asked, "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.search(r"1 passed, 1 skipped", done.stdout), done.stdout + done.stderr
    assert "the control has no `spoil`" in done.stdout


class Link:
    """Connects, then does what it is told to."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        self._then = then

    async def run(self, watch: conformance.Recorder) -> None:
        watch.up()
        await anyio.lowlevel.checkpoint()
        await self._then()


async def lose_the_route() -> None:
    raise LinkDown("no route")


@pytest.mark.parametrize(
    ("end", "words"),
    [(anyio.lowlevel.checkpoint, "it returned"), (lose_the_route, "it raised LinkDown")],
)
def test_run_may_not_end_by_itself(end: Callable[[], Awaitable[object]], words: str) -> None:
    async def main() -> None:
        async with conformance.connected(Link(end)):
            await anyio.sleep(5)

    with pytest.raises(AssertionError, match=words):
        anyio.run(main)


def test_a_failure_is_in_no_exception_group() -> None:
    async def main() -> None:
        link = Link(anyio.sleep_forever)
        async with conformance.connected(link), anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise AssertionError("the promise")

    with pytest.raises(AssertionError, match="the promise"):
        anyio.run(main)
