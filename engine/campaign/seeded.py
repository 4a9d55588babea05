"""A fault plan drawn from a seed.

Each seed first draws which kinds of fault there are at all ("swarm testing": Groce et
al., 2012), because a run in which everything fails all the time gets nowhere and finds
little. Then each kind draws its own faults from a stream of its own, so that the
faults of one kind do not depend on what another kind drew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from holdfast.policy import Mode
from holdfast.ports import Entropy
from holdfast.simulation import SeededEntropy
from holdfast.transports.faults import FaultRates

from .plan import (
    AnyFault,
    Conditions,
    DiskError,
    DiskFull,
    ExchangeOutage,
    FaultPlan,
    Flap,
    ForeignTrade,
    Funding,
    Hold,
    Kill,
    LaggingReads,
    LostAcks,
    Noise,
    OrderFault,
    PolicyChange,
    QuestionFault,
    RefusedAppend,
    Restart,
    SecondCopy,
    ServerOutage,
    SnapshotFault,
    Stall,
    StreamFault,
    Suspend,
    Traded,
    VenueClockSkew,
    WallClockJump,
)

HORIZON_SECONDS: Final = 40.0
KIND_CHANCE: Final = 0.4
"""That a kind of fault occurs in a run at all."""
MOST_OF_A_KIND: Final = 3
MOST_OF: Final = {"flap": 10, "order fault": 8}
"""What is over at once may come more often: attempts that meet a recovery are rare else."""

REFUSALS: Final = (
    (-1008, 503),  # "server is currently overloaded": not executed
    (-1001, 500),  # "internal error; unable to process": says nothing
    (-1003, 429),  # too many requests
    (-1003, 418),  # banned for having gone on after that
    (-2015, 401),  # keys, address or permissions are wrong
    (-1015, 429),  # too many new orders
    (-1021, 400),  # outside of the recvWindow
    (-2019, 400),  # margin is insufficient
    (-4131, 400),  # the counterparty's best price is too far away
)
"""Codes and their HTTP status, as Binance's USDⓈ-M error list has them."""


ASK_FOR_SILENCE: Final = (418, 429)
"""Status with which Binance may send Retry-After."""


class Dice:
    """Draws that faults are made of."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._entropy.random()

    def whole(self, low: int, high: int) -> int:
        """`high` included."""
        return low + int((high - low + 1) * self._entropy.random())

    def chance(self, probability: float) -> bool:
        return self._entropy.random() < probability

    def until_next(self, per_second: float) -> float:
        """Seconds to the next of what happens so often on average; infinite if it never does."""
        if per_second == 0:
            return math.inf
        return -math.log(1.0 - self._entropy.random()) / per_second

    def pick(self, *choices: Any) -> Any:
        return choices[self.whole(0, len(choices) - 1)]


def _server_outage(at: float, dice: Dice) -> AnyFault:
    return ServerOutage(
        at_seconds=at,
        seconds=dice.pick(0.05, 1.0, 1.0, 1.0) * dice.between(0.1, 12),
        server=dice.pick("bus", "store"),
        data=dice.pick("kept", "kept", "emptied", "rolled_back"),
        entries=dice.whole(1, 12),
    )


def _exchange_outage(at: float, dice: Dice) -> AnyFault:
    return ExchangeOutage(
        at_seconds=at,
        seconds=dice.pick(0.1, 1.0) * dice.between(0.1, 10),
        silent=dice.chance(0.5),
        half=dice.pick("both", "both", "rest", "stream"),
    )


def _order_fault(at: float, dice: Dice) -> AnyFault:
    code, status = dice.pick(*REFUSALS)
    return OrderFault(
        at_seconds=at,
        effect=dice.pick("lost_request", "lost_reply", "reset", "refused", "refused", "late"),
        count=dice.whole(1, 3),
        code=code,
        status=status,
        delay_seconds=dice.between(0.1, 3.5),
        retry_after_seconds=dice.whole(1, 6) if status in ASK_FOR_SILENCE else None,
        unheard=dice.chance(0.4),
    )


def _kill(at: float, dice: Dice) -> AnyFault:
    return Kill(
        at_seconds=at,
        seconds=dice.pick(0.1, 1.0, 1.0) * dice.between(0.1, 10),  # longer than a countdown, too
        power_loss=dice.chance(0.4),
        point=dice.pick("now", "order", "ship", "journal"),
        passes=dice.pick(0, 0, 1, dice.whole(2, 30)),
    )


def _policy_change(at: float, dice: Dice) -> AnyFault:
    notional = dice.pick(None, Decimal(1000), Decimal(3000))
    mode = dice.pick(Mode.NORMAL, Mode.NORMAL, Mode.DEFENSIVE, Mode.HALT)
    return PolicyChange(
        at_seconds=at,
        mode=mode,
        max_order_notional=notional,
        point=dice.pick("now", "now", "refused", "storing", "afterwards"),
    )


def _skew(at: float, dice: Dice) -> AnyFault:
    skew = dice.pick(-1, 1) * dice.whole(200, 8000)
    return VenueClockSkew(at_seconds=at, seconds=dice.between(12, 30), skew_ms=skew)


KINDS: Final[dict[str, Callable[[float, Dice], AnyFault]]] = {
    "server outage": _server_outage,
    "lost acks": lambda at, dice: LostAcks(at_seconds=at, count=dice.whole(1, 3)),
    "refused append": lambda at, dice: RefusedAppend(at_seconds=at, after=dice.whole(0, 3)),
    "foreign trade": lambda at, dice: ForeignTrade(
        at_seconds=at,
        side=dice.pick("buy", "sell"),
        quantity=Decimal(dice.whole(2, 60)) / 1000,
    ),
    "flap": lambda at, dice: Flap(at_seconds=at, server=dice.pick("bus", "store")),
    "policy change": _policy_change,
    "exchange outage": _exchange_outage,
    "order fault": _order_fault,
    "snapshot fault": lambda at, dice: SnapshotFault(
        at_seconds=at,
        effect=dice.pick("lost_reply", "reset", "refused"),
        count=dice.whole(1, 20),
    ),
    "lagging reads": lambda at, dice: LaggingReads(
        at_seconds=at,
        seconds=dice.between(1, 15),
        lag_ms=dice.whole(50, 450),
        positions_ms=dice.pick(0, dice.whole(20, 200)),
    ),
    "stream fault": lambda at, dice: StreamFault(
        at_seconds=at,
        action=dice.pick("drop", "duplicate", "swap"),
        count=dice.whole(1, 3),
        point=dice.pick("now", "now", "afterwards"),
    ),
    "skew": _skew,
    "wall clock": lambda at, dice: WallClockJump(
        at_seconds=at, jump_seconds=dice.pick(-1, 1) * dice.between(0.5, 7200)
    ),
    "suspend": lambda at, dice: Suspend(
        at_seconds=at, asleep_seconds=dice.pick(0.1, 1, 10) * dice.between(0.5, 6)
    ),
    "stall": lambda at, dice: Stall(
        at_seconds=at,
        stall_seconds=dice.pick(0.1, 1) * dice.between(0.5, 8),
        point=dice.pick("now", "now", "look"),
    ),
    "disk full": lambda at, dice: DiskFull(at_seconds=at, seconds=dice.between(0.2, 8)),
    "disk error": lambda at, dice: DiskError(at_seconds=at, syncs=dice.pick(1, 2)),
    "kill": _kill,
    "restart": lambda at, dice: Restart(at_seconds=at, seconds=dice.between(0, 3)),
    "second copy": lambda at, dice: SecondCopy(
        at_seconds=at, seconds=dice.between(1, 15), cleanly=dice.chance(0.5)
    ),
    "hold": lambda at, dice: Hold(
        at_seconds=at, seconds=dice.between(1, 8), flatten=dice.chance(0.4)
    ),
    "funding": lambda at, dice: Funding(
        at_seconds=at, rate=Decimal(dice.pick(-1, 1) * dice.whole(1, 30)) / 10_000
    ),
    "question fault": lambda at, dice: QuestionFault(
        at_seconds=at,
        effect=dice.pick("lost_reply", "reset", "refused"),
        count=dice.whole(1, 6),
    ),
}

NOT_WITH: Final = {"skew": ("lagging reads",)}
"""A venue whose clock goes back by seconds while its queries lag, by that same clock, hides
an order for those seconds: what no venue does, and nobody could see through."""
LATEST_WITH_A_SKEW_SECONDS: Final = 1.5
"""A venue whose clock goes back would also take a request that it has had for longer than its
window, after the same clock had proven it absent. So none is held up for so long then."""
_STANDS_STILL: Final = ("suspend", "stall")


def seeded(seed: int, *, horizon_seconds: float = HORIZON_SECONDS) -> FaultPlan:
    """The plan of a seed."""
    entropy = SeededEntropy(seed, "plan")
    swarm = Dice(entropy.child("swarm"))
    faults: list[AnyFault] = []
    kinds: set[str] = set()
    for kind, draw in KINDS.items():
        if swarm.chance(KIND_CHANCE) and not kinds.intersection(NOT_WITH.get(kind, ())):
            kinds.add(kind)
            dice = Dice(entropy.child(kind))
            faults += [
                draw(dice.between(0.0, horizon_seconds), dice)
                for _ in range(dice.whole(1, MOST_OF.get(kind, MOST_OF_A_KIND)))
            ]
    if "skew" in kinds:
        faults = [_in_time(fault) for fault in faults]
    faults.sort(key=lambda fault: fault.at_seconds)
    return FaultPlan(
        seed=seed,
        horizon_seconds=horizon_seconds,
        faults=tuple(faults),
        noise=_noise(Dice(entropy.child("noise"))),
        conditions=_conditions(Dice(entropy.child("conditions")), kinds),
        traded=_traded(Dice(entropy.child("traded"))),
    )


def _in_time(fault: AnyFault) -> AnyFault:
    if isinstance(fault, OrderFault) and fault.delay_seconds > LATEST_WITH_A_SKEW_SECONDS:
        return msgspec.structs.replace(fault, delay_seconds=LATEST_WITH_A_SKEW_SECONDS)
    return fault


def _noise(dice: Dice) -> Noise:
    def rates() -> FaultRates:
        if not dice.chance(0.4):
            return FaultRates()
        most = dice.pick(0.01, 0.1)
        return FaultRates(
            lost_request=dice.between(0, most),
            lost_reply=dice.between(0, most),
            refused=dice.between(0, most),
            delayed=dice.between(0, 3 * most),
            longest_delay_seconds=dice.pick(0.01, 0.4),
        )

    return Noise(bus=rates(), store=rates(), exchange=rates())


def _conditions(dice: Dice, kinds: set[str]) -> Conditions:
    return Conditions(
        separate_servers=dice.chance(0.3),
        on_empty=dice.pick("hold", "restore"),
        retain_acked_seconds=dice.pick(10.0, 600.0),
        latency_seconds=dice.pick(0.0, 0.01, 0.1),
        adopt_positions=dice.chance(0.4),
        keep_resting=dice.chance(0.3),
        liquidity=dice.pick(None, Decimal("0.02")),
        dead_man_seconds=dice.pick(5.0, 5.0, 8.0, 120.0),
        deadline_seconds=dice.pick(2.0, 4.0, 10.0, 10.0),
        gate_lease_seconds=1.0 if kinds.intersection(_STANDS_STILL) else None,
        flatten_positions=dice.chance(0.3),
    )


def _traded(dice: Dice) -> Traded:
    return Traded(symbols=dice.pick(1, 1, 2), hedge_mode=dice.chance(0.3))
