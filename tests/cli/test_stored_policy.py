"""`holdfast policy` over something in the store that is no policy, with and without an engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_rigs import bot, holdfast, write_config

from holdfast.transports.server import RedisServer

pytestmark = pytest.mark.server

KEY = "{hf:alpha}:policy"


def spoil(server: RedisServer) -> None:
    server.command("HSET", KEY, "document", "not a policy", "version", "8")


def test_garbage_is_shown_and_replaced_on_demand(
    tmp_path: Path, start_redis: Callable[[], RedisServer]
) -> None:
    server = start_redis()
    option = f"--config={write_config(tmp_path, port=1, policy_url=server.url)}"
    spoil(server)
    shown = holdfast("policy", "show", option, "--json")
    assert shown.code == 0
    assert shown.told["policy"] is None
    assert "b'not a policy'" in shown.told["problem"]
    assert "--replace" in holdfast("policy", "show", option).out
    refused = holdfast("policy", "set", "NORMAL", option)
    assert refused.code == 1
    assert "b'not a policy'" in refused.err
    assert "--replace" in refused.err
    done = holdfast("policy", "set", "NORMAL", "--replace", option, "--json")
    assert done.code == 0
    assert "b'not a policy'" in done.told["instead_of"]
    shown = holdfast("policy", "show", option, "--json")
    assert shown.told["policy"]["active_mode"] == "NORMAL"
    assert shown.told["problem"] is None
    done = holdfast("policy", "set", "HALT", "--replace", option, "--json")
    assert (done.told["policy"]["version"], done.told["instead_of"]) == (2, None)


def test_a_running_engine_waits_for_a_person_and_takes_the_word_of_one(
    tmp_path: Path, venue_port: int, start_redis: Callable[[], RedisServer]
) -> None:
    server = start_redis()
    config = write_config(tmp_path, port=venue_port, policy_url=server.url)
    option = f"--config={config}"

    def until(state: str) -> None:
        deadline = time.monotonic() + 30
        while holdfast("status", option, "--json").told["state"] != state:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with bot(config):
        limit = ("--max-order-notional", "500.5")
        assert holdfast("policy", "set", "NORMAL", *limit, option).code == 0
        spoil(server)
        until("RECOVERING")
        assert "b'not a policy'" in holdfast("status", option).out
        assert "b'not a policy'" in holdfast("policy", "show", option).out
        assert holdfast("policy", "set", "DEFENSIVE", option).code == 1
        done = holdfast("policy", "set", "DEFENSIVE", "--replace", option, "--json")
        assert done.code == 0
        assert "b'not a policy'" in done.told["instead_of"]
        assert done.told["policy"]["version"] == 3
        assert done.told["policy"]["limits"] == {"max_order_notional": "500.5"}
        until("HEALTHY")
