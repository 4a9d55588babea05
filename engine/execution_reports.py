"""What the venue tells by itself: the health of its two links, orders and fills.

A message of the user stream is taken for what it is: the venue's word. Our own orders and
fills are written down; a fill that nobody expected or of more than was ordered, a stop that is
gone, or a report that a dead disk did not take means that the books can not be believed, and
they are compared anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from .journal import JournalError
from .lease import LeaseKeeper
from .links import LinkHealth
from .model import ExecutionReport, Fill
from .outcomes import Outcomes
from .recorder import Recorder
from .records import Filled


class ExecutionReports:
    """`ports.ExecutionWatch`.

    :param prefix: of our client order ids.
    :param on_diverged: told why the books have to be compared.
    :param on_counted: told of every fill of ours once, after it was written down.
    """

    def __init__(
        self,
        *,
        exchange: LinkHealth,
        stream: LinkHealth,
        symbols: Collection[str],
        prefix: str,
        recorder: Recorder,
        outcomes: Outcomes,
        lease: LeaseKeeper,
        on_diverged: Callable[[str], None],
        on_counted: Callable[[Fill], None],
    ) -> None:
        self._exchange = exchange
        self._stream = stream
        self._symbols = symbols
        self._prefix = prefix
        self._recorder = recorder
        self._ledger = recorder.ledger
        self._outcomes = outcomes
        self._lease = lease
        self._on_diverged = on_diverged
        self._on_counted = on_counted

    # --- ports.ExecutionWatch --------------------------------------------------------

    def up(self) -> None:
        self._exchange.up()

    def down(self, reason: str) -> None:
        self._exchange.down(reason)

    def stream_up(self) -> None:
        again = self._stream.is_up
        self._stream.up()
        if again:  # replaced without having been reported lost: there may be a hole between
            self._on_diverged("the user stream was replaced")

    def stream_down(self, reason: str) -> None:
        self._stream.down(reason)

    def report(self, report: ExecutionReport) -> None:
        """A message of the venue's user stream."""
        order, fill = report.order, report.fill
        ours = order.client_order_id.startswith(self._prefix)
        try:
            if ours:
                self._outcomes.saw(order, "the venue's user stream")
                if order.protective and order.status.final and self._ledger.book.unprotected():
                    self._on_diverged(f"the stop {order.client_order_id} is gone")
            if fill is not None:
                self._take(fill, ours=ours)
        except JournalError as error:
            # What happened is not written down: only asking the venue again can make it so.
            self._on_diverged(f"a report could not be journalled: {error}")

    # ---------------------------------------------------------------------------------

    def _take(self, fill: Fill, *, ours: bool) -> None:
        book = self._ledger.book
        if fill.symbol not in self._symbols or book.has_counted(fill):
            return
        if not ours:
            self._on_diverged(f"a fill of another hand in {fill.symbol}")
            return
        expected = fill.client_order_id in book.orders
        unfilled = self._ledger.unfilled(fill.client_order_id)
        if unfilled is not None and fill.quantity > unfilled:
            # Not counted here: the comparison does it, by the rule for it, and tells.
            self._on_diverged(
                f"{fill.client_order_id}: {fill.quantity:f} filled, and {unfilled:f} of it were "
                "still to be filled"
            )
            return
        if not expected and not self._lease.held:
            return  # of the instance that holds the lease; after a takeover it is asked for
        self.count(fill)
        if not expected:
            self._on_diverged(f"a fill of {fill.client_order_id}, which nobody expected")

    def count(self, fill: Fill) -> None:
        """Count a fill of ours, once, however often it is told.

        :raises JournalError: it could not be written down, and is not counted.
        """
        if self._ledger.book.has_counted(fill):
            return
        self._recorder.write(Filled(fill))
        self._on_counted(fill)
