"""What the clients of the simulated venue tell beyond what every client promises.

Functions that take a rig; the promises of the port are in `holdfast.transports.conformance`.
"""

from __future__ import annotations

from decimal import Decimal

import anyio
from sim_rigs import BTC, TIMEOUT_SECONDS, Rig

from holdfast.model import OutcomeKind, QueryKind
from holdfast.ports import CountsDown
from holdfast.transports.sim import Fault

D = Decimal


async def speaks_in_the_venues_numbers(rig: Rig) -> None:
    outcome = await rig.place("a")
    assert outcome.order is not None
    assert outcome.order.average_price == D(50000)
    await rig.watch.until(lambda watch: len(watch.reports) == 2)
    (position,) = await rig.client.positions(timeout_seconds=1)
    assert position.entry_price == D(50000)
    (fill,) = await rig.client.fills(BTC, after_trade_id=0, timeout_seconds=1)
    assert fill == rig.watch.reports[1].fill
    assert (fill.price, fill.fee, fill.fee_asset) == (D(50000), D("0.25"), "USDT")
    instruments = await rig.client.instruments(timeout_seconds=1)
    assert instruments[BTC].quantity_step == D("0.001")
    assert instruments[BTC].min_notional == D(100)


async def a_countdown_cancels_unless_it_is_renewed(rig: Rig) -> None:
    client = rig.client
    assert isinstance(client, CountsDown)
    await rig.place("a", price="49000")
    await client.countdown_cancel_all(BTC, countdown_seconds=30, timeout_seconds=2)
    await client.countdown_cancel_all(BTC, countdown_seconds=0, timeout_seconds=2)
    assert len(await client.open_orders(timeout_seconds=2)) == 1
    await client.countdown_cancel_all(BTC, countdown_seconds=0.1, timeout_seconds=2)
    await anyio.sleep(0.5)
    assert await client.open_orders(timeout_seconds=2) == []


async def lagging_query_is_absent_for_a_while(rig: Rig) -> None:
    rig.venue.faults.query_lag_ms = 60_000
    assert (await rig.place("a", price="49000")).kind is OutcomeKind.ACCEPTED
    assert (await rig.client.query(BTC, "a", timeout_seconds=1)).kind is QueryKind.ABSENT
    rig.venue.faults.query_lag_ms = 0
    assert (await rig.client.query(BTC, "a", timeout_seconds=1)).kind is QueryKind.FOUND


async def recv_window_stops_a_request_held_up_for_longer(rig: Rig) -> None:
    rig.venue.faults.arm("place", Fault(delay_before_seconds=2 * TIMEOUT_SECONDS))
    request = rig.request("a")
    short = type(request)(
        client_order_id="a",
        order=request.order,
        timestamp_ms=request.timestamp_ms,
        recv_window_ms=200,
    )
    outcome = await rig.client.place(short, permit=rig.permit, timeout_seconds=TIMEOUT_SECONDS)
    assert outcome.kind is OutcomeKind.UNKNOWN
    await anyio.sleep(3 * TIMEOUT_SECONDS)
    assert rig.venue.executions("a") == 0


async def what_the_venue_says_no_to_is_rejected(rig: Rig) -> None:
    cases = [
        ({"quantity": "0.0015"}, -1111),
        ({"quantity": "0.001"}, -4164),
        ({"reduce_only": True}, -2022),
        ({"price": "51000", "time_in_force": "GTX"}, -5022),
        ({"quantity": "900"}, -2019),
        ({"symbol": "NOPE/USDT:USDT"}, -1121),
        ({"position_side": "LONG"}, -4061),
    ]
    for number, (order, code) in enumerate(cases):
        outcome = await rig.place(f"r{number}", **order)
        assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, code)
    assert (await rig.place("not an id!")).code == -4015
    assert rig.venue.order_log == []


async def stream_faults_reach_the_watch(rig: Rig) -> None:
    faults = rig.venue.faults
    faults.arm_stream("duplicate")
    await rig.place("a")
    await rig.watch.until(lambda watch: len(watch.reports) == 3)
    assert rig.watch.reports[0] == rig.watch.reports[1]
    rig.watch.reports.clear()
    faults.arm_stream("swap")
    await rig.place("b")
    await rig.watch.until(lambda watch: len(watch.reports) == 2)
    assert [report.fill is None for report in rig.watch.reports] == [False, True]
    rig.watch.reports.clear()
    faults.arm_stream("drop", count=2)
    await rig.place("c")
    await rig.place("d", price="49000")
    await rig.watch.until(lambda watch: len(watch.reports) == 1)
    assert rig.watch.reports[0].order.client_order_id == "d"


CASES = [
    speaks_in_the_venues_numbers,
    a_countdown_cancels_unless_it_is_renewed,
    lagging_query_is_absent_for_a_while,
    recv_window_stops_a_request_held_up_for_longer,
    what_the_venue_says_no_to_is_rejected,
    stream_faults_reach_the_watch,
]
