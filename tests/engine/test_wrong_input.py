"""What a caller gets wrong is named before anything is written, and costs nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from engine_world import BTC, World

from holdfast import (
    Bot,
    ConfigError,
    Engine,
    HoldfastError,
    InvalidOrder,
    InvalidPayload,
    InvalidPolicy,
    Order,
    ResolveRefused,
    State,
)
from holdfast.records import KIND_OF, Held, decode
from holdfast.simulation import run

Call = Callable[[Engine], Awaitable[Any]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbol": 5}, "symbol: 5"),
        ({"symbol": ""}, "symbol: ''"),
        ({"symbol": "\ud800"}, r"symbol: '\\ud800'"),
        ({"side": "BUY"}, "side: 'BUY'"),
        ({"side": None}, "side: None"),
        ({"quantity": None}, "quantity: None"),
        ({"quantity": 0.1}, "quantity: 0.1 is float"),
        ({"quantity": "abc"}, "quantity: 'abc'"),
        ({"quantity": "-1"}, "quantity: '-1'"),
        ({"quantity": "NaN"}, "quantity: 'NaN'"),
        ({"quantity": "Infinity"}, "quantity: 'Infinity'"),
        ({"quantity": "1e400"}, "quantity: '1e400' .* digits"),
        ({"quantity": "1e-400"}, "quantity: '1e-400' .* digits"),
        ({"quantity": "1." + "1" * 60}, "quantity: .* digits"),
        ({"price": "NaN"}, "price: 'NaN'"),
        ({"price": True}, "price: True"),
        ({"price": 0}, "price: 0"),
        ({"key": ""}, "key: ''"),
        ({"key": 5}, "key: 5"),
        ({"key": "k" * 129}, "key: "),
        ({"key": "\ud800"}, r"key: '\\ud800'"),
        ({"reduce_only": "yes"}, "reduce_only: 'yes'"),
        ({"time_in_force": "FOK"}, "time_in_force: 'FOK'"),
        ({"time_in_force": "IOC", "price": None}, "time_in_force: a market order"),
        ({"position_side": "long"}, "position_side: 'long'"),
        ({"position_side": "LONG", "reduce_only": True}, "reduce_only: .* LONG"),
        ({"deadline_seconds": "x"}, "deadline_seconds: 'x'"),
        ({"deadline_seconds": True}, "deadline_seconds: True"),
        ({"deadline_seconds": 0}, "deadline_seconds: 0"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds: nan"),
        ({"trigger": "stop"}, "trigger_price: "),
        ({"trigger_price": "1"}, "trigger: None"),
        ({"trigger": "stop", "trigger_price": 1, "trigger_by": "index"}, "trigger_by: 'index'"),
        ({"trigger_by": "index"}, "trigger_by: 'index'"),
        ({"trigger_by": "mark"}, "trigger_by: .* no trigger"),
    ],
)
def test_an_order_that_can_not_be_right(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"symbol": BTC, "side": "buy", "quantity": "1", "price": "64000"}
    with pytest.raises(InvalidOrder, match=f"^{words}"):
        Order(**{**given, **changes})


def test_unusual_orders_are_orders() -> None:
    Order(BTC, "sell", 1, deadline_seconds=1)
    Order(BTC, "sell", Decimal("1E+3"), "0.00000001", position_side="LONG")
    Order(BTC, "sell", "1", trigger="stop", trigger_price="1", trigger_by="mark", reduce_only=True)


ANYTHING: Any = object()
FOREIGN: Any = 5
WORD: Any = "foo"

WRONG: list[tuple[str, Call, type[Exception], str]] = [
    ("submit None", lambda e: e.submit(None), InvalidOrder, "order: None is no Order"),  # type: ignore[arg-type]
    ("submit text", lambda e: e.submit(WORD), InvalidOrder, "order: 'foo' is no Order"),
    (
        "another symbol",
        lambda e: e.submit(Order("BTC/USDT", "buy", 1)),
        InvalidOrder,
        "symbol: 'BTC/USDT' is not declared",
    ),
    ("cancel, no symbol", lambda e: e.cancel(FOREIGN, "x"), InvalidOrder, "symbol: 5"),
    ("cancel, no id", lambda e: e.cancel(BTC, None), InvalidOrder, "client_order_id: None"),  # type: ignore[arg-type]
    ("flatten", lambda e: e.flatten(FOREIGN), InvalidOrder, "symbol: 5 is not declared"),
    ("type", lambda e: e.publish(b"x", {}), InvalidPayload, "type: b'x'"),  # type: ignore[arg-type]
    ("no type", lambda e: e.publish("", {}), InvalidPayload, "type: ''"),
    ("type, surrogate", lambda e: e.publish("\ud800", {}), InvalidPayload, "type: "),
    ("body", lambda e: e.publish("t", ANYTHING), InvalidPayload, "body of t: .*object"),
    ("long body", lambda e: e.publish("t", "x" * (1 << 20)), InvalidPayload, "body of t: .*most"),
    ("long type", lambda e: e.publish("t" * 300, 1), InvalidPayload, "type: 't+'… has 300 ch"),
    ("long trace", lambda e: e.publish("t", 1, trace_id="x" * 256), InvalidPayload, "trace_id: "),
    ("large number", lambda e: e.publish("t", 2**70), InvalidPayload, "body of t: "),
    (
        "durability",
        lambda e: e.publish("t", {}, durability=WORD),
        InvalidPayload,
        "durability: 'foo'.*memory, process, power",
    ),
    ("trace id", lambda e: e.publish("t", {}, trace_id=FOREIGN), InvalidPayload, "trace_id: 5"),
    (
        "trace id, surrogate",
        lambda e: e.publish("t", {}, trace_id="\ud800"),
        InvalidPayload,
        "trace_id: ",
    ),
    ("policy", lambda e: e.set_policy({}), InvalidPolicy, "policy: {} is no Policy"),  # type: ignore[arg-type]
    ("policy, None", lambda e: e.set_policy(None), InvalidPolicy, "policy: None"),  # type: ignore[arg-type]
    (
        "resolve",
        lambda e: e.resolve("x", WORD, reason="seen"),
        ResolveRefused,
        "verdict: 'foo'",
    ),
    ("no bars", lambda e: e.bars(BTC, limit=0), ConfigError, "limit: 0"),
    ("bars, text", lambda e: e.bars(BTC, limit=WORD), ConfigError, "limit: 'foo'"),
    ("bars, length", lambda e: e.bars(BTC, interval="7m"), ConfigError, "interval: '7m'"),
    ("instrument", lambda e: e.instrument("X"), InvalidOrder, "symbol: .*'X'"),
    ("instrument, list", lambda e: e.instrument([]), InvalidOrder, "symbol: .*\\[\\]"),  # type: ignore[arg-type]
    ("until", lambda e: e.until("HAPPY"), ValueError, "'HAPPY' is not"),  # type: ignore[arg-type]
    ("bot", lambda e: e.run(WORD), TypeError, "'foo' is no Bot"),
    ("bot's class", lambda e: e.run(Bot), TypeError, ".*Bot'> is no Bot"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("call", "error", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_a_call_that_can_not_be_right(call: Call, error: type[Exception], words: str) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            journal, asked = engine._core.journal, []
            world.venue.faults.decide = lambda kind, _now: asked.append(kind)
            before = journal.last_seq
            with pytest.raises(error, match=f"^{words}"):
                await call(engine)
            assert journal.last_seq == before
            assert asked == []
            assert engine.state is State.HEALTHY
            assert (await engine.submit(Order(BTC, "buy", "0.010"))).filled == Decimal("0.010")
            await engine.publish("still", "here")
        async with world.engine() as engine:  # and what was written can be read
            await engine.until_healthy()
            assert engine.position(BTC) == Decimal("0.010")

    run(main)


@pytest.mark.parametrize("wrong", [5, None])
@pytest.mark.parametrize("name", ["on_transition", "on_fill", "on_alert", "on_market"])
def test_a_listener_that_can_not_be_called(name: str, wrong: Any) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            engine._core.market = ANYTHING
            with pytest.raises(TypeError, match="can not be called"):
                getattr(engine, name)(wrong)

    run(main)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("png", "form: 'png' is not one of svg, mermaid, dot; PNG is bytes: see diagram_png"),
        ("SVG", "form: 'SVG' is not one of svg, mermaid, dot$"),
        (None, "form: None is not one of"),
    ],
)
def test_a_picture_in_a_form_that_there_is_not(form: Any, words: str) -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            with pytest.raises(ValueError, match=f"^{words}"):
                engine.diagram(form)
            assert engine.diagram().startswith("<svg")
            assert "DEGRADED" in engine.diagram("mermaid")
            assert engine.diagram("dot").startswith("digraph")

    run(main)


def test_a_state_may_be_waited_for_by_its_name() -> None:
    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until("HEALTHY")  # type: ignore[arg-type]

    run(main)


@pytest.mark.parametrize("who", [5, None, "\ud800", "x" * 5000])
def test_who_acts_is_written_so_that_it_can_be_read_again(who: Any) -> None:
    """A switch for emergencies takes any word, and the next start can read its record."""

    async def main() -> None:
        world = World()
        async with world.engine() as engine:
            await engine.until_healthy()
            await engine.submit(Order(BTC, "buy", "0.010"))
            await engine.flatten(by=who)
            await engine.resume(by=who)
            await engine.until_healthy()
            await engine.halt(who, by=who)
            await engine.adopt(by=who)
            with pytest.raises(HoldfastError):
                await engine.resolve("nobody", "accepted", reason=who, by=who)
            held = [
                decode(record.kind, record.body)
                for record in engine._core.journal.read(after=0, limit=500, kinds=(KIND_OF[Held],))
            ]
            assert len(held) == 3
            assert all(len(msgspec.to_builtins(one)["by"]) <= 1000 for one in held)
        async with world.engine() as engine:
            assert engine.status()["hold"] is not None

    run(main)


def test_an_event_that_fits_no_segment_is_refused_by_its_size() -> None:
    async def main() -> None:
        world = World()
        world.journal_options = {"segment_bytes": 1 << 16, "retain_acked_bytes": 1 << 16}
        async with world.engine() as engine:
            await engine.until_healthy()
            before = engine._core.journal.last_seq
            with pytest.raises(InvalidPayload, match=r"body of t: .* 32768 "):
                await engine.publish("t", "x" * 40_000)
            assert engine._core.journal.last_seq == before
            await engine.publish("t", "x" * 20_000)
            assert engine.state is State.HEALTHY

    run(main)
