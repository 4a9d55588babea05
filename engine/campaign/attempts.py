"""What was written of each order, what the venue said, and whether that allowed another write.

Seen from the port alone, over all lives of a process.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

from holdfast.model import OutcomeKind, PlaceOutcome, PlaceRequest, QueryKind, QueryOutcome

PROVING: Final = (OutcomeKind.NOT_EXECUTED, OutcomeKind.THROTTLED, OutcomeKind.CLOCK)
"""Replies that prove that an attempt was not executed."""
REFUSING: Final = (*PROVING, OutcomeKind.BANNED, OutcomeKind.AUTH)
"""Those, and what the venue says to every order: it is not sent again, and was not executed."""

PROOFS: Final = 2
"""Answers "not there" after the window of an attempt that prove its absence."""


class Attempt(NamedTuple):
    """One write of an order. `outcome` None: the process never learnt one."""

    client_order_id: str
    quantity: Decimal
    expires_ms: int
    outcome: OutcomeKind | None


class Attempts:
    """
    :param breach: told the promise and what was seen.
    """

    def __init__(self, breach: Callable[[str, str], None]) -> None:
        self._breach = breach
        self._denials: dict[str, list[int]] = {}
        """Latest venue times at which it said "not there", as many as prove it, by client order
        id: one that nothing can settle is asked for every few seconds, for weeks."""
        self._made: dict[str, list[Attempt]] = {}
        self._conditional: set[str] = set()

    def answered(self, client_order_id: str, asked_ms: int, answer: QueryOutcome) -> None:
        if answer.kind is QueryKind.ABSENT:
            denials = self._denials.setdefault(client_order_id, [])
            denials.append(asked_ms)
            denials.sort()
            del denials[:-PROOFS]

    def writes(self, request: PlaceRequest) -> None:
        """An attempt is on the wire from now on."""
        cid = request.client_order_id
        if request.order.conditional:
            self._conditional.add(cid)
        for earlier in self._made.get(cid, ()):
            if earlier.outcome not in PROVING:
                self._check_absence(cid, earlier)
        expires_ms = request.timestamp_ms + request.recv_window_ms
        self._made.setdefault(cid, []).append(
            Attempt(cid, request.order.quantity, expires_ms, None)
        )

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        """The process has learnt of the outcome of the latest attempt."""
        made = self._made.get(request.client_order_id)
        if made and made[-1].outcome is None:
            made[-1] = made[-1]._replace(outcome=outcome.kind)

    def _check_absence(self, client_order_id: str, earlier: Attempt) -> None:
        proofs = self._proofs(client_order_id, earlier)
        if proofs < PROOFS:
            self._breach(
                "orders",
                f"{client_order_id} sent again without proof of absence: attempt ended "
                f"{earlier.outcome}, {proofs} answers after its window",
            )

    def _proofs(self, client_order_id: str, attempt: Attempt) -> int:
        denials = self._denials.get(client_order_id, ())
        return sum(ms > attempt.expires_ms for ms in denials)

    def absent(self, client_order_id: str) -> bool:
        """Whether the venue has proven by now that it has none of its attempts."""
        made = self._made.get(client_order_id, ())
        open_ones = (a for a in made if a.outcome not in PROVING)
        return all(self._proofs(client_order_id, a) >= PROOFS for a in open_ones)

    def ended(self, client_order_id: str) -> None:
        """The engine has said that the order was not executed.

        Of a conditional one no answer proves that; a person decides, who has looked at the venue.
        """
        if client_order_id in self._conditional:
            return
        for attempt in self._made.get(client_order_id, ()):
            proofs = self._proofs(client_order_id, attempt)
            if attempt.outcome not in REFUSING and proofs < PROOFS:
                self._breach(
                    "orders",
                    f"{client_order_id} was said to be not executed without proof of it: attempt "
                    f"ended {attempt.outcome}, {proofs} answers after its window",
                )

    def __contains__(self, client_order_id: object) -> bool:
        """Whether it was ever written."""
        return client_order_id in self._made

    @property
    def on_their_way(self) -> set[str]:
        """Orders of whose latest attempt nothing was learnt yet."""
        return {cid for cid, made in self._made.items() if made[-1].outcome is None}

    def accepted(self) -> dict[str, int]:
        """How many attempts the process was told to be accepted, by client order id."""
        return {
            cid: sum(a.outcome is OutcomeKind.ACCEPTED for a in made)
            for cid, made in self._made.items()
        }
