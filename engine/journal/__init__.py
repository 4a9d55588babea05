"""The durable local journal: what was appended is there after the crash, in order.

`FileJournal` is a segment log on disk, `MemoryJournal` the same for backtests.
"""

from .errors import (
    JournalDamaged,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLocked,
    JournalVersion,
    RecordTooLarge,
)
from .file import FileJournal
from .frame import largest_body, largest_checkpoint, segment_for_checkpoint
from .memory import MemoryDisk, MemoryJournal
from .port import (
    CHECKPOINT,
    MAX_BODY_BYTES,
    MAX_KIND,
    Appended,
    Durability,
    Journal,
    OpenReport,
    Record,
    Span,
)
from .recovery import Inspection

__all__ = [
    "CHECKPOINT",
    "MAX_BODY_BYTES",
    "MAX_KIND",
    "Appended",
    "Durability",
    "FileJournal",
    "Inspection",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalFailed",
    "JournalFull",
    "JournalLocked",
    "JournalVersion",
    "MemoryDisk",
    "MemoryJournal",
    "OpenReport",
    "Record",
    "RecordTooLarge",
    "Span",
    "largest_body",
    "largest_checkpoint",
    "segment_for_checkpoint",
]
