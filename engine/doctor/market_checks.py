"""What the market data have to be; decided from what was heard, pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .finding import Finding, fail, ok, skipped


class MarketSeen(NamedTuple):
    """
    :ivar listened_seconds: at most.
    :ivar connected_after: seconds; None: it never was.
    :ivar reason: why it was not, or not any more, as far as anybody has said.
    :ivar heard_after: seconds until the first message of each symbol that said something.
    """

    address: str
    listened_seconds: float
    connected_after: float | None
    reason: str
    heard_after: Mapping[str, float]


def check_market(seen: MarketSeen | None, *, symbols: tuple[str, ...]) -> list[Finding]:
    """:param seen: None: the bot has market data of its own."""
    if seen is None:
        return [skipped("market.reachable", "there is no [market]: the bot has its own data")]
    if seen.connected_after is None:
        why = seen.reason or f"no connection in {seen.listened_seconds:g} s"
        return [
            fail(
                "market.reachable",
                f"{seen.address}: {why}",
                "check market.url, its options and the network; nothing is traded until the "
                "market is heard. A bot with data of its own has no [market]",
            ),
            *(skipped("market.symbol", "it can not be reached", subject=s) for s in symbols),
        ]
    reached = f"{seen.address}: connected after {seen.connected_after:.1f} s"
    return [ok("market.reachable", reached), *(_symbol(seen, symbol) for symbol in symbols)]


def _symbol(seen: MarketSeen, symbol: str) -> Finding:
    after = seen.heard_after.get(symbol)
    if after is not None:
        return ok("market.symbol", f"heard after {after:.1f} s", subject=symbol)
    lost = f" ({seen.reason})" if seen.reason else ""
    return fail(
        "market.symbol",
        f"no message in {seen.listened_seconds:g} s{lost}",
        "check that the market has this symbol and that it is traded now; for one that is traded "
        "seldom raise market.stale_seconds: a symbol silent for so long shuts the gate",
        subject=symbol,
    )
