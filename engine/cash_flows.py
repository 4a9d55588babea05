"""What of a wallet's cash flows is not of our own fills, and what it says in words. Pure.

Our fills are counted by the book, each with its profit and its fee. The venue's history tells
those too, so they are taken out of it by the trade they belong to; what remains (funding,
transfers, rebates, trades of another hand) explains a balance that our fills do not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal
from itertools import accumulate
from typing import Final

from .model import CashFlow
from .wallets import SHOWN_STEP

MAX_IN_DOUBT: Final = 100
"""Flows of one moment in which the venue was asked that are tried one by one."""


def least_unknown_trades(
    flows: Iterable[CashFlow], *, symbols: Collection[str], known: Collection[tuple[str, int]]
) -> dict[str, int]:
    """Per declared symbol the least trade id of which nobody knows yet whose it is."""
    least: dict[str, int] = {}
    for flow in flows:
        if flow.trade_id and flow.symbol in symbols and (flow.symbol, flow.trade_id) not in known:
            least[flow.symbol] = min(flow.trade_id, least.get(flow.symbol, flow.trade_id))
    return least


def of_others(
    flows: Iterable[CashFlow], *, symbols: Collection[str], others: Collection[tuple[str, int]]
) -> tuple[CashFlow, ...]:
    """Without those of trades of which nobody knows whose they are: they may be counted yet.

    :param others: trades of other hands in the declared symbols.
    """
    return tuple(
        f
        for f in flows
        if not f.trade_id or f.symbol not in symbols or (f.symbol, f.trade_id) in others
    )


def that_explain(
    flows: Iterable[CashFlow],
    drift: Decimal,
    *,
    tolerance: Decimal,
    known_until_ms: int,
    sure_until_ms: int,
) -> tuple[list[CashFlow], int]:
    """Those that have made a wallet drift, and up to which venue time none is left out.

    What moves while the venue is asked for a wallet is in its answer or not, and no time says
    which: the answer has none. But it was one moment, so the first few of such flows are in it
    and the others are not; which, the sums tell. Where none fits, all of them are taken, and
    what they do not explain is seen.

    :param tolerance: for a sum of none; each flow was rounded.
    :param known_until_ms: flows up to then may be part already of what the wallet was before.
    :param sure_until_ms: flows after that need not be part of what it is now.
    """
    ordered = sorted(flows, key=lambda flow: flow.time_ms)
    sums = [Decimal(0), *accumulate(flow.amount for flow in ordered)]
    count = len(ordered)
    first = sum(flow.time_ms <= known_until_ms for flow in ordered[:MAX_IN_DOUBT])
    last = sum(flow.time_ms > sure_until_ms for flow in ordered[-MAX_IN_DOUBT:])
    choices = ((known, left) for left in range(last + 1) for known in range(first + 1))
    for known, left in choices:
        chosen = ordered[known : count - left]
        rest = drift - (sums[count - left] - sums[min(known, count - left)])
        if abs(rest) <= tolerance + SHOWN_STEP * len(chosen):
            break
    else:
        chosen = ordered
    return chosen, max([sure_until_ms, *(flow.time_ms for flow in chosen)])


def in_words(flows: Iterable[CashFlow]) -> str:
    """`FUNDING_FEE -0.064, TRANSFER 250`: the sum of each kind."""
    sums: dict[str, Decimal] = {}
    for flow in flows:
        sums[flow.kind] = sums.get(flow.kind, Decimal(0)) + flow.amount
    return ", ".join(f"{kind} {amount.normalize():f}" for kind, amount in sorted(sums.items()))
