"""Frames of Binance's user stream read into the values of the ports."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from holdfast.model import ExecutionReport, Fill, OrderSnapshot, PositionSide

from .algo import AlgoUpdateJson
from .wire import Unified, side_of, status_of


class _UpdateJson(msgspec.Struct, frozen=True):
    """`o` of ORDER_TRADE_UPDATE ("Event: Order Update" explains the letters)."""

    s: str
    c: str
    S: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741
    z: Decimal
    L: Decimal
    T: int
    t: int
    ap: Decimal = Decimal(0)
    n: Decimal = Decimal(0)
    N: str = ""
    R: bool = False
    ps: PositionSide = "BOTH"
    rp: Decimal | None = None

    def report(self, unified: Unified) -> ExecutionReport:
        symbol, side = unified(self.s), side_of(self.S)
        order = OrderSnapshot(
            symbol=symbol,
            client_order_id=self.c,
            venue_order_id=str(self.i),
            side=side,
            quantity=self.q,
            price=self.p or None,
            filled=self.z,
            status=status_of(self.X),
            average_price=self.ap or None,
            reduce_only=self.R,
            position_side=self.ps,
            updated_ms=self.T,
        )
        if not self.t or not self.l:
            return ExecutionReport(order)
        fill = Fill(
            symbol=symbol,
            trade_id=self.t,
            client_order_id=self.c,
            venue_order_id=order.venue_order_id,
            side=side,
            quantity=self.l,
            price=self.L,
            fee=self.n,
            fee_asset=self.N,
            time_ms=self.T,
            position_side=self.ps,
            realized=self.rp,
        )
        return ExecutionReport(order, fill)


class _FrameJson(msgspec.Struct, frozen=True):
    """Any frame; `o` is read only where `e` says what it is."""

    e: str = ""
    T: int = 0
    o: msgspec.Raw = msgspec.Raw()


_frame: Final = msgspec.json.Decoder(_FrameJson)
_update: Final = msgspec.json.Decoder(_UpdateJson)
_algo_update: Final = msgspec.json.Decoder(AlgoUpdateJson)


def read_frame(frame: str | bytes, unified: Unified) -> ExecutionReport | str:
    """The report in a user-stream frame, or, of one that reports no order, its name.

    :raises msgspec.DecodeError: not readable.
    """
    head = _frame.decode(frame)
    if head.e == "ORDER_TRADE_UPDATE":
        return _update.decode(head.o).report(unified)
    if head.e == "ALGO_UPDATE":
        return _algo_update.decode(head.o).report(unified, head.T) or head.e
    return head.e
