"""Every setting, its unit and its default, in one place.

Plain immutable structs: `config` fills them from a TOML file, a script may build
them by hand, a backtest replaces single ones. Values are checked where they are
made, so nothing starts with a setting that can not work.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import force_setattr

from .checkpoint import keys_with_room, room_for_keys
from .errors import ConfigError
from .journal import Durability, largest_checkpoint, segment_for_checkpoint
from .market import INTERVALS
from .policy import OnEmpty, Policy
from .ports import Subscription
from .reconcile import Rule, rules_from
from .suggestion import did_you_mean

BOT_NAME = re.compile(r"[a-z0-9]{1,8}")
"""Short, because it is part of every client order id (36 characters at Binance)."""
MAX_WAITS: Final = 20
"""Between attempts of one order; each attempt is a record in the journal."""


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    loop_lease_seconds: float | None = 0.25
    """The gate shuts by itself if the event loop does not run for so long. None: never
    (for virtual time, where a loop can not stall)."""


class OrderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    deadline_seconds: float = 10.0
    """An opening order not accepted by then is given up, never sent later. An exit has no
    deadline but one of its own (`Order(deadline_seconds=…)`)."""
    backoff_seconds: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Waits between attempts that were *not executed*; one more attempt than waits. An exit goes
    on with the last of them, or a second."""
    backoff_jitter: float = 0.0
    """Share of each wait that is random, 0 to 1: 0.2 waits between 80 % and 120 %."""
    timeout_seconds: float = 3.0
    """For one reply of the venue."""
    recv_window_ms: int = 2000
    """How late the venue may still take an attempt (Binance `recvWindow`). The smaller,
    the sooner an absent order is proven absent."""
    absence_margin_ms: int = 500
    """On top of `recv_window_ms`: clock error and the lag of the venue's queries."""
    absence_answers: int = 2
    """So many "not there" answers, each asked after the window, prove absence."""
    absence_spacing_seconds: float = 0.25
    durability: Durability = Durability.POWER
    """Of an intent before it is sent."""
    on_leaving_active: Literal["cancel", "keep"] = "cancel"
    """What happens to the engine's own resting entries when trading stops."""
    dead_man_seconds: float | None = 120.0
    """The venue cancels all that rests if the bot is silent for so long (`dead_man`). It
    cancels exits too, so it must outlast the outages that your exits shall survive. None:
    not used; also where the venue has no such switch. Every symbol is renewed four times in
    it, at a weight of 10 of the 2,400 a minute that Binance grants: 50 symbols at 120 s use
    1,000, so a bot of many symbols gives it more seconds."""
    keys_kept: int = 5_000
    """So many of the latest `Order(key=…)` are remembered, across restarts. They need room in
    the journal's segments (`outbox.segment_bytes`)."""


class OutboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    batch_events: int = 500
    batches_in_flight: int = 4
    retain_acked_seconds: float = 600.0
    """Acknowledged events are kept for so long, to be sent again if the bus loses them."""
    retain_acked_bytes: int = 64 << 20
    max_bytes: int = 2 << 30
    segment_bytes: int = 16 << 20


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    freshness_seconds: float = 1.0
    """A policy its store has not confirmed for so long is not traded on."""
    initial: Policy | None = None
    """Written to a store that has never held a policy, at the very first start."""
    on_empty: OnEmpty = "hold"
    """A store that comes back without (or with an older) policy: wait for the operator, or
    write the newest one ever seen back into it."""


class LeaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    enabled: bool = True
    ttl_seconds: float = 15.0


class LinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    probe_timeout_seconds: float = 2.0
    probe_backoff_seconds: float = 0.02
    """First wait after a failed probe; doubles up to `probe_backoff_max_seconds`."""
    probe_backoff_max_seconds: float = 1.0
    max_clock_skew_seconds: float | None = 1.0
    """The machine's clock and the venue's may be so far apart, and neither may jump by more.
    None: nobody looks."""


class ReconcileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rules: dict[str, Rule] = {}
    """Per kind of difference, over the defaults in `reconcile.DEFAULT_RULES`."""
    audit_seconds: float = 30.0
    """Between two background comparisons while HEALTHY."""
    snapshot_timeout_seconds: float = 5.0
    settle_seconds: float = 0.25
    """Between the two snapshots that must both show a difference before it is acted on. Also for
    so long the venue's positions may lag behind a trade: a venue that lags longer wants more."""
    unknown_patience_seconds: float = 30.0
    """An order unknown for longer while HEALTHY takes the engine to RECONCILING."""
    unaudited_patience_seconds: float = 120.0
    """So does a symbol that is traded so busily that no audit could tell for longer whether
    its position is the venue's."""


class MarketSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of the market a bot is told (`Engine.run`)."""

    intervals: tuple[str, ...] = ("1m",)
    """Lengths of the bars."""
    trades: bool = False
    quotes: bool = False
    stale_seconds: float | None = 10.0
    """A symbol of which nothing was heard for so long is not traded. None: silence says
    nothing (backtests)."""


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    sample_seconds: float | None = 10.0
    """Between two looks at the alert rules. None: none are raised (backtests)."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    bot: str = "bot"
    symbols: tuple[str, ...] = ()
    """Declared symbols: what the engine trades, reconciles, and answers for."""
    gate: GateSettings = GateSettings()
    orders: OrderSettings = OrderSettings()
    outbox: OutboxSettings = OutboxSettings()
    policy: PolicySettings = PolicySettings()
    lease: LeaseSettings = LeaseSettings()
    links: LinkSettings = LinkSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    market: MarketSettings = MarketSettings()
    alerts: AlertSettings = AlertSettings()

    @property
    def subscription(self) -> Subscription:
        """What the engine asks the market for."""
        wanted = self.market
        return Subscription(self.symbols, wanted.intervals, wanted.trades, wanted.quotes)

    def __post_init__(self) -> None:
        if not isinstance(self.bot, str) or not BOT_NAME.fullmatch(self.bot):
            raise ConfigError(f"engine.bot: {self.bot!r} is not 1 to 8 of a-z and 0-9")
        force_setattr(self, "symbols", _names("engine.symbols", self.symbols))
        if not self.symbols:
            raise ConfigError("engine.symbols: declare at least one, such as 'BTC/USDT:USDT'")
        for section in ("gate", "orders", "outbox", "policy", "lease", "links", "reconcile",
                        "market", "alerts"):  # fmt: skip
            force_setattr(self, section, _typed(section, getattr(self, section)))
        for name, low, high in BOUNDS:
            section, _, key = name.partition(".")
            value = getattr(getattr(self, section), key)
            if value is not None and not low <= value <= high:  # NaN is not either
                raise ConfigError(f"{name}: {value!r} is not between {low} and {high}")
        self._check_backoff()
        self._check_journal()
        self._check_market()
        try:
            rules_from(self.reconcile.rules)
        except ValueError as error:
            raise ConfigError(f"reconcile.rules: {error}") from None

    def _check_backoff(self) -> None:
        waits, links = self.orders.backoff_seconds, self.links
        if len(waits) > MAX_WAITS:
            raise ConfigError(f"orders.backoff_seconds: {len(waits)} waits; {MAX_WAITS} at most")
        if any(not 0 <= wait <= 600 for wait in waits):
            raise ConfigError(f"orders.backoff_seconds: {waits!r}: each is 0 to 600")
        if links.probe_backoff_seconds > links.probe_backoff_max_seconds:
            raise ConfigError(
                f"links.probe_backoff_seconds: {links.probe_backoff_seconds!r} is above "
                f"links.probe_backoff_max_seconds, {links.probe_backoff_max_seconds!r}"
            )

    def _check_journal(self) -> None:
        outbox = self.outbox
        # One is written, one is ready, one is let go.
        least = outbox.retain_acked_bytes + 3 * outbox.segment_bytes
        if outbox.max_bytes < least:
            raise ConfigError(
                f"outbox.max_bytes: {outbox.max_bytes} is not above outbox.retain_acked_bytes by "
                f"three times outbox.segment_bytes; {least} at least"
            )
        keys, size = self.orders.keys_kept, outbox.segment_bytes
        if keys > (most := keys_with_room(largest_checkpoint(size), self.symbols)):
            enough = segment_for_checkpoint(room_for_keys(keys, self.symbols))
            larger = "" if enough is None else f", or outbox.segment_bytes of {enough} at least"
            raise ConfigError(
                f"orders.keys_kept: {keys} keys have no room in segments of {size} bytes "
                f"(outbox.segment_bytes); {most} at most{larger}"
            )

    def _check_market(self) -> None:
        intervals = _names("market.intervals", self.market.intervals)
        if not intervals:
            raise ConfigError("market.intervals: give at least one, such as '1m'")
        for interval in intervals:
            if interval not in INTERVALS:
                raise ConfigError(
                    f"market.intervals: {interval!r} is no length of a bar"
                    f"{did_you_mean(interval, INTERVALS)}; one of: {', '.join(INTERVALS)}"
                )


BOUNDS: Final[tuple[tuple[str, float, float], ...]] = (
    ("gate.loop_lease_seconds", 0.02, 60),
    ("orders.deadline_seconds", 0.1, 3600),
    ("orders.backoff_jitter", 0, 1),
    ("orders.timeout_seconds", 0.05, 60),
    ("orders.recv_window_ms", 100, 60_000),
    ("orders.absence_margin_ms", 0, 60_000),
    ("orders.absence_answers", 2, 20),
    ("orders.absence_spacing_seconds", 0, 60),
    ("orders.dead_man_seconds", 5, 3600),
    ("orders.keys_kept", 1, 5_000),
    ("outbox.batch_events", 1, 5000),
    ("outbox.batches_in_flight", 1, 64),
    ("outbox.retain_acked_seconds", 0, 30 * 86_400),
    ("outbox.retain_acked_bytes", 0, 1 << 40),
    ("outbox.max_bytes", 3 << 14, 1 << 40),
    ("outbox.segment_bytes", 1 << 14, 1 << 28),
    ("policy.freshness_seconds", 0.05, 3600),
    ("lease.ttl_seconds", 1, 3600),
    ("links.probe_timeout_seconds", 0.05, 60),
    ("links.probe_backoff_seconds", 0.001, 60),
    ("links.probe_backoff_max_seconds", 0.001, 600),
    ("links.max_clock_skew_seconds", 0.05, 3600),
    ("reconcile.audit_seconds", 0.5, 86_400),
    ("reconcile.snapshot_timeout_seconds", 0.05, 60),
    ("reconcile.settle_seconds", 0.01, 60),
    ("reconcile.unknown_patience_seconds", 0, 3600),
    ("reconcile.unaudited_patience_seconds", 1, 86_400),
    ("market.stale_seconds", 0.5, 3600),
    ("alerts.sample_seconds", 0.05, 3600),
)
"""The least and the most of every setting that is a number."""


_SECTIONS: Final = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _typed(name: str, section: Any) -> Any:
    """The section with every value in the type it is declared as.

    A file is read strictly; what a script builds by hand is not checked by Python, and a
    word in place of a member of an enum would be compared with it in vain.
    """
    kind = _SECTIONS[name]
    if not isinstance(section, kind):
        raise ConfigError(f"{name}: {section!r} is no {kind.__name__}")
    values = {key: getattr(section, key) for key in section.__struct_fields__}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `")
        key = re.match(r"\$\.(\w+)", at) or re.search(r"\$\.(\w+)", at)
        where = name if key is None else f"{name}.{key[1]}"
        given = "" if key is None else f"; got {getattr(section, key[1])!r}"
        raise ConfigError(f"{where}: {reason}{given}") from None


def _names(key: str, given: Any) -> tuple[str, ...]:
    """Distinct names, as the settings keep them."""
    try:
        names = msgspec.convert(given, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{key}: {error}; got {given!r}") from None
    for index, name in enumerate(names):
        if not name.strip():
            raise ConfigError(f"{key}: {name!r} is no name")
        if name in names[:index]:
            raise ConfigError(f"{key}: {name!r} is given twice")
    return names
