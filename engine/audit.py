"""Compares the books in the background of a bot that trades, and comes to a verdict.

A bot that trades all the time never holds still for a comparison: what the venue says was
true at some moment while it was asked, and the book has moved meanwhile. So a difference is
judged by what could explain it. An order of which nothing was learnt during the look should
be the same on both sides. A position should be one that the book passed through while the
venue was asked: what the venue says, less each of those, is how far the book may be off (its
drift). A look allows a few drifts, and what all of several looks allow is what there is. It is
zero and nothing else: the position is equal. Two looks allow a same drift, and not zero: it
differs. What a venue says of positions may lag behind its stream, so a position that the book
passed through just before is a verdict neither way.

A symbol that escapes both verdicts for too long is named by `Audit.overdue`. Pure: no I/O,
no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

import msgspec

from .model import Fill
from .reconcile import Difference, Kind, Snapshot, View, differences, position_difference

Key = tuple[str, str]
"""A position: symbol and position side."""

_ORDERS = (Kind.ORPHAN_ORDER, Kind.MISSING_ORDER, Kind.STALE_ORDER)
_POSITIONS = (Kind.ORPHAN_POSITION, Kind.PHANTOM_POSITION, Kind.SIZE_MISMATCH, Kind.SIDE_FLIP)


class Look(msgspec.Struct, frozen=True):
    """Both sides, neither of which need have stood still.

    :ivar view: the local side at the end of the look.
    :ivar snapshot: the venue's. Positions were asked for before fills, so that every fill
        which a position contains is among those counted or those listed.
    :ivar before: the book's positions when the look began, signed.
    :ivar counted: fills that were counted during the look.
    :ivar touched: client order ids of which anything was learnt during the look, or that
        were on their way at one end of it.
    :ivar since_ms: on the venue's clock. Fills of this time or later may be missing in what
        the venue says of positions, though they were told before the look began.
    """

    view: View
    snapshot: Snapshot
    before: dict[Key, Decimal]
    counted: tuple[Fill, ...]
    touched: frozenset[str]
    since_ms: int


class Judgement(NamedTuple):
    """What one look says, with those before it.

    :ivar lasting: differences that two looks running have shown.
    :ivar open: symbols that need another look.
    """

    lasting: tuple[Difference, ...]
    open: frozenset[str]


class Drifts(NamedTuple):
    """By how much a book may be off in one position.

    :ivar during: as far as positions go that it passed through while the venue was asked.
    :ivar lagging: if the venue spoke of one that it had passed through just before.
    """

    during: frozenset[Decimal]
    lagging: frozenset[Decimal]


class _Suspicion(NamedTuple):
    """Of one position, since it was last found equal.

    :ivar drifts: what every look allows.
    :ivar misses: looks among them that nothing explains but a drift.
    """

    drifts: frozenset[Decimal]
    misses: int


def drifts(look: Look) -> dict[Key, Drifts]:
    """Of each position that either side has or had."""
    view, snapshot = look.view, look.snapshot
    at_venue = {(p.symbol, str(p.position_side)): p.quantity for p in snapshot.positions}
    new = {(f.symbol, f.trade_id): f for f in look.counted}
    recent: list[Fill] = []
    for fill in snapshot.fills:
        name = fill.symbol, fill.trade_id
        if not fill.client_order_id.startswith(view.prefix) or name in new:
            continue
        if name not in view.fill_ids:
            new[name] = fill  # the stream has not told it yet
        elif fill.time_ms >= look.since_ms:
            recent.append(fill)
    keys = {_key(f) for f in new.values()} | look.before.keys() | at_venue.keys()
    found = {}
    for key in keys:
        if key[0] not in view.symbols:
            continue
        before, there = look.before.get(key, Decimal(0)), at_venue.get(key, Decimal(0))
        onward = accumulate(_signed(key, new.values()), initial=before)
        earlier = before - sum(_signed(key, recent))
        lately = accumulate(_signed(key, (*recent, *new.values())), initial=earlier)
        found[key] = Drifts(
            frozenset(there - passed for passed in onward),
            frozenset(there - passed for passed in lately),
        )
    return found


def _key(fill: Fill) -> Key:
    return fill.symbol, str(fill.position_side)


def _signed(key: Key, fills: Iterable[Fill]) -> list[Decimal]:
    """What each fill did to one position, in the order of the venue."""
    own = sorted((f for f in fills if _key(f) == key), key=lambda f: f.trade_id)
    return [f.signed_quantity for f in own]


class Audit:
    """The looks since the books were last known to be equal.

    :param now: monotonic seconds at which they were.
    """

    def __init__(self, symbols: Iterable[str], *, now: float) -> None:
        self._equal_at = dict.fromkeys(symbols, now)
        self._suspicions: dict[Key, _Suspicion] = {}
        self._seen_once: frozenset[tuple[str, ...]] = frozenset()

    def judge(self, look: Look, *, now: float) -> Judgement:
        """:param now: monotonic seconds at the begin of the look."""
        found = [d for d in differences(look.view, look.snapshot) if _concerns(d, look)]
        lasting = [d for d in found if d.identity in self._seen_once]
        self._seen_once = frozenset(d.identity for d in found)
        open_symbols = {d.symbol for d in found}
        allowed = drifts(look)
        for key in allowed.keys() | self._suspicions.keys():
            drift = self._suspect(key, allowed.get(key, _NONE))
            if drift:
                here = look.before.get(key, Decimal(0))
                told = position_difference(key, here=here, there=here + drift)
                assert told is not None
                lasting.append(told)
            if key in self._suspicions:
                open_symbols.add(key[0])
        for symbol in self._equal_at.keys() - open_symbols:
            self._equal_at[symbol] = now
        return Judgement(tuple(lasting), frozenset(open_symbols))

    def _suspect(self, key: Key, allowed: Drifts) -> Decimal | None:
        """Fold one look in. :returns: the drift, if two looks have shown it."""
        explained = 0 in allowed.during or 0 in allowed.lagging
        before = self._suspicions.get(key, _Suspicion(allowed.during, 0))
        common = before.drifts & allowed.during
        now = _Suspicion(common, before.misses) if common else _Suspicion(allowed.during, 0)
        if now.drifts == {0}:
            self._suspicions.pop(key, None)
            return None
        if not explained:
            now = now._replace(misses=now.misses + 1)
        self._suspicions[key] = now
        if now.misses < 2:
            return None
        return min((d for d in now.drifts if d), key=abs)

    def overdue(self, *, now: float, patience_seconds: float) -> list[str]:
        """Symbols that were not found equal for longer than this."""
        return [s for s, at in self._equal_at.items() if now - at > patience_seconds]


_NONE = Drifts(frozenset({Decimal(0)}), frozenset())


def _concerns(difference: Difference, look: Look) -> bool:
    """Whether the look can tell it: positions are judged by their drifts."""
    if difference.kind in _ORDERS:
        return difference.client_order_id not in look.touched
    return difference.kind not in (*_POSITIONS, Kind.UNKNOWN_OUTCOME)
