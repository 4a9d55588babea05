"""Whether an account has the margin for an order ("Cost = Initial Margin + Open Loss").

What an order takes at once is counted at the prices it gets, with its fees and with the loss
against the mark price; what then rests, at its limit. So the available balance is not below
zero once an order was accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from holdfast.model import PositionSide, Side

from .account import Account
from .book import Book
from .ledger import ZERO, money
from .margin import Exposure, exposure, hedged, one_way
from .rules import VenueError

INSUFFICIENT: Final = "Margin is insufficient."
TOO_LARGE: Final = "Exceeded the maximum allowable position at current leverage."

Takes = Sequence[tuple[Decimal, Decimal]]
"""`(price, quantity)` of what an order would take at once."""


def admit(
    account: Account,
    book: Book,
    side: Side,
    position_side: PositionSide,
    takes: Takes,
    rests: Decimal,
    limit: Decimal | None,
    *,
    grows: bool,
) -> None:
    """Check that margin suffices for an order that may grow a position.

    :param rests: the quantity that then waits in the book.
    :param grows: whether it exceeds what the position could be reduced by.
    :raises VenueError: -2019, or -2027 (too large for the leverage).
    """
    mark = book.mark if book.mark is not None else limit
    assert mark is not None, "a market order needs a price"
    taken = worse = fees = ZERO
    for price, quantity in takes:
        taken += quantity
        worse += quantity * (price - mark)
        fees += money(quantity * price * account.taker_fee)
    bids, asks, open_loss = book.bid_notional, book.ask_notional, ZERO
    if rests:
        assert limit is not None
        if side == "buy":
            bids += rests * limit
            open_loss = max(ZERO, rests * (limit - mark))
        else:
            asks += rests * limit
            open_loss = max(ZERO, rests * (mark - limit))
    signed = taken
    if side == "sell":
        signed, worse = -taken, -worse
    after = _after(account, book, position_side, signed, mark, bids, asks)
    if not grows or after.total > book.max_notional:
        before = exposure(book, hedge_mode=account.hedge_mode)
        if after.total > before.total and after.total > book.max_notional:
            raise VenueError(-2027, TOO_LARGE)
        if not grows and after.total <= before.total:
            return
    left = account.cross_wallet - open_loss
    left += account.margin_of_others(book)
    left += account.margin_of(book, after)
    if book.isolated:
        left += _cross_change(account, book, position_side, signed, takes)
    else:
        left -= worse + fees
        if not after.position:
            left += sum((h.unrealized(mark) for h in book.holdings.values()), ZERO)
    if left < 0:
        raise VenueError(-2019, INSUFFICIENT)


def _after(
    account: Account,
    book: Book,
    position_side: PositionSide,
    signed: Decimal,
    mark: Decimal,
    bids: Decimal,
    asks: Decimal,
) -> Exposure:
    """With so much bought, or with a negative amount sold, and so much resting."""
    holdings = book.holdings
    if not account.hedge_mode:
        return one_way((holdings["BOTH"].quantity + signed) * mark, bids, asks)
    long, short = holdings["LONG"].quantity, holdings["SHORT"].quantity
    if position_side == "LONG":
        long += signed
    else:
        short += signed
    return hedged(abs(long) * mark, abs(short) * mark, bids, asks)


def _cross_change(
    account: Account, book: Book, position_side: PositionSide, signed: Decimal, takes: Takes
) -> Decimal:
    """What those executions would do to the cross wallet, if the symbol is isolated."""
    trial, change = replace(book.holdings[position_side]), ZERO
    for price, quantity in takes:
        fee = money(quantity * price * account.taker_fee)
        part = quantity if signed > 0 else -quantity
        change += trial.apply_isolated(part, price, fee, book.leverage)[1]
    return change
