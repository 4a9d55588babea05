"""The ports: everything that comes from outside the engine comes through these.

A transport is an object with the methods below; no base class, no registration
beyond its entry point (see `registry`). Three habits hold for all of them:

- `run(...)` keeps the connection for as long as it is not cancelled: it connects,
  reconnects with its own backoff, and reports each change through the `LinkWatch`
  *synchronously, in the callback that saw it*. The engine owns the task.
- A call takes its deadline as an argument instead of being wrapped in a cancel
  scope: one timer instead of two, and the transport knows whether it had written.
- What could not be asked raises `LinkDown`; `None` or an empty list is an answer.

Built-in transports use no door that is not here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, runtime_checkable

from .market import Bar, MarketEvent
from .model import (
    Balance,
    CashFlow,
    ExecutionReport,
    Fill,
    Gap,
    Instrument,
    KeyRights,
    MarginMode,
    OrderSnapshot,
    PlaceOutcome,
    PlaceRequest,
    Position,
    QueryOutcome,
    SymbolSettings,
)
from .policy import Policy


class Clock(Protocol):
    """Time. `monotonic` runs through suspend; `time_ns` is UTC wall clock."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds since some moment. A plain callable: the gate calls it on its hot path."""

    @property
    def monotonic_ns(self) -> Callable[[], int]: ...

    @property
    def time_ns(self) -> Callable[[], int]: ...


class Entropy(Protocol):
    """Chance."""

    def random(self) -> float:
        """In [0, 1)."""

    def randbits(self, bits: int) -> int: ...

    def child(self, name: str) -> Entropy:
        """An independent stream, so that one consumer more or less does not shift the others."""


class LinkWatch(Protocol):
    """How a transport tells the engine of a link's health. Call it on the loop's thread."""

    def up(self) -> None:
        """A new connection stands: what was read over the last one is void."""

    def down(self, reason: str) -> None:
        """The link failed. The gate is shut when this returns. Calling it twice is harmless."""


@runtime_checkable
class Link(Protocol):
    """Anything whose failure makes trading unsafe; users may add their own."""

    name: str

    async def run(self, watch: LinkWatch) -> None:
        """Keep the link up until cancelled."""

    async def probe(self) -> None:
        """Ask a question whose answer proves that the link does its job now.

        :raises LinkDown: with the reason in words.
        """


# --- the bus -----------------------------------------------------------------------


class Batch(NamedTuple):
    """Consecutive events of one producer, to be appended all or up to the first failure."""

    producer: str
    first: int
    """Sequence of the first payload (or, with a gap, of the first after it)."""
    payloads: Sequence[bytes]
    lineage: str
    """Of the bus data this batch was made for; another answer means the data were replaced."""
    fencing_token: int = 0
    gap: Gap | None = None
    """Events that no longer exist anywhere; a marker is put in their place, first."""


class AppendStatus(NamedTuple):
    """The bus's word on one batch.

    `kind`: `ok`; `gap` (the batch does not follow what the bus has: nothing was
    appended, begin anew at `last_sequence + 1`); `lineage` (the data were
    replaced: ask `position` anew); `fenced` (a newer lease holder has written);
    `error` (the bus refused, `reason` says why; what had been appended before
    stays and is counted in `last_sequence`).
    """

    kind: str
    last_sequence: int
    reason: str = ""


class BusPosition(NamedTuple):
    """What the bus holds of one producer.

    `lineage` names the data set itself: it changes when the bus restarts empty or
    is flushed, and survives when the data do.
    """

    lineage: str
    last_sequence: int


class BusEntry(NamedTuple):
    """One entry read back: an event's payload, or the marker of a gap."""

    id: str
    producer: str
    sequence: int
    payload: bytes
    gap: Gap | None = None


class Fence(NamedTuple):
    """The newest fencing token that a bus has seen, and whether its holder is still there.

    :ivar token: 0: none.
    :ivar silent_seconds: since it was last written with, by the bus's own clock; where that
        is not known, since somebody first asked. A holder writes at least a few times a term.
    """

    token: int
    silent_seconds: float


class MessageBus(Link, Protocol):
    """An ordered log that appends each event exactly once.

    The bus keeps the last sequence of every producer next to its data and skips
    what it already has, so that sending again after an unknown outcome is safe. It
    also keeps the newest fencing token and refuses what carries an older one; a
    batch without payloads says that its token's holder is there.
    """

    async def position(self, producer: str) -> BusPosition:
        """:raises LinkDown:"""

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        """Write the batch now, answer later: several may be in flight, in call order.

        The awaitable raises `LinkDown` when the outcome can not be learnt.
        """

    async def fence(self) -> Fence:
        """:raises LinkDown:"""

    def subscribe(self, *, after: str | None = None) -> AsyncIterator[BusEntry]:
        """Every entry after `after` (None: from the beginning), across reconnects, none lost."""


class ServerFacts(NamedTuple):
    """How the server behind a bus or a policy store keeps what it is given, as it says itself.

    None: it does not tell, or not this user.

    :ivar product: `redis`, `valkey`, …
    :ivar forgets: everything is gone when a process ends.
    :ivar is_primary: False: a copy of another server.
    :ivar refuses_writes: why; "" if it takes them.
    :ivar runs_scripts: whether this user may run them.
    :ivar pushes_changes: whether it tells of changed keys by itself.
    :ivar appends: every write goes to a log on its disk, which is synced as `sync` says:
        `always`, `everysec`, `no`.
    :ivar snapshots: it saves everything now and then.
    :ivar save_error: the last try to save or to append failed.
    :ivar eviction: what is thrown away when memory is full: `noeviction`, `allkeys-lru`, …
    :ivar max_memory_bytes: 0: no bound.
    :ivar round_trip_seconds: of a question; the median of some.
    :ivar patience_seconds: a longer silence is taken for a lost connection.
    """

    product: str
    version: str = ""
    forgets: bool = False
    is_primary: bool | None = None
    refuses_writes: str = ""
    runs_scripts: bool | None = None
    pushes_changes: bool | None = None
    appends: bool | None = None
    sync: str | None = None
    snapshots: bool | None = None
    save_error: bool | None = None
    eviction: str | None = None
    max_memory_bytes: int | None = None
    used_memory_bytes: int | None = None
    round_trip_seconds: float | None = None
    patience_seconds: float | None = None


@runtime_checkable
class ServerReader(Protocol):
    """What a `MessageBus` or a `PolicyStore` may offer besides: a look at its server."""

    async def server_facts(self) -> ServerFacts:
        """Asked over a connection of its own, `run` or not. Changes nothing.

        :raises LinkDown:
        """


# --- policy and lease --------------------------------------------------------------


class StoredPolicy(NamedTuple):
    """A policy as the store holds it, with the identity it was read under."""

    policy: Policy
    lineage: str


class PolicyWatch(LinkWatch, Protocol):
    def changed(self) -> None:
        """The stored policy may have changed: what was read is unfit until read again."""


class PolicyStore(Protocol):
    name: str

    async def run(self, watch: PolicyWatch) -> None: ...

    async def probe(self) -> None: ...

    async def read(self) -> StoredPolicy | None:
        """The current policy; None when the store answered that it has none.

        :raises PolicyUnreadable: it holds something else.
        :raises LinkDown:
        """

    async def compare_and_set(
        self, policy: Policy, *, expected_version: int | None
    ) -> StoredPolicy:
        """Store `policy` as version `expected_version + 1` (0: there was none), or as its own
        `version` where that is greater: a store that lost its data gets back the newest policy
        ever seen without its version going down.

        :param expected_version: None: whatever is there is replaced, also what `read` can not
            make sense of, and `policy` is stored as its own version. An operator's decision.
        :raises PolicyConflict: the stored version is another.
        :raises LinkDown: the outcome is unknown; read before trying again.
        """

    def verified_at(self) -> float:
        """Monotonic moment at which the store was last *asked* and confirmed what was read.

        A store that pushes every change (in-memory) answers with the present while
        it is connected. Minus infinity: not verified in this connection.
        """


class LeaseGrant(NamedTuple):
    """The right of one instance to trade.

    :ivar fencing_token: grows with every new holder, also after the store lost its data.
    :ivar expires_at: monotonic, counted from the moment the request was *sent*.
    :ivar virgin: the store had never heard of a lease, so another holder could still be
        alive with one from before its data were lost: wait a full term before trading.
    """

    fencing_token: int
    expires_at: float
    virgin: bool


@runtime_checkable
class LeaseStore(Protocol):
    """Usually the policy store itself: one connection carries both."""

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        """Take or renew the lease; None when another owner holds it.

        :param above: a fencing token that was seen elsewhere: ours must be greater, so a
            lease that we hold with a smaller one is taken anew.
        :raises LinkDown:
        """

    async def release(self, owner: str) -> None:
        """Give it back if it is ours; harmless if it is not."""


# --- the venue ---------------------------------------------------------------------


class ExecutionWatch(LinkWatch, Protocol):
    """`up` and `down` speak of the order connection; the stream has its own health."""

    def stream_up(self) -> None:
        """The user stream is connected (again): what happened meanwhile must be asked for."""

    def stream_down(self, reason: str) -> None: ...

    def report(self, report: ExecutionReport) -> None:
        """A message of the user stream, in the venue's order. Duplicates are harmless."""


class ExecutionClient(Protocol):
    name: str
    venue: str
    """Part of every journalled record, so that two venues are never mixed up."""

    async def run(self, watch: ExecutionWatch) -> None: ...

    async def probe(self) -> None: ...

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """One attempt, never repeated by the transport itself.

        :param permit: called at the last moment at which the write can still be
            stopped (after DNS and connection set-up); whatever it raises passes
            through, and proves that nothing was sent.
        Never raises for what the network or the venue did: that is the outcome's
        class. Cancellation passes through; its outcome is then unknown unless
        `permit` had not been called.
        """

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """Cancel one order; the answer tells how the order stands. Safe to repeat.

        :param conditional: it was placed with a trigger. Venues keep those elsewhere
            (Binance: the algo endpoints), before and after they were triggered.
        """

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """How the order stands. A triggered order is told as one with the order made of it:
        status and fills are that one's, the client order id stays.
        """

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        """All open orders of the account, conditional ones included. :raises LinkDown:"""

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        """All positions that are not flat. :raises LinkDown:"""

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        """Own fills with a greater trade id, ascending, all pages. :raises LinkDown:"""

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        """The greatest trade id that `fills` would tell of; 0: it would tell of none.

        Where counting begins on an account with a past, so it must not cost a request for each
        of those fills.

        :raises LinkDown:
        """

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        """The venue's clock. :raises LinkDown:"""

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        """By unified symbol. :raises LinkDown:"""

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        """What the symbol last traded at; judges the notional of market orders.

        :raises LinkDown:
        """


@runtime_checkable
class PreparesOrders(Protocol):
    """What an `ExecutionClient` may offer besides: to make and sign an order's request, and set
    up its connection, while the record of the order is still on its way to the disk.
    """

    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """As `ExecutionClient.place`, for an order that may not be sent yet.

        :param ready: awaited directly before `permit` is called, so after everything else that
            comes before the write; whatever it raises passes through, and proves that nothing
            was sent. Called once at most.
        """


@runtime_checkable
class CountsDown(Protocol):
    """What an `ExecutionClient` may offer besides: a dead-man switch at the venue."""

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """Have the venue cancel every open order of `symbol` in so many seconds, unless this
        is called again; 0 stops the countdown.

        :raises LinkDown:
        """


@runtime_checkable
class BalanceReader(Protocol):
    """What an `ExecutionClient` may offer besides: what the account has. Then reconciliation
    compares it with what our fills have made of it.
    """

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        """Of every asset that the account has or has had. :raises LinkDown:"""


@runtime_checkable
class CashFlowReader(Protocol):
    """What an `ExecutionClient` may offer besides: why a balance is what it is. Then
    reconciliation reports as unexplained only what this history does not explain.
    """

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        """All that came and went from one moment to another (UTC, both included), by time.

        :raises ValueError: it is longer ago than the venue tells of.
        :raises LinkDown: not all of it could be read.
        """


@runtime_checkable
class AccountReader(BalanceReader, Protocol):
    """What an `ExecutionClient` may offer besides: how the account is set up."""

    async def hedge_mode(self, *, timeout_seconds: float) -> bool:
        """Whether long and short positions of a symbol are held side by side.

        :raises LinkDown:
        """

    async def symbol_settings(self, symbol: str, *, timeout_seconds: float) -> SymbolSettings:
        """:raises LinkDown:"""


@runtime_checkable
class AccountComparer(Protocol):
    """What an `ExecutionClient` may offer besides: whether somebody else's account is its own."""

    def other_account(self, *, server: str, api_key: str) -> str:
        """What is different about the account that this key opens at this server, in words;
        "": nothing is. Nothing of a key is told.

        :param server: a URL; what comes after host and port does not count.
        """


@runtime_checkable
class KeyReader(Protocol):
    """What an `ExecutionClient` may offer besides: what its API key may do."""

    async def key_rights(self, *, timeout_seconds: float) -> KeyRights:
        """
        :raises Rejected: the venue does not accept the key; the reason says why.
        :raises LinkDown:
        """


@runtime_checkable
class AccountSetter(Protocol):
    """What an `ExecutionClient` may offer besides. Each call is safe to repeat, and setting
    what is set already succeeds.
    """

    async def set_leverage(self, symbol: str, leverage: int, *, timeout_seconds: float) -> None:
        """
        :raises Rejected: the venue refuses it; the reason says why.
        :raises LinkDown: it may or may not have been set; call again.
        """

    async def set_margin_mode(
        self, symbol: str, mode: MarginMode, *, timeout_seconds: float
    ) -> None:
        """:raises Rejected: :raises LinkDown: as `set_leverage`."""

    async def set_hedge_mode(self, hedge: bool, *, timeout_seconds: float) -> None:
        """:raises Rejected: :raises LinkDown: as `set_leverage`."""


@runtime_checkable
class FillHistory(Protocol):
    """What an `ExecutionClient` may offer besides: own fills by their time."""

    async def fills_since(
        self, symbol: str, *, since_ms: int, timeout_seconds: float
    ) -> list[Fill]:
        """Own fills since a moment (UTC), ascending by trade id, all of them.

        :raises ValueError: it is longer ago than the venue tells fills of.
        :raises LinkDown: not all of them could be read.
        """


# --- the market ----------------------------------------------------------------------


class Subscription(NamedTuple):
    """What a bot wants to hear of the market.

    :ivar intervals: lengths of bars, by name (`market.INTERVALS`).
    """

    symbols: tuple[str, ...]
    intervals: tuple[str, ...] = ("1m",)
    trades: bool = False
    quotes: bool = False


class MarketWatch(LinkWatch, Protocol):
    def event(self, event: MarketEvent) -> None:
        """Something happened in the market. Per symbol in the order of its time.

        After a connection was lost: a `MarketGap` for each symbol, then the bars that ended
        meanwhile, as far as the venue can be asked for them, then what is new.
        """

    def alive(self, symbol: str) -> None:
        """The stream of this symbol has said something that is no event for the bot."""


class MarketData(Protocol):
    name: str

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None: ...

    async def probe(self) -> None: ...

    async def bars(
        self, symbol: str, *, interval: str, limit: int, timeout_seconds: float
    ) -> list[Bar]:
        """The latest `limit` bars that have ended, oldest first. :raises LinkDown:"""


@runtime_checkable
class Replay(Protocol):
    """What a `MarketData` may offer besides, if its market is a recorded one in virtual time."""

    def events(self) -> Iterator[MarketEvent]:
        """One event after the other, each at its time, for as long as nothing else happens
        before it. When something does it ends, and what follows comes to the watch as ever.

        For the one bot that hears of the market: what it takes here is told to nobody else.
        """


Factory = Callable[..., Any]
"""What an entry point names: `factory(url, *, clock, entropy, **settings)`.

It raises `ConfigError` for what it can not use; the text begins with `NAME: ` where that is an
option. Nothing is connected yet."""
