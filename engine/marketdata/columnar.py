"""Rows of feather and Parquet files, through pyarrow, which is loaded only for them.

A file is read in batches, as it was written, and never held as a whole: years of candles
take no more memory than a month. (A feather file that some program wrote as one batch is
one.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from .layout import Layout, LayoutError, Record, detect
from .records import DataError

ROWS_AT_ONCE = 10_000
BUFFER_BYTES = 1 << 20
"""Of a column of a Parquet file; without it a whole row group would be read at once."""


def read(path: Path) -> Iterator[Record]:
    """Records of `path`; a file error counts rows from 1, as lines of the data.

    :raises DataError: naming file and row, or that pyarrow is missing.
    """
    for number, layout, row in rows(path):
        try:
            record = layout.parse(row)
        except LayoutError as error:
            raise DataError(f"{path}: row {number}: {error}") from None
        yield record


def rows(path: Path) -> Iterator[tuple[int, Layout, tuple[object, ...]]]:
    """The rows of data, each with its number from 1 and the layout of the table; of columns
    that the layout does not use there is None.

    :raises DataError: as `read`.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{path}: feather and Parquet files need pyarrow; "
            "install it with: pip install 'holdfast[data]'"
        ) from None
    row_number = 0
    try:
        with pyarrow.OSFile(str(path)) as file:
            if path.name.lower().endswith(".feather"):
                reader = pyarrow.ipc.open_file(file)
                names = reader.schema.names
                batches: Iterable[Any] = map(reader.get_batch, range(reader.num_record_batches))
            else:
                table = parquet.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
                names = table.schema_arrow.names
                # A reader of all groups keeps what it has read of each until the last.
                batches = (
                    batch
                    for group in range(table.num_row_groups)
                    for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=[group])
                )
            layout = detect(names)
            used = layout.used
            for batch in batches:
                for first in range(0, batch.num_rows, ROWS_AT_ONCE):
                    part = batch.slice(first, ROWS_AT_ONCE)
                    columns = (
                        _values(pyarrow, part.column(index)) if index in used
                        else repeat(None)
                        for index in range(len(names))
                    )  # fmt: skip
                    for row in zip(*columns, strict=False):  # the unused ones have no end
                        row_number += 1
                        yield row_number, layout, row
    except LayoutError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: can not be read: {error}") from None


def _values(pyarrow: Any, column: Any) -> list[object]:
    """Dates become milliseconds; those without a zone are UTC, as freqtrade and Binance mean."""
    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ms"), safe=False).cast(pyarrow.int64())
    values: list[object] = column.to_pylist()
    return values
