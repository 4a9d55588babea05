"""What a server's error reply means for an operator, and what to do about it.

An error reply on one of our connections is a fault of the link: every command sent
is one that a healthy, rightly configured server carries out. The code is searched
for in the whole text, because Redis 6.2 wraps what happens inside a script
(`ERR Error running script ... -READONLY ...`).
"""

from __future__ import annotations

import re
from typing import Final

_REMEDIES: Final = {
    "LOADING": "the server is still loading its data; it answers by itself once that is done",
    "READONLY": "this server is a replica; point the URL at the primary, or use redis+sentinel://",
    "MASTERDOWN": "this replica has lost its primary; point the URL at the primary",
    "OOM": "the server is out of memory; raise `maxmemory` or make room",
    "MISCONF": "the server cannot save to disk and refuses writes; free the disk or mend the"
    " permissions its log names",
    "NOREPLICAS": "too few replicas are connected for `min-replicas-to-write`; bring them back",
    "BUSY": "a script or function occupies the server; end it with SCRIPT KILL or FUNCTION KILL",
    "NOAUTH": "the server wants a password; put it into the URL, redis://user:password@host",
    "WRONGPASS": "user or password is wrong; correct it in the URL",
    "NOPERM": "the user may not run a command that is needed; extend its ACL",
    "NOPROTO": "the server does not speak RESP3; it has to be Redis 6 or later, or Valkey",
    "DENIED": "the server is in protected mode; set a password or bind it to this host's address",
    "CLUSTERDOWN": "the cluster has lost slots; bring its nodes back",
    "MOVED": "this node of the cluster does not hold the keys; point the URL at the one named",
    "ASK": "the keys are being moved to another node of the cluster; wait for it",
    "TRYAGAIN": "the keys are being moved to another node of the cluster; wait for it",
    "WRONGTYPE": "a key of ours holds something else; another program uses the same names:"
    " choose another `bot`",
}
_CODES: Final = re.compile(rf"\b({'|'.join(_REMEDIES)})\b")
_PHRASES: Final = {
    "max number of clients": "the server takes no more connections; raise `maxclients`",
    "unknown command": "the server lacks a command; it has to be Redis 6 or later, or Valkey",
    "without any password configured": "the server has no password; take it out of the URL",
    "DB index is out of range": "there is no such database; correct the number in the URL",
}

#: Nothing heals these but a person, so asking again fifty times a second is of no use.
_LASTING: Final = ("NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO", "DENIED", "MOVED", "WRONGTYPE")


def explain(text: str) -> str:
    """The server's words, with the remedy in front where one is known."""
    found = _CODES.search(text)
    if found is not None:
        return f"{_REMEDIES[found[1]]} ({text})"
    for phrase, remedy in _PHRASES.items():
        if phrase in text:
            return f"{remedy} ({text})"
    return f"the server answered: {text}"


def is_lasting(text: str) -> bool:
    """Whether it takes a person to mend."""
    found = _CODES.search(text)
    return found is not None and found[1] in _LASTING
