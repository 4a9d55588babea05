"""Rows of CSV files, plain, gzipped or zipped, each with its line number."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .layout import Layout, LayoutError, Record, detect
from .records import DataError


def read(path: Path) -> Iterator[Record]:
    """Records of `path`, read as they are asked for.

    :raises DataError: naming file and line.
    """
    for line, layout, row in rows(path):
        try:
            record = layout.parse(row)
        except LayoutError as error:
            raise DataError(f"{path}:{line}: {error}") from None
        yield record


def rows(path: Path) -> Iterator[tuple[int, Layout, list[str]]]:
    """The rows of data, each with the number of its line and the layout of the table.

    :raises DataError: naming file and line.
    """
    layout: Layout | None = None
    line = width = 0
    with _open(path) as text:
        reader = csv.reader(text)
        while True:
            try:
                row = next(reader, None)
                line = reader.line_num
                if row is None:
                    break
                if not row:
                    continue
                if layout is None:
                    layout, width = detect(row), len(row)
                    if layout.has_header:
                        continue
                elif len(row) != width:
                    raise LayoutError(_other_width(len(row), width))
            except LayoutError as error:
                raise DataError(f"{path}:{line}: {error}") from None
            except UnicodeDecodeError:
                raise DataError(f"{path}:{line + 1}: this is no text; expected CSV") from None
            except (csv.Error, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
                raise DataError(f"{path}:{line + 1}: can not be read on: {error}") from None
            yield line, layout, row


def _other_width(found: int, expected: int) -> str:
    if found < expected:
        return f"the line is cut off: {found} columns of {expected}"
    return f"{found} columns, where the lines before have {expected}; give one file for each kind"


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_only_csv(path, archive)) as raw:
                yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        elif path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
                yield text
        else:
            with path.open(encoding="utf-8-sig", newline="") as text:
                yield text
    except (OSError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{path}: can not be opened: {reason}") from None


def _only_csv(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        found = ", ".join(archive.namelist()) or "nothing"
        raise DataError(f"{path}: expected one CSV file inside, found {found}")
    return names[0]
