"""The gate: the one place that says whether an order may be put on the wire.

Promise: an order that opens or grows a position is written only while the gate
is open and in the same opening in which its permit was taken. Four design points
carry it.

*Epochs instead of a flag.* Every shut begins a new epoch; the gate is open only
while the epoch that was opened is the current one. So opening can not race
shutting: an opening that comes too late opens an epoch that is already past.
That is also why a recovery opens with the ticket it took on its way down.

*A lease of the event loop.* A loop that stands still sees no fault, so the open
gate must run out by itself: `check` compares a deadline that the loop keeps
moving with a clock that runs through suspend. Once it has run out, `renew`
refuses, and the engine has to prove its links anew.

*Permits are checked again at the last moment*, in the transport's last hook
before the socket write, because between a check and a write lie DNS, connection
set-up and whatever else awaits.

*Three levels.* Getting out must stay possible: orders that can only shrink a
position pass at REDUCING, which holds outside HEALTHY while the venue can be
reached, and for one symbol while an order of it is unknown.

`check`, and what a permit verifies, are closures over local variables and not methods:
they are called before every order of every strategy, and attribute look-ups were a
fifth of the cost. What remains is mostly the reading of the clock, which no check may
leave out.
`shut` may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import NamedTuple

from holdfast.states.table import Level

from .errors import TradingHalted

_of_operator: ContextVar[bool] = ContextVar("of_operator", default=False)


class Permit(NamedTuple):
    """Leave to write one order, valid for one gate epoch.

    `verify` is handed to the transport, which calls it before the socket write.
    """

    gate_epoch: int
    symbol: str
    opening: bool
    verify: Callable[[], object]


class Gate:
    """Starts shut.

    :param monotonic: seconds, running through suspend (`Clock.monotonic`).
    :param lease_seconds: how long an opening lasts without `renew`; None: for ever.
    :param on_blocked: told the reason of every refusal.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        lease_seconds: float | None,
        on_blocked: Callable[[str], None] | None = None,
    ) -> None:
        epoch = 1
        opened = 0
        deadline = 0.0
        reason = "not started"
        closed = False
        # Re-entrant: a signal handler may shut while its own thread is in here.
        lock = threading.RLock()
        restricted: dict[str, dict[str, str]] = {}

        def check() -> int:
            """Return the gate epoch, or say why not.

            :raises TradingHalted: with the reason in words.
            """
            current = epoch  # a thread may shut in between: the answer is the epoch compared
            if current == opened and monotonic() < deadline:
                return current
            raise self._refusal(self.reason)

        def verifier(permitted: int, symbol: str, client_order_id: str) -> Callable[[], None]:
            def verify() -> None:
                # `permitted` was opened when the permit was taken, so it still is if it is current.
                if permitted == epoch and symbol not in restricted and monotonic() < deadline:
                    return
                if check() != permitted:
                    raise self._refusal("the gate was shut and opened again since the permit")
                for other, why in restricted.get(symbol, {}).items():
                    if other != client_order_id:
                        raise self._refusal(f"{symbol} may only be reduced: {why}")

            return verify

        def shut(why: str) -> int:
            """Shut at once and begin a new epoch, which is returned. From any thread."""
            nonlocal epoch, reason, deadline
            with lock:
                epoch += 1
                deadline = 0.0
                reason = why
                return epoch

        def close(why: str) -> None:
            """Shut for good: no ticket opens it any more. From any thread."""
            nonlocal closed
            with lock:
                closed = True
                shut(why)

        def open_if(ticket: int) -> bool:
            """Open the epoch `ticket`, unless something has shut the gate since it was taken.

            A ticket opens once: used again, it would revive a lease that has run out.
            """
            nonlocal opened, deadline
            with lock:
                if closed or ticket != epoch or ticket == opened:
                    return False
                deadline = inf if lease_seconds is None else monotonic() + lease_seconds
                opened = ticket
                return True

        def renew() -> bool:
            """Move the lease on. False: the gate is shut, or the lease had run out."""
            nonlocal deadline
            if epoch != opened or lease_seconds is None:
                return epoch == opened
            now = monotonic()
            if now >= deadline:
                return False
            # Should a shut come between: it began a new epoch, which this does not open.
            deadline = now + lease_seconds
            return True

        def expired() -> bool:
            return epoch == opened and monotonic() >= deadline

        self.check = check
        self.shut = shut
        self.close = close
        self.open_if = open_if
        self.renew = renew
        self.expired = expired
        self._verifier = verifier
        self._epoch: Callable[[], int] = lambda: epoch
        self._is_open: Callable[[], bool] = lambda: epoch == opened and monotonic() < deadline
        self._shut_reason: Callable[[], str] = lambda: reason
        self._on_blocked = on_blocked
        self._floor = Level.HALTED
        self._floor_reason = "not started"
        self._floor_by_operator = False
        self._floor_out_of_reach = False
        self._restricted = restricted

    @property
    def epoch(self) -> int:
        """Counts the shuts. Taken as the ticket of a recovery."""
        return self._epoch()

    @property
    def is_open(self) -> bool:
        return self._is_open()

    @property
    def reason(self) -> str:
        """Why the gate is shut, in words; empty while it is open."""
        if self._is_open():
            return ""
        if self.expired():
            return "the event loop stalled: the gate's lease ran out"
        return self._shut_reason()

    def set_floor(
        self,
        level: Level,
        reason: str,
        *,
        by_operator: bool = False,
        out_of_reach: bool = False,
    ) -> None:
        """What stays allowed while the gate is shut: REDUCING or HALTED, and why.

        :param by_operator: HALTED by a person's word alone, so that the same person may
            still close positions (`operator`).
        :param out_of_reach: HALTED because the venue can not be reached, and nobody has decided
            that nothing may be sent.
        """
        self._floor = level
        self._floor_reason = reason
        self._floor_by_operator = by_operator
        self._floor_out_of_reach = out_of_reach

    @property
    def waits_for_the_venue(self) -> bool:
        """Whether an order that reduces is held up by nothing but a venue out of reach."""
        return not self._is_open() and self._floor is Level.HALTED and self._floor_out_of_reach

    @contextmanager
    def operator(self) -> Iterator[None]:
        """Inside, reducing orders pass a halt that is the operator's own.

        Only for the task that is inside: what a bot sends at the same time is halted.
        """
        token = _of_operator.set(True)
        try:
            yield
        finally:
            _of_operator.reset(token)

    def restrict(self, symbol: str, client_order_id: str, reason: str) -> None:
        """Make `symbol` REDUCING because of one order, until it is released."""
        self._restricted.setdefault(symbol, {})[client_order_id] = reason

    def release(self, symbol: str, client_order_id: str) -> None:
        by_order = self._restricted.get(symbol)
        if by_order is not None:
            by_order.pop(client_order_id, None)
            if not by_order:
                del self._restricted[symbol]

    def level(self, symbol: str | None = None) -> Level:
        """What may be written now, for the engine or for one symbol."""
        if not self._is_open():
            return self._floor
        if symbol is not None and symbol in self._restricted:
            return Level.REDUCING
        return Level.ACTIVE

    def permit(self, symbol: str, *, opening: bool, client_order_id: str = "") -> Permit:
        """Leave to write one order of `symbol`.

        :param opening: whether it could open or grow a position.
        :param client_order_id: an order is not held up by its own restriction.
        :raises TradingHalted: with the reason in words.
        """
        if not opening:
            # Asked here, since the transport may call `verify` in a task of its own.
            allow = partial(self._allow_reducing, of_operator=_of_operator.get())
            allow()
            return Permit(self.epoch, symbol, False, allow)
        epoch = self.check()
        verify = self._verifier(epoch, symbol, client_order_id)
        if symbol in self._restricted:
            verify()
        return Permit(epoch, symbol, True, verify)

    def _allow_reducing(self, *, of_operator: bool) -> None:
        if of_operator and self._floor_by_operator:
            return
        if not self._is_open() and self._floor is Level.HALTED:
            raise self._refusal(f"halted: {self._floor_reason}")

    def _refusal(self, reason: str) -> TradingHalted:
        if self._on_blocked is not None:
            self._on_blocked(reason)
        return TradingHalted(reason)


class GateView:
    """The gate as its users see it: it can be asked, and neither shut nor opened.

    To shut it, report a fault (`Engine.fault`) or halt (`Engine.halt`): the machine then knows,
    and walks the way up again. It opens by that way alone.

    :ivar check: returns the gate epoch, or raises `TradingHalted` with the reason in words. An
        attribute, not a method: it is the gate's own function, without a call in between.
    """

    __slots__ = ("_gate", "check")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.check = gate.check

    @property
    def epoch(self) -> int:
        """Counts the shuts. What `check` returned is still good while it is this."""
        return self._gate.epoch

    @property
    def is_open(self) -> bool:
        """Whether orders that open positions may be written."""
        return self._gate.is_open

    @property
    def reason(self) -> str:
        """Why it is shut, in words; empty while it is open."""
        return self._gate.reason

    def level(self, symbol: str | None = None) -> Level:
        """What may be written now, for the engine or for one symbol."""
        return self._gate.level(symbol)
