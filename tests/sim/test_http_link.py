"""When the HTTP client calls its link or its stream down, and how both come back."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio
import pytest
from sim_rigs import BTC, WIRE_CLIENTS, RecordingWatch, Rig, http_rig, start, stop

from holdfast import simulation
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown
from holdfast.model import OutcomeKind
from holdfast.simulation import SeededEntropy
from holdfast.transports.sim import Fault, factory, server
from holdfast.transports.sim.records import OrderTicket
from holdfast.transports.usdm import backoff, questions, stream
from holdfast.transports.usdm.backoff import (
    LONGEST_SECONDS,
    connect_socket,
    delay_seconds,
    keep_connected,
)
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.session import open_session

Case = Callable[[Rig], Awaitable[None]]
Run = Callable[[Case], None]


@pytest.fixture(params=WIRE_CLIENTS)
def run(request: pytest.FixtureRequest) -> Run:
    def run_case(case: Case) -> None:
        async def main() -> None:
            async with http_rig(WIRE_CLIENTS[request.param]) as rig:
                rig.watch.heard.clear()
                with anyio.fail_after(30):
                    await case(rig)

        anyio.run(main)

    return run_case


def test_one_lost_answer_is_no_outage_while_the_venue_answers(run: Run) -> None:
    async def case(rig: Rig) -> None:
        probes = len(rig.requests("probe"))
        rig.venue.faults.arm("place", Fault.lost_reply())
        assert (await rig.place()).kind is OutcomeKind.UNKNOWN
        while len(rig.requests("probe")) < probes + 2:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert rig.watch.heard == []

    run(case)


def test_lost_answers_of_everything_are_an_outage(run: Run) -> None:
    async def case(rig: Rig) -> None:
        until_ms = rig.venue.now_ms() + 2_500
        rig.venue.faults.arm("probe", Fault.lost_request(), until_ms=until_ms)
        rig.venue.faults.arm("place", Fault.lost_request())
        assert (await rig.place()).kind is OutcomeKind.UNKNOWN
        await rig.watch.until(lambda watch: "down" in watch.heard)
        await rig.watch.until(lambda watch: watch.heard[-1] == "up")
        assert rig.watch.heard.count("up") == 1

    run(case)


def test_a_broken_connection_is_down_when_the_call_returns(run: Run) -> None:
    async def case(rig: Rig) -> None:
        rig.venue.faults.arm("place", Fault(reply="reset"))
        assert (await rig.place()).kind is OutcomeKind.UNKNOWN
        assert rig.watch.heard[0] == "down"
        await rig.watch.until(lambda watch: "up" in watch.heard)

    run(case)


def test_an_expired_listen_key_is_replaced(run: Run) -> None:
    async def case(rig: Rig) -> None:
        assert rig.server is not None
        rig.server.expire_listen_key()
        await rig.watch.until(lambda watch: "stream_up" in watch.heard)
        assert rig.watch.heard == ["stream_down", "stream_up"]
        await rig.place()
        await rig.watch.until(lambda watch: len(watch.reports) == 2)

    run(case)


def test_an_unreadable_frame_ends_the_stream(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(rig: Rig) -> None:
        with monkeypatch.context() as patch:
            garbage = {"e": "ORDER_TRADE_UPDATE", "o": {"s": 1}}
            patch.setattr(server, "order_update", lambda _event: garbage)
            await rig.place()
            await rig.watch.until(lambda watch: "stream_down" in watch.heard)
        await rig.watch.until(lambda watch: "stream_up" in watch.heard)
        assert "down" not in rig.watch.heard

    run(case)


def test_the_listen_key_is_extended_more_than_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "EXTEND_SECONDS", 0.02)

    async def case(rig: Rig) -> None:
        with anyio.fail_after(10):
            while len(rig.requests("stream")) < 4:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert rig.watch.heard == []

    run(case)


def test_a_listen_key_that_the_venue_has_forgotten_without_a_word_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket stays open then and nothing comes over it any more."""
    monkeypatch.setattr(stream, "EXTEND_SECONDS", 0.02)

    async def case(rig: Rig) -> None:
        assert rig.server is not None
        rig.server._keys.expire()
        await rig.watch.until(lambda watch: "stream_up" in watch.heard)
        assert rig.watch.heard == ["stream_down", "stream_up"]

    run(case)


def test_a_listen_key_that_can_not_be_extended_is_taken_for_dead_in_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "EXTEND_SECONDS", 0.02)
    monkeypatch.setattr(stream, "EXTEND_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(stream, "KEY_SECONDS", 0.3)

    async def case(rig: Rig) -> None:
        asked = len(rig.requests("stream"))
        refused = Fault.refusal(-1000, "An unknown error occurred.")
        rig.venue.faults.arm("stream", refused, count=10_000)
        await rig.watch.until(lambda watch: "stream_down" in watch.heard)
        assert len(rig.requests("stream")) > asked + 1
        rig.venue.faults.clear()
        await rig.watch.until(lambda watch: watch.heard[-1] == "stream_up")

    run(case)


def test_clock_offset_is_measured_and_signed_with(run: Run) -> None:
    async def case(rig: Rig) -> None:
        assert isinstance(rig.client, UsdmExecutionClient)
        rig.venue.faults.clock_skew_ms = -120_000
        ahead = time.time_ns() // 1_000_000 - await rig.client.venue_time_ms(timeout_seconds=2)
        assert abs(ahead - 120_000) < 2_000
        assert await rig.client.open_orders(timeout_seconds=2) == []

    run(case)


def test_a_venue_that_hangs_is_noticed_by_ping_and_timeout() -> None:
    process, url = start()

    async def main() -> None:
        watch = RecordingWatch()
        client = factory(url, clock=SystemClock(), entropy=SystemEntropy(), stream_ping_seconds=0.2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run, watch)
            await watch.until(lambda watch: {"up", "stream_up"} <= set(watch.heard))
            os.kill(process.pid, signal.SIGSTOP)
            await watch.until(lambda watch: {"down", "stream_down"} <= set(watch.heard))
            os.kill(process.pid, signal.SIGCONT)
            await watch.until(lambda watch: set(watch.heard[-2:]) == {"up", "stream_up"})
            tasks.cancel_scope.cancel()

    try:
        anyio.run(main)
    finally:
        os.kill(process.pid, signal.SIGCONT)
        code, errors = stop(process, signal.SIGTERM)
    assert (code, errors) == (0, "")


def test_a_venue_that_takes_a_connection_and_says_nothing_is_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a load balancer whose servers are away: nothing would be heard for five minutes."""
    monkeypatch.setattr(backoff, "CONNECT_SECONDS", 0.1)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
            async with open_session(max_connections=1) as session:
                with anyio.fail_after(10), pytest.raises(TimeoutError):
                    await connect_socket(session, url, ping_seconds=1)

    anyio.run(main)


def test_connections_that_end_at_once_are_not_made_again_and_again() -> None:
    """Binance allows an address 300 connections in five minutes; each costs a listen key, too."""
    begun: list[float] = []

    async def connect(up: Callable[[], None]) -> str:
        begun.append(anyio.current_time())
        up()
        return "closed"

    async def main() -> None:
        with anyio.move_on_after(300):
            await keep_connected(connect, on_up=list, on_down=str, entropy=SeededEntropy(1))

    simulation.run(main)
    assert 60 <= len(begun) <= 150  # two sockets of the market and the user stream: 450


def test_backoff_doubles_and_is_bounded() -> None:
    assert delay_seconds(1, 0.0) == 0.05
    assert delay_seconds(3, 0.0) == 0.2
    assert delay_seconds(10_000, 0.999) <= LONGEST_SECONDS


def test_a_trade_whose_order_the_venue_has_forgotten_is_of_another_hand(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def case(rig: Rig) -> None:
        rig.venue.place(
            OrderTicket(
                symbol=BTC,
                client_order_id="web-1",
                side="buy",
                quantity=Decimal("0.5"),
                price=None,
                time_in_force="GTC",
                reduce_only=False,
                position_side="BOTH",
            )
        )
        # As one who comes later: not told of them by its stream, and not known by number.
        assert rig.another is not None
        late = rig.another()
        try:
            rig.venue.faults.arm("query", Fault.refusal(-2013, "Order does not exist."), count=1)
            with pytest.raises(LinkDown, match="-2013"):  # young: it may not be shown yet
                await late.fills(BTC, after_trade_id=0, timeout_seconds=5)
            monkeypatch.setattr(questions, "QUERY_LAG_MS", 0)
            rig.venue.faults.arm("query", Fault.refusal(-2013, "Order does not exist."), count=1)
            for _ in range(2):  # the second time from memory
                fills = await late.fills(BTC, after_trade_id=0, timeout_seconds=5)
                assert [fill.client_order_id for fill in fills] == [""]
            assert len(rig.requests("query")) == 2
        finally:
            await late.aclose()

    run(case)
