"""What goes wrong in one run, and when: explicit, readable, and removable one by one.

A plan is data. The same plan gives the same run, wherever it came from; a plan drawn
from a seed (`seeded`) is one of many ways to make one. Each fault stands for itself,
so that a plan which breaks a promise can be shrunk by leaving faults out.

What can not be is refused where it is made (`objection`), whether a file or a script made it.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from holdfast.errors import ConfigError
from holdfast.policy import Mode, OnEmpty
from holdfast.settings import BOUNDS
from holdfast.transports.faults import FaultRates

Server = Literal["bus", "store"]
"""Which of the two; where the world has one server for both, either name means it."""


_BOTH_WAYS: Final = frozenset({"skew_ms", "jump_seconds", "code", "rate"})
_SOMETHING: Final = frozenset({"count", "syncs", "asleep_seconds", "stall_seconds", "quantity",
                               "liquidity"})  # fmt: skip


def objection(key: str, value: object) -> str | None:
    """What is wrong with a number of a fault or of the conditions, in words; None: nothing.

    Time does not go back, and nothing happens less than once.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if not math.isfinite(value):
        return f"{value!r} is no finite number"
    if key in _BOTH_WAYS:
        return None
    if value < 0:
        return f"{value:g} is negative"
    if value == 0 and key in _SOMETHING:
        return "0 is nothing at all"
    if value == 0 and key == "seconds":
        return "0: the recovery is not after the fault"
    low, high = _BOUNDS.get(key, (0, math.inf))
    if not low <= value <= high:
        return f"{value!r} is not between {low} and {high}"
    return None


def not_within(at_seconds: float, seconds: float) -> str | None:
    """What is wrong with the moment of a fault in a time of so many seconds, in words."""
    if 0 <= at_seconds <= seconds:
        return None
    return f"{at_seconds:g} is not within the data, 0 to {seconds:g}"


def _refuse_what_can_not_be(made: Any) -> None:
    """:raises ConfigError: naming the field."""
    for key in made.__struct_fields__:
        if why := objection(key, getattr(made, key)):
            raise ConfigError(f"{type(made).__name__}.{key}: {why}")


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """Base of all faults. `at_seconds` counts from the start of the run.

    :raises ConfigError: of a number that can not be, naming the field.
    """

    at_seconds: float

    def __post_init__(self) -> None:
        _refuse_what_can_not_be(self)

    def __str__(self) -> str:
        values = {f: getattr(self, f) for f in self.__struct_fields__ if f != "at_seconds"}
        words = " ".join(f"{name}={value}" for name, value in values.items())
        return f"{self.at_seconds:8.3f} s  {self.__struct_config__.tag} {words}"


class ServerOutage(Fault, frozen=True, tag="server_outage"):
    """The server goes away and comes back with its data kept, emptied, or `entries` older."""

    seconds: float
    server: Server = "bus"
    data: Literal["kept", "emptied", "rolled_back"] = "kept"
    entries: int = 0


class LostAcks(Fault, frozen=True, tag="lost_acks"):
    """The next appends take effect, and their connections break before the answer."""

    count: int = 1


class RefusedAppend(Fault, frozen=True, tag="refused_append"):
    """The bus takes so many events of the next batch, and refuses the rest (out of memory)."""

    after: int = 0


class Flap(Fault, frozen=True, tag="flap"):
    """Every connection of the server breaks, and is there again at once."""

    server: Server = "bus"


class PolicyChange(Fault, frozen=True, tag="policy_change"):
    """Somebody stores another policy, whether the bot can reach the store or not.

    :ivar point: at once; when the venue has next refused an order, which waits to be sent again;
        or when the bot's operator, who is asked to, is about to store one of his own: just before.
        `afterwards` as of `StreamFault`.
    """

    mode: Mode
    max_order_notional: Decimal | None = None
    point: Literal["now", "refused", "storing", "afterwards"] = "now"


class ExchangeOutage(Fault, frozen=True, tag="exchange_outage"):
    """The venue can not be reached. Silent: packets vanish, and nobody is told."""

    seconds: float
    silent: bool = False
    half: Literal["both", "rest", "stream"] = "both"


class OrderFault(Fault, frozen=True, tag="order_fault"):
    """What happens to the next orders. `late` ones are taken `delay_seconds` after they arrive.

    :ivar retry_after_seconds: with `refused`: for how long the venue asks for silence.
    :ivar unheard: the user stream loses as many frames as tell of so many orders, too.
    """

    effect: Literal["lost_request", "lost_reply", "reset", "refused", "late"]
    count: int = 1
    code: int = -1008
    status: int = 400
    delay_seconds: float = 0.0
    retry_after_seconds: int | None = None
    unheard: bool = False


class SnapshotFault(Fault, frozen=True, tag="snapshot_fault"):
    """The next questions for positions, open orders, fills or instruments are not answered."""

    effect: Literal["lost_reply", "reset", "refused"]
    count: int = 1


class QuestionFault(Fault, frozen=True, tag="question_fault"):
    """The next questions for a single order are not answered."""

    effect: Literal["lost_reply", "reset", "refused"]
    count: int = 1


class ForeignTrade(Fault, frozen=True, tag="foreign_trade"):
    """Another hand trades on the same account, in one of the bot's own symbols."""

    side: Literal["buy", "sell"]
    quantity: Decimal


class Funding(Fault, frozen=True, tag="funding"):
    """A funding fee is due: cash goes, or comes, of which no fill tells.

    :ivar rate: of the position's value; who is long pays a positive one.
    """

    rate: Decimal


class LaggingReads(Fault, frozen=True, tag="lagging_reads"):
    """New orders are invisible to the venue's queries for a while.

    :ivar positions_ms: so old is what the venue says of positions, meanwhile.
    """

    seconds: float
    lag_ms: int
    positions_ms: int = 0


class StreamFault(Fault, frozen=True, tag="stream_fault"):
    """The venue's user stream drops, doubles or swaps messages.

    :ivar point: at once; or, of a campaign, `afterwards`: when all other faults are over and the
        bot trades again, so that no recovery follows which would have looked at everything.
    """

    action: Literal["drop", "duplicate", "swap"]
    count: int = 1
    point: Literal["now", "afterwards"] = "now"


class VenueClockSkew(Fault, frozen=True, tag="venue_clock_skew"):
    """Longer than any request lives: a clock that goes back and forth within one can prove
    nothing to anybody."""

    seconds: float
    skew_ms: int


class WallClockJump(Fault, frozen=True, tag="wall_clock_jump"):
    jump_seconds: float


class Suspend(Fault, frozen=True, tag="suspend"):
    """The machine sleeps: the clocks have moved on when it wakes, its timers have not."""

    asleep_seconds: float


class Stall(Fault, frozen=True, tag="stall"):
    """The process stands still while time goes on.

    :ivar point: at once, or when the venue has answered the last question of a look at its books:
        what the process was told is that old when it goes on.
    """

    stall_seconds: float
    point: Literal["now", "look"] = "now"


class DiskFull(Fault, frozen=True, tag="disk_full"):
    seconds: float


class DiskError(Fault, frozen=True, tag="disk_error"):
    """EIO from the next syncs; two in a row end the journal, and only a restart helps."""

    syncs: int = 1


class Kill(Fault, frozen=True, tag="kill"):
    """The process ends as by kill -9, or with the machine's power, and is started again.

    :ivar point: at once, or at the next moment of that kind: an order has just been
        written, a batch has just reached the bus, a fact has just been journalled.
    :ivar passes: so many more passes of the event loop go by before the end comes.
    :ivar seconds: until it is started again.
    """

    seconds: float
    power_loss: bool = False
    point: Literal["now", "order", "ship", "journal"] = "now"
    passes: int = 0


class Restart(Fault, frozen=True, tag="restart"):
    """The process is asked to stop, does so in its own time, and is started again."""

    seconds: float


class SecondCopy(Fault, frozen=True, tag="second_copy"):
    """Somebody starts the same bot on another machine, and ends it again.

    :ivar cleanly: it is asked to stop, and not killed.
    """

    seconds: float
    cleanly: bool = False


class Hold(Fault, frozen=True, tag="hold"):
    """The operator halts the bot, perhaps closing its positions, and resumes."""

    seconds: float
    flatten: bool = False


AnyFault = (
    ServerOutage
    | LostAcks
    | RefusedAppend
    | Flap
    | PolicyChange
    | ExchangeOutage
    | OrderFault
    | SnapshotFault
    | QuestionFault
    | ForeignTrade
    | Funding
    | LaggingReads
    | StreamFault
    | VenueClockSkew
    | WallClockJump
    | Suspend
    | Stall
    | DiskFull
    | DiskError
    | Kill
    | Restart
    | SecondCopy
    | Hold
)


class Noise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chances of small mishaps on each port, all through the run."""

    bus: FaultRates = FaultRates()
    store: FaultRates = FaultRates()
    exchange: FaultRates = FaultRates()

    @property
    def silent(self) -> bool:
        return self == Noise()


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the world is like before anything goes wrong.

    :ivar adopt_positions: the rule for positions that differ: the venue is right. Otherwise a
        person is waited for.
    :ivar flatten_positions: the rule for those that the book knows nothing of, or that stand on the
        other side: they are closed.
    :ivar keep_resting: entries that rest stay at the venue when trading stops.
    :ivar liquidity: base units that the venue trades with us per tick; None: without bound.
    :ivar deadline_seconds: of an entry.
    :ivar dead_man_seconds: of the venue's dead-man switch.
    :ivar gate_lease_seconds: None where the plan lets no process stand still; it costs
        many timers.
    :ivar lease_seconds: of the lease that keeps two copies apart; None: it is not taken, where
        the plan starts no second one.
    :ivar audit_seconds: between two background comparisons of the books.
    :raises ConfigError: of a number that can not be, naming the field.
    """

    separate_servers: bool = False
    on_empty: OnEmpty = "hold"
    adopt_positions: bool = False
    flatten_positions: bool = False
    keep_resting: bool = False
    liquidity: Decimal | None = None
    retain_acked_seconds: float = 600.0
    latency_seconds: float = 0.01
    deadline_seconds: float = 10.0
    dead_man_seconds: float = 120.0
    gate_lease_seconds: float | None = None
    lease_seconds: float | None = 5.0
    audit_seconds: float = 5.0

    def __post_init__(self) -> None:
        _refuse_what_can_not_be(self)


_SETTING_OF: Final = {
    "retain_acked_seconds": "outbox.retain_acked_seconds",
    "deadline_seconds": "orders.deadline_seconds",
    "dead_man_seconds": "orders.dead_man_seconds",
    "gate_lease_seconds": "gate.loop_lease_seconds",
    "lease_seconds": "lease.ttl_seconds",
    "audit_seconds": "reconcile.audit_seconds",
}
_BOUNDS: Final = {
    "latency_seconds": (0.0, 60.0),  # beyond it no question is ever answered in time
    **{key: (low, high) for key, setting in _SETTING_OF.items()
       for name, low, high in BOUNDS if name == setting},
}  # fmt: skip
"""What a condition may be: what the engine's setting that it becomes may be."""


class Traded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bot of a campaign trades; that of a backtest trades what is recorded.

    :ivar symbols: how many.
    :ivar hedge_mode: long and short are held side by side.
    """

    symbols: int = 1
    hedge_mode: bool = False

    def __str__(self) -> str:
        mode = "hedge" if self.hedge_mode else "one-way"
        return f"{self.symbols} {'symbol' if self.symbols == 1 else 'symbols'}, {mode} mode"


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: how long faults may come, and all that will.

    :ivar seed: of everything in the run that is drawn by chance.
    """

    seed: int
    horizon_seconds: float = 60.0
    faults: tuple[AnyFault, ...] = ()
    noise: Noise = Noise()
    conditions: Conditions = Conditions()
    traded: Traded = Traded()

    def check_within(self, seconds: float) -> None:
        """
        :param seconds: length of the time that is played.
        :raises ConfigError: a fault would never strike.
        """
        for fault in self.faults:
            if why := not_within(fault.at_seconds, seconds):
                raise ConfigError(f"{type(fault).__name__}.at_seconds: {why}")

    def __str__(self) -> str:
        lines = [f"{i:3}  {fault}" for i, fault in enumerate(self.faults)]
        if not self.noise.silent:
            lines.append("     noise on the ports")
        if self.traded != Traded():
            lines.append(f"     traded: {self.traded}")
        return "\n".join(lines) or "     no fault at all"
