"""Reasons in words, made fit to be written down.

They come out of exceptions and replies, and those may hold anything: bytes that were no
text (PEP 383 keeps them as lone surrogates, which UTF-8 can not encode), or a whole page
of HTML. A fault whose reason can not be journalled must still be a fault.
"""

from __future__ import annotations

import asyncio
from typing import Final

MAX_CHARACTERS: Final = 1000


def writable(reason: object) -> str:
    """`reason` as valid UTF-8 of at most `MAX_CHARACTERS`, whatever was given for it.

    A record whose text is no text would keep the journal from being read again.
    """
    reason = reason if isinstance(reason, str) else str(reason)
    if len(reason) > MAX_CHARACTERS:
        reason = reason[: MAX_CHARACTERS - 1] + "…"
    return reason.encode("utf-8", "replace").decode("utf-8")


def interruption(error: BaseException) -> str:
    """What broke in on a piece of work, for its record.

    A cancellation's own message names scopes and tasks by their addresses: nothing to a
    person, and another text in every run of the same simulation.
    """
    if isinstance(error, asyncio.CancelledError):
        return "the caller was cancelled"
    return repr(error)
