"""The operator's door into a running engine: a local socket, one JSON line each way.

It needs neither bus nor venue, because the moment in which somebody wants to halt a
bot is the moment in which those are broken. The socket lies in the state folder and
is readable by its owner only: whoever can write the journal may command the bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from .control_address import control_address
from .engine import Engine
from .errors import HoldfastError
from .journal import JournalError
from .policy import Policy
from .resolution import Verdict

log = logging.getLogger("holdfast.control")

MAX_LINE_BYTES: Final = 1 << 20
BY: Final = "operator"


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    args: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Request)


class ControlServer:
    """Serves while entered; its socket is gone afterwards."""

    def __init__(self, engine: Engine, state_dir: Path) -> None:
        self._engine = engine
        self._state_dir = state_dir
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "halt": self._halt,
            "resume": self._resume,
            "flatten": self._flatten,
            "reconcile": self._reconcile,
            "adopt": self._adopt,
            "resolve": self._resolve,
            "policy": self._policy,
            "policy_set": self._policy_set,
            "policy_confirm": self._policy_confirm,
        }

    async def __aenter__(self) -> Self:
        self._path = Path(control_address(self._state_dir))
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()  # of a process that was killed; the journal's lock says it is gone
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, path=str(self._path), limit=MAX_LINE_BYTES
            )
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            # Connections still open are ended by their peers or with the process.
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:  # a disk that has died; the next start tries it again
                log.warning("control socket not removed", extra={"reason": str(error)})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError) as error:  # gone, or a line beyond the limit
            log.info("control connection ended", extra={"reason": repr(error)})
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = _decoder.decode(line)
            command = self._commands.get(request.command)
            if command is None:
                known = ", ".join(sorted(self._commands))
                return {"ok": False, "error": f"unknown command {request.command!r}; {known}"}
            return {"ok": True, "result": await command(**request.args)}
        except ExceptionGroup as several:  # of `flatten`: some positions were not closed
            told = "; ".join(_with_notes(error) for error in several.exceptions)
            return {"ok": False, "error": f"{several.message}: {told}", "type": "ExceptionGroup"}
        except (HoldfastError, JournalError, msgspec.DecodeError) as error:
            return {"ok": False, "error": str(error), "type": type(error).__name__}
        except TypeError as error:  # arguments that the command does not take
            return {"ok": False, "error": str(error), "type": "TypeError"}

    async def _status(self) -> Any:
        return self._engine.status()

    async def _halt(self, reason: str = "no reason given", by: str = BY) -> Any:
        await self._engine.halt(reason, by=by)
        return self._engine.status()

    async def _resume(self, by: str = BY) -> Any:
        await self._engine.resume(by=by)
        return self._engine.status()

    async def _flatten(self, symbol: str | None = None, by: str = BY) -> Any:
        return await self._engine.flatten(symbol, by=by)

    async def _reconcile(self) -> Any:
        return await self._engine.reconcile()

    async def _adopt(self, by: str = BY) -> Any:
        return await self._engine.adopt(by=by)

    async def _resolve(
        self, client_order_id: str, verdict: Verdict, reason: str, by: str = BY
    ) -> Any:
        return await self._engine.resolve(client_order_id, verdict, reason=reason, by=by)

    async def _policy(self) -> Any:
        return {"policy": self._engine.policy, "problem": self._engine.policy_problem}

    async def _policy_set(self, policy: dict[str, Any], replace: bool = False) -> Any:
        return await self._engine.set_policy(msgspec.convert(policy, Policy), replace=replace)

    async def _policy_confirm(self) -> Any:
        return await self._engine.confirm_policy()


def _with_notes(error: Exception) -> str:
    """Its message, and which position it is about if that was noted."""
    notes = ", ".join(getattr(error, "__notes__", ()))
    return f"{error} ({notes})" if notes else str(error)
