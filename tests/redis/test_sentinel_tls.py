"""Failover through a sentinel, and TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from redis_rigs import Clients, Producer, batch, free_port_below

from holdfast.transports.conformance import Recorder, connected
from holdfast.transports.server import RedisServer, ServerStartError

pytestmark = [pytest.mark.anyio, pytest.mark.server]


@contextmanager
def sentinel(server: RedisServer, folder: Path) -> Iterator[int]:
    """One sentinel that watches `server`; alone it is its own majority. Its port."""
    port = free_port_below(60_000)
    conf = folder / "sentinel.conf"
    conf.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor main 127.0.0.1 {server.port} 1\n"
        "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(server.binary.path), str(conf), "--sentinel"], stdout=log, stderr=log
        )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def patiently(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(40):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_a_failover_is_followed(
    redis_server: RedisServer, start_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    replica = start_redis()
    replica.command("REPLICAOF", redis_server.host, str(redis_server.port))
    await patiently(lambda: "state=online" in redis_server.command("INFO", "replication"))
    with sentinel(redis_server, tmp_path) as port:
        bus = Clients(redis_server, f"redis+sentinel://127.0.0.1:{port}/main/0").bus()
        producer, stop = Producer(bus), anyio.Event()
        async with connected(bus) as watch, anyio.create_task_group() as group:
            group.start_soon(producer.ship, stop)
            await patiently(lambda: producer.acknowledged > 1000)
            # Stopped, not killed: it comes back believing that it is the primary.
            redis_server.stop()
            await watch.until("down", lambda: not watch.is_up)
            before = producer.acknowledged
            await patiently(lambda: producer.acknowledged > before + 1000)
            redis_server.cont()
            await anyio.sleep(0.3)
            stop.set()
            await producer.finished.wait()
            last = (await bus.position("p")).last_sequence
            group.cancel_scope.cancel()
    assert replica.command("XLEN", "{hf:bot}:events") == f":{last}\r\n"


async def test_nobody_knows_the_primary(redis_server: RedisServer, tmp_path: Path) -> None:
    with sentinel(redis_server, tmp_path) as port:
        bus = Clients(redis_server, f"redis+sentinel://127.0.0.1:{port}/other").bus()
        watch = Recorder()
        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, watch)
            await watch.until("down", lambda: any("knows no 'other'" in r for r in watch.reasons))
            group.cancel_scope.cancel()


def _certificate(folder: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


async def test_tls(tmp_path: Path, start_redis: Callable[..., RedisServer]) -> None:
    key, certificate = await anyio.to_thread.run_sync(_certificate, tmp_path)
    port = free_port_below(60_000)
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
    }
    try:
        server = start_redis(options=options)
    except ServerStartError:
        pytest.skip("this server was built without TLS")
    bus = Clients(server, f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}").bus()
    async with connected(bus) as watch:
        position = await bus.position("p")
        assert (await bus.append(batch(position.lineage, 1, 1000))).last_sequence == 1000
        server.kill()
        await watch.until("down", lambda: not watch.is_up)
        server.start()
        await watch.until("up again", lambda: watch.is_up)
    stranger, refused = Clients(server, f"rediss://127.0.0.1:{port}").bus(), Recorder()
    async with anyio.create_task_group() as group:
        group.start_soon(stranger.run, refused)
        await refused.until("down", lambda: bool(refused.reasons))
        assert "certificate" in refused.reasons[0].lower(), refused.reasons
        group.cancel_scope.cancel()
