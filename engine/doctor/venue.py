"""Asks the venue what it can be asked without ordering anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import Config
from holdfast.errors import CredentialError, LinkDown, Rejected
from holdfast.model import ExecutionReport, SymbolSettings
from holdfast.ports import AccountReader, ExecutionClient, KeyReader
from holdfast.venue_clock import VenueClock

from .venue_checks import ClockSeen, Problem, VenueSeen

_T = TypeVar("_T")

ANSWER_SECONDS: Final = 5.0
STREAM_SECONDS: Final = 10.0


class _Watch:
    """Hears whether the streams stand. Satisfies `ports.ExecutionWatch`."""

    def __init__(self) -> None:
        self.told = anyio.Event()
        self.stream_is_up = False
        self.reason = f"no stream within {STREAM_SECONDS:.0f} s"

    def up(self) -> None:
        """The answers to our own questions show it."""

    def down(self, reason: str) -> None:
        self.reason = reason

    def stream_up(self) -> None:
        self.stream_is_up = True
        self.told.set()

    def stream_down(self, reason: str) -> None:
        self.reason = reason

    def report(self, report: ExecutionReport) -> None:
        """Somebody else's business."""


async def look_at_venue(config: Config, *, keys_problem: str = "") -> VenueSeen:
    """
    :param keys_problem: why the configuration was read without keys.
    :raises ConfigError: the address or an option can not be used.
    """
    clock = SystemClock()
    server = config.exchange.options.get("server")
    address = f"{config.exchange.url}{f' at {server}' if server else ''}"
    if keys_problem:
        return VenueSeen(address, keys_problem)
    try:
        with config.exchange.named_in_errors():
            client = registry.open_execution(
                config.exchange.url,
                clock=clock,
                entropy=SystemEntropy(),
                **{**config.exchange.options, **config.credentials},
            )
    except CredentialError as error:
        return VenueSeen(address, str(error))
    watch = _Watch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run, watch)
        seen = await _ask(client, clock, watch, config, address)
        tasks.cancel_scope.cancel()
    return seen


async def _ask(
    client: ExecutionClient, clock: SystemClock, watch: _Watch, config: Config, address: str
) -> VenueSeen:
    measured = VenueClock(client, clock)

    async def measure() -> ClockSeen:
        await measured.sync(timeout_seconds=ANSWER_SECONDS)
        return ClockSeen(measured.skew_ms, measured.error_ms)

    skew = await _answer(measure)
    if isinstance(skew, Problem):
        return VenueSeen(address, clock=skew)
    seen = VenueSeen(
        address,
        clock=skew,
        instruments=await _answer(lambda: client.instruments(timeout_seconds=ANSWER_SECONDS)),
    )
    if isinstance(client, KeyReader):
        reader: KeyReader = client
        rights = await _answer(lambda: reader.key_rights(timeout_seconds=ANSWER_SECONDS))
        seen = seen._replace(rights=rights)
        if isinstance(rights, Problem):
            return seen
    if isinstance(client, AccountReader):
        seen = await _ask_account(client, seen, config.settings.symbols)
    with anyio.move_on_after(STREAM_SECONDS):
        await watch.told.wait()
    return seen._replace(stream=None if watch.stream_is_up else Problem(watch.reason))


async def _ask_account(
    account: AccountReader, seen: VenueSeen, symbols: tuple[str, ...]
) -> VenueSeen:
    settings: dict[str, SymbolSettings | Problem] = {}
    listed = seen.instruments
    for symbol in symbols:
        if isinstance(listed, dict) and symbol in listed:
            settings[symbol] = await _answer(
                lambda symbol=symbol: account.symbol_settings(  # type: ignore[misc]
                    symbol, timeout_seconds=ANSWER_SECONDS
                )
            )
    return seen._replace(
        hedge_mode=await _answer(lambda: account.hedge_mode(timeout_seconds=ANSWER_SECONDS)),
        account=settings,
    )


async def _answer(ask: Callable[[], Awaitable[_T]]) -> Any:
    """What was answered, or why nothing was."""
    try:
        return await ask()
    except LinkDown as error:
        return Problem(str(error))
    except Rejected as error:
        return Problem(str(error), refused=True)
