"""What of a wallet's cash flows is not of our own fills, and what it says in words. Pure.

Our fills are counted by the book, each with its profit and its fee. The venue's history tells
those too, so they are taken out of it by the trade they belong to; what remains (funding,
transfers, rebates, trades of another hand) explains a balance that our fills do not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from .model import CashFlow


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


def in_words(flows: Iterable[CashFlow]) -> str:
    """`FUNDING_FEE -0.064, TRANSFER 250`: the sum of each kind."""
    sums: dict[str, Decimal] = {}
    for flow in flows:
        sums[flow.kind] = sums.get(flow.kind, Decimal(0)) + flow.amount
    return ", ".join(f"{kind} {amount.normalize():f}" for kind, amount in sorted(sums.items()))
