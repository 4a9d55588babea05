"""Binance's USDⓈ-M JSON (REST answers) read into the values of the ports.

Only the fields that are needed are declared; a message that lacks one of them, or
has it in another type, is a `msgspec.DecodeError`, and the caller decides what that
proves. Numbers come as text and stay exact.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from holdfast.model import (
    Fill,
    OrderSnapshot,
    OrderStatus,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    Position,
    PositionSide,
    QueryKind,
    QueryOutcome,
    Side,
)
from holdfast.order_words import STATUS_OF

from .errors import DOES_NOT_EXIST, classify_refusal, silence_seconds
from .session import Reply

Unified = Callable[[str], str]
"""The venue's name of a symbol to the unified one."""

MAX_REASON_CHARACTERS: Final = 200

_SIDE: Final[dict[str, Side]] = {"BUY": "buy", "SELL": "sell"}


class OrderJson(msgspec.Struct, frozen=True):
    """An order in a REST answer. `avgPrice` is gone from some answers since 2026-07."""

    orderId: int  # noqa: N815
    clientOrderId: str  # noqa: N815
    symbol: str
    status: str
    side: str
    price: Decimal
    origQty: Decimal  # noqa: N815
    executedQty: Decimal  # noqa: N815
    updateTime: int  # noqa: N815
    avgPrice: Decimal | None = None  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    positionSide: PositionSide = "BOTH"  # noqa: N815

    def snapshot(self, unified: Unified) -> OrderSnapshot:
        """:raises msgspec.ValidationError: a status or side that is not known."""
        return OrderSnapshot(
            symbol=unified(self.symbol),
            client_order_id=self.clientOrderId,
            venue_order_id=str(self.orderId),
            side=side_of(self.side),
            quantity=self.origQty,
            price=self.price or None,
            filled=self.executedQty,
            status=status_of(self.status),
            average_price=self.avgPrice or None,
            reduce_only=self.reduceOnly,
            position_side=self.positionSide,
            updated_ms=self.updateTime,
        )


class TradeJson(msgspec.Struct, frozen=True):
    """One row of userTrades. It names the order by number only."""

    id: int
    orderId: int  # noqa: N815
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    commission: Decimal
    commissionAsset: str  # noqa: N815
    time: int
    positionSide: PositionSide = "BOTH"  # noqa: N815
    realizedPnl: Decimal | None = None  # noqa: N815

    def fill(self, unified: Unified, client_order_id: str) -> Fill:
        return Fill(
            symbol=unified(self.symbol),
            trade_id=self.id,
            client_order_id=client_order_id,
            venue_order_id=str(self.orderId),
            side=side_of(self.side),
            quantity=self.qty,
            price=self.price,
            fee=self.commission,
            fee_asset=self.commissionAsset,
            time_ms=self.time,
            position_side=self.positionSide,
            realized=self.realizedPnl,
        )


class PositionJson(msgspec.Struct, frozen=True):
    """One row of positionRisk."""

    symbol: str
    positionAmt: Decimal  # noqa: N815
    entryPrice: Decimal  # noqa: N815
    positionSide: PositionSide = "BOTH"  # noqa: N815

    def position(self, unified: Unified) -> Position:
        return Position(
            symbol=unified(self.symbol),
            quantity=self.positionAmt,
            entry_price=self.entryPrice or None,
            position_side=self.positionSide,
        )


class PriceJson(msgspec.Struct, frozen=True):
    price: Decimal


class TimeJson(msgspec.Struct, frozen=True):
    serverTime: int  # noqa: N815


class CountdownJson(msgspec.Struct, frozen=True):
    """Of countdownCancelAll: what runs now."""

    symbol: str
    countdownTime: Decimal  # noqa: N815


class ListenKeyJson(msgspec.Struct, frozen=True):
    listenKey: str  # noqa: N815


class _ErrorJson(msgspec.Struct, frozen=True):
    code: int | None = None
    msg: str = ""


order_json: Final = msgspec.json.Decoder(OrderJson)
_error = msgspec.json.Decoder(_ErrorJson)


def read_error(body: bytes) -> tuple[int | None, str]:
    """Code and text of a refusal; of a body that is none, None and how it begins."""
    try:
        error = _error.decode(body)
    except msgspec.DecodeError:
        return None, body[:MAX_REASON_CHARACTERS].decode(errors="replace").strip()
    return error.code, error.msg


def silence_asked_for(reply: Reply, *, now_ms: int) -> tuple[float, int | None]:
    """For how long a refusal asks everybody at this address to be quiet (0: not at all), and
    its code.

    :param now_ms: the venue's clock, as far as known.
    """
    code, message = read_error(reply.body)
    outcome = classify_refusal(
        status=reply.status,
        code=code,
        message=message,
        retry_after_seconds=reply.retry_after_seconds,
        now_ms=now_ms,
    )
    return silence_seconds(outcome), code


class NamedOrder(Protocol):
    """An order in an answer, with its names."""

    @property
    def orderId(self) -> int: ...  # noqa: N802

    @property
    def clientOrderId(self) -> str: ...  # noqa: N802

    def snapshot(self, unified: Unified) -> OrderSnapshot: ...


Read = Callable[[bytes], NamedOrder]


def place_outcome(
    *,
    status: int,
    body: bytes,
    request: PlaceRequest,
    retry_after_seconds: float | None,
    now_ms: int,
    read: Read = order_json.decode,
) -> PlaceOutcome:
    """What the answer to an order proves. Accepted is only what names our own order.

    :param read: raises `msgspec.DecodeError` for what is no order.
    """
    if status == 200:
        try:
            order = read(body)
            snapshot = order.snapshot(lambda _name: request.order.symbol)
        except msgspec.DecodeError as error:
            return PlaceOutcome(
                kind=OutcomeKind.UNKNOWN, reason=f"HTTP 200 without an order: {error}"
            )
        if not order.orderId or order.clientOrderId != request.client_order_id:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason="HTTP 200 about another order")
        return PlaceOutcome(kind=OutcomeKind.ACCEPTED, order=snapshot)
    code, message = read_error(body)
    return classify_refusal(
        status=status,
        code=code,
        message=message,
        retry_after_seconds=retry_after_seconds,
        now_ms=now_ms,
    )


def query_outcome(
    *, status: int, body: bytes, client_order_id: str, symbol: str, read: Read = order_json.decode
) -> tuple[QueryOutcome, int | None]:
    """What the answer to a question after an order, or to its cancel, says, and the code of a
    refusal.

    :param read: raises `msgspec.DecodeError` for what is no order.
    """
    if status == 200:
        try:
            order = read(body)
            snapshot = order.snapshot(lambda _name: symbol)
        except msgspec.DecodeError as error:
            return unanswered(f"HTTP 200 without an order: {error}"), None
        if not order.orderId or order.clientOrderId != client_order_id:
            return unanswered("HTTP 200 about another order"), None
        return QueryOutcome(kind=QueryKind.FOUND, order=snapshot), None
    code, message = read_error(body)
    if status == 400 and code == DOES_NOT_EXIST:
        return QueryOutcome(kind=QueryKind.ABSENT, reason=f"{code}: {message}"), code
    return unanswered(f"HTTP {status}, {code}: {message}"), code


def unanswered(reason: str) -> QueryOutcome:
    """Nothing was learnt."""
    return QueryOutcome(kind=QueryKind.UNANSWERED, reason=reason)


def side_of(side: str) -> Side:
    """:raises msgspec.ValidationError: not known."""
    try:
        return _SIDE[side]
    except KeyError:
        raise msgspec.ValidationError(f"side {side!r} is not known") from None


def status_of(status: str) -> OrderStatus:
    """:raises msgspec.ValidationError: not known."""
    try:
        return STATUS_OF[status]
    except KeyError:
        raise msgspec.ValidationError(f"status {status!r} is not known") from None
