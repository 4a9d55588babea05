"""The operator's switches, on a bot that runs and on one that does not."""

from __future__ import annotations

import errno
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import pytest
from cli_rigs import BOT, bot, first_line, holdfast, process, write_config

from holdfast import Engine, Order
from holdfast.cli.operator import last_known
from holdfast.config import load
from holdfast.journal import JournalError
from holdfast.model import Position
from holdfast.opening import open_journal
from holdfast.records import KIND_OF, Adopted, Intended, encode


@pytest.fixture
def config(tmp_path: Path, venue_port: int) -> Path:
    return write_config(tmp_path, port=venue_port)


@pytest.fixture
def running(config: Path) -> Iterator[Path]:
    with bot(config):
        yield config


def test_halt_and_resume_a_running_bot(running: Path) -> None:
    option = f"--config={running}"
    status = holdfast("status", option, "--json")
    assert status.code == 0
    assert (status.told["running"], status.told["state"]) == (True, "HEALTHY")
    halted = holdfast("halt", "the news", option, "--json")
    assert (halted.code, halted.told["running"], halted.told["hold"]) == (0, True, "the news")
    status = holdfast("status", option, "--json")
    assert (status.told["state"], status.told["level"]) == ("DEGRADED", "HALTED")
    assert status.told["hold"] == "the news"
    assert "hold" in holdfast("status", option).out
    resume(option)


def resume(option: str) -> None:
    assert holdfast("resume", option).code == 0
    deadline = time.monotonic() + 30
    while holdfast("status", option, "--json").told["state"] != "HEALTHY":
        assert time.monotonic() < deadline, "the engine did not recover after resume"
        time.sleep(0.05)


def buy_by_hand(port: int, quantity: str) -> None:
    body = json.dumps({"symbol": "BTCUSDT", "side": "buy", "quantity": quantity}).encode()
    with urlopen(f"http://127.0.0.1:{port}/control/order", body) as reply:
        assert reply.status == 200


def test_policy_reconcile_and_flatten_on_a_running_bot(running: Path, venue_port: int) -> None:
    option = f"--config={running}"
    assert holdfast("policy", "show", option, "--json").told["policy"]["active_mode"] == "NORMAL"
    done = holdfast("policy", "set", "defensive", "--max-open-orders", "3", option, "--json")
    assert (done.code, done.told["policy"]["active_mode"]) == (0, "DEFENSIVE")
    done = holdfast("policy", "set", "NORMAL", "--max-order-notional", "500.5", option, "--json")
    assert done.told["policy"]["limits"] == {"max_open_orders": 3, "max_order_notional": "500.5"}
    shown = holdfast("policy", "show", option)
    assert (shown.code, "500.5" in shown.out, "\x1b" in shown.out) == (0, True, False)
    assert holdfast("reconcile", option).out == "the books are equal\n"
    assert holdfast("reconcile", "--adopt", option, "--json").told["adopted"] is True
    refused = holdfast("flatten", option)
    assert refused.code != 0  # nobody was there to say yes
    assert holdfast("status", option, "--json").told["hold"] is None
    buy_by_hand(venue_port, "0.010")
    (closed,) = holdfast("flatten", "--yes", option, "--json").told["orders"]
    assert (closed["side"], closed["filled"]) == ("sell", "0.010")
    resume(option)  # no person is asked for: there is no difference
    assert holdfast("reconcile", option).out == "the books are equal\n"
    assert holdfast("flatten", "--yes", option, "--json").told == {"ok": True, "orders": []}
    assert holdfast("status", option, "--json").told["hold"] == "flatten"


def test_reconcile_says_by_its_exit_code_whether_the_books_differ(
    own_venue_port: int, tmp_path: Path
) -> None:
    config = write_config(tmp_path, port=own_venue_port)
    option = f"--config={config}"
    other = tmp_path / "other"
    other.mkdir()
    theirs = write_config(other, port=own_venue_port, bot="beta")

    async def buy() -> None:
        async with Engine.open(theirs) as engine:
            await engine.until_healthy()
            await engine.submit(Order("BTC/USDT:USDT", "buy", "0.010"))

    anyio.run(buy)
    assert holdfast("reconcile", option).code == 1, "nobody could be asked"
    assert holdfast("reconcile", "--dry-run", "--adopt", option).code == 2
    with process("-c", BOT, config) as child:
        deadline = time.monotonic() + 30
        while (differ := holdfast("reconcile", option, "--json")).code == 1:
            assert time.monotonic() < deadline, "the venue was not asked"
            time.sleep(0.05)
        assert (differ.code, differ.told["equal"]) == (3, False)
        assert differ.told["differences"][0]["kind"] == "orphan_position"
        told = holdfast("reconcile", "--dry-run", option)
        assert (told.code, "1 difference\n" in told.out, told.err) == (3, True, "")
        adopted = holdfast("reconcile", "--adopt", option, "--json")
        assert (adopted.code, adopted.told["equal"]) == (0, True)
        assert len(adopted.told["differences"]) == 1
        assert first_line(child) == "healthy\n"
        assert holdfast("reconcile", option, "--json").code == 0


def test_a_dead_bot_is_halted_in_its_journal(config: Path) -> None:
    option = f"--config={config}"
    never = holdfast("status", option)
    assert never.code == 1
    assert "there is no journal" in never.out
    halted = holdfast("halt", "before the start", option, "--json")
    assert (halted.code, halted.told["running"]) == (0, False)
    status = holdfast("status", option, "--json")
    assert (status.code, status.told["running"]) == (1, False)
    assert status.told["hold"] == "before the start"
    assert holdfast("resume", option).code == 0
    assert holdfast("status", option, "--json").told["hold"] is None
    for command in (["flatten", "--yes"], ["reconcile"], ["policy", "confirm"]):
        done = holdfast(*command, option)
        assert done.code == 1
        assert "no engine runs" in done.err
    with bot(config):  # it becomes healthy: the hold is gone
        pass


def test_a_hold_survives_kill_minus_nine_and_the_socket_left_behind(config: Path) -> None:
    option = f"--config={config}"
    with bot(config) as child:
        assert holdfast("halt", "stay down", option).code == 0
        child.send_signal(signal.SIGKILL)
        child.wait(20)
    assert (config.parent / "state" / "control.sock").exists()
    status = holdfast("status", option, "--json")
    assert (status.code, status.told["running"], status.told["hold"]) == (1, False, "stay down")
    assert holdfast("resume", option).code == 0
    with bot(config):
        assert holdfast("status", option, "--json").told["hold"] is None


def test_a_state_folder_with_a_very_long_path(tmp_path: Path, venue_port: int) -> None:
    state_dir = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 6)
    config = write_config(tmp_path, port=venue_port, state_dir=state_dir)
    with bot(config):
        assert (state_dir / "control.sock").is_socket()
        assert holdfast("status", f"--config={config}", "--json").told["running"] is True


def test_the_journal_of_a_bot_that_ran(config: Path, tmp_path: Path) -> None:
    with bot(config):
        live = holdfast("journal", "verify", config.parent / "state")
        assert live.code == 0
    holdfast("halt", "done", f"--config={config}")
    state = config.parent / "state"
    shown = holdfast("journal", "show", state, "--kind", "transitioned", "--json")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert any('"dest": "HEALTHY"' in line for line in lines)
    assert all('"kind": "transitioned"' in line for line in lines)
    text = holdfast("journal", "show", state, "--last", "1").out
    assert "held" in text
    assert "done" in text
    database = tmp_path / "out.sqlite"
    done = holdfast("journal", "export", state, "--format=sqlite", f"--out={database}", "--json")
    assert done.code == 0
    with closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
        (held,) = connection.execute(
            "SELECT json_extract(body, '$.reason') FROM records WHERE kind = 'held'"
        ).fetchone()
        (traced,) = connection.execute("SELECT count(trace_id) FROM records").fetchone()
    assert (count, held) == (done.told["records"], "done")
    assert traced > 0
    lines_file = tmp_path / "out.jsonl"
    assert holdfast("journal", "export", state, f"--out={lines_file}").code == 0
    assert len(lines_file.read_text().splitlines()) == count
    again = holdfast("journal", "export", state, f"--out={lines_file}")
    assert (again.code, "exists" in again.err) == (1, True)
    picture = tmp_path / "run.svg"
    assert holdfast("diagram", "--timeline", state, "--out", picture).code == 0
    assert "HEALTHY" in picture.read_text()


def test_a_damaged_journal_is_told_and_not_hidden(config: Path) -> None:
    for number in range(4):
        assert holdfast("halt", f"reason {number} {'x' * 200}", f"--config={config}").code == 0
    state = config.parent / "state"
    assert holdfast("journal", "verify", state).code == 0
    segment = sorted((state / "journal").glob("*.seg"))[0]
    content = bytearray(segment.read_bytes())
    at = content.find(b"reason ")
    content[at] ^= 0xFF
    segment.write_bytes(content)
    done = holdfast("journal", "verify", state, "--json")
    assert done.code == 1
    assert done.told["ok"] is False
    assert done.told["damaged"]
    assert "DAMAGED" in holdfast("journal", "verify", state).out


@pytest.mark.parametrize("blocking", [True, False])
def test_a_dead_disk_does_not_hide_the_error_of_a_script(
    config: Path, blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def die() -> None:
        monkeypatch.setattr("os.fdatasync", fail)
        monkeypatch.setattr("os.unlink", fail)
        monkeypatch.setattr("pathlib.Path.unlink", fail)

    async def script() -> None:
        async with Engine.open(config) as engine:
            await engine.until_healthy()
            die()
            with pytest.raises(JournalError):
                await engine.publish("test", 1, durability="power")
            raise LookupError("the script's own")

    def blocking_script() -> None:
        with Engine.open_blocking(config) as engine:
            engine.until_healthy()
            die()
            with pytest.raises(JournalError):
                engine.publish("test", 1, durability="power")
            raise LookupError("the script's own")

    with pytest.raises(LookupError, match="the script's own"):
        blocking_script() if blocking else anyio.run(script)


# --- an order that nobody can tell of ----------------------------------------------------


def leave_in_doubt(
    config: Path,
    client_order_id: str,
    *,
    sent_ms_ago: int = 3_600_000,
    recv_window_ms: int = 2000,
) -> None:
    """The journal of a process that died while it sent an order of a symbol that is gone."""
    order = Order("GONE/USDT:USDT", "buy", "1", price="5", key=client_order_id)
    sent_ms = time.time_ns() // 1_000_000 - sent_ms_ago
    fact = Intended(client_order_id, order, time.time_ns(), sent_ms, recv_window_ms)
    write_journal(config, fact)


def write_journal(config: Path, fact: Intended | Adopted) -> None:
    """What a process wrote that is dead now."""

    async def write() -> None:
        loaded = load(config)
        loaded.state_dir.mkdir(parents=True, exist_ok=True)
        journal = await open_journal(loaded.state_dir, loaded.settings, on_fault=faults.append)
        await journal.append(KIND_OF[type(fact)], encode(fact))
        await journal.aclose()

    faults: list[str] = []
    anyio.run(write)
    assert faults == []


@pytest.mark.parametrize("verdict", ["not-executed", "accepted"])
def test_a_person_settles_an_order_in_the_journal_of_a_dead_bot(config: Path, verdict: str) -> None:
    option = f"--config={config}"
    none = holdfast("resolve", "hf-alpha-1-1-1", "--accepted", "--reason=x", option)
    assert (none.code, "there is no journal" in none.err) == (1, True)
    leave_in_doubt(config, "hf-alpha-1-1-1")
    leave_in_doubt(config, "hf-alpha-1-1-2", sent_ms_ago=0, recv_window_ms=3_600_000)
    told = holdfast("status", option).out
    assert "holdfast resolve hf-alpha-1-1-1 --not-executed" in told
    silent = holdfast("resolve", "hf-alpha-1-1-1", "--reason=x", option)
    assert (silent.code, "say --not-executed or --accepted" in silent.err) == (2, True)
    assert holdfast("resolve", "hf-alpha-1-1-1", "--accepted", option).code == 2
    wrong = holdfast("resolve", "hf-alpha-9", "--accepted", "--reason=x", option)
    assert (wrong.code, "no order of this id waits" in wrong.err) == (1, True)
    early = holdfast("resolve", "hf-alpha-1-1-2", "--accepted", "--reason=x", option)
    assert (early.code, "may still accept it" in early.err) == (1, True)
    assert holdfast("status", option, "--json").told["unknown_orders"] == [
        "hf-alpha-1-1-1",
        "hf-alpha-1-1-2",
    ], "nothing that was refused has changed anything"

    done = holdfast(
        "resolve", "hf-alpha-1-1-1", f"--{verdict}", "--reason=saw it", option, "--json"
    )
    assert (done.code, done.told["running"]) == (0, False)
    assert done.told["report"]["status"] == verdict.replace("-", "_")
    assert done.told["report"]["evidence"].endswith("saw it")
    status = holdfast("status", option, "--json").told
    assert status["unknown_orders"] == ["hf-alpha-1-1-2"]
    again = holdfast("resolve", "hf-alpha-1-1-1", "--accepted", "--reason=x", option)
    assert (again.code, "no order of this id waits" in again.err) == (1, True)
    loaded = load(config)
    known = last_known(loaded)
    assert known is not None
    assert known.ledger.keyed["hf-alpha-1-1-1"].status == verdict.replace("-", "_")


def test_a_dead_bot_in_hedge_mode_is_shown_with_both_of_its_sides(config: Path) -> None:
    held = (
        Position("BTC/USDT:USDT", Decimal(2), position_side="LONG"),
        Position("BTC/USDT:USDT", Decimal(-1), position_side="SHORT"),
    )
    write_journal(config, Adopted(held, (), by="test", time_ns=time.time_ns()))
    told = holdfast("status", f"--config={config}", "--json").told["positions"]
    assert told == {"BTC/USDT:USDT LONG": "2", "BTC/USDT:USDT SHORT": "-1"}
    assert "BTC/USDT:USDT SHORT -1" in holdfast("status", f"--config={config}").out


def test_a_person_settles_an_order_of_a_running_bot(config: Path) -> None:
    option = f"--config={config}"
    leave_in_doubt(config, "hf-alpha-1-1-1")
    with process("-c", BOT, config) as child:
        deadline = time.monotonic() + 30
        status: Any = {}
        while status.get("state") != "RECONCILING" or "Invalid symbol" not in str(status):
            assert time.monotonic() < deadline, f"the venue was not asked: {status}"
            time.sleep(0.05)  # a loop that stood still, on a busy machine, takes it down once more
            status = holdfast("status", option, "--json").told
        assert "holdfast resolve hf-alpha-1-1-1 --not-executed" in status["remedies"][0]
        wrong = holdfast("resolve", "hf-alpha-9", "--accepted", "--reason=x", option)
        assert (wrong.code, "waiting: hf-alpha-1-1-1" in wrong.err) == (1, True)
        done = holdfast("resolve", "hf-alpha-1-1-1", "--not-executed", "--reason=delisted", option)
        assert done.code == 0
        assert "not executed" in done.out
        assert "delisted" in done.out
        assert first_line(child) == "healthy\n"
