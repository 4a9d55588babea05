"""What the engine itself says to the world: its events, metrics and alerts.

An event of the engine needs no bus and never fails what it tells of: it is appended to the
outbox like any other, and a disk that does not take it is reported by the journal's own way.
"""

from __future__ import annotations

import logging
from typing import Final

from . import events
from .alerts import Alert, Severity
from .errors import InvalidPayload
from .intent import Intent
from .journal import JournalError
from .listeners import Listeners
from .loop_thread import LoopThread
from .metrics import Meter
from .model import Event, Fill, Gap, OrderReport
from .outbox import Outbox
from .policy import Policy
from .ports import Entropy

log = logging.getLogger("holdfast.engine")

_LOG_LEVELS: Final = {
    Severity.CRITICAL: logging.CRITICAL,
    Severity.WARNING: logging.WARNING,
    Severity.INFO: logging.INFO,
}


class Announcer:
    """
    :param entropy: of the trace ids.
    """

    def __init__(
        self, *, outbox: Outbox, meter: Meter, entropy: Entropy, thread: LoopThread
    ) -> None:
        self._outbox = outbox
        self._meter = meter
        self._entropy = entropy
        self._thread = thread
        self._blocked_epoch = 0
        self.alerts: Listeners[Alert] = Listeners()
        self.trace_id = self._new_trace_id()
        """Of the fall and recovery under way (or the last one)."""

    def begin_trace(self) -> None:
        """Another fall has begun."""
        self.trace_id = self._new_trace_id()

    def _new_trace_id(self) -> str:
        return f"{self._entropy.randbits(64):016x}"

    def announce(self, body: events.Body, *, trace_id: str | None = None) -> Event | None:
        """Publish an event of the engine's own. Needs no bus, and never fails an effect.

        :param trace_id: the order's; by default that of the recovery under way.
        :returns: the event; None if it could not be journalled, or not yet, or not any more.
        """
        if self._thread.has_ended:
            return None
        trace_id = trace_id or self.trace_id
        if self._outbox.is_appending:
            # The journal reports a fault in the middle of an append. That event has its
            # sequence already, so this one has to wait until it is written.
            self._thread.call(lambda: self.announce(body, trace_id=trace_id))
            return None
        type_ = events.type_of(body)
        try:
            return self._outbox.publish_nowait(type_, body, trace_id=trace_id, reserve=True)
        except (JournalError, InvalidPayload) as error:  # the latter: no segment holds it
            log.error("%s not journalled", type_, extra={"reason": str(error)})
            return None

    def blocked(self, reason: str, gate_epoch: int) -> None:
        """The gate, or what is asked beside it, has refused an order. From any thread."""
        self._meter.count("trading_gate_blocks")
        if self._thread.is_here() and self._blocked_epoch != gate_epoch:
            self._blocked_epoch = gate_epoch  # one event a shut, not one an order
            self.announce(events.GateBlocked(reason, gate_epoch))

    def gap(self, gap: Gap) -> None:
        log.error("events lost by the bus and no longer kept here: %s", gap)
        self._meter.count("events_lost_beyond_window", gap.last - gap.first + 1)

    def policy_changed(self, policy: Policy) -> None:
        self.announce(
            events.PolicyChanged(policy.active_mode.value, policy.version, policy.updated_by)
        )

    def order_closed(self, report: OrderReport) -> None:
        if report.sent:
            self._meter.observe("order_retry_count", report.attempts - 1)

    def order_resolved(self, intent: Intent, report: OrderReport) -> None:
        """The outcome of an order that had been in doubt."""
        self.announce(
            events.OrderResolved(
                client_order_id=report.client_order_id,
                symbol=report.symbol,
                status=report.status,
                doubt=intent.doubt,
                evidence=report.evidence,
                attempts=report.attempts,
            ),
            trace_id=report.client_order_id,
        )

    def fill_counted(self, fill: Fill) -> None:
        self.announce(
            events.FillCounted(
                symbol=fill.symbol,
                trade_id=fill.trade_id,
                client_order_id=fill.client_order_id,
                side=fill.side,
                quantity=f"{fill.quantity:f}",
                price=f"{fill.price:f}",
            ),
            trace_id=fill.client_order_id,
        )

    def alert(self, alert: Alert) -> None:
        log.log(
            _LOG_LEVELS[alert.severity] if alert.raised else logging.INFO,
            "alert %s: %s",
            "raised" if alert.raised else "cleared",
            alert.message,
            extra={"alert": alert.name},
        )
        self.alerts.tell(alert)
        self.announce(
            events.AlertChanged(alert.name, alert.severity.value, alert.raised, alert.message)
        )
