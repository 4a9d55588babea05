"""What the doctor says of the servers behind bus and policy store."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from doctor_rigs import the, verdicts, write

from holdfast.config import load
from holdfast.doctor.finding import Finding, Verdict
from holdfast.doctor.server_checks import (
    CHECKS,
    PolicySeen,
    ServerSeen,
    check_policy,
    check_server,
)
from holdfast.doctor.servers import look_at_servers
from holdfast.policy import Mode, Policy
from holdfast.ports import ServerFacts
from holdfast.transports.redis import acl
from holdfast.transports.redis.facts import facts_of, parse_info
from holdfast.transports.server import RedisServer

SIM = 'url = "sim://127.0.0.1:1"'
SOUND = ServerFacts(
    "redis",
    "7.0.15",
    is_primary=True,
    runs_scripts=True,
    pushes_changes=True,
    appends=True,
    sync="everysec",
    snapshots=False,
    save_error=False,
    eviction="noeviction",
    max_memory_bytes=1_000_000,
    used_memory_bytes=500_000,
    round_trip_seconds=0.001,
    patience_seconds=0.25,
)


def judged(**changed: Any) -> list[Finding]:
    return check_server(ServerSeen("bus", "redis://here", SOUND._replace(**changed)))


def test_a_sound_server_is_sound() -> None:
    assert set(verdicts(judged()).values()) == {"ok"}
    assert {f"bus.{name}" for name in (*CHECKS, "reachable")} == set(verdicts(judged()))


@pytest.mark.parametrize(
    ("check", "changed", "verdict"),
    [
        ("version", {"version": "6.0.20"}, "fail"),
        ("version", {"version": "6.2.0"}, "ok"),
        ("version", {"version": "10.0.1"}, "ok"),
        ("version", {"product": "valkey", "version": "9.1.2"}, "ok"),
        ("version", {"version": ""}, "warn"),
        ("role", {"is_primary": False}, "fail"),
        ("role", {"refuses_writes": "OOM"}, "fail"),
        ("role", {"is_primary": None}, "ok"),
        ("rights", {"runs_scripts": False}, "fail"),
        ("changes", {"pushes_changes": False}, "warn"),
        ("persistence", {"save_error": True}, "fail"),
        ("persistence", {"appends": False}, "warn"),
        ("persistence", {"appends": False, "snapshots": True}, "warn"),
        ("persistence", {"appends": False, "snapshots": None}, "warn"),
        ("persistence", {"appends": None}, "warn"),
        ("persistence", {"sync": "no"}, "warn"),
        ("persistence", {"sync": "always"}, "ok"),
        ("persistence", {"sync": None}, "ok"),
        ("eviction", {"eviction": "allkeys-lru"}, "fail"),
        ("eviction", {"eviction": "allkeys-lru", "max_memory_bytes": 0}, "warn"),
        ("eviction", {"eviction": "volatile-ttl"}, "warn"),
        ("eviction", {"eviction": "volatile-ttl", "max_memory_bytes": 0}, "ok"),
        ("eviction", {"used_memory_bytes": 950_000}, "warn"),
        ("eviction", {"used_memory_bytes": 950_000, "max_memory_bytes": 0}, "ok"),
        ("eviction", {"eviction": None}, "warn"),
        ("round_trip", {"round_trip_seconds": 0.126}, "warn"),
        ("round_trip", {"round_trip_seconds": None}, "skip"),
    ],
)
def test_each_fault_has_its_verdict_and_no_other(
    check: str, changed: dict[str, Any], verdict: str
) -> None:
    findings = judged(**changed)
    assert the(findings, f"bus.{check}").verdict == verdict
    others = {v for name, v in verdicts(findings).items() if name != f"bus.{check}"}
    assert others == {"ok"}


def test_what_keeps_nothing_and_what_keeps_little_are_told_apart() -> None:
    nothing = the(judged(appends=False), "bus.persistence")
    little = the(judged(appends=False, snapshots=True), "bus.persistence")
    assert "empty" in nothing.found
    assert "last snapshot" in little.found


def test_a_transport_that_tells_nothing_is_not_blamed() -> None:
    found = verdicts(check_server(ServerSeen("bus", "nats://here", None)))
    assert found.pop("bus.reachable") == "ok"
    assert set(found.values()) == {"skip"}


def test_a_server_of_few_words_is_read_as_far_as_it_goes() -> None:
    more = {"refuses_writes": "", "round_trip_seconds": 0.001}
    facts = facts_of(parse_info("# Server\r\nredis_version:7.2.4\r\nmaxmemory:x\r\n"), {}, **more)
    assert (facts.product, facts.version) == ("redis", "7.2.4")
    assert facts.is_primary is None
    assert facts.appends is facts.snapshots is facts.eviction is facts.max_memory_bytes is None
    assert facts.save_error is None
    failed = facts_of({"rdb_last_bgsave_status": "err"}, {"save": "3600 1"}, **more)
    assert (failed.save_error, failed.snapshots) == (True, True)


INITIAL = '[policy.initial]\nactive_mode = "NORMAL"'


def examined(folder: Path, url: str, more: str = INITIAL) -> list[Finding]:
    config = load(write(folder, bus=url, exchange=SIM, more=more))
    seen = anyio.run(look_at_servers, config)
    findings = [f for server in seen.servers for f in check_server(server)]
    return [*findings, check_policy(seen.policy, initial=config.settings.policy.initial)]


def test_a_bus_in_memory_works_and_is_no_place_to_trade_from(tmp_path: Path) -> None:
    findings = examined(tmp_path, "memory://bot")
    found = verdicts(findings)
    assert found.pop("bus.reachable") == "ok"
    assert found.pop("bus.persistence") == "warn"
    assert found.pop("policy.document") == "ok"
    assert set(found.values()) == {"skip"}
    assert len(found) == len(CHECKS) - 1


@pytest.mark.server
class TestRealServer:
    def test_sound(self, tmp_path: Path, redis_server: RedisServer) -> None:
        findings = examined(tmp_path, redis_server.url)
        assert set(verdicts(findings).values()) == {"ok"}
        assert the(findings, "bus.version").found.split()[-1] in redis_server.binary.version
        assert "everysec" in the(findings, "bus.persistence").found

    @pytest.mark.parametrize(
        ("check", "verdict", "settings"),
        [
            ("persistence", "warn", {"appendonly": "no"}),
            ("persistence", "warn", {"appendonly": "no", "save": "3600 1"}),
            ("persistence", "warn", {"appendonly": "yes", "appendfsync": "no"}),
            ("eviction", "fail", {"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"}),
            ("eviction", "warn", {"maxmemory-policy": "volatile-lru", "maxmemory": "100mb"}),
            ("role", "fail", {"min-replicas-to-write": "1"}),
        ],
    )
    def test_settings(
        self,
        tmp_path: Path,
        start_redis: Callable[..., RedisServer],
        check: str,
        verdict: str,
        settings: dict[str, str],
    ) -> None:
        server = start_redis(options={"appendonly": "yes", **settings})
        findings = examined(tmp_path, server.url)
        assert the(findings, f"bus.{check}").verdict == verdict
        # A store that refuses writes never stands as a link, so its policy is not read.
        apart = (f"bus.{check}", "policy.document" if check == "role" else "")
        assert {v for name, v in verdicts(findings).items() if name not in apart} == {"ok"}

    def test_full(self, tmp_path: Path, start_redis: Callable[..., RedisServer]) -> None:
        server = start_redis(appendonly=True)
        server.command("SET", "somebodys", "x" * 100_000)
        server.command("CONFIG", "SET", "maxmemory", "1mb")
        role = the(examined(tmp_path, server.url), "bus.role")
        assert role.verdict is Verdict.FAIL
        assert "OOM" in role.found

    def test_a_save_that_failed(
        self, tmp_path: Path, start_redis: Callable[..., RedisServer]
    ) -> None:
        server = start_redis(appendonly=True)
        (server.directory / "dump.rdb").mkdir()  # the snapshot's name is taken
        server.command("BGSAVE")
        deadline = time.monotonic() + 30
        while "rdb_last_bgsave_status:err" not in server.command("INFO", "persistence"):
            assert time.monotonic() < deadline
        assert the(examined(tmp_path, server.url), "bus.persistence").verdict is Verdict.FAIL

    def test_a_replica(self, tmp_path: Path, start_redis: Callable[..., RedisServer]) -> None:
        primary, replica = start_redis(appendonly=True), start_redis(appendonly=True)
        replica.command("REPLICAOF", primary.host, str(primary.port))
        role = the(examined(tmp_path, replica.url), "bus.role")
        assert role.verdict is Verdict.FAIL
        assert "replica" in role.found

    def test_dead(self, tmp_path: Path, redis_server: RedisServer) -> None:
        redis_server.kill()
        findings = examined(tmp_path, redis_server.url)
        found = verdicts(findings)
        assert found.pop("bus.reachable") == "fail"
        assert set(found.values()) == {"skip"}
        assert "refused" in the(findings, "bus.reachable").found

    def test_hung(self, tmp_path: Path, redis_server: RedisServer) -> None:
        redis_server.stop()
        try:
            found = the(examined(tmp_path, f"{redis_server.url}?connect_ms=200"), "bus.reachable")
        finally:
            redis_server.cont()
        assert found.verdict is Verdict.FAIL

    def test_a_wrong_password_is_told_and_not_shown(
        self,
        tmp_path: Path,
        start_redis: Callable[..., RedisServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server = start_redis(options={"requirepass": "rightly"})
        monkeypatch.setenv("PASSWORD", "wrongly")
        url = f"redis://:${{PASSWORD}}@{server.host}:{server.port}/0"
        findings = examined(tmp_path, url)
        reached = the(findings, "bus.reachable")
        assert reached.verdict is Verdict.FAIL
        assert "password" in reached.found
        assert "wrongly" not in repr(findings)

    def test_a_user_with_the_rights_of_holdfast_alone_is_told_all_that_matters(
        self,
        tmp_path: Path,
        redis_server: RedisServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("PASSWORD", "secret")
        user = ("ACL", "SETUSER", "trader", "reset", "on", ">secret")
        url = f"redis://trader:${{PASSWORD}}@{redis_server.host}:{redis_server.port}/0"
        redis_server.command(*user, *acl.rules("alpha"))
        assert set(verdicts(examined(tmp_path, url)).values()) == {"ok"}

        without = ("-info", "-eval", "-client|tracking")
        redis_server.command(*user, *acl.rules("alpha"), *without)
        found = verdicts(examined(tmp_path, url))
        assert found["bus.rights"] == "fail"
        assert {found[f"bus.{name}"] for name in ("version", "persistence", "eviction")} == {"warn"}
        assert found["bus.changes"] == "warn"

    def test_a_policy_store_of_its_own_is_examined_too(
        self, tmp_path: Path, redis_server: RedisServer
    ) -> None:
        found = verdicts(
            examined(tmp_path, "memory://bot", f'[policy]\nurl = "{redis_server.url}"\n{INITIAL}')
        )
        assert found["policy.persistence"] == "ok"
        assert found["bus.persistence"] == "warn"
        same = verdicts(examined(tmp_path, redis_server.url))
        assert "policy.persistence" not in same

    @pytest.mark.parametrize(
        ("stored", "verdict", "word"),
        [
            (None, "warn", "policy.initial"),
            (("NORMAL", "1"), "ok", "NORMAL, version 1"),
            (("HALT", "2"), "warn", "nothing is opened"),
            (("NORMAL", "x"), "fail", "can not be taken"),
        ],
    )
    def test_the_policy_that_is_kept(
        self,
        tmp_path: Path,
        redis_server: RedisServer,
        stored: tuple[str, str] | None,
        verdict: str,
        word: str,
    ) -> None:
        if stored is not None:
            mode, version = stored
            document = f'{{"active_mode": "{mode}", "version": {version}}}'
            fields = ("lineage", "a", "version", version, "document", document)
            redis_server.command("HSET", "{hf:alpha}:policy", *fields)
        found = the(examined(tmp_path, redis_server.url, ""), "policy.document")
        assert found.verdict == verdict
        assert word in found.found


@pytest.mark.parametrize(
    ("seen", "initial", "verdict"),
    [
        (PolicySeen(), Policy(Mode.NORMAL), "ok"),
        (PolicySeen(), None, "warn"),
        (PolicySeen(Policy(Mode.HALT)), Policy(Mode.NORMAL), "warn"),
        (PolicySeen(Policy(Mode.DEFENSIVE)), None, "ok"),
        (PolicySeen(unreadable="x"), Policy(Mode.NORMAL), "fail"),
        (PolicySeen(problem="x"), None, "skip"),
    ],
)
def test_what_a_policy_store_holds(seen: PolicySeen, initial: Policy | None, verdict: str) -> None:
    assert the([check_policy(seen, initial=initial)], "policy.document").verdict == verdict
