"""A link of your own: without it the bot must not open positions.

Here a model server that writes a file every second. When the file grows old the gate
shuts; when it is fresh again, the engine recovers by itself.

    python examples/own_link.py examples/holdfast.toml
"""

import sys
import tempfile
from pathlib import Path

import anyio

from holdfast import Engine, LinkDown, State
from holdfast.ports import LinkWatch


class FreshFile:
    """Satisfies `holdfast.ports.Link`: a name, `run`, and `probe`."""

    name = "model"

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._last = b""

    async def run(self, watch: LinkWatch) -> None:
        up = False
        while True:
            fresh = await self._changed_within(self._seconds)
            if fresh and not up:
                watch.up()
            elif up and not fresh:
                watch.down(f"{self._path} has not changed for {self._seconds:g} s")
            up = fresh

    async def probe(self) -> None:
        if not await self._changed_within(self._seconds):
            raise LinkDown(f"{self._path} does not change")

    async def _changed_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            while True:
                now = await anyio.Path(self._path).read_bytes()
                if now != self._last:
                    self._last = now
                    return True
                await anyio.sleep(seconds / 10)
        return False


async def model_server(path: Path) -> None:
    for number in range(10_000):
        await anyio.Path(path).write_text(str(number))
        await anyio.sleep(0.1)


async def main(config: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_text("")
        async with Engine.open(config, links=[FreshFile(path, seconds=0.5)]) as engine:
            engine.on_transition(lambda step: print(f"{step.dest}: {step.cause}"))
            async with anyio.create_task_group() as group:
                group.start_soon(model_server, path)
                await engine.until_healthy()
                group.cancel_scope.cancel()  # the model server dies
            await engine.until(State.DEGRADED)


anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml")
