"""How many requests a long history of fills costs, by a venue that counts them."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_rigs import BTC, WIRE_CLIENTS, Rig, http_rig

from holdfast.ports import FillHistory
from holdfast.transports.sim.records import OrderTicket
from holdfast.transports.usdm import fills, questions
from holdfast.transports.usdm.fills import (
    DAY_MS,
    KEPT_MS,
    PAGE,
    WEEK_MS,
    OrderNames,
    newest_id,
    trades_after,
    trades_since,
)
from holdfast.transports.usdm.wire import OrderJson, TradeJson


def trade(number: int, order: int) -> TradeJson:
    one = Decimal(1)
    return TradeJson(number, order, "BTCUSDT", "BUY", one, one, one, "USDT", 0)


def order(number: int) -> OrderJson:
    one = Decimal(1)
    return OrderJson(
        symbol="BTCUSDT",
        orderId=number,
        clientOrderId=f"id-{number}",
        side="BUY",
        status="FILLED",
        price=one,
        origQty=one,
        executedQty=one,
        updateTime=0,
    )


class History:
    """An account's past.

    :param trades: trade ids and the numbers of their orders.
    :param recent: trades from this id on are of the last 7 days.
    :param shown: orders from this number on are shown by the page.
    :param kept: orders from this number on are remembered at all.
    """

    def __init__(
        self, trades: dict[int, int], *, recent: int = 0, shown: int = 0, kept: int = 0
    ) -> None:
        self._trades = sorted(trades.items())
        self._recent, self._shown, self._kept = recent, shown, kept
        self.asked: list[str] = []

    async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
        self.asked.append("trades")
        if from_id is None:
            rows = [t for t in self._trades if t[0] >= self._recent][-fills.PAGE :]
        else:
            rows = [t for t in self._trades if t[0] >= from_id][: fills.PAGE]
        return [trade(*row) for row in rows]

    async def trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[TradeJson]:
        """Here the time of a trade is its id. Binance refuses more than a week."""
        self.asked.append("between")
        assert 0 <= end_ms - start_ms < WEEK_MS
        rows = [t for t in self._trades if start_ms <= t[0] <= end_ms][: fills.PAGE]
        return [trade(*row) for row in rows]

    async def orders(self, symbol: str, from_number: int) -> list[OrderJson]:
        self.asked.append("orders")
        numbers = sorted({n for _, n in self._trades if n >= max(from_number, self._shown)})
        return [order(n) for n in numbers[: fills.PAGE]]

    async def order_of(self, trade: TradeJson) -> OrderJson | None:
        self.asked.append("order")
        return order(trade.orderId) if trade.orderId >= self._kept else None


# --- where counting begins ---------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE])
@pytest.mark.parametrize("active", [True, False])
def test_the_newest_trade_is_found_in_few_requests(count: int, active: bool) -> None:
    ids = [10**10 + 7 * n for n in range(count)]
    history = History(dict.fromkeys(ids, 1), recent=0 if active else 10**18)
    assert anyio.run(newest_id, history, "BTCUSDT") == (ids[-1] if ids else 0)
    assert set(history.asked) <= {"trades"}
    assert len(history.asked) <= (2 if active or count < PAGE else 80)


@given(
    st.sets(st.integers(1, 2**62), max_size=30),
    st.integers(1, 2**62),
    st.booleans(),
)
def test_the_newest_trade_is_the_greatest(ids: set[int], recent: int, page_of_three: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if page_of_three:
            patch.setattr(fills, "PAGE", 3)
        history = History(dict.fromkeys(ids, 1), recent=recent)
        assert anyio.run(newest_id, history, "BTCUSDT") == max(ids, default=0)
        assert len(history.asked) < 200


def test_the_newest_trade_is_found_wherever_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place in a small space of ids, so that each leap and each halving ends on it once."""
    monkeypatch.setattr(fills, "PAGE", 3)
    monkeypatch.setattr(fills, "GREATEST_ID", 300)
    for greatest in range(1, 300):
        for ids in ([greatest], range(1, greatest + 1), range(greatest, 0, -7)):
            history = History(dict.fromkeys(ids, 1), recent=10**18)
            assert anyio.run(newest_id, history, "BTCUSDT") == greatest


class Endless(History):
    """Millions of trades, none of them of late."""

    def __init__(self, count: int) -> None:
        super().__init__({})
        self._count = count

    async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
        self.asked.append("trades")
        first = self._count + 1 if from_id is None else max(1, from_id)
        return [trade(n, 1) for n in range(first, min(first + PAGE, self._count + 1))]


@pytest.mark.parametrize("count", [100_000, 5_000_000])
def test_a_longer_history_costs_hardly_more_requests(count: int) -> None:
    history = Endless(count)
    assert anyio.run(newest_id, history, "BTCUSDT") == count
    assert len(history.asked) < 80


# --- since a moment ----------------------------------------------------------------------


def since(history: History, since_ms: int, now_ms: int) -> list[int]:
    async def main() -> list[int]:
        rows = await trades_since(history, "BTCUSDT", since_ms=since_ms, now_ms=now_ms)
        return [row.id for row in rows]

    return anyio.run(main)


NOW_MS = 1_700_000_000_000


@given(
    st.sets(st.integers(NOW_MS - KEPT_MS, NOW_MS), max_size=30),
    st.integers(NOW_MS - KEPT_MS, NOW_MS),
    st.booleans(),
)
def test_every_trade_since_a_moment_is_told_once(
    times: set[int], since_ms: int, page_of_three: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if page_of_three:
            patch.setattr(fills, "PAGE", 3)
        history = History(dict.fromkeys(times, 1))
        expected = sorted(time for time in times if time >= since_ms)
        assert since(history, since_ms, NOW_MS) == expected
        assert history.asked.count("between") <= KEPT_MS // WEEK_MS + 1


def test_a_month_without_trades_is_skipped_by_the_week_and_pages_follow_by_id() -> None:
    first = NOW_MS - 9 * DAY_MS
    history = History(dict.fromkeys(range(first, first + 2 * PAGE + 1), 1))
    found = since(history, NOW_MS - 30 * DAY_MS, NOW_MS)
    assert found == list(range(first, first + 2 * PAGE + 1))
    assert history.asked == ["between"] * 4 + ["trades"] * 3


@pytest.mark.parametrize("ago_ms", [0, 1, DAY_MS, WEEK_MS - 1, WEEK_MS, WEEK_MS + 1])
def test_what_happened_of_late_is_told_up_to_now(ago_ms: int) -> None:
    began = NOW_MS - ago_ms
    assert since(History(dict.fromkeys((began - 1, began, NOW_MS), 1)), began, NOW_MS) == sorted(
        {began, NOW_MS}
    )
    assert since(History({NOW_MS: 1}), began, NOW_MS) == [NOW_MS]
    assert since(History({began - 1: 1}), began, NOW_MS) == []


def test_rows_are_told_in_order_whatever_order_the_venue_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reversed(History):
        async def trades(self, symbol: str, from_id: int | None) -> list[TradeJson]:
            return (await super().trades(symbol, from_id))[::-1]

    monkeypatch.setattr(fills, "PAGE", 3)
    history = Reversed(dict.fromkeys(range(1, 12), 1))

    async def main() -> list[int]:
        return [row.id for row in await trades_after(history, "BTCUSDT", 2)]

    assert anyio.run(main) == list(range(3, 12))
    assert history.asked == ["trades"] * 4


@pytest.mark.parametrize("edge_ms", [-1, 0, 1])
def test_a_trade_at_the_edge_of_a_week_is_told_once(edge_ms: int) -> None:
    since_ms = NOW_MS - 20 * DAY_MS
    at = since_ms + WEEK_MS + edge_ms
    assert since(History({at: 1}), since_ms, NOW_MS) == [at]


def test_nothing_is_told_of_what_the_venue_has_forgotten() -> None:
    with pytest.raises(ValueError, match="180 days"):
        since(History({}), NOW_MS - KEPT_MS - 1, NOW_MS)


# --- whose they were ---------------------------------------------------------------------


def named(history: History, *, after: int = 0, names: OrderNames | None = None) -> list[str]:
    names = names or OrderNames()

    async def main() -> list[str]:
        rows = await trades_after(history, "BTCUSDT", after)
        return [found.client_order_id for found in await names.named(history, rows)]

    return anyio.run(main)


def test_the_orders_of_many_trades_are_asked_for_by_the_page() -> None:
    trades = {n: n // 2 for n in range(2, 5 * PAGE)}
    history = History(trades)
    assert named(history) == [f"id-{number}" for number in trades.values()]
    assert history.asked.count("trades") == 5
    assert history.asked.count("orders") == 3
    assert "order" not in history.asked


def test_only_what_came_after_is_asked_for() -> None:
    history = History({n: n for n in range(1, 2 * PAGE)})
    assert named(history, after=2 * PAGE - 4) == [f"id-{2 * PAGE - n}" for n in (3, 2, 1)]
    assert history.asked == ["trades", "orders"]


def test_one_order_is_asked_for_by_its_number_and_remembered() -> None:
    history, names = History({1: 8, 2: 8}), OrderNames()
    assert named(history, names=names) == named(history, names=names) == ["id-8", "id-8"]
    assert history.asked == ["trades", "order", "trades"]


def test_orders_that_no_page_shows_are_asked_for_singly_and_may_be_forgotten() -> None:
    history, names = History({n: n for n in range(1, 21)}, shown=11, kept=6), OrderNames()
    told = ["" if n < 6 else f"id-{n}" for n in range(1, 21)]
    assert named(history, names=names) == named(history, names=names) == told
    assert history.asked.count("order") == 10
    assert history.asked.count("orders") == 1


def test_a_page_of_other_orders_proves_nothing_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that begins its pages where it likes costs a request for each order, not a hang."""
    monkeypatch.setattr(fills, "PAGE", 3)

    class Stubborn(History):
        async def orders(self, symbol: str, from_number: int) -> list[OrderJson]:
            return await super().orders(symbol, 1)

    history = Stubborn({n: n for n in range(1, 9)})
    assert named(history, after=5) == ["id-6", "id-7", "id-8"]
    assert history.asked.count("order") == 3


def test_only_the_latest_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "MAX_KNOWN_IDS", 2)
    history, names = History({1: 1, 2: 2, 3: 3}), OrderNames()
    for number in (1, 2, 3):
        names.remember(number, f"id-{number}")
    assert named(history, names=names) == ["id-1", "id-2", "id-3"]
    assert history.asked.count("order") == 1, "the oldest gave way"


# --- the same over HTTP ------------------------------------------------------------------


@pytest.mark.parametrize("signer", WIRE_CLIENTS)
def test_a_client_that_comes_to_a_long_past_asks_by_the_page(signer: str) -> None:
    async def case(rig: Rig) -> None:
        for number in range(120):
            side = "sell" if number % 2 else "buy"
            rig.venue.place(
                OrderTicket(
                    symbol=BTC,
                    client_order_id=f"web-{number}",
                    side=side,
                    quantity=Decimal("0.01"),
                    price=None,
                )
            )
        assert rig.another is not None
        late = rig.another()
        try:
            before = len(rig.requests("snapshot"))
            newest = await late.newest_trade_id(BTC, timeout_seconds=10)
            assert newest == rig.venue.book(BTC).trades[-1].trade_id
            assert len(rig.requests("snapshot")) - before == 1
            found = await late.fills(BTC, after_trade_id=newest - 100, timeout_seconds=10)
            assert [f.client_order_id for f in found] == [f"web-{n}" for n in range(20, 120)]
            assert len(rig.requests("snapshot")) - before == 3
            assert rig.requests("query") == []
        finally:
            await late.aclose()

    async def main() -> None:
        async with http_rig(WIRE_CLIENTS[signer]) as rig:
            await case(rig)

    anyio.run(main)


@pytest.mark.parametrize("signer", WIRE_CLIENTS)
def test_fills_since_a_moment_more_than_a_page_and_a_week_ago(
    signer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case(rig: Rig) -> None:
        now_ms, trades = rig.clock.time_ns() // 1_000_000, rig.venue.book(BTC).trades
        ages_days = (40, 20, 20, 20, 8, 0)
        for number, days in enumerate(ages_days):
            rig.venue.faults.clock_skew_ms = -days * DAY_MS
            rig.venue.place(
                OrderTicket(
                    symbol=BTC,
                    client_order_id=f"web-{number}",
                    side="buy",
                    quantity=Decimal("0.01"),
                    price=None,
                )
            )
        assert len(trades) == len(ages_days)
        monkeypatch.setattr(fills, "PAGE", 2)
        monkeypatch.setattr(questions, "PAGE", 2)
        assert rig.another is not None
        late = rig.another()
        assert isinstance(late, FillHistory)
        try:
            since_ms = now_ms - 30 * DAY_MS
            found = await late.fills_since(BTC, since_ms=since_ms, timeout_seconds=10)
            assert [f.client_order_id for f in found] == [f"web-{n}" for n in range(1, 6)]
            assert [f.trade_id for f in found] == [t.trade_id for t in trades[1:]]
            assert await late.fills_since(BTC, since_ms=now_ms + 60_000, timeout_seconds=10) == []
        finally:
            await late.aclose()

    async def main() -> None:
        async with http_rig(WIRE_CLIENTS[signer]) as rig:
            await case(rig)

    anyio.run(main)
