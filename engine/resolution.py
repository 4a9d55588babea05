"""An operator's word on an order of unknown outcome; pure.

Some orders can be settled by no answer of the venue: it says nothing of a symbol that it
does not list any more, and nothing that proves the absence of a conditional order. For
those a person looks (the venue's site, its order history, its support) and says what
became of the order. The word is taken for what it is, evidence with a name and a reason
behind it, and only where it can not contradict what may still happen.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from . import evidence
from .errors import ResolveRefused
from .intent import Intent, Stage
from .ledger import Ledger

Verdict = Literal["accepted", "not_executed"]
VERDICTS: Final = get_args(Verdict)


def undecided(
    ledger: Ledger, client_order_id: str, verdict: str, *, venue_ms: int, margin_ms: int
) -> Intent:
    """The intent that a person may decide now.

    :param venue_ms: the present, by the venue's clock as far as it is known.
    :param margin_ms: as of `evidence.absence_countable_from_ms`.
    :raises ResolveRefused: there is none of that id, or it is too early.
    """
    if verdict not in VERDICTS:
        raise ResolveRefused(f"verdict: {verdict!r} is not one of {', '.join(VERDICTS)}")
    intent = ledger.intents.get(client_order_id)
    if intent is None:
        waiting = ", ".join(i.client_order_id for i in ledger.unknown) or "none"
        raise ResolveRefused(
            f"{client_order_id}: no order of this id waits for its outcome; waiting: {waiting}"
        )
    if intent.stage is not Stage.UNKNOWN:
        raise ResolveRefused(
            f"{client_order_id}: it is being sent, so its outcome is not unknown yet; ask again"
        )
    left_ms = evidence.absence_countable_from_ms(intent.attempts, margin_ms=margin_ms) - venue_ms
    if left_ms > 0:
        raise ResolveRefused(
            f"{client_order_id}: the venue may still accept it for {left_ms / 1000:.1f} s; "
            "ask again after that"
        )
    return intent


def words(verdict: Verdict, *, by: str, reason: str) -> str:
    """The operator's word as evidence."""
    return f"{by} says that it was {verdict.replace('_', ' ')}: {reason}"


def remedy(intent: Intent) -> str:
    """What a person can do about an order that waits, for `holdfast status`."""
    order = intent.order
    asked = f"; the venue: {intent.answer}" if intent.answer else ""
    return (
        f"{intent.client_order_id} ({order.side} {order.quantity:f} {order.symbol}) waits for its "
        f"outcome: {intent.doubt}{asked}. It is asked for again and again; if the venue can "
        f"not tell, look there yourself, then `holdfast resolve {intent.client_order_id} "
        "--not-executed --reason TEXT` (or --accepted)"
    )
