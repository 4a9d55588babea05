"""What a reply to an order proves: Binance USDⓈ-M status and code to outcome class.

Decided by the raw number, never by an exception class or a text, because the same
text comes with different numbers. Accepted is only what names our own order; what
is not listed here is UNKNOWN, since a wrong "not executed" would place an order twice.
Sources: developers.binance.com, USDⓈ-M "Error Codes" and "General Info", unless noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from holdfast.model import OutcomeKind, PlaceOutcome

DOES_NOT_EXIST: Final = -2013
"""GET order: the venue has no such order, or does not show it yet."""
UNKNOWN_ORDER: Final = -2011
"""DELETE order: filled, already cancelled, or never there."""
NO_SUCH_LISTEN_KEY: Final = -1125
"""PUT listenKey: the key has expired, or was ended by somebody else with the same account."""
TIMESTAMP_CODES: Final = (-1021, -5028)
"""The request's time stamp was refused, by the gateway or by the matching engine."""
NOTHING_TO_REDUCE: Final = (-2022, -4118)
"""Of an order that may only reduce: there is no such position, or other orders take all of it."""
SHORTEST_BAN_SECONDS: Final = 120.0
"""Bans last "from 2 minutes to 3 days"; for one that does not say how long it lasts."""

CODES: Final[Mapping[int, OutcomeKind]] = {
    # 10xx: the server. "Execution status unknown" stands in the list for -1006 and -1007;
    # -1001 claims that a retry is allowed, but has been seen with orders that executed
    # (ccxt#13767), and asking costs one request.
    -1000: OutcomeKind.UNKNOWN,
    -1001: OutcomeKind.UNKNOWN,
    -1006: OutcomeKind.UNKNOWN,
    -1007: OutcomeKind.UNKNOWN,
    -1008: OutcomeKind.NOT_EXECUTED,  # overloaded: refused before the matching engine
    -1003: OutcomeKind.THROTTLED,
    -1015: OutcomeKind.THROTTLED,
    **dict.fromkeys(TIMESTAMP_CODES, OutcomeKind.CLOCK),
    -1002: OutcomeKind.AUTH,
    -1022: OutcomeKind.AUTH,
    -2014: OutcomeKind.AUTH,
    -2015: OutcomeKind.AUTH,
    -2017: OutcomeKind.AUTH,  # the account's keys are locked
    -4116: OutcomeKind.EXISTS,
    **dict.fromkeys(
        (
            *NOTHING_TO_REDUCE,
            -2010,  # new order rejected
            -2018,  # balance not sufficient
            -2019,  # margin not sufficient
            -2020,  # unable to fill
            -2021,  # order would immediately trigger
            -2023,  # user in liquidation mode
            -2024,  # position not sufficient
            -2025,  # reached max open order limit
            -2026,  # this type is not supported when reduceOnly
            -2027,  # maximum position at this leverage
            -2028,  # leverage too small for this quantity
            -4109,  # inactive account
            -4120,  # this order type belongs to the algo endpoint
            -4131,  # PERCENT_PRICE of the counterparty's best price
            -4140,  # symbol status does not allow this order
            -4141,  # the symbol is closed
            -4142,  # a stop or take-profit would trigger at once
            -4164,  # minimum notional
            -4183,  # price above the stop price multiplier cap
            -4184,  # price below its floor
            -4192,  # cooling-off period
            -4210,  # stop price above the price multiplier cap
            -4211,  # stop price below its floor
            -4400,  # quantitative rules: only reducing is allowed
            -4401,  # risk control of large positions: only reducing is allowed
            -4402,  # not available in this region
            -5021,  # fill-or-kill could not be filled; not recorded
            -5022,  # post-only would take; not recorded
        ),
        OutcomeKind.REJECTED,
    ),
}

STATUSES: Final[Mapping[int, OutcomeKind]] = {
    418: OutcomeKind.BANNED,
    429: OutcomeKind.THROTTLED,
    403: OutcomeKind.BANNED,  # the web application firewall: going on makes it worse
    451: OutcomeKind.AUTH,  # not served in this country: no retry will help
}
"""Those that say it all, whatever the body says."""

# "11xx - Request issues" and the filters at the head of "40xx - Filters and other issues":
# found while reading the request, before it is an order.
_REFUSED_UNREAD: Final = (range(-1199, -1099), range(-4099, -3999))

_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})")


def kind_of_code(code: int, message: str = "") -> OutcomeKind:
    """The class of a refusal that carries a code."""
    kind = CODES.get(code)
    if kind is None:
        if any(code in codes for codes in _REFUSED_UNREAD):
            return OutcomeKind.REJECTED
        return OutcomeKind.UNKNOWN
    if code == -2010 and "duplicate" in message.lower():
        return OutcomeKind.EXISTS
    return kind


def classify_refusal(
    *,
    status: int,
    code: int | None,
    message: str,
    retry_after_seconds: float | None = None,
    now_ms: int | None = None,
) -> PlaceOutcome:
    """The outcome of an order answered with anything but an order.

    :param status: HTTP status.
    :param code: `code` of the JSON body, None if there was none to read.
    :param message: `msg` of the body, or the body's beginning.
    :param retry_after_seconds: the header Retry-After.
    :param now_ms: venue time, to turn "banned until <ms>" into a duration.
    """
    kind = _kind(status, code, message)
    if retry_after_seconds is None and (until := _BANNED_UNTIL.search(message)):
        kind = OutcomeKind.BANNED
        if now_ms is not None:
            retry_after_seconds = max(0.0, (int(until[1]) - now_ms) / 1000)
    reason = f"HTTP {status}" + (f", {code}" if code is not None else "")
    return PlaceOutcome(
        kind=kind,
        reason=f"{reason}: {message}" if message else reason,
        code=code,
        retry_after_seconds=retry_after_seconds,
        nothing_to_reduce=kind is OutcomeKind.REJECTED and code in NOTHING_TO_REDUCE,
    )


def silence_seconds(outcome: PlaceOutcome) -> float:
    """For how long the venue wants to be left alone by everybody at this address, after a
    refusal of whatever request; 0: it does not say so.
    """
    if outcome.retry_after_seconds is None and outcome.kind is OutcomeKind.BANNED:
        return SHORTEST_BAN_SECONDS
    return outcome.retry_after_seconds or 0.0


def _kind(status: int, code: int | None, message: str) -> OutcomeKind:
    if status < 400:
        return OutcomeKind.UNKNOWN  # a success that does not name our order
    if (kind := STATUSES.get(status)) is not None:
        return kind
    if code is not None:
        return kind_of_code(code, message)
    if status == 503 and message.strip().rstrip(".") == "Service Unavailable":
        # "The request failed; you may retry": of the three texts of 503 the one that
        # says so without a doubt ("Unknown error, please check..." may have executed).
        return OutcomeKind.NOT_EXECUTED
    return OutcomeKind.UNKNOWN
