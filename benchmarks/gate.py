"""What the gate costs an order, beside circuit breakers; and how fast a fault shuts it.

    python benchmarks/gate.py [--json] [--rounds N] [--quick]

The gate is asked with its event-loop lease, as the engine sets it up. A breaker is
measured on its success path, closed, in the cheapest form its documentation offers. All
take turns in shuffled rounds; the table shows medians, less an empty loop, and for what
wraps a call, less the bare call. A peer that can not be imported is listed with the reason
(purgatory 0.7 needs `pkg_resources`: setuptools below 81).

The second part fires faults at a whole engine on in-memory transports: from the call of
`engine.fault` to the shut gate, and to the first line of the first effect of DEGRADED.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
from report import Goal, show

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engine import Engine
from holdfast.gate import Gate, GateView
from holdfast.journal import MemoryDisk, MemoryJournal
from holdfast.policy import Mode, Policy
from holdfast.settings import PolicySettings, Settings
from holdfast.states.table import State
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue

BTC = "BTC/USDT:USDT"
GATE = "gate.check, with lease"


@dataclass(frozen=True)
class Subject:
    """One thing to time. `wraps_call`: its time contains a bare call, which is deducted."""

    name: str
    call: Callable[[], object]
    wraps_call: bool
    is_peer: bool = True


def nothing() -> None:
    """What is guarded."""


def open_gate() -> Gate:
    gate = Gate(monotonic=SystemClock().monotonic, lease_seconds=3600.0)
    gate.open_if(gate.epoch)
    return gate


def with_circuitbreaker() -> Callable[[], object]:
    import circuitbreaker

    guarded: Callable[[], object] = circuitbreaker.circuit(nothing)
    return guarded


def with_pybreaker() -> Callable[[], object]:
    import pybreaker

    call = pybreaker.CircuitBreaker().call
    return lambda: call(nothing)


def with_aiobreaker() -> Callable[[], object]:
    import aiobreaker

    call = aiobreaker.CircuitBreaker().call
    return lambda: call(nothing)


def with_purgatory() -> Callable[[], object]:
    import purgatory

    breaker = purgatory.SyncCircuitBreakerFactory().get_breaker("venue")

    def guarded() -> None:
        with breaker:
            pass

    return guarded


PEERS = {
    "circuitbreaker": with_circuitbreaker,
    "pybreaker": with_pybreaker,
    "aiobreaker": with_aiobreaker,
    "purgatory": with_purgatory,
}


def subjects() -> tuple[list[Subject], dict[str, str]]:
    """What can be measured here, and why the rest can not."""
    gate = open_gate()
    unleased = Gate(monotonic=SystemClock().monotonic, lease_seconds=None)
    unleased.open_if(unleased.epoch)
    permit = gate.permit(BTC, opening=True)
    found = [
        Subject("bare call", nothing, False, is_peer=False),
        Subject("the clock alone", SystemClock().monotonic, False, is_peer=False),
        Subject(GATE, GateView(gate).check, False, is_peer=False),
        Subject("permit.verify", permit.verify, False, is_peer=False),
        Subject("gate.renew", gate.renew, False, is_peer=False),
    ]
    skipped = {}
    for name, make in PEERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(Subject(name, make(), True))
        except ImportError as error:
            skipped[name] = str(error)
    return found, skipped


def loop_seconds(call: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - begin


def empty_seconds(times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        pass
    return time.perf_counter() - begin


def measure_calls(found: list[Subject], *, rounds: int, times: int) -> dict[str, list[float]]:
    """Nanoseconds of each subject, one per round; the rounds interleave them all."""
    samples: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        turn = list(found)
        random.shuffle(turn)
        raw = {s.name: loop_seconds(s.call, times) for s in turn}
        empty = empty_seconds(times)
        if not number:
            continue  # the first round warms up
        for subject in found:
            other = raw["bare call"] if subject.wraps_call else empty
            samples[subject.name].append((raw[subject.name] - other) / times * 1e9)
    return samples


async def measure_faults(count: int) -> dict[str, list[float]]:
    """Microseconds from `engine.fault` on, `count` times, of an engine that was HEALTHY."""
    clock, server, disk = SystemClock(), MemoryServer(), MemoryDisk()
    venue = SimulatedVenue(time_ns=clock.time_ns)
    venue.on_price(BTC, Decimal(64000))
    store = MemoryStore(server, clock=clock)
    journal = MemoryJournal.open(
        disk, clock=clock, randbits=SystemEntropy().randbits, on_fault=lambda reason: None
    )
    engine = Engine(
        settings=Settings(symbols=(BTC,), policy=PolicySettings(initial=Policy(Mode.NORMAL))),
        journal=journal,
        bus=MemoryBus(server),
        policy=store,
        lease=store,
        exchange=SimExecutionClient(LocalLine(venue)),
        clock=clock,
    )
    stamps: dict[str, float] = {}
    core: Any = engine._core
    shut, cancel = core.gate.shut, core.execution.entries.cancel_if_unwanted

    def stamped_shut(why: str) -> int:
        epoch: int = shut(why)
        stamps.setdefault("shut", time.perf_counter())
        return epoch

    async def stamped_cancel() -> None:
        stamps.setdefault("effect", time.perf_counter())
        await cancel()

    core.gate.shut, core.execution.entries.cancel_if_unwanted = stamped_shut, stamped_cancel
    samples: dict[str, list[float]] = defaultdict(list)
    async with engine:
        with anyio.fail_after(60 + count):
            for _ in range(count):
                await engine.until_healthy()
                await anyio.lowlevel.checkpoint()
                stamps.clear()
                begin = time.perf_counter()
                engine.fault("benchmark", "a fault")
                returned = time.perf_counter()
                await engine.until(State.RECOVERING)
                samples["fault to shut gate"].append((stamps["shut"] - begin) * 1e6)
                samples["fault to its return"].append((returned - begin) * 1e6)
                samples["fault to first effect"].append((stamps["effect"] - begin) * 1e6)
    return samples


def goals(
    nanoseconds: dict[str, float], microseconds: dict[str, float], worst: dict[str, float]
) -> list[Goal]:
    """:param worst: the 99th of a hundred, in microseconds."""
    peers = {name: nanoseconds[name] for name in PEERS if name in nanoseconds}
    table = [
        Goal(
            f"{GATE} / {name}",
            0.2,
            nanoseconds[GATE] / peer,
            f"{nanoseconds[GATE]:.0f} ns vs {peer:.0f} ns",
        )
        for name, peer in sorted(peers.items(), key=lambda item: item[1])
    ]
    table += [
        Goal(f"{name}, us", goal, microseconds[name], f"p99 {worst[name]:.1f} us")
        for name, goal in (("fault to shut gate", 100), ("fault to first effect", 1000))
    ]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=41, help="of the interleaved comparison")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    options = parser.parse_args()
    rounds, times = (7, 20_000) if options.quick else (options.rounds, 50_000)
    found, skipped = subjects()
    calls = measure_calls(found, rounds=rounds, times=times)
    faults = asyncio.run(measure_faults(30 if options.quick else 300))
    nanoseconds = {name: statistics.median(values) for name, values in calls.items()}
    microseconds = {name: statistics.median(values) for name, values in faults.items()}
    worst = {name: sorted(values)[int(len(values) * 0.99)] for name, values in faults.items()}
    table = goals(nanoseconds, microseconds, worst)
    peers = [name for name in PEERS if name in nanoseconds]
    fastest = min(peers, key=lambda name: nanoseconds[name], default=None)
    show(
        table,
        as_json=options.json,
        medians={f"{name}, ns": value for name, value in nanoseconds.items()}
        | {f"{name}, us": value for name, value in microseconds.items()},
        setting=f"{rounds} rounds",
        skipped=skipped,
        in_full=True,
        fastest_peer=fastest,
        ratio_to_fastest=None if fastest is None else nanoseconds[GATE] / nanoseconds[fastest],
    )


if __name__ == "__main__":
    main()
