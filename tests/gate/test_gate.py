"""The gate: what passes it, what does not, and that it says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.errors import TradingHalted
from holdfast.gate import Gate, GateView
from holdfast.states.table import Level

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def gate(clock: Hand) -> Gate:
    """Open, with a lease of a quarter of a second."""
    gate = Gate(monotonic=clock, lease_seconds=0.25)
    gate.set_floor(Level.REDUCING, "recovering")
    assert gate.open_if(gate.epoch)
    return gate


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(TradingHalted) as refused:
        call()
    assert refused.value.reason == str(refused.value)
    return refused.value.reason


# --- open and shut ---------------------------------------------------------------------


def test_it_starts_shut_and_halted(clock: Hand) -> None:
    gate = Gate(monotonic=clock, lease_seconds=None)
    assert not gate.is_open
    assert gate.level() is gate.level(BTC) is Level.HALTED
    assert refusal(gate.check) == "not started"
    assert refusal(lambda: gate.permit(BTC, opening=True)) == "not started"
    assert refusal(lambda: gate.permit(BTC, opening=False)) == "halted: not started"


def test_a_ticket_opens_the_epoch_it_was_taken_in_and_no_later_one(gate: Gate) -> None:
    ticket = gate.shut("first")
    assert gate.shut("second") == ticket + 1
    assert not gate.open_if(ticket)
    assert not gate.is_open
    assert gate.reason == "second"
    assert gate.open_if(ticket + 1)
    assert gate.check() == gate.epoch == ticket + 1
    assert gate.reason == ""


def test_a_ticket_opens_once(gate: Gate, clock: Hand) -> None:
    """Else an opening that comes twice would revive a lease that had run out."""
    clock.now += 1
    assert gate.expired()
    assert not gate.open_if(gate.epoch)
    assert not gate.is_open


def test_the_reason_is_the_latest(gate: Gate) -> None:
    gate.shut("bus: connection reset")
    gate.shut("policy: connection reset")
    assert refusal(gate.check) == gate.reason == "policy: connection reset"


# --- the lease of the loop -------------------------------------------------------------


def test_the_lease_runs_out_by_itself_and_says_so(gate: Gate, clock: Hand) -> None:
    clock.now += 0.2499
    assert gate.check() == gate.epoch
    clock.now += 0.0002
    assert not gate.is_open
    assert gate.expired()
    assert gate.level() is Level.REDUCING
    assert refusal(gate.check) == "the event loop stalled: the gate's lease ran out"


def test_renewing_moves_it_on(gate: Gate, clock: Hand) -> None:
    for _ in range(100):
        clock.now += 0.2
        assert gate.renew()
        assert gate.check() == gate.epoch
    assert not gate.expired()


def test_a_lease_that_has_run_out_is_never_renewed(gate: Gate, clock: Hand) -> None:
    clock.now += 0.25
    assert not gate.renew()
    assert not gate.is_open
    assert gate.expired()


def test_a_suspended_machine_wakes_with_the_gate_shut(gate: Gate, clock: Hand) -> None:
    permit = gate.permit(BTC, opening=True)
    clock.now += 8 * 3600.0
    refusal(gate.check)
    assert "stalled" in refusal(permit.verify)
    assert not gate.renew()
    gate.shut("proving the links again")
    assert gate.open_if(gate.epoch)
    assert gate.check() == gate.epoch
    assert "opened again" in refusal(permit.verify)


def test_a_shut_gate_is_not_renewed_and_has_not_expired(gate: Gate, clock: Hand) -> None:
    gate.shut("a fault")
    assert not gate.renew()
    clock.now += 10
    assert not gate.expired()
    assert gate.reason == "a fault"


def test_without_a_lease_it_stays_open(clock: Hand) -> None:
    gate = Gate(monotonic=clock, lease_seconds=None)
    gate.open_if(gate.epoch)
    clock.now += 1e9
    assert gate.check() == gate.epoch
    assert gate.renew()
    gate.shut("a fault")
    assert not gate.renew()


# --- permits ---------------------------------------------------------------------------


def test_a_permit_ends_with_its_epoch_also_if_the_gate_is_open_again(gate: Gate) -> None:
    permit = gate.permit(BTC, opening=True)
    permit.verify()
    gate.shut("a fault")
    assert refusal(permit.verify) == "a fault"
    gate.open_if(gate.epoch)
    assert "opened again since the permit" in refusal(permit.verify)
    gate.permit(BTC, opening=True).verify()


def test_no_opening_order_passes_where_check_raises(gate: Gate, clock: Hand) -> None:
    """Whatever shut it: permit and verify refuse exactly when `check` does."""

    def shut() -> None:
        gate.shut("a fault")

    def stall() -> None:
        clock.now += 1

    for close in (shut, stall):
        gate.shut("anew")
        gate.open_if(gate.epoch)
        permit = gate.permit(BTC, opening=True)
        close()
        refusal(gate.check)
        refusal(permit.verify)
        refusal(lambda: gate.permit(BTC, opening=True))


def test_a_reducing_permit_outlives_a_shut_but_not_a_halt(gate: Gate) -> None:
    permit = gate.permit(BTC, opening=False)
    gate.shut("a fault")
    permit.verify()
    gate.set_floor(Level.HALTED, "exchange: unreachable")
    assert refusal(permit.verify) == "halted: exchange: unreachable"
    gate.set_floor(Level.REDUCING, "")
    permit.verify()


def test_an_open_gate_lets_reducing_orders_pass_whatever_the_floor(gate: Gate) -> None:
    gate.set_floor(Level.HALTED, "not yet refreshed")
    gate.permit(BTC, opening=False).verify()


# --- levels ----------------------------------------------------------------------------


def test_levels_of_the_engine_and_of_one_symbol(gate: Gate) -> None:
    assert (gate.level(), gate.level(BTC)) == (Level.ACTIVE, Level.ACTIVE)
    gate.restrict(BTC, "order-1", "unknown")
    assert (gate.level(), gate.level(BTC), gate.level(ETH)) == (
        Level.ACTIVE,
        Level.REDUCING,
        Level.ACTIVE,
    )
    gate.shut("a fault")
    gate.set_floor(Level.HALTED, "exchange: unreachable")
    assert gate.level(BTC) is gate.level(ETH) is gate.level() is Level.HALTED


def test_a_restricted_symbol_takes_no_entries_and_all_exits(gate: Gate) -> None:
    gate.restrict(BTC, "order-1", "the outcome of an order is unknown")
    assert refusal(lambda: gate.permit(BTC, opening=True)) == (
        f"{BTC} may only be reduced: the outcome of an order is unknown"
    )
    gate.permit(BTC, opening=False).verify()
    gate.permit(ETH, opening=True).verify()


def test_a_restriction_holds_for_a_permit_taken_before_it(gate: Gate) -> None:
    permit = gate.permit(BTC, opening=True)
    gate.restrict(BTC, "order-1", "unknown")
    assert "may only be reduced" in refusal(permit.verify)
    gate.release(BTC, "order-1")
    permit.verify()


def test_an_order_is_not_held_up_by_its_own_restriction_but_by_others(gate: Gate) -> None:
    gate.restrict(BTC, "order-1", "unknown")
    permit = gate.permit(BTC, opening=True, client_order_id="order-1")
    permit.verify()
    gate.restrict(BTC, "order-2", "unknown too")
    assert "unknown too" in refusal(permit.verify)


def test_every_restriction_must_be_released(gate: Gate) -> None:
    gate.restrict(BTC, "order-1", "unknown")
    gate.restrict(BTC, "order-2", "unknown")
    gate.release(BTC, "order-1")
    gate.release(BTC, "order-1")
    gate.release(ETH, "order-2")
    assert gate.level(BTC) is Level.REDUCING
    gate.release(BTC, "order-2")
    assert gate.level(BTC) is Level.ACTIVE


# --- the operator ----------------------------------------------------------------------


def test_the_operator_may_reduce_through_his_own_halt_only(gate: Gate) -> None:
    gate.shut("halted")
    gate.set_floor(Level.HALTED, "operator: enough", by_operator=True)
    assert refusal(lambda: gate.permit(BTC, opening=False)) == "halted: operator: enough"
    with gate.operator():
        gate.permit(BTC, opening=False).verify()
        refusal(lambda: gate.permit(BTC, opening=True))
    refusal(lambda: gate.permit(BTC, opening=False))

    gate.set_floor(Level.HALTED, "lease: another instance holds it")
    with gate.operator():
        assert "lease" in refusal(lambda: gate.permit(BTC, opening=False))


def test_the_operators_leave_ends_with_the_last_of_nested_uses(gate: Gate) -> None:
    gate.shut("halted")
    gate.set_floor(Level.HALTED, "operator: enough", by_operator=True)
    with pytest.raises(LookupError), gate.operator(), gate.operator():
        raise LookupError
    refusal(lambda: gate.permit(BTC, opening=False))


# --- who is told -----------------------------------------------------------------------


def test_every_refusal_is_told_with_its_reason(clock: Hand) -> None:
    told: list[str] = []
    gate = Gate(monotonic=clock, lease_seconds=1.0, on_blocked=told.append)
    refusal(gate.check)
    refusal(lambda: gate.permit(BTC, opening=False))
    gate.open_if(gate.epoch)
    gate.restrict(BTC, "order-1", "unknown")
    refusal(lambda: gate.permit(BTC, opening=True))
    gate.check()
    assert told == [
        "not started",
        "halted: not started",
        f"{BTC} may only be reduced: unknown",
    ]


# --- what a user sees of it --------------------------------------------------------------


def test_the_view_says_what_the_gate_says(gate: Gate, clock: Hand) -> None:
    view = GateView(gate)
    assert (view.is_open, view.reason, view.level(), view.level(BTC)) == (
        (True, "", Level.ACTIVE, Level.ACTIVE)
    )
    assert view.check() == view.epoch == gate.epoch
    assert view.check is gate.check, "nothing in between: it is asked before every order"
    gate.restrict(BTC, "cid", "one is unknown")
    assert (view.level(BTC), view.level(ETH)) == (Level.REDUCING, Level.ACTIVE)
    clock.now += 1
    assert not view.is_open
    assert "stalled" in view.reason
    epoch = gate.shut("because")
    assert (view.epoch, view.reason, view.level()) == (epoch, "because", Level.REDUCING)
    assert refusal(view.check) == "because"


def test_through_the_view_the_gate_can_not_be_moved(gate: Gate) -> None:
    view = GateView(gate)
    names = {name for name in dir(view) if not name.startswith("_")}
    assert names == {"check", "epoch", "is_open", "level", "reason"}
    with pytest.raises(AttributeError):
        view.shut = gate.shut  # type: ignore[attr-defined]
