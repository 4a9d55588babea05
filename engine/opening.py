"""From a configuration to a running engine: journal, transports by URL, control socket.

The journal is opened first: it is what tells a second copy of the bot on this
machine that it is one, and what must be sound before anything is connected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio

from . import registry
from .cleanup import beside
from .clock import SystemClock, SystemEntropy
from .config import Config, load
from .control import ControlServer
from .engine import Engine
from .errors import ConfigError
from .journal import FileJournal
from .ports import LeaseStore, Link
from .settings import Settings
from .termination import EXIT_STATUS, on_sigterm_call

JOURNAL_FOLDER = "journal"


async def open_journal(
    state_dir: Path, settings: Settings, *, on_fault: Callable[[str], None]
) -> FileJournal:
    """Open (or create) the journal of a bot for writing.

    :param on_fault: told when the device fails behind an append's back.
    :raises JournalLocked: another process has it; the message names its pid.
    :raises JournalError: it can not be used; nothing of it was changed.
    """
    outbox = settings.outbox
    return await FileJournal.open(
        state_dir / JOURNAL_FOLDER,
        clock=SystemClock(),
        randbits=SystemEntropy().randbits,
        on_fault=on_fault,
        segment_bytes=outbox.segment_bytes,
        max_bytes=outbox.max_bytes,
        retain_acked_seconds=outbox.retain_acked_seconds,
        retain_acked_bytes=outbox.retain_acked_bytes,
    )


async def make_state_dir(config: Config) -> None:
    """Make the folder of journal and control socket. :raises ConfigError: it can not be one."""
    for folder in (config.state_dir, config.state_dir / JOURNAL_FOLDER):
        try:
            await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            why = "is no folder; give one, or a path where one can be made"
            raise ConfigError(f"{config.source}: engine.state_dir: {folder}: {why}") from None
        except OSError as error:
            raise ConfigError(
                f"{config.source}: engine.state_dir: {folder}: can not be made: {error.strerror}"
            ) from error


class OpeningEngine:
    """What `Engine.open` returns: enter it and the engine runs.

    SIGTERM cancels the block, lets the engine stop cleanly, and ends the program.

    :raises ConfigError: the configuration is wrong (when made).
    """

    def __init__(
        self,
        source: str | PathLike[str] | Mapping[str, Any] | Config,
        *,
        links: Sequence[Link] = (),
    ) -> None:
        self._links = links
        if isinstance(source, Config):
            self.config = source
        else:
            self.config = load(source if isinstance(source, Mapping) else Path(source))
        self._stack = AsyncExitStack()
        self._terminated = False

    async def __aenter__(self) -> Engine:
        config, clock, entropy = self.config, SystemClock(), SystemEntropy()
        settings = config.settings
        given: dict[str, Any] = {"clock": clock, "entropy": entropy}
        with config.bus.named_in_errors():
            bus = registry.open_bus(config.bus.url, bot=settings.bot, **given, **config.bus.options)
        with config.policy.named_in_errors():
            policy = registry.open_policy_store(
                config.policy.url, bot=settings.bot, **given, **config.policy.options
            )
        lease = policy if settings.lease.enabled else None
        if not isinstance(lease, LeaseStore | None):
            raise ConfigError(
                f"{config.source}: policy.url: a {config.policy.url.scheme}:// store keeps no "
                "lease; set lease.enabled = false, and make sure that only one instance of this "
                "bot runs"
            )
        with config.exchange.named_in_errors():
            exchange = registry.open_execution(
                config.exchange.url,
                **given,
                **{**config.exchange.options, **config.credentials},
            )
        market = None
        if config.market is not None:
            with config.market.named_in_errors():
                market = registry.open_market(config.market.url, **given, **config.market.options)
        await make_state_dir(config)

        def on_fault(reason: str) -> None:  # while the journal is opened there is no engine yet
            if engine is not None:
                engine.fault("disk", reason)

        engine: Engine | None = None
        journal = await open_journal(config.state_dir, settings, on_fault=on_fault)
        try:
            engine = Engine(
                settings=settings,
                journal=journal,
                bus=bus,
                policy=policy,
                lease=lease,
                exchange=exchange,
                market=market,
                clock=clock,
                entropy=entropy,
                links=self._links,
            )
        except BaseException as error:
            with beside(error):
                await journal.aclose()  # its lock would refuse the next try
            raise
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(engine)
            await stack.enter_async_context(ControlServer(engine, config.state_dir))
            block = stack.enter_context(anyio.CancelScope())

            def terminate() -> None:
                self._terminated = True
                block.cancel()

            stack.enter_context(on_sigterm_call(terminate))
            self._stack = stack.pop_all()
        return engine

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        suppress = await self._stack.__aexit__(exc_type, exc, tb)
        if self._terminated and (exc is None or suppress):
            # Else the bot failed while it was being ended, and that is what has to be heard of.
            raise SystemExit(EXIT_STATUS)
        return suppress
