"""What the venue would refuse of an order, told before anything is written; pure.

A refusal by the venue costs a round trip and one of the requests it counts, and its
text names a filter instead of a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from .errors import InvalidOrder
from .model import Instrument, Order


def check(order: Order, instruments: Mapping[str, Instrument], *, held: Decimal) -> None:
    """Refuse what the venue would refuse, naming the limit.

    :param instruments: by symbol; empty while the venue has not been asked for them.
    :param held: what is held of the order's symbol and position side, unsigned. In hedge mode
        an order that closes more would open the other way round at some venues.
    :raises InvalidOrder:
    """
    step = instruments.get(order.symbol)
    if step is None:
        if instruments:
            known = ", ".join(sorted(instruments)[:5])
            raise InvalidOrder(f"symbol: the venue does not list {order.symbol!r} ({known}, …)")
        return
    least, most, quantity_step, of_market = _quantity_limits(step, order)
    if order.quantity < least:
        raise InvalidOrder(f"quantity: {order.quantity} is under the minimum {least}{of_market}")
    if most is not None and order.quantity > most:
        raise InvalidOrder(f"quantity: {order.quantity} is over the maximum {most}{of_market}")
    if not _is_multiple(order.quantity, quantity_step):
        raise InvalidOrder(
            f"quantity: {order.quantity} is not a multiple of the step {quantity_step}{of_market}"
        )
    for name, price in (("price", order.price), ("trigger_price", order.trigger_price)):
        if price is not None and not _is_multiple(price, step.price_step):
            raise InvalidOrder(f"{name}: {price} is not a multiple of the tick {step.price_step}")
    if order.price is not None:
        notional = order.price * order.quantity
        if order.opening and notional < step.min_notional:
            raise InvalidOrder(
                f"quantity: notional {notional:f} is under the minimum {step.min_notional:f}"
            )
    if not order.opening and order.position_side != "BOTH" and order.quantity > held:
        raise InvalidOrder(
            f"quantity: {order.quantity} would close more than the {held:f} held "
            f"{order.position_side}"
        )


def _quantity_limits(
    step: Instrument, order: Order
) -> tuple[Decimal, Decimal | None, Decimal, str]:
    """Minimum, maximum and step of the quantity, and a word for what they are those of."""
    least, most, quantity_step = step.min_quantity, step.max_quantity, step.quantity_step
    if order.price is not None:
        return least, most, quantity_step, ""
    return (
        least if step.market_min_quantity is None else step.market_min_quantity,
        most if step.market_max_quantity is None else step.market_max_quantity,
        quantity_step if step.market_quantity_step is None else step.market_quantity_step,
        " of market orders",
    )


def _is_multiple(value: Decimal, step: Decimal) -> bool:
    try:
        return not value % step
    except InvalidOperation:  # more digits between the two than the context holds
        return False
