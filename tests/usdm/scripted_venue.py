"""A venue that answers what a test tells it to, over a real socket.

For what the simulated exchange never says: refusals of settings, counts near a limit.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import anyio
from aiohttp import web

from holdfast.transports.usdm.client import UsdmExecutionClient


class Asked(NamedTuple):
    """One request, without what signs it."""

    method: str
    path: str
    params: Mapping[str, str]


class Says(NamedTuple):
    """One answer."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}

    @classmethod
    def refusal(cls, code: int, message: str = "no", *, status: int = 400) -> Says:
        return cls({"code": code, "msg": message}, status)


class ScriptedVenue:
    """
    :param script: what is answered to a method and a path; the last of a list again and again.
    :ivar asked: every request, in order.
    """

    def __init__(self, script: Mapping[str, Says | list[Says]]) -> None:
        self._script = {
            name: list(says) if isinstance(says, list) else [says] for name, says in script.items()
        }
        self.asked: list[Asked] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Yields the address."""
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.1, handle_signals=False
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        params = dict(parse_qsl(request.query_string))
        for secret in ("signature", "timestamp", "recvWindow"):
            params.pop(secret, None)
        self.asked.append(Asked(request.method, request.path, params))
        answers = self._script.get(f"{request.method} {request.path}")
        if answers is None:
            return web.json_response({"code": -5000, "msg": "no such path"}, status=404)
        says = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.Response(
            text=json.dumps(says.body),
            status=says.status,
            headers=says.headers,
            content_type="application/json",
        )


def with_client(
    make: Callable[[str], UsdmExecutionClient],
    venue: ScriptedVenue,
    act: Callable[[UsdmExecutionClient], Awaitable[None]],
) -> None:
    """Let a client of that venue do something."""

    async def main() -> None:
        async with venue.serving() as url:
            client = make(url)
            try:
                with anyio.fail_after(20):
                    await act(client)
            finally:
                await client.aclose()

    anyio.run(main)
