"""Rows of feather and Parquet files, through pyarrow, which is loaded only for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .layout import Layout, LayoutError, Record, detect
from .records import DataError

ROWS_AT_ONCE = 10_000


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
    """The rows of data, each with its number from 1 and the layout of the table.

    :raises DataError: as `read`.
    """
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError:
        raise DataError(
            f"{path}: feather and Parquet files need pyarrow; "
            "install it with: pip install 'holdfast[data]'"
        ) from None
    row_number = 0
    try:
        table: Any = feather.read_table if path.suffix == ".feather" else parquet.read_table
        table = _readable(pyarrow, table(path))
        layout = detect(table.column_names)
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                row_number += 1
                yield row_number, layout, row
    except LayoutError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: can not be read: {error}") from None


def _readable(pyarrow: Any, table: Any) -> Any:
    """Nanosecond dates become microseconds: Python's datetime holds no more."""
    for index, field in enumerate(table.schema):
        if pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns":
            coarse = pyarrow.timestamp("us", tz=field.type.tz)
            table = table.set_column(
                index, field.name, table.column(index).cast(coarse, safe=False)
            )
    return table
