"""Execution clients that are wrong in one way each, and the check that must say so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
from sim_rigs import PreparingClient

from holdfast.errors import LinkDown
from holdfast.model import (
    ExecutionReport,
    Fill,
    Instrument,
    OrderSnapshot,
    OrderStatus,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    Position,
    QueryKind,
    QueryOutcome,
)
from holdfast.ports import ExecutionWatch
from holdfast.transports.sim import SimExecutionClient
from holdfast.transports.sim.conditional import FIRST_ALGO_ID

Permit = Callable[[], object]
PAGE = 1000
BROKEN: list[tuple[type[SimExecutionClient], str, str]] = []
"""The client, the check that goes red, and words of the promise that it names."""


def caught_by(
    check: str, words: str
) -> Callable[[type[SimExecutionClient]], type[SimExecutionClient]]:
    def register(client: type[SimExecutionClient]) -> type[SimExecutionClient]:
        BROKEN.append((client, check, words))
        return client

    return register


def granted() -> None:
    """A permit that was not asked for."""


# --- permit ------------------------------------------------------------------------


@caught_by("the_permit_is_asked_after_connecting", "at the last moment")
class AsksFirst(SimExecutionClient):
    async def place(
        self, request: PlaceRequest, *, permit: Permit, timeout_seconds: float
    ) -> PlaceOutcome:
        permit()
        return await super().place(request, permit=granted, timeout_seconds=timeout_seconds)


@caught_by("what_the_permit_raises_passes_and_nothing_is_sent", "nothing was sent")
@caught_by("a_call_cancelled_at_once_keeps_its_word", "nothing is sent")
class AsksTooLate(SimExecutionClient):
    async def place(
        self, request: PlaceRequest, *, permit: Permit, timeout_seconds: float
    ) -> PlaceOutcome:
        outcome = await super().place(request, permit=granted, timeout_seconds=timeout_seconds)
        await anyio.lowlevel.checkpoint()
        permit()
        return outcome


@caught_by("what_the_permit_raises_passes_and_nothing_is_sent", "passes through")
class TakesTheRefusalForTheNetworks(SimExecutionClient):
    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        try:
            return await super().place(request, **more)
        except OSError as error:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason=repr(error))


@caught_by("accepts_and_reports_an_order", "without asking")
class NeverAsks(SimExecutionClient):
    async def place(
        self, request: PlaceRequest, *, permit: Permit, timeout_seconds: float
    ) -> PlaceOutcome:
        return await super().place(request, permit=granted, timeout_seconds=timeout_seconds)


@caught_by("an_order_that_is_not_ready_does_not_leave", "passes through")
class TakesNotReadyForTheNetworks(PreparingClient):
    async def place_when_ready(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        try:
            return await super().place_when_ready(request, **more)
        except OSError as error:
            return PlaceOutcome(kind=OutcomeKind.NOT_EXECUTED, reason=repr(error))


@caught_by("an_order_that_is_not_ready_does_not_leave", "`permit` is asked after `ready`")
class AsksBeforeItIsReady(PreparingClient):
    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Permit,
        timeout_seconds: float,
    ) -> PlaceOutcome:
        permit()
        return await super().place_when_ready(
            request, ready=ready, permit=granted, timeout_seconds=timeout_seconds
        )


@caught_by("an_order_that_is_not_ready_does_not_leave", "was not sent")
class SendsWhatIsNotReady(PreparingClient):
    async def place_when_ready(
        self, request: PlaceRequest, *, ready: Callable[[], Awaitable[object]], **more: Any
    ) -> PlaceOutcome:
        outcome = await self.place(request, permit=granted, timeout_seconds=more["timeout_seconds"])
        await ready()
        return outcome


# --- placing -----------------------------------------------------------------------


@caught_by("a_lost_reply_is_unknown_and_sent_once", "taken 2 times")
class Retries(SimExecutionClient):
    async def place(
        self, request: PlaceRequest, *, permit: Permit, timeout_seconds: float
    ) -> PlaceOutcome:
        outcome = await super().place(request, permit=permit, timeout_seconds=timeout_seconds)
        if outcome.kind is not OutcomeKind.UNKNOWN:
            return outcome
        return await super().place(request, permit=granted, timeout_seconds=timeout_seconds)


@caught_by("a_broken_connection_is_unknown", "`permit` was asked 2 times")
class RetriesWithPermission(SimExecutionClient):
    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        outcome = await super().place(request, **more)
        if outcome.kind is OutcomeKind.UNKNOWN:
            outcome = await super().place(request, **more)
        return outcome


class Renames(SimExecutionClient):
    """Calls one kind of outcome another."""

    renamed: OutcomeKind
    name_given: OutcomeKind

    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        outcome = await super().place(request, **more)
        if outcome.kind is not self.renamed:
            return outcome
        return msgspec.structs.replace(outcome, kind=self.name_given)


@caught_by("a_lost_request_is_unknown", "nobody can tell")
@caught_by("a_lost_reply_is_unknown_and_sent_once", "nobody can tell")
@caught_by("a_broken_connection_is_unknown", "nobody can tell")
@caught_by("an_attempt_at_a_conditional_order_is_judged_as_any", "nobody can tell")
@caught_by("a_request_held_up_is_unknown", "nobody can tell")
@caught_by("a_failing_venue_is_unknown", "says nothing of the order")
class TakesSilenceForNo(Renames):
    renamed, name_given = OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED


@caught_by("too_many_requests_are_told_as_such", "THROTTLED or BANNED")
class OverlooksThrottling(Renames):
    renamed, name_given = OutcomeKind.THROTTLED, OutcomeKind.NOT_EXECUTED


@caught_by("an_id_of_an_open_order_exists", "an id that an open order has")
class TakesExistsForNo(Renames):
    renamed, name_given = OutcomeKind.EXISTS, OutcomeKind.REJECTED


@caught_by("what_the_venue_says_no_to_is_rejected", "will never be accepted")
class TakesNoForNotYet(Renames):
    renamed, name_given = OutcomeKind.REJECTED, OutcomeKind.NOT_EXECUTED


@caught_by("a_lost_request_is_unknown", "never raises")
@caught_by("a_failing_venue_is_unknown", "never raises")
class RaisesWithoutAnAnswer(SimExecutionClient):
    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        outcome = await super().place(request, **more)
        if outcome.kind is OutcomeKind.UNKNOWN:
            raise TimeoutError(outcome.reason)
        return outcome


@caught_by("a_lost_request_is_unknown", "answers within `timeout_seconds`")
class WaitsForEver(SimExecutionClient):
    async def place(
        self, request: PlaceRequest, *, permit: Permit, timeout_seconds: float
    ) -> PlaceOutcome:
        return await super().place(request, permit=permit, timeout_seconds=3600)


@caught_by("cancellation_passes_through", "cancellation passes through")
class SwallowsCancellation(SimExecutionClient):
    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        try:
            return await super().place(request, **more)
        except asyncio.CancelledError:
            return PlaceOutcome(kind=OutcomeKind.UNKNOWN, reason="cancelled")


@caught_by("the_venue_judges_the_signed_time_and_window", "signed as given")
class WidensTheWindow(SimExecutionClient):
    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        wide = msgspec.structs.replace(request, recv_window_ms=60_000)
        return await super().place(wide, **more)


@caught_by("many_at_once_keep_their_answers_apart", "its own answer")
class CrossesAnswers(SimExecutionClient):
    last: PlaceOutcome

    async def place(self, request: PlaceRequest, **more: Any) -> PlaceOutcome:
        self.last = await super().place(request, **more)
        await anyio.lowlevel.checkpoint()
        return self.last


# --- asking after an order ---------------------------------------------------------


@caught_by("found_absent_and_unanswered_are_told_apart", "nobody answered")
@caught_by("a_cancel_without_an_answer_can_be_repeated", "nobody answered")
@caught_by("questions_after_a_conditional_order_can_fail", "nobody answered")
class TakesSilenceForAbsence(SimExecutionClient):
    async def query(self, *order: Any, **more: Any) -> QueryOutcome:
        return self._absent(await super().query(*order, **more))

    async def cancel(self, *order: Any, **more: Any) -> QueryOutcome:
        return self._absent(await super().cancel(*order, **more))

    def _absent(self, outcome: QueryOutcome) -> QueryOutcome:
        if outcome.kind is QueryKind.UNANSWERED:
            return QueryOutcome(kind=QueryKind.ABSENT, reason=outcome.reason)
        return outcome


@caught_by("cancel_tells_how_the_order_stands", "safe to repeat")
@caught_by("a_cancel_without_an_answer_can_be_repeated", "safe to repeat")
@caught_by("a_conditional_order_waits_and_is_cancelled", "safe to repeat")
class CancelsOnce(SimExecutionClient):
    async def cancel(self, *order: Any, **more: Any) -> QueryOutcome:
        before = await self.query(*order, **more)
        if before.order is not None and before.order.status.final:
            return QueryOutcome(kind=QueryKind.ABSENT, reason="unknown order")
        return await super().cancel(*order, **more)


# --- conditional orders ------------------------------------------------------------


@caught_by("a_triggered_order_that_rests_is_open_and_can_be_cancelled", "what it waits, or waited")
@caught_by("a_triggered_order_is_told_as_one_with_the_order_made_of_it", "waits, or waited, for")
class ForgetsTheTrigger(SimExecutionClient):
    """Once an order was made of it, tells of that one as of any."""

    def plain(self, order: OrderSnapshot) -> OrderSnapshot:
        if int(order.venue_order_id) >= FIRST_ALGO_ID:
            return order
        return msgspec.structs.replace(order, trigger=None, trigger_price=None)

    async def query(self, *order: Any, **more: Any) -> QueryOutcome:
        outcome = await super().query(*order, **more)
        if outcome.order is None:
            return outcome
        return msgspec.structs.replace(outcome, order=self.plain(outcome.order))

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        return list(map(self.plain, await super().open_orders(timeout_seconds=timeout_seconds)))


@caught_by("a_triggered_order_is_told_as_one_with_the_order_made_of_it", "status of the order made")
@caught_by("a_triggered_order_that_rests_is_open_and_can_be_cancelled", "reaches the order made")
class StopsAtTheTrigger(SimExecutionClient):
    """Knows the place where conditional orders wait, and not what becomes of them."""

    async def query(self, *order: Any, conditional: bool = False, **more: Any) -> QueryOutcome:
        outcome = await super().query(*order, conditional=conditional, **more)
        if not conditional or outcome.order is None:
            return outcome
        status = outcome.order.status
        waits = OrderStatus.OPEN if status is OrderStatus.FILLED else status
        return msgspec.structs.replace(
            outcome, order=msgspec.structs.replace(outcome.order, status=waits)
        )

    async def cancel(self, *order: Any, conditional: bool = False, **more: Any) -> QueryOutcome:
        found = await self.query(*order, conditional=conditional, **more)
        if conditional and found.order and int(found.order.venue_order_id) < FIRST_ALGO_ID:
            return found
        return await super().cancel(*order, conditional=conditional, **more)


@caught_by("a_conditional_order_waits_and_is_cancelled", "among the open orders")
class ListsOrdersOnly(SimExecutionClient):
    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        found = await super().open_orders(timeout_seconds=timeout_seconds)
        return [order for order in found if not order.conditional]


# --- reading -----------------------------------------------------------------------


@caught_by("reads_fail_loudly_never_emptily", "raises LinkDown, None or an empty list")
@caught_by("a_line_that_is_down_is_told_and_comes_back", "raises LinkDown, None or an empty list")
class TakesSilenceForNothing(SimExecutionClient):
    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        try:
            return await super().open_orders(timeout_seconds=timeout_seconds)
        except LinkDown:
            return []


@caught_by("reads_fail_loudly_never_emptily", "it raised KeyError")
class RaisesWhatItLikes(SimExecutionClient):
    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        try:
            return await super().instruments(timeout_seconds=timeout_seconds)
        except LinkDown as error:
            raise KeyError("symbols") from error


@caught_by("tells_what_is_open_and_held", "short ones negative")
class HoldsWithoutSign(SimExecutionClient):
    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        held = await super().positions(timeout_seconds=timeout_seconds)
        return [msgspec.structs.replace(one, quantity=abs(one.quantity)) for one in held]


class ChangesFills(SimExecutionClient):
    def changed(self, fills: list[Fill]) -> list[Fill]:
        raise NotImplementedError

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        found = await super().fills(
            symbol, after_trade_id=after_trade_id, timeout_seconds=timeout_seconds
        )
        return self.changed(found)


@caught_by("fills_ascend_after_the_id_given", "ascend by trade id")
class LatestFillFirst(ChangesFills):
    def changed(self, fills: list[Fill]) -> list[Fill]:
        return fills[::-1]


@caught_by("fills_are_read_over_all_pages", "all pages are read")
class OnePageOfFills(ChangesFills):
    def changed(self, fills: list[Fill]) -> list[Fill]:
        return fills[:PAGE]


@caught_by("a_foreign_hand_is_seen", "never saw")
class FillsWithoutNames(ChangesFills):
    def changed(self, fills: list[Fill]) -> list[Fill]:
        return [msgspec.structs.replace(fill, client_order_id="") for fill in fills]


@caught_by("fills_ascend_after_the_id_given", "only fills with a greater trade id")
class FillsFromTheIdOn(SimExecutionClient):
    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        first = max(after_trade_id - 1, 0)
        return await super().fills(symbol, after_trade_id=first, timeout_seconds=timeout_seconds)


@caught_by("the_newest_trade_is_the_last_of_the_fills", "the newest trade id")
class NewestTradeOfItsOwn(SimExecutionClient):
    """Knows only of trades that it has been told of."""

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        return 0


@caught_by("instruments_say_what_the_venue_accepts", "by unified symbol")
class SpeaksTheVenuesNames(SimExecutionClient):
    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        found = await super().instruments(timeout_seconds=timeout_seconds)
        return {symbol.replace("/", "").partition(":")[0]: one for symbol, one in found.items()}


@caught_by("the_last_price_is_the_markets", "last traded at")
class RemembersThePrice(SimExecutionClient):
    first: Decimal | None = None

    async def run(self, watch: ExecutionWatch) -> None:
        self.first = await self.last_price("BTC/USDT:USDT", timeout_seconds=1)
        await super().run(watch)

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        return self.first or await super().last_price(symbol, timeout_seconds=timeout_seconds)


@caught_by("the_time_is_the_venues", "the venue's clock")
class TellsItsOwnTime(SimExecutionClient):
    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        asked = await super().venue_time_ms(timeout_seconds=timeout_seconds)
        return asked - self.line.core.faults.clock_skew_ms


# --- the link and the stream -------------------------------------------------------


@caught_by("connects_and_answers_a_probe", "which venue it is")
class Nameless(SimExecutionClient):
    def __init__(self, *line: Any) -> None:
        super().__init__(*line, venue="")


@caught_by("connects_and_answers_a_probe", "until cancelled; it returned")
class GivesUp(SimExecutionClient):
    async def run(self, watch: ExecutionWatch) -> None:
        watch.up()


class Overheard:
    """Stands before the watch of a client."""

    def __init__(self, watch: ExecutionWatch) -> None:
        self.watch = watch

    def up(self) -> None:
        self.watch.up()

    def down(self, reason: str) -> None:
        self.watch.down(reason)

    def stream_up(self) -> None:
        self.watch.stream_up()

    def stream_down(self, reason: str) -> None:
        self.watch.stream_down(reason)

    def report(self, report: ExecutionReport) -> None:
        self.watch.report(report)


class Mishears(SimExecutionClient):
    ear: type[Overheard]

    async def run(self, watch: ExecutionWatch) -> None:
        await super().run(self.ear(watch))


class _Once(Overheard):
    was_up = False

    def up(self) -> None:
        if not self.was_up:
            super().up()
        self.was_up = True


@caught_by("a_line_that_is_down_is_told_and_comes_back", "reconnects by itself")
class ConnectsOnce(Mishears):
    ear = _Once


class _Mute(Overheard):
    def down(self, reason: str) -> None:
        """Not told."""


@caught_by("a_line_that_is_down_is_told_and_comes_back", "when the line is cut")
class HidesTheOutage(Mishears):
    ear = _Mute


class _Curt(Overheard):
    def down(self, reason: str) -> None:
        super().down("")


@caught_by("a_line_that_is_down_is_told_and_comes_back", "say why")
class GivesNoReason(Mishears):
    ear = _Curt


class _Alarmed(Overheard):
    def stream_down(self, reason: str) -> None:
        super().stream_down(reason)
        self.watch.down(reason)


@caught_by("a_cut_stream_comes_back", "its own health")
class TakesTheStreamForTheLine(Mishears):
    ear = _Alarmed


class _LatestFirst(Overheard):
    held: ExecutionReport | None = None

    def report(self, report: ExecutionReport) -> None:
        if self.held is None and report.order.price is not None and report.fill is None:
            self.held = report
            return
        super().report(report)
        if self.held is not None:
            super().report(self.held)


@caught_by("reports_come_in_the_venues_order", "is reported")
class HoldsReportsBack(Mishears):
    ear = _LatestFirst


class _Again(Overheard):
    """Tells of an open order once more when it is filled."""

    opened: ExecutionReport | None = None

    def report(self, report: ExecutionReport) -> None:
        super().report(report)
        if report.fill is None:
            self.opened = report
        elif self.opened is not None:
            super().report(self.opened)


@caught_by("reports_come_in_the_venues_order", "in the venue's order")
@caught_by("accepts_and_reports_an_order", "in the venue's order")
class ReportsBackwards(Mishears):
    ear = _Again


class _WithoutFills(Overheard):
    def report(self, report: ExecutionReport) -> None:
        super().report(ExecutionReport(report.order))


@caught_by("accepts_and_reports_an_order", "make up the order")
class ReportsNoFills(Mishears):
    ear = _WithoutFills


@caught_by("a_client_that_ended_is_silent", "reports nothing more")
class TalksOn(SimExecutionClient):
    async def run(self, watch: ExecutionWatch) -> None:
        self.line.attach(watch)
        watch.up()
        watch.stream_up()
        await anyio.sleep_forever()
