"""A story: what a bot asks for, and what goes wrong meanwhile; drawn from a seed, or by hand.

A story is data. Each of its parts stands for itself, so that a story which breaks a promise can
be shrunk by leaving parts out (`campaign.shrink`). Every row of Binance's failure table is among
what a venue may answer, in the two ways that an unknown outcome can have come about: before the
order was taken, and after it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from holdfast.model import OutcomeKind
from holdfast.simulation import SeededEntropy
from holdfast.transports.sim.fault_points import POINTS, UNKNOWN_503
from holdfast.transports.sim.faults import Action, Fault, RequestKind
from holdfast.transports.usdm.errors import CODES

HORIZON_SECONDS: Final = 14.0
"""Until then anything may be asked for and anything may fail."""
MOST_DECISIONS: Final = 4
MOST_OF_A_KIND: Final = 2
KIND_CHANCE: Final = 0.35
CONDITIONAL_CHANCE: Final = 0.2
HEDGED_CHANCE: Final = 0.2

Want = Literal[
    "limit",
    "market",
    "rest",
    "ioc",
    "exit",
    "exit limit",
    "exit rest",
    "stop",
    "take profit",
    "stop entry",
]
"""A limit order is filled at once, `rest` waits away from the market; exits only reduce. A stop and
a take-profit wait on either side of the market for its price to come there, and close; a stop entry
waits to open."""
CONDITIONAL: Final = ("stop", "take profit", "stop entry")
EXITS: Final = ("exit", "exit limit", "exit rest", "stop", "take profit")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all that happens in a story, `at_seconds` after it began."""

    at_seconds: float

    def __str__(self) -> str:
        values = {f: getattr(self, f) for f in self.__struct_fields__ if f != "at_seconds"}
        words = " ".join(f"{name}={value}" for name, value in values.items() if value is not None)
        return f"{self.at_seconds:7.3f} s  {self.__struct_config__.tag} {words}"


class Submit(Part, frozen=True, tag="submit"):
    """A new decision of the bot, known by its number ever after."""

    number: int
    want: Want
    deadline_seconds: float | None = None


class Again(Part, frozen=True, tag="again"):
    """The same decision once more, under the same key, whatever became of the first call."""

    number: int


class GiveUp(Part, frozen=True, tag="give_up"):
    """Every caller who waits for this decision is cancelled."""

    number: int


class Cancel(Part, frozen=True, tag="cancel"):
    """The bot cancels the order of that decision, if it knows of one."""

    number: int


class Failure(Part, frozen=True, tag="failure"):
    """The next requests of a kind meet a row of `FAILURES`.

    :ivar taken: whether the venue does what was asked all the same, where a row leaves it open.
    :ivar late_seconds: how late the request is taken, or its reply comes, in rows that are slow.
    """

    kind: RequestKind
    row: str
    count: int = 1
    taken: bool | None = None
    late_seconds: float | None = None


class Price(Part, frozen=True, tag="price"):
    """The market goes up or down for a while, past what waits for that, and comes back."""

    seconds: float
    up: bool


class Lag(Part, frozen=True, tag="lag"):
    """For a while the venue's queries do not show a new order yet."""

    seconds: float
    lag_ms: int


class Skew(Part, frozen=True, tag="skew"):
    """The venue's clock is set, and stays so: one that went back and forth within the life of a
    request could prove nothing to anybody."""

    skew_ms: int


class Outage(Part, frozen=True, tag="outage"):
    """The venue can not be reached. Silent: packets vanish, and nobody is told."""

    seconds: float
    silent: bool = False
    half: Literal["both", "rest", "stream"] = "both"


class Stream(Part, frozen=True, tag="stream"):
    """The user stream drops, doubles or swaps messages."""

    action: Action
    count: int = 1


class Shut(Part, frozen=True, tag="shut"):
    """Something else than the venue is gone: entries are not allowed, exits are."""

    seconds: float


class DiskFull(Part, frozen=True, tag="disk_full"):
    """The journal finds no room, but for what it holds in reserve."""

    seconds: float


class Crash(Part, frozen=True, tag="crash"):
    """The process ends as by kill -9, or with the machine's power, and is started again.

    :ivar point: at once, or when an order was written or a fact journalled.
    :ivar number: of the moments of that kind from now on: at the first of them, or a later one.
    :ivar passes: so many more passes of the event loop go by before the end: any await.
    :ivar seconds: until it is started again.
    """

    seconds: float
    point: Literal["now", "order", "journal"] = "now"
    number: int = 1
    passes: int = 0
    power_loss: bool = False


AnyPart = (
    Submit | Again | GiveUp | Cancel | Failure | Lag | Skew | Outage | Stream | Shut | DiskFull
    | Crash | Price
)  # fmt: skip


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    :ivar power: intents are flushed to the device before they are sent.
    :ivar stream_seconds: how late the user stream is; a prompt one hides what replies prove.
    :ivar hedged: long and short are held side by side; odd decisions are of the short side.
    """

    latency_seconds: float = 0.01
    timeout_seconds: float = 3.0
    backoff_jitter: float = 0.0
    keep_resting: bool = False
    power: bool = True
    stream_seconds: float = 0.0
    hedged: bool = False


class Story(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    :ivar seed: of all that is drawn by chance while it is played.
    """

    seed: int
    parts: tuple[AnyPart, ...] = ()
    conditions: Conditions = Conditions()

    def only(self, kept: tuple[int, ...]) -> Story:
        """With these of its parts, by position."""
        return msgspec.structs.replace(self, parts=tuple(self.parts[i] for i in kept))

    def __str__(self) -> str:
        lines = [f"{i:3}  {part}" for i, part in enumerate(self.parts)]
        return "\n".join([f"story {self.seed}, {self.conditions}", *lines])


# --- what the venue may answer -------------------------------------------------------------


def _said(status: int, code: int | None, text: str, *, wait: int | None = None) -> Fault:
    return Fault(
        executes=False,
        reply="error",
        status=status,
        code=code,
        message=text if code is not None else "",
        body=text if code is None else None,
        retry_after_seconds=wait,
    )


_BY_CODE: Final[dict[str, Fault]] = {
    "http 500": _said(500, None, "<html>oops</html>"),
    "http 502": _said(502, None, "<html>Bad Gateway</html>"),
    "http 504": _said(504, None, "<html>Gateway Timeout</html>"),
    "http 408": _said(408, None, ""),
    "http 301": _said(301, None, ""),
    "unknown 503 without a code": _said(503, None, f'{{"msg":"{UNKNOWN_503}"}}'),
    "empty object": _said(200, None, "{}"),
    "empty list": _said(200, None, "[]"),
    "-1000": _said(400, -1000, "An unknown error occurred while processing the request."),
    "unlisted": _said(400, -99999, "a number nobody has listed"),
    "-1003 with 400": _said(400, -1003, "Too many requests."),
    "-1015 with 400": _said(400, -1015, "Too many new orders."),
    "429 without a body": _said(429, None, "", wait=1),
    "451": _said(451, None, "Service unavailable from a restricted location."),
    "-5028": _said(400, -5028, "Timestamp for this request is outside of the ME recvWindow."),
    "-1022": _said(400, -1022, "Signature for this request is not valid."),
    "-2014": _said(401, -2014, "API-key format invalid."),
    "-1002": _said(401, -1002, "You are not authorized to execute this request."),
    "-2010": _said(400, -2010, "Account has insufficient balance for requested action."),
    "-2010 duplicate": _said(400, -2010, "Duplicate order sent."),
    "-4116": _said(400, -4116, "ClientOrderId is duplicated."),
    **{
        str(code): _said(400, code, "no")
        for code, kind in CODES.items()
        if kind is OutcomeKind.REJECTED
    },
}
FAILURES: Final[dict[str, Fault]] = {**POINTS, **_BY_CODE}
"""Every row of the table, by name."""

OPEN: Final = (
    *("request_hangs", "reply_hangs", "request_reset", "reply_reset"),
    *("reply_truncated", "reply_garbage", "unknown_503", "timeout_1007", "unknown_1006"),
    *("internal_1001", "http 500", "http 502", "http 504", "http 408", "http 301"),
    *("unknown 503 without a code", "empty object", "empty list", "-1000", "unlisted"),
    *("-2010 duplicate", "-4116"),
)
"""Rows after which nobody knows whether the order was taken; a story says whether it was."""
SLOW: Final = ("request_slow", "reply_slow")
NOT_TAKEN: Final = tuple(name for name in FAILURES if name not in (*OPEN, *SLOW))
WITHOUT_AN_ANSWER: Final = (
    *("request_hangs", "reply_hangs", "reply_reset", "reply_truncated", "reply_garbage"),
    *("unknown_503", "http 502", "clock_1021", "overloaded_1008", "empty object"),
)
"""What a question or a cancel may meet and prove nothing by."""


def fault_of(failure: Failure) -> Fault:
    """What the venue is told to do."""
    fault = FAILURES[failure.row]
    if failure.taken is not None:
        fault = msgspec.structs.replace(fault, executes=failure.taken)
    if failure.late_seconds is not None:
        slow = "delay_before_seconds" if fault.delay_before_seconds else "delay_after_seconds"
        fault = msgspec.structs.replace(fault, **{slow: failure.late_seconds})
    return fault


# --- drawn from a seed ---------------------------------------------------------------------


class _Dice:
    def __init__(self, entropy: SeededEntropy) -> None:
        self._entropy = entropy

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._entropy.random()

    def whole(self, low: int, high: int) -> int:
        """`high` included."""
        return low + int((high - low + 1) * self._entropy.random())

    def chance(self, probability: float) -> bool:
        return self._entropy.random() < probability

    def pick(self, *choices: Any) -> Any:
        return choices[self.whole(0, len(choices) - 1)]


def _order_failure(at: float, dice: _Dice) -> AnyPart:
    row = dice.pick(dice.pick(*OPEN), dice.pick(*OPEN), dice.pick(*NOT_TAKEN), dice.pick(*SLOW))
    return Failure(
        at_seconds=at,
        kind="place",
        row=row,
        count=dice.pick(1, 1, 2, 3),
        taken=dice.chance(0.5) if row in OPEN else None,
        late_seconds=dice.between(0.1, 3.5) if row in SLOW else None,
    )


def _overload(at: float, dice: _Dice) -> AnyPart:
    """Enough of them to use up every attempt that an entry has."""
    row = dice.pick("overloaded_1008", "unavailable_503", "throttled_429", "clock_1021")
    return Failure(at_seconds=at, kind="place", row=row, count=dice.whole(2, 6))


def _question_failure(at: float, dice: _Dice) -> AnyPart:
    return Failure(
        at_seconds=at,
        kind=dice.pick("query", "query", "query", "probe", "snapshot"),
        row=dice.pick(*WITHOUT_AN_ANSWER),
        count=dice.pick(1, 2, 5, 12),
    )


def _cancel_failure(at: float, dice: _Dice) -> AnyPart:
    row, taken = dice.pick(*WITHOUT_AN_ANSWER), dice.chance(0.5)
    return Failure(at_seconds=at, kind="cancel", row=row, count=dice.pick(1, 3, 9), taken=taken)


def _crash(at: float, dice: _Dice) -> AnyPart:
    return Crash(
        at_seconds=at,
        seconds=dice.pick(0.1, 1.0, 4.0) * dice.between(0.1, 1),
        point=dice.pick("now", "order", "order", "journal"),
        number=dice.pick(1, 1, 2, 3),
        passes=dice.pick(0, 0, 1, dice.whole(2, 30)),
        power_loss=dice.chance(0.3),
    )


KINDS: Final = {
    "overload": _overload,
    "question failure": _question_failure,
    "cancel failure": _cancel_failure,
    "lag": lambda at, dice: Lag(
        at_seconds=at, seconds=dice.between(1, 10), lag_ms=dice.whole(50, 450)
    ),
    "skew": lambda at, dice: Skew(at_seconds=at, skew_ms=dice.pick(-1, 1) * dice.whole(200, 8000)),
    "outage": lambda at, dice: Outage(
        at_seconds=at,
        seconds=dice.pick(0.1, 1.0) * dice.between(0.1, 6),
        silent=dice.chance(0.4),
        half=dice.pick("both", "both", "rest", "stream"),
    ),
    "stream": lambda at, dice: Stream(
        at_seconds=at, action=dice.pick("drop", "duplicate", "swap"), count=dice.whole(1, 3)
    ),
    "shut": lambda at, dice: Shut(
        at_seconds=at, seconds=dice.pick(0.1, 0.5, 1.0) * dice.between(0.1, 6)
    ),
    "disk full": lambda at, dice: DiskFull(at_seconds=at, seconds=dice.between(0.1, 4)),
    "crash": _crash,
    "price": lambda at, dice: Price(
        at_seconds=at, seconds=dice.pick(0.01, 1.0) * dice.between(0.1, 4), up=dice.chance(0.5)
    ),
}
"""What may go wrong beside an order; each kind is in a story at all with `KIND_CHANCE`."""
ONCE: Final = ("skew",)
NOT_WITH: Final = {"skew": ("lag",)}
"""A venue whose clock goes back while its queries lag by that clock hides an order for so long:
what no venue does, and nobody could see through."""


def seeded(seed: int) -> Story:
    """The story of a seed."""
    entropy = SeededEntropy(seed, "story")
    parts = [*_decisions(_Dice(entropy.child("decisions")))]
    conditional = _Dice(entropy.child("conditional"))
    parts = [_perhaps_conditional(part, conditional) for part in parts]
    failures = _Dice(entropy.child("failures"))
    parts += [
        _order_failure(failures.between(0, HORIZON_SECONDS), failures)
        for _ in range(failures.whole(1, 3))
    ]
    swarm, kinds = _Dice(entropy.child("swarm")), set[str]()
    for kind, draw in KINDS.items():
        if swarm.chance(KIND_CHANCE) and not kinds.intersection(NOT_WITH.get(kind, ())):
            kinds.add(kind)
            dice = _Dice(entropy.child(kind))
            parts += [
                draw(dice.between(0, HORIZON_SECONDS), dice)
                for _ in range(1 if kind in ONCE else dice.whole(1, MOST_OF_A_KIND))
            ]
    if any(isinstance(part, Skew) and part.skew_ms < 0 for part in parts):
        parts = [_in_time(part) for part in parts]
    conditions = _conditions(_Dice(entropy.child("conditions")))
    if not conditions.power:  # then a cut of the power may take an intent that was sent
        parts = [
            msgspec.structs.replace(part, power_loss=False) if isinstance(part, Crash) else part
            for part in parts
        ]
    parts.sort(key=lambda part: part.at_seconds)
    return Story(seed=seed, parts=tuple(parts), conditions=conditions)


def _perhaps_conditional(part: AnyPart, dice: _Dice) -> AnyPart:
    if isinstance(part, Submit) and dice.chance(CONDITIONAL_CHANCE):
        return msgspec.structs.replace(part, want=dice.pick("stop", *CONDITIONAL))
    return part


def _in_time(part: AnyPart) -> AnyPart:
    """A venue whose clock goes back would take, after it was proven absent by the same clock, a
    request that was on its way for longer than its window: what no proof could exclude."""
    if isinstance(part, Failure) and part.row in SLOW and part.late_seconds is not None:
        return msgspec.structs.replace(part, late_seconds=min(part.late_seconds, 1.5))
    return part


def _decisions(dice: _Dice) -> list[AnyPart]:
    """What the bot asks for, again and again, gives up and cancels."""
    parts: list[AnyPart] = []
    for number in range(FIRST_NUMBER, FIRST_NUMBER + dice.whole(1, MOST_DECISIONS)):
        at = dice.between(0, 0.8 * HORIZON_SECONDS)
        want = dice.pick(
            *("limit", "limit", "market", "rest", "rest", "ioc"),
            *("exit", "exit", "exit limit", "exit rest"),
        )
        parts.append(
            Submit(
                at_seconds=at,
                number=number,
                want=want,
                deadline_seconds=dice.pick(None, None, None, dice.between(1, 12)),
            )
        )
        after = lambda: at + dice.pick(0.01, 1.0) * dice.between(0, 6)  # noqa: B023, E731
        if dice.chance(0.4):
            parts.append(Again(at_seconds=after(), number=number))
        if dice.chance(0.15):
            parts.append(GiveUp(at_seconds=after(), number=number))
        if dice.chance(0.6 if "rest" in want else 0.1):
            parts.append(Cancel(at_seconds=after(), number=number))
    return parts


FIRST_NUMBER: Final = 2
"""As of the campaign's decisions: 0.002 BTC is the least that the venue takes."""
HELD_NUMBER: Final = 500
"""Of the decision that every story begins with: what its exits are exits of. In hedge mode the
next one is of the short side."""
STEP: Final = Decimal("0.001")


def _conditions(dice: _Dice) -> Conditions:
    return Conditions(
        latency_seconds=dice.pick(0.0, 0.01, 0.1),
        timeout_seconds=dice.pick(0.3, 1.0, 3.0),
        backoff_jitter=dice.pick(0.0, 0.0, 0.2),
        keep_resting=dice.chance(0.3),
        power=dice.chance(0.8),
        stream_seconds=dice.pick(0.0, 0.3, 4.0),
        hedged=dice.chance(HEDGED_CHANCE),
    )
