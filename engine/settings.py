"""Every setting, its unit and its default, in one place.

Plain immutable structs: `config` fills them from a TOML file, a script may build
them by hand, a backtest replaces single ones. Values are checked where they are
made, so nothing starts with a setting that can not work.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .errors import ConfigError
from .journal import Durability
from .market import INTERVALS
from .policy import OnEmpty, Policy
from .ports import Subscription
from .suggestion import did_you_mean

BOT_NAME = re.compile(r"[a-z0-9]{1,8}")
"""Short, because it is part of every client order id (36 characters at Binance)."""


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    loop_lease_seconds: float | None = 0.25
    """The gate shuts by itself if the event loop does not run for so long. None: never
    (for virtual time, where a loop can not stall)."""


class OrderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    deadline_seconds: float = 10.0
    """An opening order not accepted by then is given up, never sent later."""
    backoff_seconds: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Waits between attempts that were *not executed*; one more attempt than waits."""
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
    not used; also where the venue has no such switch."""
    keys_kept: int = 5_000
    """So many of the latest `Order(key=…)` are remembered, across restarts."""


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


Rule = Literal["adopt", "flatten", "cancel", "ignore", "hold"]


class ReconcileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rules: dict[str, Rule] = {}
    """Per kind of difference, over the defaults in `reconcile.DEFAULT_RULES`."""
    audit_seconds: float = 30.0
    """Between two background comparisons while HEALTHY."""
    snapshot_timeout_seconds: float = 5.0
    settle_seconds: float = 0.25
    """Between the two snapshots that must both show a difference before it is acted on."""
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
        if not BOT_NAME.fullmatch(self.bot):
            raise ConfigError(f"engine.bot: {self.bot!r} is not 1 to 8 of a-z and 0-9")
        if not self.symbols:
            raise ConfigError("engine.symbols: declare at least one, such as 'BTC/USDT:USDT'")
        o, b = self.orders, self.outbox
        for name, value, low, high in (
            ("gate.loop_lease_seconds", self.gate.loop_lease_seconds, 0.02, 60),
            ("orders.deadline_seconds", o.deadline_seconds, 0.1, 3600),
            ("orders.backoff_jitter", o.backoff_jitter, 0, 1),
            ("orders.timeout_seconds", o.timeout_seconds, 0.05, 60),
            ("orders.recv_window_ms", o.recv_window_ms, 100, 60_000),
            ("orders.absence_margin_ms", o.absence_margin_ms, 0, 60_000),
            ("orders.absence_answers", o.absence_answers, 2, 20),
            ("orders.absence_spacing_seconds", o.absence_spacing_seconds, 0, 60),
            ("orders.dead_man_seconds", o.dead_man_seconds, 5, 3600),
            ("orders.keys_kept", o.keys_kept, 100, 5_000),
            ("outbox.batch_events", b.batch_events, 1, 5000),
            ("outbox.batches_in_flight", b.batches_in_flight, 1, 64),
            ("policy.freshness_seconds", self.policy.freshness_seconds, 0.05, 3600),
            ("lease.ttl_seconds", self.lease.ttl_seconds, 1, 3600),
            ("links.probe_timeout_seconds", self.links.probe_timeout_seconds, 0.05, 60),
            ("links.max_clock_skew_seconds", self.links.max_clock_skew_seconds, 0.05, 3600),
            ("reconcile.audit_seconds", self.reconcile.audit_seconds, 0.5, 86_400),
            ("market.stale_seconds", self.market.stale_seconds, 0.5, 3600),
            ("alerts.sample_seconds", self.alerts.sample_seconds, 0.05, 3600),
            ("reconcile.settle_seconds", self.reconcile.settle_seconds, 0, 60),
        ):
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name}: {value!r} is not between {low} and {high}")
        for interval in self.market.intervals:
            if interval not in INTERVALS:
                raise ConfigError(
                    f"market.intervals: {interval!r} is no length of a bar"
                    f"{did_you_mean(interval, INTERVALS)}; one of: {', '.join(INTERVALS)}"
                )
        if any(not 0 <= wait <= 600 for wait in o.backoff_seconds):
            raise ConfigError(f"orders.backoff_seconds: {o.backoff_seconds!r}: each is 0 to 600")
