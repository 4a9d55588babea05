"""Watches one process from its ports: what it was told, what it asked, what it wrote.

Nothing here asks the engine why. That an order was written while a link was known to
be down is seen from what went through the ports, in order; the order of things is
kept by a counter, since much happens at one virtual instant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import Final

from holdfast.engine import Engine
from holdfast.model import (
    ExecutionReport,
    Fill,
    Order,
    OrderReport,
    OrderSnapshot,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    QueryOutcome,
)
from holdfast.policy import Mode, Policy
from holdfast.ports import Batch, LeaseGrant, StoredPolicy
from holdfast.settings import LeaseSettings, OrderSettings
from holdfast.states.machine import Step
from holdfast.states.table import State, Trigger

from .attempts import Attempts
from .doubts import Doubts
from .strangers import Strangers
from .terms import Terms
from .waits import Waits
from .words import Words

LINKS: Final = ("bus", "policy", "exchange", "stream")
EXITS_WAIT_FOR: Final = (
    "halted: not started",
    "halted: lease:",
    "halted: operator:",
    "lease:",
    "venue:",
    "the venue's clock could not be read",
    "a repair of the position",
)
"""What may keep the bot from getting out, but for a venue that can not be reached."""


class Witness:
    """
    :param breach: told the promise and what was seen.
    :param in_store: the policy that the store holds now.
    :param books_differ: how the engine's book differs from the venue's now, but for the
        orders named.
    :param venue_moved: counts what has happened at the venue.
    :param in_force: the policy that has been stored for longer than it may take to be read.
    :param others_open: names of the other processes whose gate is open.
    :param counts_down: whether the venue's dead-man switch is armed for a symbol.
    :param halted: whether the operator has halted this copy.
    :param unnamed: takes the ids of orders that no decision of a bot stands behind.
    :param names_orders: whether the bot gives each of its orders a key, so that one without is
        the engine's own.
    :param published: number of the last event that the bot was told to be published, in this
        life; `on_bus` that of the last one of this life which the bus has.
    :param orders: how orders are set up to be sent; `lease` how the lease is.
    :param now: seconds by the machine's monotonic clock.
    """

    def __init__(
        self,
        *,
        breach: Callable[[str, str], None],
        in_store: Callable[[], StoredPolicy | None],
        books_differ: Callable[[Engine, Container[str]], str | None],
        venue_moved: Callable[[], int],
        in_force: Callable[[], Policy | None],
        others_open: Callable[[Witness], list[str]],
        counts_down: Callable[[str], bool],
        halted: Callable[[], bool],
        unnamed: set[str],
        names_orders: bool,
        published: Callable[[], int],
        on_bus: Callable[[], int],
        orders: OrderSettings,
        lease: LeaseSettings,
        now: Callable[[], float],
    ) -> None:
        self.engine: Engine | None = None
        self._breach = breach
        self._in_store = in_store
        self._books_differ = books_differ
        self._venue_moved = venue_moved
        self._in_force = in_force
        self._others_open = others_open
        self._counts_down = counts_down
        self._halted = halted
        self._unnamed = unnamed
        self._names_orders = names_orders
        self._published = published
        self._on_bus = on_bus
        self._to_be_replayed = 0
        """What `published` was when RECOVERING was entered."""
        self._tokens: set[int] = set()
        """Fencing tokens that were granted to this life."""
        self._count = 0
        self._told_up = dict.fromkeys(LINKS, False)
        self._seconds = now
        self._exchange_up_at = -math.inf
        self._last_fault = 0
        self._last_bus_loss = 0
        self._last_stranger = 0
        """When a fill was first told of that this bot has no order for."""
        self._why = "the process began"
        self._asked: dict[str, int] = {}
        self._entered: dict[State, int] = {}
        self._snapshot_version = -1
        self._newest_read: Policy | None = None
        self._read_before: Policy | None = None
        """The newest of what was read before the instant of the latest read."""
        self._read_at = -math.inf
        self._before_connection: Policy | None = None
        self._first_asked_for: dict[str, int] = {}
        self._cut_short: dict[tuple[str, str], str] = {}
        """Per position the latest repair that closed less than it was to, since HEALTHY."""
        self.attempts = Attempts(breach)
        self._doubts = Doubts(self.attempts)
        self._strangers = Strangers(self.attempts)
        self._waits = Waits(settings=orders, now=now, breach=breach)
        self._words = Words(breach)
        self.terms = Terms(settings=lease, now=now)

    def _now(self) -> int:
        self._count += 1
        return self._count

    # --- what the process is told ----------------------------------------------------

    def fault(self, why: str) -> None:
        self._last_fault = self._now()
        self._why = why

    def link_up(self, link: str) -> None:
        self._told_up[link] = True
        if link == "exchange":
            self._exchange_up_at = self._seconds()
        if link == "policy":
            # Whatever the store has acknowledged by now is older than this connection.
            stored = self._in_store()
            self._before_connection = None if stored is None else stored.policy

    def link_down(self, link: str, reason: str) -> None:
        self._told_up[link] = False
        self.fault(f"{link}: {reason}")
        if link == "bus":
            self._last_bus_loss = self._count

    def policy_read(self, stored: StoredPolicy | None, *, at_seconds: float) -> None:
        """An answer of the store has reached the engine."""
        if stored is not None:
            if at_seconds > self._read_at:
                self._read_at, self._read_before = at_seconds, self._newest_read
            self._newest_read = _newest(self._newest_read, stored.policy)

    def killed(self, *, at_seconds: float) -> None:
        """An answer that came in this very instant may have been overtaken by a change: then it
        was going to be asked for again, and was neither believed nor written down."""
        if at_seconds == self._read_at:
            self._newest_read = self._read_before

    def inherit(self, earlier: Witness, *, could_write: bool) -> None:
        """What an earlier life has read may not be forgotten, if its disk took it down."""
        self._newest_read = earlier._newest_read if could_write else None
        self.attempts, self._doubts = earlier.attempts, earlier._doubts
        self._strangers = earlier._strangers
        self._doubts.died()

    # --- what it asks ----------------------------------------------------------------

    def asks(self, question: str) -> None:
        self._asked[question] = self._now()
        if question == "open_orders":
            self._snapshot_version = self._venue_moved()

    def answered(self, client_order_id: str, asked_ms: int, answer: QueryOutcome) -> None:
        self.attempts.answered(client_order_id, asked_ms, answer)
        if answer.kind is QueryKind.FOUND:
            self.saw(client_order_id)
        else:
            self._doubts.denied(client_order_id)

    def saw(self, client_order_id: str) -> None:
        """The venue has spoken of an order that it has."""
        self._doubts.saw(client_order_id)

    def reported(self, report: ExecutionReport, pass_on: Callable[[], None]) -> None:
        """The venue's user stream has spoken of an order; the engine hears it by `pass_on`."""
        self.saw(report.order.client_order_id)
        if report.fill is not None and self._strangers.told(report.fill):
            self._last_stranger = self._now()
        assert self.engine is not None
        self._words.tell(report.order, self.engine, pass_on)

    def listed(self, fills: Sequence[Fill]) -> None:
        """The venue has listed these, asked for what was filled."""
        self._strangers.listed(fills)

    def newest_trade(self, symbol: str, trade_id: int) -> None:
        """The venue was asked for no more than the newest one."""
        self._strangers.newest(symbol, trade_id)

    def lease_answered(self, grant: LeaseGrant | None, *, sent_at: float) -> None:
        """The store has granted the lease, or not, to a request that was sent then."""
        self.terms.answered(grant, sent_at=sent_at)
        if grant is not None:
            self._tokens.add(grant.fencing_token)

    # --- what it does ----------------------------------------------------------------

    def stepped(self, step: Step) -> None:
        if step.trigger in (Trigger.HALT, Trigger.RESUME, Trigger.FAULT):
            self.fault(step.cause)
        self._entered[step.dest] = self._now()
        if step.dest is State.RECOVERING:
            self._to_be_replayed = self._published()
        if step.dest is State.HEALTHY:
            self._cut_short.clear()
            self._check_recovery()

    def _check_recovery(self) -> None:
        """HEALTHY may be entered only on work that was begun after the last fault."""
        asked, entered = self._asked, self._entered
        recovering, reconciling = entered.get(State.RECOVERING, 0), entered[State.RECONCILING]
        late = [
            f"{what} was last asked before {after}"
            for what, since, after in (
                ("probe bus", self._last_fault, self._why),
                ("probe policy", self._last_fault, self._why),
                ("probe exchange", self._last_fault, self._why),
                ("position", self._last_bus_loss, "the bus was lost"),
                ("policy", max(self._last_fault, recovering), "RECOVERING was entered"),
                ("open_orders", max(self._last_fault, reconciling), "RECONCILING was entered"),
                ("positions", max(self._last_fault, reconciling), "RECONCILING was entered"),
                ("fills", max(self._last_fault, reconciling), "RECONCILING was entered"),
                ("balances", max(self._last_fault, reconciling), "RECONCILING was entered"),
            )
            if asked.get(what, 0) <= since
        ]
        if asked.get("positions", 0) <= self._last_stranger:
            late.append("the positions were last asked for before a fill of another hand")
        if recovering <= self._last_fault:
            late.append(f"RECOVERING was entered before {self._why}")
        down = [link for link, up in self._told_up.items() if not up]
        if down:
            late.append(f"{', '.join(down)} known to be down")
        if self._halted():
            late.append("the operator has halted the bot")
        if unknown := self._doubts.of():
            late.append(f"nobody knows what became of {', '.join(unknown)}")
        if (behind := self._to_be_replayed) > (there := self._on_bus()):
            late.append(f"of its events up to {behind} the bus has those up to {there}")
        if late:
            self._breach("recovery", f"HEALTHY although {'; '.join(late)}")
        if self._snapshot_version == self._venue_moved() and self.engine is not None:
            differs = self._books_differ(self.engine, self.attempts.on_their_way)
            if differs is not None:
                self._breach("books", f"HEALTHY although {differs}")

    def places(self, request: PlaceRequest) -> None:
        """The transport was asked to place, perhaps to connect first."""
        self._first_asked_for.setdefault(request.client_order_id, self._now())
        self._waits.places(request)

    def leaves(self, what: str) -> None:
        """A request about an order is about to be sent."""
        self._waits.leaves(what)

    def ships(self, batch: Batch) -> None:
        """A batch is on its way to the bus."""
        if self._tokens and batch.fencing_token not in self._tokens:
            self._breach(
                "lease", f"a batch was sent with token {batch.fencing_token}, which is not ours"
            )

    def writes(self, request: PlaceRequest) -> None:
        """An order is on the wire from now on."""
        cid, order = request.client_order_id, request.order
        self.attempts.writes(request)
        self._waits.writes(request)
        self._doubts.wrote(request)
        if order.key is None:
            self._unnamed.add(cid)
            self._check_repair(request)
            if order.opening and self._names_orders:
                self._breach("gate", f"{cid}, which no bot has decided on, opens a position")
        elif self._halted():
            self._breach("gate", f"{cid} written although the operator has halted the bot")
        if others := self._others_open(self):
            self._breach("lease", f"{cid} written while {others} trades as well")
        if (why := self.terms.problem()) is not None:
            self._breach("lease", f"{cid} written although {why}")
        if not order.opening:
            return
        assert self.engine is not None
        wrong = []
        if self.engine.state is not State.HEALTHY:
            wrong.append(f"the state was {self.engine.state}")
        if not self.engine.gate.is_open:
            wrong.append(f"the gate was shut: {self.engine.gate.reason}")
        healthy = self._entered.get(State.HEALTHY, 0)
        if healthy <= self._last_fault:
            wrong.append(f"not HEALTHY since {self._why}")
        if healthy <= self._last_stranger:
            wrong.append("the books were not compared since another hand has traded")
        if self._first_asked_for.get(cid, 0) < healthy:
            wrong.append("it was first asked for before the gate was last opened")
        if unknown := self._doubts.of(order.symbol, without=cid):
            wrong.append(f"nobody knows what became of {', '.join(unknown)}")
        if not self._counts_down(order.symbol):
            self._breach("dead man", f"{cid} opening order written with no countdown at the venue")
        wrong += [f"{link} was known to be down" for link, up in self._told_up.items() if not up]
        if wrong:
            self._breach("gate", f"{cid} opening order written though {'; '.join(wrong)}")
        self._check_policy(request)

    def _check_repair(self, request: PlaceRequest) -> None:
        """What a rule could not close is told to a person before it is gone after again, at what
        may be a worse price. The operator's own orders are no repairs."""
        assert self.engine is not None
        closes = request.order.symbol, request.order.position_side
        before = self._cut_short.pop(closes, None)
        if before is not None and not self._halted() and not self.engine.status()["differences"]:
            self._breach(
                "books", f"{request.client_order_id} closes what {before} left, and nobody was told"
            )

    def _check_policy(self, request: PlaceRequest) -> None:
        order = request.order
        policy = _newest(self._newest_read, self._before_connection, self._in_force())
        if policy is None:
            self._breach("policy", f"{request.client_order_id} written and no policy was ever read")
            return
        why = _forbidden(policy, order)
        if why is not None:
            self._breach(
                "policy",
                f"{request.client_order_id} written, which version {policy.version} of the policy "
                f"forbids: {why}",
            )

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        self.attempts.placed(request, outcome)
        self._waits.placed(request, outcome)
        self._doubts.placed(request, outcome)
        if request.order.key is None and self._names_orders and not self._halted():
            self._note_repair(outcome.order)

    def _note_repair(self, placed: OrderSnapshot | None) -> None:
        if placed is not None and placed.status.final and placed.filled < placed.quantity:
            self._cut_short[placed.symbol, placed.position_side] = placed.client_order_id

    def ended(self, report: OrderReport) -> None:
        """The engine has told the bot how an order of it has ended."""
        if report.status == "not_executed":
            self.attempts.ended(report.client_order_id)

    def refused(self, order: Order, reason: str) -> None:
        """The engine did not let the bot send an order: getting out must stay possible."""
        if order.opening or reason.startswith(EXITS_WAIT_FOR):
            return
        # It is told of a moment after that was decided; the venue may be back since then.
        was_up = self._told_up["exchange"] and self._exchange_up_at < self._seconds()
        if not reason.startswith("halted: exchange:") or was_up:
            self._breach("exits", f"{order.key}, which can only reduce, was refused: {reason}")


def _forbidden(policy: Policy, order: Order) -> str | None:
    """Why an opening order may not be sent under this policy, as far as a plan's policies go.

    Told without the engine's own rules: those are what is watched.
    """
    if policy.active_mode is Mode.HALT:
        return "its mode is HALT"
    limit = policy.limits.max_order_notional
    if limit is None or order.price is None:  # the price it is judged by is the engine's affair
        return None
    # At its own price a sell is worth the least that it may be filled at: what breaks the limit
    # even so was allowed by another policy.
    notional = order.quantity * order.price
    return f"order notional {notional:f} is above {limit:f}" if notional > limit else None


def _newest(*policies: Policy | None) -> Policy | None:
    return max((p for p in policies if p is not None), key=lambda p: p.version, default=None)
