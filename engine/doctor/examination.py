"""One examination: each part is looked at, judged, and told as soon as it is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio.to_thread

from holdfast.config import Config, load
from holdfast.errors import CredentialError
from holdfast.journal import Durability

from .finding import Finding
from .machine import look_at_machine
from .machine_checks import JournalNeeds, check_machine
from .market import look_at_market
from .market_checks import check_market
from .server_checks import check_policy, check_server
from .servers import look_at_servers
from .venue import look_at_venue
from .venue_checks import check_venue


class Examination:
    """
    :param file: the bot's configuration.
    :raises ConfigError: it is wrong in another way than by keys that can not be had.
    """

    def __init__(self, file: Path) -> None:
        self._keys_problem = ""
        try:
            self.config: Config = load(file)
        except CredentialError as error:
            self.config = load(file, credentials=False)
            self._keys_problem = str(error)

    async def findings(self) -> AsyncGenerator[list[Finding], None]:
        """Part by part. :raises ConfigError: an address or an option can not be used."""
        config = self.config
        machine = await anyio.to_thread.run_sync(look_at_machine, config.state_dir)
        outbox, orders = config.settings.outbox, config.settings.orders
        needs = JournalNeeds(
            outbox.max_bytes, outbox.segment_bytes, orders.durability is Durability.POWER
        )
        yield check_machine(machine, needs)
        seen = await look_at_servers(config)
        for server in seen.servers:
            yield check_server(server)
        yield [check_policy(seen.policy, initial=config.settings.policy.initial)]
        yield check_venue(
            await look_at_venue(config, keys_problem=self._keys_problem),
            symbols=config.settings.symbols,
            expected=config.account,
            max_skew_seconds=config.settings.links.max_clock_skew_seconds,
        )
        yield check_market(await look_at_market(config), symbols=config.settings.symbols)
