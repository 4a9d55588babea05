"""Compares the local book with the venue: what differs, and what to do about it.

Pure: `differences(view, snapshot)` and then `plan(differences, rules)`; one
executor performs the actions, a dry run prints them. `Snapshot` has no way to
say "not observed": a leg that could not be asked means there is no snapshot,
so nothing missing is ever taken for nothing there.

Scope: declared symbols, and orders that carry our own id prefix. What the owner
holds or orders by hand is left alone once it was seen and consented to; until
that consent, a first start with anything in the account trades nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal, NamedTuple

import msgspec

from . import cash_flows
from .model import CashFlow, Fill, OrderSnapshot, Position
from .wallets import SHOWN_STEP, drifted

Rule = Literal["adopt", "flatten", "cancel", "ignore", "hold"]


class Kind(StrEnum):
    ORPHAN_POSITION = "orphan_position"  # the venue has one, the book has none
    PHANTOM_POSITION = "phantom_position"  # the book has one, the venue has none
    SIZE_MISMATCH = "size_mismatch"
    SIDE_FLIP = "side_flip"
    ORPHAN_ORDER = "orphan_order"  # an order of ours that we do not know
    FOREIGN_ORDER = "foreign_order"  # another hand's, before the first consent
    MISSING_ORDER = "missing_order"  # open in the book, not open at the venue
    STALE_ORDER = "stale_order"  # the venue knows more of it than the book
    MISSED_FILL = "missed_fill"
    OVERFILL = "overfill"  # a fill of more than was ordered
    UNEXPECTED_FILL = "unexpected_fill"  # under our prefix, of an order we do not know
    UNPROTECTED_POSITION = "unprotected_position"  # its stop is gone, and not by our doing
    CASH_FLOW = "cash_flow"  # funding, a transfer, …: cash that the venue's history explains
    BALANCE_DRIFT = "balance_drift"  # the wallet is not what fills and cash flows made of it
    UNKNOWN_OUTCOME = "unknown_outcome"


DEFAULT_RULES: Final[dict[Kind, Rule]] = {
    Kind.ORPHAN_POSITION: "hold",
    Kind.PHANTOM_POSITION: "hold",
    Kind.SIZE_MISMATCH: "hold",
    Kind.SIDE_FLIP: "hold",
    Kind.ORPHAN_ORDER: "hold",
    Kind.FOREIGN_ORDER: "hold",
    Kind.MISSING_ORDER: "adopt",
    Kind.STALE_ORDER: "adopt",
    Kind.MISSED_FILL: "adopt",
    Kind.OVERFILL: "adopt",
    Kind.UNEXPECTED_FILL: "adopt",
    Kind.UNPROTECTED_POSITION: "hold",
    Kind.CASH_FLOW: "adopt",
    Kind.BALANCE_DRIFT: "adopt",
    Kind.UNKNOWN_OUTCOME: "hold",
}
"""Where money would move, or a decision be guessed, a person decides. What is adopted by
default only makes the book say what the venue has already done: so cash that has moved, whether
the venue's history explains it (`cash_flow`) or nothing does (`balance_drift`), is told and then
counted on from there, and so is what was filled beyond what was ordered: the account holds it.
With "hold" a person has to look at it first; `cash_flow` after each funding fee that an outage or
a restart has brought to light."""

ALLOWED_RULES: Final[dict[Kind, frozenset[Rule]]] = {
    Kind.ORPHAN_POSITION: frozenset({"hold", "adopt", "flatten"}),
    Kind.PHANTOM_POSITION: frozenset({"hold", "adopt"}),
    Kind.SIZE_MISMATCH: frozenset({"hold", "adopt"}),
    Kind.SIDE_FLIP: frozenset({"hold", "adopt", "flatten"}),
    Kind.ORPHAN_ORDER: frozenset({"hold", "cancel"}),
    Kind.FOREIGN_ORDER: frozenset({"hold", "ignore"}),
    Kind.MISSING_ORDER: frozenset({"adopt", "hold"}),
    Kind.STALE_ORDER: frozenset({"adopt", "hold"}),
    Kind.MISSED_FILL: frozenset({"adopt", "hold"}),
    Kind.OVERFILL: frozenset({"adopt", "hold"}),
    Kind.UNEXPECTED_FILL: frozenset({"adopt", "hold"}),
    Kind.UNPROTECTED_POSITION: frozenset({"adopt", "flatten", "hold"}),
    Kind.CASH_FLOW: frozenset({"adopt", "hold"}),
    Kind.BALANCE_DRIFT: frozenset({"adopt", "hold"}),
    Kind.UNKNOWN_OUTCOME: frozenset({"hold"}),
}


class Snapshot(msgspec.Struct, frozen=True):
    """What the venue said, every leg of it observed.

    :ivar fills: of each declared symbol, everything after the id up to which the book
        had counted (`Book.synced`); nothing of a symbol that the book has not begun to count.
    :ivar newest_trade_ids: up to which trade of each declared symbol the venue was observed.
    :ivar wallets: of the assets that the declared symbols are settled in; None: the venue's
        client does not tell of balances, or they are not to be compared.
    :ivar wallets_asked_ms, wallets_told_ms: venue time before and after they were asked for, by
        a clock that may be off: the one is no later than it was, the other no sooner.
    :ivar latest: the last fill of each declared symbol of which nothing was counted yet, whoever
        traded: it tells no more than when that was.
    :ivar cash_flows: of others than our fills, if a wallet is not what they have made of it, up
        to the moment of the snapshot; None: nobody asked, or the venue does not tell.
    """

    positions: tuple[Position, ...]
    open_orders: tuple[OrderSnapshot, ...]
    fills: tuple[Fill, ...]
    newest_trade_ids: dict[str, int] = {}
    wallets: dict[str, Decimal] | None = None
    wallets_asked_ms: int = 0
    wallets_told_ms: int = 0
    cash_flows: tuple[CashFlow, ...] | None = None
    latest: tuple[Fill, ...] = ()


class View(msgspec.Struct, frozen=True):
    """The local side, as it was when the snapshot was taken.

    :ivar in_flight: client order ids of intents without an outcome yet; what the venue
        shows of them is no difference.
    :ivar fill_ids: trade ids already counted, per symbol, above `Book.synced`.
    """

    symbols: frozenset[str]
    prefix: str
    positions: dict[tuple[str, str], Decimal]
    orders: dict[str, OrderSnapshot]
    in_flight: frozenset[str]
    fill_ids: frozenset[tuple[str, int]]
    known_foreign: frozenset[str]
    consented: bool
    unfilled: dict[str, Decimal] = {}
    """Of orders and intents that are known: how much of what was ordered is not counted yet."""
    unknown: tuple[str, ...] = ()
    unprotected: dict[tuple[str, str], str] = {}
    """As `Book.unprotected`."""
    wallets: dict[str, Decimal] = {}
    """What our fills have made of them; nothing of an asset that is not known yet."""
    wallet_tolerance: Decimal = Decimal(0)
    """As `Wallets.tolerance`."""
    wallets_until_ms: dict[str, int] = {}
    """As `Wallets.until_ms`."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing the two sides disagree on. `identity` recognises it in the next snapshot.

    It refers to nothing that could refer back, so the cyclic collector need not look at it:
    after a long outage there may be thousands.
    """

    kind: Kind
    symbol: str
    local: str
    venue: str
    client_order_id: str = ""
    position_side: str = "BOTH"
    fill: Fill | None = None
    order: OrderSnapshot | None = None
    quantity: Decimal = Decimal(0)
    """The venue's signed position, for position kinds."""
    drift: Decimal = Decimal(0)
    """How much of the venue's position or balance the book does not know, signed."""
    since_ms: int = 0
    until_ms: int = 0
    """Of balances, as of `records.Balanced`: of what comes once the difference is adopted."""

    @property
    def identity(self) -> tuple[str, ...]:
        what = (self.kind, self.symbol, self.position_side, self.client_order_id)
        if self.kind is Kind.UNPROTECTED_POSITION:
            return what  # its stop is gone, whatever is left of it in the next snapshot
        return (*what, self.local, self.venue)

    def __str__(self) -> str:
        what = self.client_order_id or self.symbol
        return f"{self.kind} {what}: here {self.local}, at the venue {self.venue}"


class Action(NamedTuple):
    """What is to be done about one difference; `rule` says which rule decided."""

    rule: Rule
    difference: Difference

    def __str__(self) -> str:
        return f"{self.rule}: {self.difference}"


_PLACE: Final = {kind: place for place, kind in enumerate(Kind)}


def differences(view: View, snapshot: Snapshot) -> list[Difference]:
    """Everything the venue and the book disagree on, in a stable order.

    Fills come first, of each symbol in the order in which they happened: whoever counts them
    passes through the positions that the account had. Once they are counted, most position
    differences are gone, so the caller settles them and compares again.
    """
    found = [
        *_orders(view, snapshot),
        *_positions(view, snapshot),
        *_unprotected(view, snapshot),
        *_balances(view, snapshot),
        *(
            Difference(Kind.UNKNOWN_OUTCOME, "", "unknown", "unknown", client_order_id=cid)
            for cid in view.unknown
        ),
    ]
    found.sort(key=lambda d: (_PLACE[d.kind], d.identity))
    return [*_fills(view, snapshot), *found]


def _fills(view: View, snapshot: Snapshot) -> list[Difference]:
    found = []
    unfilled = dict(view.unfilled)
    for fill in sorted(snapshot.fills, key=lambda f: (f.symbol, f.trade_id)):
        if fill.symbol not in view.symbols or (fill.symbol, fill.trade_id) in view.fill_ids:
            continue
        if not fill.client_order_id.startswith(view.prefix):
            continue  # another hand's: shows in the position, if it matters
        known = fill.client_order_id in view.orders or fill.client_order_id in view.in_flight
        if not (known or view.consented):
            continue  # of a life before this journal: the position tells the sum
        kind, here = Kind.MISSED_FILL if known else Kind.UNEXPECTED_FILL, "not counted"
        left = unfilled.get(fill.client_order_id)
        if left is not None:
            unfilled[fill.client_order_id] = left - fill.quantity
            if fill.quantity > left:
                kind, here = Kind.OVERFILL, f"not counted, {max(left, Decimal(0)):f} to be filled"
        found.append(
            Difference(
                kind,
                fill.symbol,
                here,
                f"{fill.side} {fill.quantity:f} at {fill.price:f}, trade {fill.trade_id}",
                client_order_id=fill.client_order_id,
                fill=fill,
            )
        )
    return found


def _orders(view: View, snapshot: Snapshot) -> list[Difference]:
    found = []
    at_venue = {o.client_order_id: o for o in snapshot.open_orders if o.symbol in view.symbols}
    for cid, order in at_venue.items():
        if cid in view.in_flight:
            continue
        known = view.orders.get(cid)
        if known is not None:
            if (known.filled, known.status) != (order.filled, order.status):
                found.append(
                    Difference(
                        Kind.STALE_ORDER,
                        order.symbol,
                        f"{known.status}, filled {known.filled:f}",
                        f"{order.status}, filled {order.filled:f}",
                        client_order_id=cid,
                        order=order,
                    )
                )
        elif cid.startswith(view.prefix):
            found.append(
                Difference(
                    Kind.ORPHAN_ORDER,
                    order.symbol,
                    "not known",
                    _describe(order),
                    client_order_id=cid,
                    order=order,
                )
            )
        elif not view.consented and order.venue_order_id not in view.known_foreign:
            found.append(
                Difference(
                    Kind.FOREIGN_ORDER,
                    order.symbol,
                    "not ours",
                    _describe(order),
                    client_order_id=cid,
                    order=order,
                )
            )
    for cid, known in view.orders.items():
        if known.status.final or cid in at_venue or cid in view.in_flight:
            continue
        if known.symbol not in view.symbols:
            continue  # not declared any more, so not asked for either
        found.append(
            Difference(
                Kind.MISSING_ORDER,
                known.symbol,
                _describe(known),
                "not open",
                client_order_id=cid,
                order=known,
            )
        )
    return found


def _describe(order: OrderSnapshot) -> str:
    price = "market" if order.price is None else f"at {order.price:f}"
    return f"{order.status} {order.side} {order.quantity:f} {price}"


def _positions(view: View, snapshot: Snapshot) -> list[Difference]:
    found = []
    at_venue = {
        (p.symbol, str(p.position_side)): p.quantity
        for p in snapshot.positions
        if p.symbol in view.symbols and p.quantity != 0
    }
    local = {k: q for k, q in view.positions.items() if k[0] in view.symbols and q != 0}
    for key in sorted(at_venue.keys() | local.keys()):
        difference = position_difference(
            key, here=local.get(key, Decimal(0)), there=at_venue.get(key, Decimal(0))
        )
        if difference is not None:
            found.append(difference)
    return found


def position_difference(
    key: tuple[str, str], *, here: Decimal, there: Decimal
) -> Difference | None:
    """What differs in the position of one symbol and side, signed; None: nothing."""
    if here == there:
        return None
    if here == 0:
        kind = Kind.ORPHAN_POSITION
    elif there == 0:
        kind = Kind.PHANTOM_POSITION
    elif (here > 0) != (there > 0):
        kind = Kind.SIDE_FLIP
    else:
        kind = Kind.SIZE_MISMATCH
    return Difference(
        kind,
        key[0],
        f"{here:f}",
        f"{there:f}",
        position_side=key[1],
        quantity=there,
        drift=there - here,
    )


def _unprotected(view: View, snapshot: Snapshot) -> list[Difference]:
    """Positions whose stop is gone. A stop of any hand protects: what counts is the venue's."""
    stops = {(o.symbol, str(o.position_side), o.side) for o in snapshot.open_orders if o.protective}
    held = {(p.symbol, str(p.position_side)): p.quantity for p in snapshot.positions}
    return [
        Difference(
            Kind.UNPROTECTED_POSITION,
            key[0],
            "protected by a stop",
            f"{held[key]:f} without it",
            client_order_id=cid,
            position_side=key[1],
            quantity=held[key],
        )
        for key, cid in sorted(view.unprotected.items())
        if key[0] in view.symbols
        and (quantity := held.get(key, Decimal(0)))
        and (*key, "sell" if quantity > 0 else "buy") not in stops
    ]


def _balances(view: View, snapshot: Snapshot) -> list[Difference]:
    """Wallets that are off by more than the venue's own rounding: what its history explains, and
    what it does not.

    The asset stands where the others name their symbol.
    """
    found = []
    for asset, drift in drifted(view.wallets, snapshot.wallets or {}, view.wallet_tolerance):
        expected, rest, wallet = view.wallets[asset], drift, (snapshot.wallets or {})[asset]
        flows, since_ms = cash_flows.that_explain(
            (f for f in snapshot.cash_flows or () if f.asset == asset),
            drift,
            tolerance=view.wallet_tolerance,
            known_until_ms=view.wallets_until_ms.get(asset, 0),
            sure_until_ms=snapshot.wallets_asked_ms,
        )
        if flows:
            explained = sum((f.amount for f in flows), Decimal(0))
            rest = drift - explained
            is_all = abs(rest) <= view.wallet_tolerance + SHOWN_STEP * len(flows)
            found.append(
                Difference(
                    Kind.CASH_FLOW,
                    asset,
                    f"{expected:f}",
                    f"{expected + explained:f} ({cash_flows.in_words(flows)})",
                    drift=drift if is_all else explained,
                    since_ms=since_ms,
                    until_ms=snapshot.wallets_told_ms,
                )
            )
            if is_all:
                continue
        found.append(
            Difference(
                Kind.BALANCE_DRIFT,
                asset,
                f"{wallet - rest:f}",
                f"{wallet:f}",
                drift=rest,
                since_ms=since_ms,
                until_ms=snapshot.wallets_told_ms,
            )
        )
    return found


def rules_from(overrides: Mapping[str, str]) -> dict[Kind, Rule]:
    """The defaults with the user's rules over them.

    :raises ValueError: naming the kind or the rule that does not fit, and what does.
    """
    rules = dict(DEFAULT_RULES)
    for name, rule in overrides.items():
        if name not in Kind.__members__.values():
            raise ValueError(f"{name!r} is no kind of difference; kinds: {', '.join(Kind)}")
        kind = Kind(name)
        if rule not in ALLOWED_RULES[kind]:
            allowed = ", ".join(sorted(ALLOWED_RULES[kind]))
            raise ValueError(f"{name}: {rule!r} is not possible, only {allowed}")
        rules[kind] = rule
    return rules


def just_traded(view: View, snapshot: Snapshot, *, within_ms: int) -> list[Fill]:
    """Fills so shortly before the snapshot that what the venue says of positions may be of before
    them: it may lag.

    Where another hand has traded since the last comparison, books may be equal by that alone: its
    trade is missing on both sides, or on ours as much as one of ours is missing on the venue's.
    So is any trade of a symbol of which nothing was counted yet.
    And positions that are taken for true would lack it.
    """
    return [
        fill
        for fill in (*snapshot.fills, *snapshot.latest)
        if fill.symbol in view.symbols and fill.time_ms >= snapshot.wallets_asked_ms - within_ms
    ]


def confirmed(first: Sequence[Difference], second: Sequence[Difference]) -> list[Difference]:
    """Those of `second` that were there in `first` too; the others may be a race."""
    before = {d.identity for d in first}
    return [d for d in second if d.identity in before]


def plan(found: Sequence[Difference], rules: Mapping[Kind, Rule]) -> list[Action]:
    return [Action(rules[d.kind], d) for d in found]
