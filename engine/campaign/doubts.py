"""Orders of which nobody knows whether the venue has them, as far as the ports have told.

Seen over all lives of a process: what was on its way when one ended is in doubt in the next.
"""

from __future__ import annotations

from typing import Final

from holdfast.model import OutcomeKind, PlaceOutcome, PlaceRequest

from .attempts import Attempts

NOTHING_LEARNT: Final = (OutcomeKind.UNKNOWN, OutcomeKind.EXISTS)


class Doubts:
    """
    :param attempts: of the same process.
    """

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._symbols: dict[str, str] = {}
        """Of every order that was written, by client order id."""
        self._doubtful: dict[str, None] = {}
        self._seen: set[str] = set()

    def wrote(self, request: PlaceRequest) -> None:
        self._symbols[request.client_order_id] = request.order.symbol

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        """The process has learnt of the outcome of the latest attempt."""
        cid = request.client_order_id
        if outcome.kind in NOTHING_LEARNT and cid in self._symbols and cid not in self._seen:
            self._doubtful[cid] = None
        else:
            self._doubtful.pop(cid, None)

    def saw(self, client_order_id: str) -> None:
        """The venue has spoken of it: it has the order, whatever any reply said."""
        if client_order_id in self._symbols:
            self._seen.add(client_order_id)
            self._doubtful.pop(client_order_id, None)

    def denied(self, client_order_id: str) -> None:
        """The venue has said that it does not have it, perhaps not for the first time."""
        if self._attempts.absent(client_order_id):
            self._doubtful.pop(client_order_id, None)

    def died(self) -> None:
        """The process has: whatever was on its way, nobody knows of any more."""
        for cid in self._attempts.on_their_way - self._seen:
            if cid in self._symbols and not self._attempts.absent(cid):
                self._doubtful[cid] = None

    def of(self, symbol: str | None = None, *, without: str = "") -> list[str]:
        """Orders in doubt, of one symbol or of all."""
        return [
            cid for cid in self._doubtful if cid != without and symbol in (None, self._symbols[cid])
        ]
