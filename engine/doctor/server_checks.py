"""What the server behind bus or policy store has to be: decided from what it says of itself; pure.

The bounds and their reasons: the append script keeps its progress beside the stream, so
nothing may be evicted; what a restart loses is sent again only as far back as
`outbox.retain_acked_seconds`; a heartbeat that is late is taken for a lost connection.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from holdfast.policy import Mode, Policy
from holdfast.ports import ServerFacts

from .finding import Finding, fail, ok, skipped, warn

CHECKS: Final = (
    "version",
    "role",
    "rights",
    "changes",
    "persistence",
    "eviction",
    "round_trip",
)
OLDEST_REDIS: Final = (6, 2)
FULL: Final = 0.9
_NOT_TOLD: Final = "the server does not tell this user"
_LET_IT_TELL: Final = "allow the user +info (ACL SETUSER), or ask whoever runs the server"


class ServerSeen(NamedTuple):
    """
    :ivar role: `bus` or `policy`; what the checks' ids begin with.
    :ivar address: without its password.
    :ivar facts: None: it could not be reached, `problem` says why; or it does not say
        anything of itself.
    """

    role: str
    address: str
    facts: ServerFacts | None
    problem: str = ""


class PolicySeen(NamedTuple):
    """What the policy store holds.

    :ivar problem: it could not be asked; the server's own checks say why.
    :ivar unreadable: it holds something that is no policy.
    """

    policy: Policy | None = None
    unreadable: str = ""
    problem: str = ""


def check_policy(seen: PolicySeen, *, initial: Policy | None) -> Finding:
    """
    :param initial: what the configuration would store in a store that never held any.
    """
    check = "policy.document"
    if seen.problem:
        return skipped(check, seen.problem)
    if seen.unreadable:
        return fail(check, seen.unreadable, "nothing is traded on it")
    if seen.policy is not None:
        mode = seen.policy.active_mode
        found = f"{mode}, version {seen.policy.version}"
        if mode is Mode.HALT:
            return warn(
                check, f"{found}: nothing is opened", "holdfast policy set NORMAL, when it may be"
            )
        return ok(check, found)
    if initial is not None:
        return ok(check, f"none yet; the first start stores {initial.active_mode} (policy.initial)")
    return warn(
        check,
        "none, and the configuration has no policy.initial: the gate would stay shut",
        "holdfast policy set NORMAL, or write [policy.initial]",
    )


def check_server(seen: ServerSeen) -> list[Finding]:
    at, facts = seen.role, seen.facts
    if seen.problem:
        remedy = f"start the server, or correct {at}.url (or its password) in the configuration"
        return [
            fail(f"{at}.reachable", seen.problem, remedy),
            *(skipped(f"{at}.{name}", "the server can not be reached") for name in CHECKS),
        ]
    reached = ok(f"{at}.reachable", seen.address)
    if facts is None:
        return [reached, *(skipped(f"{at}.{name}", "not told") for name in CHECKS)]
    if facts.forgets:
        in_process = "it lives in this process and needs none"
        return [
            reached,
            warn(
                f"{at}.persistence",
                f"{facts.product}: everything is forgotten when the process ends",
                f'right for a test; to trade, give a server: {at}.url = "redis://127.0.0.1:6379/0"',
            ),
            *(skipped(f"{at}.{name}", in_process) for name in CHECKS if name != "persistence"),
        ]
    return [
        reached,
        _version(at, facts),
        _role(at, facts),
        _rights(at, facts),
        _changes(at, facts),
        _persistence(at, facts),
        _eviction(at, facts),
        _round_trip(at, facts),
    ]


def _version(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.version"
    name = f"{facts.product} {facts.version}".strip()
    if not facts.version:
        return warn(check, _NOT_TOLD, _LET_IT_TELL)
    numbers = tuple(int(number) for number in re.findall(r"\d+", facts.version)[:2])
    if facts.product == "redis" and numbers < OLDEST_REDIS:
        return fail(check, name, "holdfast needs Redis 6.2 or newer, or Valkey: update the server")
    return ok(check, name)


def _role(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.role"
    if facts.is_primary is False:
        return fail(
            check,
            "a replica, which takes no writes",
            f"point {at}.url at the primary, or let sentinels find it: "
            '"redis+sentinel://host,host/primary-name/0"',
        )
    if facts.refuses_writes:
        return fail(check, facts.refuses_writes, "nothing can be published until that is mended")
    return ok(check, "primary, takes writes" if facts.is_primary else "takes writes")


def _rights(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.rights"
    if facts.runs_scripts is False:
        return fail(
            check,
            "this user may not run scripts, which every append is",
            "give the user the rights that holdfast.transports.redis.acl lists",
        )
    return ok(check, "may run scripts")


def _changes(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.changes"
    if facts.pushes_changes is False:
        return warn(
            check,
            "does not push changes (CLIENT TRACKING); the heartbeat finds them, a little later",
            "give the user +client|tracking",
        )
    return ok(check, "pushes changes")


def _persistence(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.persistence"
    if facts.save_error:
        return fail(
            check,
            "its last try to write to its disk failed",
            "free the disk or mend the permissions that the server's log names",
        )
    if facts.appends is None:
        return warn(check, _NOT_TOLD, _LET_IT_TELL)
    turn_on = "CONFIG SET appendonly yes, and the same in its configuration file"
    if not facts.appends and not facts.snapshots:
        kept = "nothing" if facts.snapshots is not None else "no log"
        return warn(
            check,
            f"appendonly no: it keeps {kept} on disk, and comes back empty from a restart. Events "
            "of the last outbox.retain_acked_seconds are sent again; the policy waits for you",
            turn_on,
        )
    if not facts.appends:
        return warn(
            check,
            "appendonly no: a restart goes back to its last snapshot, perhaps further than "
            "outbox.retain_acked_seconds",
            turn_on,
        )
    if facts.sync == "no":
        return warn(
            check,
            "appendonly yes, but appendfsync no: a power cut may lose half a minute",
            "CONFIG SET appendfsync everysec",
        )
    return ok(check, f"appendonly yes, appendfsync {facts.sync or 'not told'}")


def _eviction(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.eviction"
    policy, most, used = facts.eviction, facts.max_memory_bytes, facts.used_memory_bytes
    if policy is None:
        return warn(check, _NOT_TOLD, _LET_IT_TELL)
    keep = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file"
    bound = f"maxmemory {most / 1e6:,.0f} MB" if most else "no maxmemory"
    if policy.startswith("allkeys"):
        lost = "may throw away events, their progress and the policy"
        if most:
            return fail(check, f"{policy} with {bound}: {lost}", keep)
        return warn(check, f"{policy}: {lost} once maxmemory is set", keep)
    if policy != "noeviction" and most:
        return warn(
            check,
            f"{policy} with {bound}: may throw away the lease, and with it the right to trade",
            keep,
        )
    if most and used is not None and used > FULL * most:
        return warn(
            check,
            f"{used / 1e6:,.0f} MB of {most / 1e6:,.0f} MB are used; full, it refuses writes",
            "raise maxmemory, or keep fewer events ([bus.options] stream_maxlen)",
        )
    return ok(check, f"{policy}, {bound}")


def _round_trip(at: str, facts: ServerFacts) -> Finding:
    check = f"{at}.round_trip"
    took, patience = facts.round_trip_seconds, facts.patience_seconds
    if took is None:
        return skipped(check, "not measured")
    found = f"{took * 1000:.1f} ms"
    if patience is not None and took > patience / 2:
        return warn(
            check,
            f"{found}, near the {patience * 1000:.0f} ms of silence that count as an outage",
            "run the bot closer to the server, or raise timeout_ms in the URL: ?timeout_ms=1000",
        )
    return ok(check, found)
