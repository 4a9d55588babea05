"""What an engine shows of itself: its status, its state diagram, the timeline of its run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from holdfast.states.table import State, Trigger

from .core import Core
from .model import Position
from .resolution import remedy

if TYPE_CHECKING:
    from holdfast.states.diagram import TextForm, Timeline


def status(core: Core) -> dict[str, Any]:
    """Everything an operator asks first, as JSON-ready values."""
    policy, book = core.policy.get(), core.ledger.book
    return {
        "bot": core.settings.bot,
        "state": core.machine.state.value,
        "level": core.gate.level().value,
        "gate": {
            "open": core.gate.is_open,
            "epoch": core.gate.epoch,
            "reason": core.gate.reason,
        },
        "waiting_for": list(waiting_for(core)),
        "links": [
            {"name": s.name, "up": s.up, "link_epoch": s.link_epoch, "reason": s.reason}
            for s in core.links.statuses()
        ],
        "lease": {"held": core.lease.held, "reason": core.lease.reason},
        "hold": core.ledger.hold,
        "policy": None
        if policy is None
        else {"mode": policy.active_mode.value, "version": policy.version},
        "policy_problem": core.policy.problem(),
        "outbox": {"behind": core.outbox.behind(core.outbox.mark)},
        "positions": quantities(book.positions()),
        "open_orders": len(book.resting()),
        "unknown_orders": [i.client_order_id for i in core.ledger.unknown],
        "remedies": [remedy(i) for i in core.ledger.unknown],
        "differences": [str(d) for d in core.reconciler.held],
        "undeclared_orders": list(core.observer.undeclared),
        "undeclared_positions": quantities(
            p for p in book.positions() if p.symbol not in core.settings.symbols
        ),
        "journal": {"records": core.journal.last_seq, "report": str(core.journal.report)},
    }


def waiting_for(core: Core) -> tuple[str, ...]:
    """What the engine waits for that only time, the venue or a person can bring."""
    hold = () if core.ledger.hold is None else (f"operator: {core.ledger.hold}",)
    lease = () if core.lease.held else (f"lease: {core.lease.reason}",)
    silence = core.execution.silence.reason
    venue = (f"exchange: {silence}",) if silence else ()
    books = (core.reconciler.waits_for,) if core.reconciler.waits_for else ()
    return hold + lease + venue + books + core.runner.waiting_for


def quantities(held: Iterable[Position]) -> dict[str, str]:
    """Of positions, by symbol, and in hedge mode by its side as well."""
    return {
        p.symbol if p.position_side == "BOTH" else f"{p.symbol} {p.position_side}": (
            f"{p.quantity:f}"
        )
        for p in held
    }


class _Highlight(TypedDict):
    current: State
    last: tuple[State, Trigger, State] | None


def diagram(core: Core, form: TextForm) -> str:
    """As `diagram.text`, with the current state and the last transition highlighted."""
    from holdfast.states import diagram

    return diagram.text(form, **_highlight(core))


def diagram_png(core: Core) -> bytes:
    """As `diagram`, as a picture. :raises RenderError: neither renderer is installed."""
    from holdfast.states import diagram

    return diagram.png(**_highlight(core))


def _highlight(core: Core) -> _Highlight:
    last = core.recovery.entered[-1].step if core.recovery.entered else None
    return {
        "current": core.machine.state,
        "last": None if last is None else (last.source, last.trigger, last.dest),
    }


def timeline(core: Core, *, title: str | None) -> Timeline:
    """This run so far (its latest steps), for `states.diagram.timeline_svg`."""
    from . import run_timeline

    return run_timeline.timeline(
        [
            run_timeline.Entry(m.monotonic, m.step.trigger, m.step.cause, m.step.dest)
            for m in core.recovery.entered
        ],
        title=title or f"{core.settings.bot}: the run so far",
        start_seconds=core.began_at,
        end_seconds=core.clock.monotonic(),
    )
