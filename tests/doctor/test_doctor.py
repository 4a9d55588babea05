"""`holdfast doctor` as people and machines call it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from doctor_rigs import write

from holdfast.transports.server import RedisServer

DOCTOR = (sys.executable, "-m", "holdfast", "doctor")
KEY, SECRET = "k3y-of-the-user", "s3cret-of-the-user"


def doctor(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOCTOR, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    command = (sys.executable, "-m", "holdfast", "exchange", "--port=0", "--json")
    keys = (f"--key={KEY}", f"--secret={SECRET}")
    with subprocess.Popen([*command, *keys], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert select.select([child.stdout], [], [], 60)[0]
            yield int(json.loads(child.stdout.readline())["port"])
        finally:
            child.terminate()
            child.wait(20)


def with_key_file(folder: Path, port: int, *, bus: str = "memory://bot") -> Path:
    keys = folder / "keys.toml"
    keys.write_text(f'key = "{KEY}"\nsecret = "{SECRET}"\n')
    keys.chmod(0o600)
    section = f'url = "binance://usdm"\nkey_file = "{keys}"\n' + (
        f'options = {{ server = "http://127.0.0.1:{port}" }}'
    )
    return write(
        folder, bus=bus, exchange=section, more='[policy.initial]\nactive_mode = "NORMAL"\n'
    )


def test_machines_get_every_check_by_its_id(tmp_path: Path, port: int) -> None:
    done = doctor("--json", "--config", with_key_file(tmp_path, port))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert {check["id"] for check in told["checks"]} == {
        "machine.python",
        "machine.packages",
        "state_dir.access",
        "state_dir.lock",
        "disk.kind",
        "disk.room",
        "disk.sync",
        "bus.reachable",
        "bus.version",
        "bus.role",
        "bus.rights",
        "bus.changes",
        "bus.persistence",
        "bus.eviction",
        "bus.round_trip",
        "policy.document",
        "exchange.keys",
        "exchange.reachable",
        "exchange.clock",
        "exchange.symbol",
        "exchange.key",
        "exchange.trading_right",
        "exchange.withdrawal_right",
        "exchange.addresses",
        "exchange.position_mode",
        "exchange.account",
        "exchange.stream",
        "market.reachable",
    }
    for check in told["checks"]:
        assert check["verdict"] in ("ok", "warn", "fail", "skip")
        assert bool(check.get("remedy")) is (check["verdict"] in ("warn", "fail"))
    assert sum(told["counts"].values()) == len(told["checks"])


@pytest.mark.server
def test_all_is_well_and_said_in_lines(
    tmp_path: Path, port: int, redis_server: RedisServer
) -> None:
    done = doctor("--config", with_key_file(tmp_path, port, bus=redis_server.url))
    assert done.returncode == 0, done.stdout
    assert "\x1b" not in done.stdout, "colours are for terminals"
    lines = done.stdout.splitlines()
    assert "ok    exchange.key  " in done.stdout
    assert not [line for line in lines if line.startswith("fail")]
    assert "→" not in "".join(line for line in lines if line.startswith("ok"))


def test_a_warning_is_no_failure_and_says_what_to_do(tmp_path: Path, port: int) -> None:
    done = doctor("--config", with_key_file(tmp_path, port))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("warn  bus.persistence")]
    assert lines[at + 1].strip().startswith("→")
    assert "1 warn" in lines[-1]


def test_colours_on_a_terminal(tmp_path: Path, port: int) -> None:
    ours, its = pty.openpty()
    command = [*DOCTOR, "--config", str(with_key_file(tmp_path, port))]
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(command, stdout=its, stderr=its, env=environment) as child:
        os.close(its)
        said = b""
        try:
            while select.select([ours], [], [], 60)[0] and (more := os.read(ours, 65_536)):
                said += more
        except OSError:  # its side was closed (Linux says EIO)
            pass
        assert child.wait(20) == 0
    os.close(ours)
    assert b"\x1b[33" in said, "yellow for the warning"
    assert b"\x1b[32" in said


@pytest.mark.parametrize("as_json", [True, False])
def test_something_that_failed_is_exit_1_and_no_key_is_shown(
    tmp_path: Path, port: int, as_json: bool
) -> None:
    config = with_key_file(tmp_path, port)
    wrong = "wr0ng-" + SECRET
    (tmp_path / "keys.toml").write_text(f'key = "{KEY}"\nsecret = "{wrong}"\n')
    done = doctor(*(["--json"] if as_json else []), "--config", config)
    assert done.returncode == 1
    assert "exchange.key" in done.stdout
    assert "-1022" in done.stdout
    for hidden in (KEY, SECRET, wrong):
        assert hidden not in done.stdout + done.stderr


def test_keys_that_others_may_read(tmp_path: Path, port: int) -> None:
    config = with_key_file(tmp_path, port)
    (tmp_path / "keys.toml").chmod(0o644)
    done = doctor("--json", "--config", config)
    assert done.returncode == 1
    (keys,) = [c for c in json.loads(done.stdout)["checks"] if c["id"] == "exchange.keys"]
    assert keys["verdict"] == "fail"
    assert "0644" in keys["found"]
    assert "chmod 600" in keys["found"]


def test_keys_that_are_not_there(tmp_path: Path, port: int) -> None:
    config = with_key_file(tmp_path, port)
    (tmp_path / "keys.toml").unlink()
    done = doctor("--json", "--config", config)
    assert done.returncode == 1
    failed = [c["id"] for c in json.loads(done.stdout)["checks"] if c["verdict"] == "fail"]
    assert failed == ["exchange.keys"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "[engine",
        "[engine]\nsymbol = []\n",
        '[engine]\nsymbols = ["BTC/USDT:USDT"]\n[bus]\nurl = "redis://:${NOT_SET_AT_ALL}@h"\n'
        '[exchange]\nurl = "sim://127.0.0.1:1"\n',
        '[engine]\nsymbols = ["BTC/USDT:USDT"]\n[bus]\nurl = "rediss"\n'
        '[exchange]\nurl = "sim://127.0.0.1:1"\n',
        '[engine]\nsymbols = ["BTC/USDT:USDT"]\n[bus]\nurl = "memory://b"\n'
        '[exchange]\nurl = "binance://spot"\n',
    ],
)
def test_a_configuration_that_can_not_be_used_is_exit_2(tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "holdfast.toml"
    if text is not None:
        config.write_text(text)
    done = doctor("--config", config)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {config}: ")
    done = doctor("--config", config, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["ok"] is False


def test_a_mistyped_option_is_exit_2() -> None:
    assert doctor("--jsn").returncode == 2
