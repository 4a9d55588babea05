"""Conditional orders in Binance's USDⓈ-M JSON: what is sent to and read from the algo service.

Since 2025-12-09 stops and take-profits are no orders but "algo orders", with numbers and a
life of their own ("New Algo Order", "Event: Algo Order Update"). Once the price is reached the
service makes an order of one, which carries its `clientAlgoId` as client order id (reported
by users, not documented); `actualOrderId` names it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from holdfast.model import (
    ExecutionReport,
    OrderSnapshot,
    OrderStatus,
    PlaceRequest,
    PositionSide,
    Trigger,
)

from .parameters import plain, position_params
from .wire import Unified, side_of

_STATUS: Final = {
    "NEW": OrderStatus.OPEN,
    "TRIGGERING": OrderStatus.OPEN,
    "TRIGGERED": OrderStatus.OPEN,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
"""FINISHED is none of these: how it ended, the order made of it tells."""
_TOLD_BY_ITS_ORDER: Final = frozenset(("TRIGGERING", "TRIGGERED", "FINISHED"))
_WORKING_TYPE: Final = {"last": "CONTRACT_PRICE", "mark": "MARK_PRICE"}


def conditional_params(request: PlaceRequest, name: str) -> list[tuple[str, str]]:
    """The parameters of POST algoOrder, in the order in which they are signed.

    :param name: the venue's, of the order's symbol.
    """
    order = request.order
    assert order.trigger_price is not None
    kind = "STOP" if order.trigger == "stop" else "TAKE_PROFIT"
    params = [
        ("algoType", "CONDITIONAL"),
        ("symbol", name),
        ("side", order.side.upper()),
        ("clientAlgoId", request.client_order_id),
        ("quantity", plain(order.quantity)),
        ("triggerPrice", plain(order.trigger_price)),
        ("workingType", _WORKING_TYPE[order.trigger_by]),
    ]
    if order.price is None:
        params.append(("type", f"{kind}_MARKET"))
    else:
        params += [
            ("type", kind),
            ("price", plain(order.price)),
            ("timeInForce", order.time_in_force or "GTC"),
        ]
    return [
        *params,
        *position_params(order),
        ("recvWindow", str(request.recv_window_ms)),
        ("timestamp", str(request.timestamp_ms)),
    ]


_Number = str | None
"""Of what need not be there: absent, null, empty or zero."""


def _number(text: _Number) -> Decimal:
    """:raises msgspec.ValidationError:"""
    return msgspec.convert(text, Decimal) if text else Decimal(0)


class AlgoOrderJson(msgspec.Struct, frozen=True):
    """A conditional order in a REST answer. One that closes whatever is held at its time has no
    quantity, a trailing one no price."""

    orderId: int = msgspec.field(name="algoId")  # noqa: N815
    clientOrderId: str = msgspec.field(name="clientAlgoId")  # noqa: N815
    symbol: str
    algoStatus: str  # noqa: N815
    orderType: str  # noqa: N815
    side: str
    quantity: _Number = None
    price: _Number = None
    triggerPrice: _Number = None  # noqa: N815
    updateTime: int = 0  # noqa: N815
    positionSide: PositionSide = "BOTH"  # noqa: N815
    reduceOnly: bool = False  # noqa: N815
    closePosition: bool = False  # noqa: N815
    actualOrderId: str | None = None  # noqa: N815

    @property
    def made(self) -> int | None:
        """Number of the order made of it."""
        number = self.actualOrderId or ""
        return int(number) if number.isdecimal() and int(number) else None

    @property
    def trigger(self) -> Trigger:
        return trigger_of(self.orderType)

    @property
    def trigger_price(self) -> Decimal | None:
        """:raises msgspec.ValidationError: it is no number."""
        return _number(self.triggerPrice) or None

    def snapshot(self, unified: Unified) -> OrderSnapshot:
        """While it waits, or after it ended without an order.

        :raises msgspec.ValidationError: a status or side that is not known, or no number.
        """
        return OrderSnapshot(
            symbol=unified(self.symbol),
            client_order_id=self.clientOrderId,
            venue_order_id=str(self.orderId),
            side=side_of(self.side),
            quantity=_number(self.quantity),
            price=_number(self.price) or None,
            filled=Decimal(0),
            status=_status(self.algoStatus),
            reduce_only=_reducing(self.positionSide, self.reduceOnly, self.closePosition),
            position_side=self.positionSide,
            updated_ms=self.updateTime,
            trigger=self.trigger,
            trigger_price=self.trigger_price,
        )


class AlgoUpdateJson(msgspec.Struct, frozen=True):
    """`o` of ALGO_UPDATE ("Event: Algo Order Update" explains the letters)."""

    caid: str
    aid: int
    o: str
    s: str
    S: str
    X: str
    q: _Number = None
    tp: _Number = None
    p: _Number = None
    ps: PositionSide = "BOTH"
    R: bool = False
    cp: bool = False

    def report(self, unified: Unified, time_ms: int) -> ExecutionReport | None:
        """None: from its trigger on the order made of it tells, under the same client id."""
        if self.X in _TOLD_BY_ITS_ORDER:
            return None
        return ExecutionReport(
            OrderSnapshot(
                symbol=unified(self.s),
                client_order_id=self.caid,
                venue_order_id=str(self.aid),
                side=side_of(self.S),
                quantity=_number(self.q),
                price=_number(self.p) or None,
                filled=Decimal(0),
                status=_status(self.X),
                reduce_only=_reducing(self.ps, self.R, self.cp),
                position_side=self.ps,
                updated_ms=time_ms,
                trigger=trigger_of(self.o),
                trigger_price=_number(self.tp) or None,
            )
        )


algo_order: Final = msgspec.json.Decoder(AlgoOrderJson)


def trigger_of(kind: str) -> Trigger:
    """What an order of that type waits for."""
    return "take_profit" if kind.startswith("TAKE_PROFIT") else "stop"


def _reducing(position_side: PositionSide, reduce_only: bool, close_position: bool) -> bool:
    """In hedge mode the side of the position says it, as with any order."""
    return position_side == "BOTH" and (reduce_only or close_position)


def _status(status: str) -> OrderStatus:
    try:
        return _STATUS[status]
    except KeyError:
        raise msgspec.ValidationError(f"algo status {status!r} is not known") from None
