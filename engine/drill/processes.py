"""Child processes of the drill: started, watched, ended, never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import anyio
import anyio.to_thread

from holdfast.errors import HoldfastError
from holdfast.transports.server import tied_to_this_process

END_SECONDS: Final = 10.0
"""Grace between SIGTERM and SIGKILL."""
_LINES_SHOWN: Final = 12


class ChildFailed(HoldfastError):
    """A process of the drill ended by itself; the message has the end of what it said."""


class Child:
    """A Python module run as a process, whose errors go to a file in the drill's folder."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        listens: bool = False,
    ) -> None:
        """
        :param listens: `tell` has something to say to it.
        :param environment: what it is told beside the variables of this process.
        """
        self.name = name
        self._said = folder / f"{name}.err"
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                tied_to_this_process([sys.executable, "-m", module, *arguments]),
                stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for the drill, which then ends this one
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        """Its only line of input. :raises ChildFailed: it is no longer there."""
        pipe: IO[bytes] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(f"{line}\n".encode())
            pipe.close()
        except BrokenPipeError:
            self._process.wait()
            self.check()

    async def first_line(self, *, timeout_seconds: float) -> str:
        """What it says when it is ready.

        :raises ChildFailed: it ended, or stayed silent.
        """
        output: IO[bytes] | None = self._process.stdout
        assert output is not None
        line = b""
        with anyio.move_on_after(timeout_seconds):
            line = await anyio.to_thread.run_sync(output.readline, abandon_on_cancel=True)
        if not line:
            raise ChildFailed(f"the {self.name} did not start: {self._tail()}")
        return line.decode()

    def check(self) -> None:
        """:raises ChildFailed: it is no longer running."""
        code = self._process.poll()
        if code is not None:
            raise ChildFailed(f"the {self.name} ended with code {code}: {self._tail()}")

    def signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    async def end(self) -> int:
        """SIGTERM, and SIGKILL if that is not heard; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                await anyio.to_thread.run_sync(self._process.wait, END_SECONDS)
        return self.kill()

    def kill(self) -> int:
        """At once. Does nothing to a process that has ended."""
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _tail(self) -> str:
        lines = self._said.read_text(errors="replace").splitlines()
        return " | ".join(lines[-_LINES_SHOWN:]) or "it said nothing"
