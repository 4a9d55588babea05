"""What a person may do to an engine: halt it, let it go on, get out, settle what it can not.

These work in every state, and when things are broken: without the bus, and as far as
possible without the venue. Each is written into the journal with who did it.
"""

from __future__ import annotations

import logging

from holdfast.states.table import Trigger

from .core import Core
from .errors import HoldfastError, InvalidOrder, LinkDown
from .journal import JournalError
from .model import Order, OrderReport, Position
from .reconciler import Holding
from .records import Held
from .resolution import Verdict
from .suggestion import did_you_mean
from .wording import writable

log = logging.getLogger("holdfast.engine")


class Operation:
    """See the methods of the same names of `Engine`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def halt(self, reason: str, *, by: str) -> None:
        core, by, reason = self._core, writable(by), writable(reason)
        core.gate.shut(f"halted by {by}: {reason}")
        held = Held(reason, by, core.clock.time_ns())
        try:
            core.recorder.write(held)
        except JournalError:
            core.ledger.apply(held)
            core.fire(Trigger.HALT, f"{by}: {reason} (not journalled: it ends with this process)")
            raise
        else:
            core.fire(Trigger.HALT, f"{by}: {reason}")
        finally:
            core.refresh_floor()
        await core.journal.sync()

    async def resume(self, *, by: str) -> None:
        core = self._core
        if core.ledger.hold is None:
            return
        by = writable(by)
        core.recorder.write(Held(None, by, core.clock.time_ns()))
        core.refresh_floor()
        core.fire(Trigger.RESUME, by)

    async def flatten(self, symbol: str | None, *, by: str) -> list[OrderReport]:
        core, declared = self._core, self._core.settings.symbols
        orders = core.execution.orders
        if symbol is not None and symbol not in declared:
            raise InvalidOrder(
                f"symbol: {symbol!r} is not declared, nothing was closed"
                f"{did_you_mean(str(symbol), declared)}; declared: {', '.join(declared)}"
            )
        if core.ledger.hold is None:
            await self.halt("flatten", by=by)
        reports: list[OrderReport] = []
        failures: list[Exception] = []
        if resting := await core.execution.entries.cancel():
            failures.append(
                LinkDown(
                    f"{resting} resting entr{'y' if resting == 1 else 'ies'} could not be "
                    "cancelled yet"
                )
            )
        with core.gate.operator():
            for held, unknown in await self._to_close():
                if symbol in (None, held.symbol):
                    try:
                        closing = _closing(held, deadline_seconds=orders.deadline_seconds)
                        report = await orders.submit(
                            closing, held=abs(held.quantity), adopts=unknown
                        )
                        reports.append(report)
                        left = report.quantity - report.filled
                        if left and report.order_status is not None and report.order_status.final:
                            failures.append(HoldfastError(f"{left:f} {held.symbol} remain"))
                    except (HoldfastError, JournalError) as error:
                        error.add_note(f"position {held.quantity:f} {held.symbol}")
                        failures.append(error)
        if failures:
            raise ExceptionGroup(f"{len(failures)} positions or entries were not closed", failures)
        return reports

    async def _to_close(self) -> list[Holding]:
        """What the venue holds of our symbols; what the book says, if the venue does not tell.

        The book may be wrong exactly when somebody reaches for `flatten`.
        """
        core, settings = self._core, self._core.settings
        try:
            return await core.reconciler.holdings()
        except (LinkDown, JournalError) as error:
            log.warning(
                "flatten: the books could not be compared first; what they do not know will be a "
                "difference afterwards",
                extra={"reason": str(error)},
            )
        try:
            at_venue = await core.exchange.positions(
                timeout_seconds=settings.reconcile.snapshot_timeout_seconds
            )
        except LinkDown as error:
            log.warning("flatten goes by the local book", extra={"reason": str(error)})
            at_venue = core.ledger.book.positions()
        return [Holding(p) for p in at_venue if p.symbol in settings.symbols and p.quantity != 0]

    async def resolve(
        self, client_order_id: str, verdict: Verdict, *, reason: str, by: str
    ) -> OrderReport:
        core = self._core
        by, reason = writable(by), writable(reason)
        report = await core.execution.resolver.decide(
            client_order_id, verdict, by=by, reason=reason
        )
        core.fire(Trigger.DIVERGED, f"{by} has settled {client_order_id}: {verdict}")
        await core.journal.sync()
        return report


def _closing(held: Position, *, deadline_seconds: float) -> Order:
    """
    :param deadline_seconds: a person waits for the answer, and may ask again.
    """
    return Order(
        held.symbol,
        "sell" if held.quantity > 0 else "buy",
        abs(held.quantity),
        reduce_only=held.position_side == "BOTH",
        position_side=held.position_side,
        deadline_seconds=deadline_seconds,
    )
