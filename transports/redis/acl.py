"""The rights that holdfast needs on a server, and no more."""

from __future__ import annotations

from typing import Final

_COMMANDS: Final = (
    "hello auth ping select client|setname client|tracking eval set setrange get time exists del"
    " xadd xtrim xlen xread xrevrange hget hmget hset hlen hexists pexpire info"
)
# INFO is for `holdfast doctor` alone: without it, role and persistence stay unknown.


def rules(bot: str) -> tuple[str, ...]:
    """What to give to `ACL SETUSER name on >password`, for one bot.

    The scripts reach the same keys and run with the same rights.
    """
    return (f"~{{hf:{bot}}}:*", "-@all", *(f"+{command}" for command in _COMMANDS.split()))
