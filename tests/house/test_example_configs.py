"""The configurations among the examples: the paper one trades, that of the testnet opens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import load
from holdfast.doctor.venue import look_at_venue
from holdfast.errors import CredentialError
from holdfast.transports.server import RedisServer

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_SECONDS = 60


def replaced(text: str, shown: str, used: str, *, count: int) -> str:
    assert text.count(shown) == count, shown
    return text.replace(shown, used)


@pytest.mark.server
def test_paper_is_traded_with_binances_client(
    tmp_path: Path,
    redis_server: RedisServer,
    exchange_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (EXAMPLES / "paper.toml").read_text()
    text = replaced(text, '"redis://127.0.0.1:6379/0"', f'"{redis_server.url}"', count=1)
    text = replaced(text, '"http://127.0.0.1:9000"', f'"http://127.0.0.1:{exchange_port}"', count=2)
    text = replaced(text, "ttl_seconds = 15.0", "ttl_seconds = 1.0", count=1)
    config = tmp_path / "paper.toml"
    config.write_text(text)
    for name in ("EXCHANGE_API_KEY", "EXCHANGE_API_SECRET"):
        monkeypatch.setenv(name, "demo")

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = json.loads(run("-m", "holdfast", "doctor", "--json", "--config", config))
    wrong = [check for check in told["checks"] if check["verdict"] not in ("ok", "skip")]
    assert wrong == []
    assert "filled" in run(EXAMPLES / "first_order.py", config)
    assert (tmp_path / "state-paper" / "journal").is_dir()


def test_the_testnets_is_one_that_opens(tmp_path: Path) -> None:
    config = tmp_path / "testnet.toml"
    config.write_text((EXAMPLES / "testnet.toml").read_text())
    with pytest.raises(CredentialError, match=r"testnet-keys\.toml"):
        load(config)
    keys = tmp_path / "testnet-keys.toml"
    keys.write_text('key = "abc"\nsecret = "def"\n')
    keys.chmod(0o600)
    read = load(config)
    assert (read.account.hedge_mode, read.account.leverage) == (False, 5)
    assert read.market is not None
    given = {"clock": SystemClock(), "entropy": SystemEntropy()}
    exchange = registry.open_execution(
        read.exchange.url, **given, **{**read.exchange.options, **read.credentials}
    )
    assert exchange.venue == "binance-usdm-testnet"
    assert "demo-fapi.binance.com" in repr(exchange)
    registry.open_market(read.market.url, **given, **read.market.options)


def test_without_keys_the_testnet_is_not_even_called(tmp_path: Path) -> None:
    config = tmp_path / "testnet.toml"
    config.write_text((EXAMPLES / "testnet.toml").read_text())
    seen = anyio.run(look_at_venue, load(config, credentials=False))
    assert "api_key" in seen.keys_problem
    assert seen.clock is None
