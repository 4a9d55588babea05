"""Carries a plan out: each fault at its time, and its end.

Faults may overlap, so what two of them switch off comes back when the later one ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from holdfast.transports.sim.faults import Fault as VenueFault

from .lives import Lives, Mortal
from .plan import (
    AnyFault,
    DiskError,
    DiskFull,
    ExchangeOutage,
    Flap,
    ForeignTrade,
    Funding,
    Hold,
    Kill,
    LaggingReads,
    LostAcks,
    OrderFault,
    PolicyChange,
    QuestionFault,
    RefusedAppend,
    Restart,
    SecondCopy,
    ServerOutage,
    SnapshotFault,
    Stall,
    StreamFault,
    Suspend,
    VenueClockSkew,
    WallClockJump,
)
from .world import World

FRAMES_OF_AN_ORDER: Final = 2
"""Of the user stream: that it is taken, and that it is filled."""
_P = TypeVar("_P", bound=Mortal)


class Script(Generic[_P]):
    """
    :param lives: where processes start and die.
    """

    def __init__(self, world: World, lives: Lives[_P]) -> None:
        self._world = world
        self._lives = lives
        self._depth: Counter[str] = Counter()
        self._over = False
        self._faults = iter(sorted(world.plan.faults, key=lambda fault: fault.at_seconds))

    def begin(self) -> None:
        """Set the time of the first fault; each sets that of the next.

        So a plan with a fault less takes the same steps until it would have struck. (A timer
        more would shift the chance by which the loop orders timers of one instant.)
        """
        self._set_next()

    def end(self) -> None:
        """The faults stop: everything outside works from now on."""
        world = self._world
        self._over = True
        world.venue.faults.clear()
        world.bus_server.lose_acks(0)
        world.overtaking.clear()
        for server in (world.bus_server, world.store_server):
            server.up()
        world.line.set_up()
        world.disk.full = False
        world.disk.fail_syncs(0)
        for switch in world.noise.values():
            switch.on = False
        self._lives.disarm()
        world.note("the faults stop")

    def _set_next(self) -> None:
        world, fault = self._world, next(self._faults, None)
        if fault is not None:
            world.loop.call_at(fault.at_seconds, self._strike, fault)
        else:  # in the place of a fault that may have been left out
            world.loop.call_at(world.plan.horizon_seconds, lambda: None)

    def _strike(self, fault: AnyFault) -> None:
        self._set_next()
        if self._over:
            return
        self._world.note(f"fault: {str(fault).strip()}")
        self._begin(fault)

    def _begin(self, fault: AnyFault) -> None:
        world, faults = self._world, self._world.venue.faults
        match fault:
            case ServerOutage():
                self._server_outage(fault)
            case LostAcks(count=count):
                world.bus_server.lose_acks(count)
            case RefusedAppend(after=after):
                world.bus_server.refuse_append("planned refusal", after=after)
            case ForeignTrade(side=side, quantity=quantity):
                world.trade_by_another_hand(side, quantity)
            case Funding(rate=rate):
                for symbol in world.symbols:
                    world.venue.on_funding(symbol, rate)
            case Flap(server=name):
                world.server(name).drop_connections("the network hiccuped")
            case PolicyChange():
                self._policy_change(fault)
            case ExchangeOutage():
                self._exchange_outage(fault)
            case OrderFault():
                faults.arm("place", _venue_fault(fault), count=fault.count)
                if fault.unheard:
                    faults.arm_stream("drop", count=FRAMES_OF_AN_ORDER * fault.count)
            case SnapshotFault(count=count):
                faults.arm("snapshot", _unanswered(fault), count=count)
            case QuestionFault(count=count):
                faults.arm("query", _unanswered(fault), count=count)
            case LaggingReads(seconds=seconds, lag_ms=lag, positions_ms=positions_lag):
                faults.query_lag_ms, faults.position_lag_ms = lag, positions_lag
                self._for(seconds, "lag", self._catch_up)
            case StreamFault(action=action, count=count, point=point):
                arm = partial(faults.arm_stream, action, count=count)
                if point == "now":
                    arm()
                else:
                    world.afterwards.append(arm)
            case VenueClockSkew(seconds=seconds, skew_ms=skew):
                faults.clock_skew_ms = skew
                self._for(seconds, "skew", lambda: setattr(faults, "clock_skew_ms", 0))
            case WallClockJump(jump_seconds=seconds):
                self._lives.clock.jump_wall(seconds)
            case Suspend(asleep_seconds=seconds):
                self._lives.stood_still(seconds)
                # Time goes on for all; it is the timers that do not know.
                for clock in (world.clock, *self._lives.clocks):
                    clock.suspend(seconds)
            case Stall(stall_seconds=seconds, point="now"):
                self._lives.stall(seconds)
            case Stall(stall_seconds=seconds, point=moment):
                self._lives.plan(moment, partial(self._lives.stall, seconds))
            case DiskFull(seconds=seconds):
                world.disk.full = True
                self._for(seconds, "disk", lambda: setattr(world.disk, "full", False))
            case DiskError(syncs=syncs):
                world.disk.fail_syncs(syncs)
            case Kill():
                self._lives.plan_kill(fault)
            case Restart(seconds=seconds):
                self._lives.restart(seconds)
            case SecondCopy(seconds=seconds, cleanly=cleanly):
                self._lives.start_second_copy()
                stop = partial(self._lives.stop_second_copy, cleanly=cleanly)
                self._for(seconds, "copy", stop)
            case Hold(seconds=seconds, flatten=flatten):
                self._lives.hold(flatten=flatten)
                self._for(seconds, "hold", self._lives.lift_hold)

    def _server_outage(self, fault: ServerOutage) -> None:
        world, server = self._world, self._world.server(fault.server)
        server.down(f"outage of the {fault.server}")

        if fault.data == "emptied":
            server.wipe()
        elif fault.data == "rolled_back":
            server.roll_back(fault.entries)
        if fault.data != "kept" and server is world.bus_server:
            world.bus_has_lost = True
        name = "server" if world.bus_server is world.store_server else fault.server
        self._for(fault.seconds, name, server.up)

    def _policy_change(self, fault: PolicyChange) -> None:
        world = self._world
        change = partial(world.change_policy, fault.mode, fault.max_order_notional)
        match fault.point:
            case "now":
                change()
            case "refused":
                self._lives.plan("refused", change)
            case "storing":
                world.overtaking.append(change)
                self._lives.have_policy_set()
            case "afterwards":
                world.afterwards.append(change)

    def _catch_up(self) -> None:
        faults = self._world.venue.faults
        faults.query_lag_ms = faults.position_lag_ms = 0

    def _exchange_outage(self, fault: ExchangeOutage) -> None:
        line = self._world.line
        line.set_down(
            "outage of the venue",
            rest=fault.half != "stream",
            stream=fault.half != "rest",
            silent=fault.silent,
        )
        self._for(fault.seconds, "line", line.set_up)

    def _for(self, seconds: float, what: str, undo: Callable[[], object]) -> None:
        """Call `undo` after `seconds`, unless another fault still keeps `what` switched off."""
        self._depth[what] += 1

        def lift() -> None:
            self._depth[what] -= 1
            if not self._depth[what] and not self._over:
                self._world.note(f"over: {what}")
                undo()

        self._world.loop.call_later(seconds, lift)


def _unanswered(fault: SnapshotFault | QuestionFault) -> VenueFault:
    match fault.effect:
        case "lost_reply":
            return VenueFault.lost_reply()
        case "reset":
            return VenueFault(reply="reset")
        case "refused":
            return VenueFault.refusal(-1001, "planned refusal", status=500)


def _venue_fault(fault: OrderFault) -> VenueFault:
    match fault.effect:
        case "lost_request":
            return VenueFault.lost_request()
        case "lost_reply":
            return VenueFault.lost_reply()
        case "reset":
            return VenueFault(reply="reset")
        case "refused":
            refusal = VenueFault.refusal(fault.code, "planned refusal", status=fault.status)
            return replace(refusal, retry_after_seconds=fault.retry_after_seconds)
        case "late":
            return VenueFault(delay_before_seconds=fault.delay_seconds)
