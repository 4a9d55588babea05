"""The operator's line to a bot: to the running engine, or to the journal of a dead one.

A running engine listens on the control socket of its state folder. If none does,
its journal is free, and a hold can be written there: the engine finds it when it
starts. Neither way needs Redis or the venue.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import anyio

from holdfast.clock import SystemClock
from holdfast.config import Config
from holdfast.control_address import control_address
from holdfast.errors import HoldfastError
from holdfast.journal import CHECKPOINT, Durability, FileJournal, JournalLocked
from holdfast.ledger import Ledger
from holdfast.model import OrderReport
from holdfast.opening import JOURNAL_FOLDER, make_state_dir, open_journal
from holdfast.outcomes import report_of
from holdfast.recorder import Recorder
from holdfast.records import KIND_OF, Held, Resolved, decode, encode
from holdfast.resolution import Verdict, undecided, words

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 60.0
"""Long enough for orders that flatten a position to be resolved by evidence."""

Command = Literal[
    "status",
    "halt",
    "resume",
    "flatten",
    "reconcile",
    "adopt",
    "resolve",
    "policy",
    "policy_set",
    "policy_confirm",
]


class NoEngine(HoldfastError):
    """Nothing listens on the control socket: no engine runs on this state folder."""


class EngineRefused(HoldfastError):
    """The engine answered that it could not do it, and why."""


class ControlClient:
    """Asks the engine that runs on `state_dir`; one connection per question."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def ask(self, command: Command, /, **arguments: Any) -> Any:
        """The engine's answer.

        :raises NoEngine: nobody listens; nothing was done.
        :raises EngineRefused: it answered with an error.
        :raises HoldfastError: it did not answer; whether it acted is not known.
        """
        line = json.dumps({"command": command, "args": arguments}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_TIMEOUT_SECONDS)
            try:
                connection.connect(control_address(self._state_dir))
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                raise NoEngine(f"no engine runs on {self._state_dir}") from None
            except PermissionError:
                raise HoldfastError(
                    f"{self._state_dir}: the engine belongs to another user; run this as that user"
                ) from None
            except TimeoutError:
                raise self._silent("does not take connections") from None
            connection.settimeout(ANSWER_TIMEOUT_SECONDS)
            try:
                connection.sendall(line)
                answer = connection.makefile("rb").readline()
            except (TimeoutError, ConnectionError) as error:
                raise self._silent("did not answer") from error
        if not answer.endswith(b"\n"):
            raise self._silent("ended before it answered")
        told = json.loads(answer)
        if not told["ok"]:
            raise EngineRefused(told["error"])
        return told["result"]

    def _silent(self, what: str) -> HoldfastError:
        return HoldfastError(
            f"the engine on {self._state_dir} {what}; it may hang, or be busy. Whether it acted "
            "is not known: ask `holdfast status`"
        )


class LastKnown(NamedTuple):
    """What the journal of a dead engine tells.

    :ivar report: what was found on disk, in words.
    """

    ledger: Ledger
    records: int
    report: str


def last_known(config: Config) -> LastKnown | None:
    """Fold the journal without opening it; None if there is none. Changes nothing."""
    folder = config.state_dir / JOURNAL_FOLDER
    if not folder.is_dir():
        return None
    inspection = FileJournal.inspect(folder)
    ledger = Ledger(keys_kept=config.settings.orders.keys_kept)
    for record in inspection.records(after=max(inspection.report.last_checkpoint - 1, 0)):
        if record.kind == CHECKPOINT:
            ledger.restore(record.body)
        elif (fact := decode(record.kind, record.body)) is not None:
            ledger.apply(fact)
    ledger.begin()
    return LastKnown(ledger, inspection.report.last_seq, str(inspection.report))


def operator_name() -> str:
    """Who acts, for the journal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.geteuid()}"


def hold_offline(config: Config, reason: str | None, *, by: str) -> None:
    """Write the operator's hold (None ends it) into the journal of an engine that does not run.

    :raises HoldfastError: a process has the journal open, but does not listen.
    """
    held = Held(reason, by, SystemClock().time_ns())
    anyio.run(_write, config, lambda journal: held)


def resolve_offline(
    config: Config, client_order_id: str, verdict: Verdict, *, reason: str, by: str
) -> OrderReport:
    """As `Engine.resolve`, in the journal of an engine that does not run.

    By the clock of this machine, which may differ from the venue's by less than a person
    needs to look there.

    :raises ResolveRefused: as `Engine.resolve`.
    :raises HoldfastError: a process has the journal open, but does not listen; or there is
        no journal.
    """
    if not (config.state_dir / JOURNAL_FOLDER).is_dir():
        raise HoldfastError(f"no engine ever ran on {config.state_dir}: there is no journal")

    def decide(journal: FileJournal) -> Resolved:
        orders = config.settings.orders
        ledger = Ledger(keys_kept=orders.keys_kept)
        # Replayed, and nothing but the one record is written: a checkpoint of ours would hide
        # from the next start what the journal has lost to damage.
        Recorder(
            journal,
            ledger,
            segment_bytes=config.settings.outbox.segment_bytes,
            on_fault=lambda reason: None,
        ).replay()
        intent = undecided(
            ledger,
            client_order_id,
            verdict,
            venue_ms=SystemClock().time_ns() // 1_000_000,
            margin_ms=orders.absence_margin_ms,
        )
        return Resolved(report_of(intent, verdict, words(verdict, by=by, reason=reason)))

    return anyio.run(_write, config, decide).report


_Fact = TypeVar("_Fact", Held, Resolved)


async def _write(config: Config, fact_for: Callable[[FileJournal], _Fact]) -> _Fact:
    """Open the journal, ask `fact_for` what to write into it, and write that."""
    faults: list[str] = []
    await make_state_dir(config)
    try:
        journal = await open_journal(config.state_dir, config.settings, on_fault=faults.append)
    except JournalLocked as error:
        raise HoldfastError(
            f"an engine has the journal open, but does not listen for commands: {error}"
        ) from error
    try:
        fact = fact_for(journal)
        await journal.append(
            KIND_OF[type(fact)], encode(fact), durability=Durability.POWER, reserve=True
        )
    finally:
        await journal.aclose()
    return fact
