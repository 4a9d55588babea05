"""What can go wrong with the journal, and what the operator does about it.

Every message names the file and the remedy. An append that raised `JournalFull` or
`RecordTooLarge` did not happen; one that raised `JournalFailed` may have happened (unknown), so
whatever its body identifies must be idempotent.
"""

from __future__ import annotations


class JournalError(Exception):
    """Base of everything the journal raises on purpose."""


class JournalFull(JournalError):
    """No room: the bound, the disk or the sync backlog is used up. The record is not in the log.

    Passes by itself once records are acknowledged or space is freed. Records
    appended with `reserve=True` still find room for a while.
    """


class RecordTooLarge(JournalError, ValueError):
    """The body fits no segment, whatever the disk has free. Nothing was appended.

    The remedy is a smaller body or a larger `segment_bytes`.
    """


class JournalFailed(JournalError):
    """The device refused what it had accepted; the journal is closed for writing.

    What was appended since the last successful sync may or may not be on disk.
    The remedy is to repair or replace the disk and open the journal again.
    """


class JournalLocked(JournalError):
    """Another process has this journal open for writing."""


class JournalDamaged(JournalError):
    """The device could not read a file, so nothing certain can be said about the log."""


class JournalVersion(JournalError):
    """A newer holdfast wrote this journal; its format is unknown here."""
