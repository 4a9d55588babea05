"""Journal records in a file for other programs: JSON lines, or a table of SQLite.

An export that breaks off leaves what was written by then, and says how much that is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from holdfast.errors import HoldfastError
from holdfast.journal import JournalError

from .records import Shown

_RECORDS_PER_COMMIT = 5000


class _Export(Protocol):
    def add(self, one: Shown) -> None: ...

    def commit(self) -> None: ...

    def close(self) -> None: ...


class _Lines:
    def __init__(self, out: Path) -> None:
        self._file = out.open("x", encoding="utf-8")

    def add(self, one: Shown) -> None:
        self._file.write(one.as_json() + "\n")

    def commit(self) -> None:
        self._file.flush()

    def close(self) -> None:
        with suppress(OSError):  # of a flush that `commit` has told of
            self._file.close()


class _Table:
    def __init__(self, out: Path) -> None:
        self._database = sqlite3.connect(out)
        self._database.execute(
            "CREATE TABLE records (seq INTEGER PRIMARY KEY, incarnation INTEGER NOT NULL,"
            " kind TEXT NOT NULL, time TEXT, trace_id TEXT, body TEXT NOT NULL)"
        )
        self._database.execute("CREATE INDEX records_by_trace ON records (trace_id)")

    def add(self, one: Shown) -> None:
        body = json.dumps(one.body, ensure_ascii=False, allow_nan=False)
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
            (one.seq, one.incarnation, one.kind, one.time, one.trace_id, body),
        )

    def commit(self) -> None:
        self._database.commit()

    def close(self) -> None:
        self._database.close()


def write_records(out: Path, form: str, records: Iterable[Shown]) -> int:
    """Write records to a new file and return how many.

    :param form: `jsonl` or `sqlite`.
    :raises HoldfastError: the file can not be written, or the journal not be read on.
    """
    try:
        export: _Export = _Lines(out) if form == "jsonl" else _Table(out)
    except (OSError, sqlite3.Error) as error:
        raise HoldfastError(f"{out} can not be written ({_words(error)})") from error
    count = saved = 0
    with closing(export):
        try:
            for one in records:
                export.add(one)
                count += 1
                if count % _RECORDS_PER_COMMIT == 0:
                    export.commit()
                    saved = count
            export.commit()
        except (OSError, sqlite3.Error, JournalError) as error:
            with suppress(OSError, sqlite3.Error):
                export.commit()
                saved = count
            raise HoldfastError(
                f"{_words(error)}. {out} is incomplete: it holds the first {saved} records"
            ) from error
    return count


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".")
