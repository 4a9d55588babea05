"""What the venue, the account and the API key have to be; decided from what was seen, pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from holdfast.model import ExpectedAccount, Instrument, KeyRights, SymbolSettings
from holdfast.suggestion import did_you_mean

from .finding import Finding, fail, ok, skipped, warn

WITH_KEYS: Final = (
    "exchange.key",
    "exchange.trading_right",
    "exchange.withdrawal_right",
    "exchange.addresses",
    "exchange.position_mode",
    "exchange.stream",
)
SKEW_SHARE: Final = 0.5
"""Of the allowed skew, above which it is told."""


class Problem(NamedTuple):
    """Why something could not be learnt."""

    reason: str
    refused: bool = False
    """By the venue, and for good."""


class ClockSeen(NamedTuple):
    """The machine's clock minus the venue's, and how far off that may be."""

    skew_ms: int
    error_ms: int


class VenueSeen(NamedTuple):
    """None: this venue's transport can not be asked for it.

    :ivar keys_problem: why there are no keys to ask with; then only `address` holds.
    :ivar account: by symbol.
    """

    address: str
    keys_problem: str = ""
    clock: ClockSeen | Problem | None = None
    instruments: Mapping[str, Instrument] | Problem | None = None
    rights: KeyRights | Problem | None = None
    hedge_mode: bool | Problem | None = None
    account: Mapping[str, SymbolSettings | Problem] | None = None
    stream: Problem | None = None


def check_venue(
    seen: VenueSeen,
    *,
    symbols: tuple[str, ...],
    expected: ExpectedAccount,
    max_skew_seconds: float | None,
) -> list[Finding]:
    if seen.keys_problem:
        return [
            fail(
                "exchange.keys",
                seen.keys_problem,
                "make a key at the venue; put it into a file of mode 0600 (exchange.key_file), or "
                "into the environment",
            ),
            *_skipped("there are no keys", symbols, "exchange.reachable", "exchange.clock"),
        ]
    keys = ok("exchange.keys", "present; no file of them is readable for others")
    if isinstance(seen.clock, Problem):
        return [
            keys,
            fail(
                "exchange.reachable",
                seen.clock.reason,
                f"see whether {seen.address} can be reached from here: network, DNS, firewall, "
                "exchange.url",
            ),
            *_skipped("the venue can not be reached", symbols, "exchange.clock"),
        ]
    findings = [keys, ok("exchange.reachable", seen.address)]
    findings.append(_clock(seen.clock, max_skew_seconds))
    findings += [_listed(symbol, seen.instruments) for symbol in symbols]
    if isinstance(seen.rights, Problem):
        return [*findings, _key_problem(seen.rights), *_about_account_skipped(symbols)]
    findings.append(ok("exchange.key", "accepted by the venue"))
    findings += _rights(seen.rights)
    findings.append(_position_mode(seen.hedge_mode, expected.hedge_mode))
    findings += [_settings(symbol, seen.account, expected) for symbol in symbols]
    findings.append(_stream(seen.stream))
    return findings


def _skipped(why: str, symbols: tuple[str, ...], *checks: str) -> list[Finding]:
    return [
        *(skipped(check, why) for check in checks),
        *(skipped("exchange.symbol", why, subject=symbol) for symbol in symbols),
        *(skipped(check, why) for check in WITH_KEYS),
        *(skipped("exchange.account", why, subject=symbol) for symbol in symbols),
    ]


def _about_account_skipped(symbols: tuple[str, ...]) -> list[Finding]:
    why = "the key is not accepted"
    return [
        *(skipped(check, why) for check in WITH_KEYS if check != "exchange.key"),
        *(skipped("exchange.account", why, subject=symbol) for symbol in symbols),
    ]


def _clock(clock: ClockSeen | None, max_skew_seconds: float | None) -> Finding:
    check = "exchange.clock"
    if clock is None:
        return skipped(check, "not told")
    way = "ahead of" if clock.skew_ms > 0 else "behind"
    found = f"{abs(clock.skew_ms)} ms {way} the venue's, known to {clock.error_ms} ms"
    remedy = "let NTP set this machine's clock (timedatectl set-ntp true)"
    sure_ms = max(0, abs(clock.skew_ms) - clock.error_ms)
    if max_skew_seconds is not None:
        allowed_ms = max_skew_seconds * 1000
        if sure_ms > allowed_ms:
            return fail(
                check, f"{found}; links.max_clock_skew_seconds allows {allowed_ms:.0f} ms", remedy
            )
        if sure_ms > allowed_ms * SKEW_SHARE:
            return warn(check, f"{found}; trading stops at {allowed_ms:.0f} ms", remedy)
    return ok(check, found)


def _listed(symbol: str, instruments: Mapping[str, Instrument] | Problem | None) -> Finding:
    check = "exchange.symbol"
    if isinstance(instruments, Problem):
        return fail(check, instruments.reason, "try again; then see exchange.url", subject=symbol)
    if instruments is None:
        return skipped(check, "not told", subject=symbol)
    limits = instruments.get(symbol)
    if limits is None:
        known = did_you_mean(symbol, instruments)
        return fail(
            check,
            f"the venue does not list it{known}",
            "correct engine.symbols; perpetual futures are written as in BTC/USDT:USDT",
            subject=symbol,
        )
    if not limits.trading:
        return fail(
            check,
            "listed, but the venue takes no orders for it now",
            "take it out of engine.symbols, or wait for the venue",
            subject=symbol,
        )
    return ok(
        check,
        f"tick {limits.price_step:f}, step {limits.quantity_step:f}, at least "
        f"{limits.min_quantity:f} and {limits.min_notional:f} of notional",
        subject=symbol,
    )


def _key_problem(problem: Problem) -> Finding:
    if problem.refused:
        return fail(
            "exchange.key",
            f"not accepted: {problem.reason}",
            "see that key and secret belong together and to this venue (live and testnet have keys "
            "of their own), that futures are enabled for the key, and that this machine's address "
            "is on its list",
        )
    return fail("exchange.key", problem.reason, "try again; the venue did not say whether it is")


def _rights(rights: KeyRights | None) -> list[Finding]:
    rights = rights or KeyRights()
    findings = []
    if rights.trade is False:
        findings.append(
            fail(
                "exchange.trading_right",
                "the account or the key may not trade futures",
                "enable futures for the key at the venue (a key made before the futures account "
                "was opened can not have it), or see what the venue holds against the account",
            )
        )
    else:
        findings.append(_told("exchange.trading_right", rights.trade, "may trade futures"))
    if rights.withdraw:
        findings.append(
            warn(
                "exchange.withdrawal_right",
                "whoever has this key may take the money out",
                "a bot needs no such right: take it from the key, or make a key without it",
            )
        )
    else:
        findings.append(
            _told("exchange.withdrawal_right", rights.withdraw, "may not withdraw anything")
        )
    if rights.bound_to_addresses is False:
        findings.append(
            warn(
                "exchange.addresses",
                "the key is accepted from everywhere",
                "bind it to this machine's address at the venue",
            )
        )
    else:
        findings.append(
            _told("exchange.addresses", rights.bound_to_addresses, "bound to certain addresses")
        )
    return findings


def _told(check: str, value: bool | None, found: str) -> Finding:
    return skipped(check, "the venue does not tell") if value is None else ok(check, found)


def _position_mode(hedge: bool | Problem | None, expected: bool | None) -> Finding:
    check = "exchange.position_mode"
    if isinstance(hedge, Problem):
        return fail(check, hedge.reason, "try again")
    if hedge is None:
        return skipped(check, "not told")
    found = "hedge mode" if hedge else "one-way mode"
    if expected is not None and hedge is not expected:
        side = "name" if hedge else "leave out"
        return fail(
            check,
            f"{found}, but account.hedge_mode is {str(expected).lower()}: every order would be "
            "refused",
            f"change the position mode at the venue (no position, no open order), or let the bot's "
            f"orders {side} a position_side and correct account.hedge_mode",
        )
    if expected is None and hedge:
        return warn(
            check,
            "hedge mode: orders without a position_side are refused",
            "write account.hedge_mode = true if the bot's orders name one; else set one-way mode "
            "at the venue",
        )
    return ok(check, found)


def _settings(
    symbol: str,
    account: Mapping[str, SymbolSettings | Problem] | None,
    expected: ExpectedAccount,
) -> Finding:
    check = "exchange.account"
    if account is None or symbol not in account:
        return skipped(check, "not told", subject=symbol)
    settings = account[symbol]
    if isinstance(settings, Problem):
        return fail(check, settings.reason, "try again", subject=symbol)
    found = f"{settings.margin_mode} margin, leverage {settings.leverage}"
    wrong = []
    if expected.margin_mode not in (None, settings.margin_mode):
        wrong.append(f'account.margin_mode is "{expected.margin_mode}"')
    if expected.leverage not in (None, settings.leverage):
        wrong.append(f"account.leverage is {expected.leverage}")
    if wrong:
        return fail(
            check,
            f"{found}, but {' and '.join(wrong)}",
            "set it at the venue, or correct the configuration",
            subject=symbol,
        )
    return ok(check, found, subject=symbol)


def _stream(problem: Problem | None) -> Finding:
    if problem is None:
        return ok("exchange.stream", "the stream of the account's own orders is connected")
    return fail(
        "exchange.stream",
        problem.reason,
        "see whether WebSocket connections pass from here (proxy, firewall); without it the bot "
        "does not trade",
    )
