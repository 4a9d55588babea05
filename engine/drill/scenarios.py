"""The three scripts: what is done to the bot's surroundings, and which checks judge it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from holdfast.policy import Mode

from . import gate_checks, order_checks, policy_checks
from .checks import Check
from .event_checks import event_checks
from .observation import Observation
from .stage import Stage

SHORT_OUTAGE_SECONDS: Final = 1.0
"""Scenario 3's; long enough for hundreds of tries."""
BEFORE_SECONDS: Final = 1.0
AFTER_SECONDS: Final = 1.0

ORDER_TIMEOUTS: Final = {
    "timeout_seconds": 0.5,
    "recv_window_ms": 500,
    "absence_margin_ms": 200,
}
"""So that an absent order can be proven absent within the drill; the waits stay 1, 2, 4 s."""

LOST_REQUEST: Final = {"executes": False, "reply": "lost"}
LOST_REPLY: Final = {"executes": True, "reply": "lost"}
OVERLOADED: Final = {
    "executes": False,
    "reply": "error",
    "status": 503,
    "code": -1008,
    "message": "Server is currently overloaded with other requests. Please try again later.",
}


class Run(NamedTuple):
    """One bot from start to end: its settings, its script, its judge.

    :ivar kills: Redis is killed, which needs a server of our own.
    """

    name: str
    title: str
    script: Callable[[Stage], Awaitable[None]]
    judge: Callable[[Observation], list[Check]]
    kills: bool
    engine: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - never changed
    bot: dict[str, Any] = {}  # noqa: RUF012 - never changed


def runs(scenario: int, *, outage_seconds: float) -> list[Run]:
    """What scenario `scenario` consists of."""
    match scenario:
        case 1:
            return [_outage(outage_seconds)]
        case 2:
            return [_timeouts()]
        case 3:
            return [_stale_policy(), _emptied_and_held(), _changed_while_up()]
    raise ValueError(f"there is no scenario {scenario}")


TITLES: Final = {
    1: "Outage in active trading",
    2: "Order timeouts",
    3: "Stale policy",
}


def _outage(outage_seconds: float) -> Run:
    async def script(stage: Stage) -> None:
        await stage.set_policy(Mode.NORMAL)
        await stage.start_bot()
        await stage.until_trading(orders=10)
        await stage.wait("trading", BEFORE_SECONDS)
        killed_ns = await stage.kill_redis()
        await stage.wait("Redis is dead", outage_seconds)
        await stage.start_redis(killed_ns)
        await stage.until_trading()
        await stage.wait("trading again", AFTER_SECONDS)

    def judge(seen: Observation) -> list[Check]:
        return [
            gate_checks.gate_shut_seconds(seen, 1),
            gate_checks.tries_while_down(seen, 1),
            gate_checks.opening_orders_after_shut(seen, 1),
            gate_checks.positions_open_at_kill(seen, 1),
            *event_checks(seen, 1),
            gate_checks.replayed_before_resume(seen, 1),
            policy_checks.policy_fresh_seconds(seen, 1, seen.outages[0]),
            gate_checks.reconciled_before_resume(seen, 1),
            gate_checks.resume_seconds(seen, 1),
            *order_checks.execution_checks(seen, 1),
        ]

    return Run(
        "1-outage",
        f"Redis dead for {outage_seconds:g} s, positions open",
        script,
        judge,
        kills=True,
        # Positions shall be left when it dies, and some be closed while it is dead.
        bot={"close_seconds": max(0.1, outage_seconds / 12)},
    )


def _timeouts() -> Run:
    async def script(stage: Stage) -> None:
        await stage.set_policy(Mode.NORMAL)
        await stage.exchange.arm("place", LOST_REQUEST)
        await stage.exchange.arm("place", LOST_REPLY)
        await stage.start_bot()
        await stage.until_trading()
        await stage.exchange.arm("place", OVERLOADED, count=2)
        await stage.wait("two attempts are refused as overloaded", 0.5)
        await stage.until_trading()
        await stage.wait("trading", BEFORE_SECONDS)

    def judge(seen: Observation) -> list[Check]:
        return [
            *order_checks.execution_checks(seen, 2),
            order_checks.retry_gaps_and_evidence(seen, 2),
            order_checks.orders_untold(seen, 2),
            *event_checks(seen, 2),
        ]

    return Run(
        "2-timeouts",
        "Attempts lost, others refused",
        script,
        judge,
        kills=False,
        engine={"orders": dict(ORDER_TIMEOUTS)},
        bot={"concurrency": 1, "impatient_seconds": 0.3},
    )


def _stale_policy() -> Run:
    async def script(stage: Stage) -> None:
        await stage.set_policy(Mode.NORMAL)
        await stage.start_bot()
        await stage.until_trading(orders=10)

        await stage.set_policy(Mode.DEFENSIVE, limited=True)
        killed_ns = await stage.kill_redis()
        await stage.wait("Redis is dead; the change had just been made", SHORT_OUTAGE_SECONDS)
        await stage.start_redis(killed_ns)
        await stage.until_trading(orders=10)

        await stage.set_policy(Mode.NORMAL)
        await stage.until_trading(orders=20)
        killed_ns = await stage.kill_redis()
        await stage.wait("Redis is dead", SHORT_OUTAGE_SECONDS)
        await stage.change_policy_while_down(Mode.DEFENSIVE, limited=True)
        await stage.start_redis(killed_ns)
        await stage.until_trading(orders=10)

        killed_ns = await stage.kill_redis()
        await stage.wait("Redis is dead, and its data with it", SHORT_OUTAGE_SECONDS)
        await stage.start_redis(killed_ns, empty=True)
        await stage.until_trading(orders=10)
        await stage.wait("trading again", AFTER_SECONDS)

    def judge(seen: Observation) -> list[Check]:
        just_before, while_down, emptied = seen.outages
        return [
            policy_checks.policy_fresh_seconds(seen, 3, just_before),
            policy_checks.policy_fresh_seconds(
                seen, 3, while_down, suffix="_changed_while_cut_off"
            ),
            policy_checks.stale_policy_used(seen, 3),
            policy_checks.policy_restored(seen, 3, emptied),
            gate_checks.gate_shut_seconds(seen, 3),
            gate_checks.opening_orders_after_shut(seen, 3),
            gate_checks.reconciled_before_resume(seen, 3),
            gate_checks.resume_seconds(seen, 3),
            *event_checks(seen, 3),
            *order_checks.execution_checks(seen, 3),
        ]

    return Run(
        "3-stale",
        "Policy changed while Redis is dead",
        script,
        judge,
        kills=True,
        engine={"policy": {"on_empty": "restore"}},
        bot={"large_orders": True},
    )


def _emptied_and_held() -> Run:
    async def script(stage: Stage) -> None:
        await stage.set_policy(Mode.NORMAL)
        await stage.start_bot()
        await stage.until_trading(orders=10)
        killed_ns = await stage.kill_redis()
        await stage.wait("Redis is dead, and its data with it", SHORT_OUTAGE_SECONDS)
        await stage.start_redis(killed_ns, empty=True)
        # Longer than the lease's term, which alone would keep the gate shut as well.
        await stage.wait("Redis is back without a policy; nobody confirms one", 2.5)
        await stage.set_policy(Mode.DEFENSIVE)
        await stage.until_trading(orders=10)

    def judge(seen: Observation) -> list[Check]:
        return [policy_checks.policy_held(seen, 3, seen.outages[0])]

    return Run(
        "3-held",
        "Redis back empty, policy held",
        script,
        judge,
        kills=True,
        engine={"policy": {"on_empty": "hold"}},
    )


def _changed_while_up() -> Run:
    async def script(stage: Stage) -> None:
        await stage.set_policy(Mode.NORMAL)
        await stage.start_bot()
        await stage.until_trading(orders=10)
        await stage.set_policy(Mode.DEFENSIVE, limited=True)
        await stage.until_trading(orders=20)

    def judge(seen: Observation) -> list[Check]:
        return [policy_checks.policy_change_seen_seconds(seen, 3, seen.policies[-1])]

    return Run(
        "3-live",
        "Policy changed with everything up",
        script,
        judge,
        kills=False,
        bot={"large_orders": True},
    )
