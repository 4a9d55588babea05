"""The synchronous engine is the same engine: every name, every argument, every answer."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast import (
    Bot,
    ConfigError,
    Engine,
    EngineClosed,
    Fill,
    InvalidOrder,
    Mode,
    Order,
    Policy,
    ResolveRefused,
    State,
)
from holdfast.blocking import BlockingEngine
from holdfast.ports import LinkWatch
from holdfast.settings import Settings
from holdfast.transports.sim import SimulatedVenue

BTC = "BTC/USDT:USDT"
CONSTRUCTORS = {"open", "open_blocking"}


def public(cls: type) -> dict[str, Any]:
    """Methods and properties, and what `__init__` makes public."""
    names = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
    source = inspect.getsource(cls.__init__)  # type: ignore[misc]
    made = [line.split("self.")[1] for line in source.splitlines() if " self." in f" {line}"]
    for name in (line.partition(" ")[0].rstrip(":") for line in made):
        if name.isidentifier() and not name.startswith("_"):
            names.setdefault(name, None)
    return names


def test_the_blocking_engine_has_every_name_of_the_engine() -> None:
    assert {"settings", "metrics", "submit"} <= set(public(Engine))
    assert set(public(Engine)) - CONSTRUCTORS == set(public(BlockingEngine)) - {"engine"}


@pytest.mark.parametrize(
    "name",
    [n for n, m in public(Engine).items() if inspect.isfunction(m)],
)
def test_a_blocking_method_takes_and_answers_the_same(name: str) -> None:
    ours, theirs = getattr(BlockingEngine, name), getattr(Engine, name)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert not inspect.iscoroutinefunction(ours)
    assert ours.__doc__ == theirs.__doc__


def test_both_are_opened_in_the_same_way() -> None:
    ways = [inspect.signature(way).parameters for way in (Engine.open, Engine.open_blocking)]
    assert ways[0] == ways[1]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A venue in this process, so that nothing has to be started."""
    venue = SimulatedVenue(time_ns=time.time_ns)
    venue.on_price(BTC, Decimal(64000))
    return {
        "engine": {"symbols": [BTC], "state_dir": str(tmp_path / "state")},
        "bus": {"url": "memory://b"},
        "policy": {"initial": {"active_mode": "NORMAL"}},
        "exchange": {"url": "sim://local", "options": {"core": venue}},
        "lease": {"enabled": False},
    }


@pytest.fixture
def engine(config: dict[str, Any]) -> Iterator[BlockingEngine]:
    with Engine.open_blocking(config) as engine:
        engine.until_healthy()
        yield engine


def test_every_plain_answer_comes(engine: BlockingEngine) -> None:
    assert isinstance(engine.settings, Settings)
    assert engine.metrics is engine.engine.metrics
    engine.until(State.HEALTHY)
    assert engine.state is State.HEALTHY
    assert engine.gate.is_open
    assert engine.level(BTC) is engine.level()
    assert engine.waiting_for == ()
    assert engine.history == engine.engine.history
    assert engine.status()["state"] == "HEALTHY"
    assert engine.diagram().startswith("<svg")
    assert engine.timeline(title="mine").title == "mine"
    assert engine.instrument(BTC).symbol == BTC


def test_orders_policies_and_the_operators_words(engine: BlockingEngine) -> None:
    assert engine.publish("told", {"x": 1}).type == "told"
    order = Order(BTC, "buy", "0.010", key="once")
    engine.check(order)
    report = engine.submit(order)
    assert engine.outcome("once") == report
    assert engine.identify(BTC, "once") == report.client_order_id
    assert engine.position(BTC) == Decimal("0.010")
    assert [held.quantity for held in engine.positions()] == [Decimal("0.010")]
    resting = engine.submit(Order(BTC, "buy", "0.010", price="60000"))
    assert [one.client_order_id for one in engine.open_orders()] == [resting.client_order_id]
    assert engine.cancel(BTC, resting.client_order_id) is not None
    assert engine.open_orders() == engine.pending() == []
    assert engine.reconcile() == engine.adopt(by="me") == []
    assert engine.set_policy(Policy(Mode.DEFENSIVE)).active_mode is Mode.DEFENSIVE
    assert engine.confirm_policy() == engine.policy
    assert engine.policy_problem is None
    with pytest.raises(ResolveRefused):
        engine.resolve("nobody", "accepted", reason="seen", by="me")
    (closed,) = engine.flatten(by="me")
    assert closed.filled == Decimal("0.010")
    assert engine.status()["hold"] == "flatten"
    engine.resume(by="me")
    engine.until_healthy()


def test_what_can_not_be_done_is_said_as_by_the_engine(engine: BlockingEngine) -> None:
    with pytest.raises(InvalidOrder, match="not declared"):
        engine.submit(Order("ETH/USDT:USDT", "buy", 1))
    with pytest.raises(InvalidOrder, match="not declared"):
        engine.check(Order("ETH/USDT:USDT", "buy", 1))
    with pytest.raises(ConfigError, match="no market data"):
        engine.bars(BTC)
    with pytest.raises(ConfigError, match="no market data"):
        engine.run(Bot())
    with pytest.raises(ConfigError, match="no market data"):
        engine.on_market(print)
    with pytest.raises(ValueError, match="'png' is not one of"):
        engine.diagram("png")  # type: ignore[arg-type]


def test_listeners_are_told_in_the_engines_thread_until_they_are_ended(
    engine: BlockingEngine,
) -> None:
    told: list[int] = []
    heard = threading.Event()

    def listener(_: object) -> None:
        told.append(threading.get_ident())
        heard.set()

    end = engine.on_transition(listener)
    engine.halt("look", by="me")
    assert heard.wait(10)
    assert threading.get_ident() not in told
    end()
    count = len(told)
    engine.resume(by="me")
    engine.until_healthy()
    assert len(told) == count
    fills: list[Fill] = []
    engine.on_fill(fills.append)
    engine.submit(Order(BTC, "buy", "0.010"))
    assert [fill.quantity for fill in fills] == [Decimal("0.010")]
    engine.on_alert(listener)()


def test_after_its_block_it_is_closed(config: dict[str, Any]) -> None:
    with Engine.open_blocking(config) as engine:
        end = engine.on_fill(print)
    end()
    engine.fault("feed", "a thread that was not joined")
    for call in (engine.status, engine.positions, engine.reconcile):
        with pytest.raises(EngineClosed):
            call()
    with pytest.raises(EngineClosed):
        _ = engine.policy


class _Disk:
    name = "my own"

    async def run(self, watch: LinkWatch) -> None:
        watch.down("not yet")
        await anyio.sleep_forever()

    async def probe(self) -> None:
        """Answers at once."""


def test_it_takes_links_of_ones_own(config: dict[str, Any]) -> None:
    with Engine.open_blocking(config, links=[_Disk()]) as engine:
        assert "my own" in [link["name"] for link in engine.status()["links"]]
