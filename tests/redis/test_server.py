"""The private server: found, started, broken, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from holdfast.clock import SystemClock
from holdfast.errors import ConfigError
from holdfast.transports.server import (
    RedisServer,
    ServerBinary,
    ServerStartError,
    find_server,
    find_servers,
)

pytestmark = pytest.mark.server

_CHILD = """
import os, signal
from holdfast.transports.server import RedisServer
print(RedisServer().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_killed_parent_leaves_no_server_behind(
    server_binary: ServerBinary, tmp_path: Path
) -> None:
    # Its directory does stay behind, so not in the system's own.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-c", _CHILD], capture_output=True, text=True, env=environment
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    pid, clock = int(child.stdout), SystemClock()
    deadline = clock.monotonic() + 5
    while _is_running(pid) and clock.monotonic() < deadline:
        pass
    assert not _is_running(pid)


def test_data_survive_a_restart_unless_it_is_an_empty_one(redis_server: RedisServer) -> None:
    redis_server.command("SET", "key", "value")
    redis_server.restart()
    assert "value" in redis_server.command("GET", "key")
    redis_server.restart(empty=True)
    assert "value" not in redis_server.command("GET", "key")


@pytest.mark.anyio
async def test_started_from_a_thread_it_outlives_the_thread(
    server_binary: ServerBinary, anyio_backend: str
) -> None:
    with await anyio.to_thread.run_sync(RedisServer, server_binary) as server:
        assert server.command("PING") == "+PONG\r\n"


def test_close_removes_everything(server_binary: ServerBinary) -> None:
    server = RedisServer(server_binary)
    directory, pid = server.directory, server.pid
    server.close()
    assert pid is not None
    assert not _is_running(pid)
    assert not directory.exists()
    server.close()


def test_a_server_that_does_not_start_says_why(
    start_redis: Callable[..., RedisServer], redis_server: RedisServer
) -> None:
    with pytest.raises(ServerStartError, match="did not start"):
        start_redis(options={"maxmemory-policy": "no-such-policy"})
    with pytest.raises(ServerStartError):
        start_redis(port=redis_server.port)


def test_a_named_server_is_used_or_is_an_error(
    server_binary: ServerBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_REDIS_SERVER", str(server_binary.path))
    found = find_server()
    assert found is not None
    assert found.origin == "HOLDFAST_REDIS_SERVER"
    impostor = tmp_path / "redis-server"
    impostor.write_text("#!/bin/sh\necho Redis server v=99\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("HOLDFAST_REDIS_SERVER", str(impostor))
    with pytest.raises(ConfigError, match="HOLDFAST_REDIS_SERVER"):
        find_server()


def test_an_impostor_on_the_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = tmp_path / "redis-server"
    impostor.write_text("#!/bin/sh\necho Redis server v=99\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert all(binary.path != impostor for binary in find_servers())
