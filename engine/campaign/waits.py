"""When an order may be sent: after its wait, within its deadline, not while the venue asks for
silence. Seen from the port of one life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.model import PlaceOutcome, PlaceRequest
from holdfast.settings import OrderSettings

ROUNDING_SECONDS: Final = 1e-6


class Waits:
    """
    :param now: seconds, as the engine's monotonic clock.
    :param breach: told the promise and what was seen.
    """

    def __init__(
        self,
        *,
        settings: OrderSettings,
        now: Callable[[], float],
        breach: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._now = now
        self._breach = breach
        self._asked_at: dict[str, float] = {}
        self._ended: dict[str, int] = {}
        """How many attempts the process has learnt the outcome of."""
        self._failed: dict[str, tuple[float, float]] = {}
        """When the latest attempt has ended, and for how long the venue asked to wait."""
        self.silent_until = 0.0
        """The venue has asked to be left alone until then."""

    def places(self, request: PlaceRequest) -> None:
        """The transport was asked to place, perhaps to connect first."""
        cid = request.client_order_id
        self._asked_at.setdefault(cid, self._now())

    def leaves(self, what: str) -> None:
        """A request of an order's own is about to be sent."""
        left = self.silent_until - self._now()
        if left > ROUNDING_SECONDS:
            self._breach("silence", f"{what} sent {left:.3f} s before the venue's silence is over")

    def writes(self, request: PlaceRequest) -> None:
        """An order is on the wire from now on."""
        cid, order, now = request.client_order_id, request.order, self._now()
        self.leaves(cid)
        deadline = order.deadline_seconds
        if order.opening and deadline is None:
            deadline = self._settings.deadline_seconds
        waited = now - self._asked_at.get(cid, now)
        if deadline is not None and waited >= deadline:
            self._breach("orders", f"{cid} written {waited:.3f} s after it was asked for")
        if cid in self._failed:
            self._check_wait(request, now)

    def _check_wait(self, request: PlaceRequest, now: float) -> None:
        """At least the backoff, after the latest failure."""
        cid = request.client_order_id
        failed_at, asked_for = self._failed[cid]
        least = max(self._backoff_seconds(cid) * (1 - self._settings.backoff_jitter), asked_for)
        if now - failed_at < least - ROUNDING_SECONDS:
            self._breach(
                "orders", f"{cid} sent again after {now - failed_at:.3f} s, not {least:g} s"
            )

    def _backoff_seconds(self, cid: str) -> float:
        """Before the latest attempt, without jitter; the last one ever again, for an exit."""
        waits = self._settings.backoff_seconds
        return waits[min(self._ended[cid], len(waits)) - 1]

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        """The process has learnt of the outcome of the latest attempt."""
        now, asked_for = self._now(), outcome.retry_after_seconds or 0.0
        cid = request.client_order_id
        self._ended[cid] = self._ended.get(cid, 0) + 1
        self._failed[cid] = (now, asked_for)
        if asked_for:
            self.silent_until = max(self.silent_until, now + asked_for)
