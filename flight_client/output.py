"""Output of an answer: to a file whose ending names the format, or to a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flight_client.files import check_ending, whole_file
from flight_client.votables import write_votable
from flight_server.protocol.errors import BadValue

__all__ = ["ENDINGS", "show", "write_csv", "write_file"]

ENDINGS = (".parquet", ".csv", ".arrow", ".vot")
SHOWN_ROWS = 40


def write_file(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches to a file, which appears only once it is complete.

    Raises
    ------
    BadValue, NotSupported
        The ending is unknown, or the format cannot hold a column.
    """
    check_ending(path, ENDINGS)
    if path.suffix == ".vot":
        write_votable(path, schema, batches)
        return
    with whole_file(path) as sink, _writer(path.suffix, sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def write_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches to standard output as CSV."""
    try:
        with _writer(".csv", sys.stdout.buffer, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadValue(f"standard output cannot be written: {error.strerror}", field="output") from error


def show(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> str:
    """Format a table for a terminal: as many columns and rows as fit, with sizes in the place of cutouts."""
    table = pa.Table.from_batches(batches, schema=schema)
    for place, field in enumerate(schema):
        column = table[field.name]
        if pa.types.is_binary(field.type):
            sizes = [None if size is None else f"<{size} bytes>" for size in pa.compute.binary_length(column).to_pylist()]
            table = table.set_column(place, field.name, pa.array(sizes, pa.string()))
        elif isinstance(field.type, pa.FixedShapeTensorType):
            sizes = [
                f"<{' x '.join(map(str, field.type.shape))} pixels>" if there else None for there in column.is_valid().to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(sizes, pa.string()))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    options = ("display.width", shutil.get_terminal_size().columns, "display.max_columns", 0, "display.max_rows", SHOWN_ROWS)
    with pd.option_context(*options, "display.precision", 7):
        return str(frame) if len(frame) else f"no rows ({len(schema)} columns)"


@contextmanager
def _writer(ending: str, sink: BinaryIO, schema: pa.Schema) -> Iterator[Any]:
    if ending == ".csv":
        unwritable = [f.name for f in schema if pa.types.is_binary(f.type) or isinstance(f.type, pa.BaseExtensionType)]
        if unwritable:
            raise BadValue(f"CSV cannot hold {unwritable[0]}: write .parquet or .arrow", field="output", value=unwritable[0])
        with pa.csv.CSVWriter(sink, schema) as writer:
            yield writer
    elif ending == ".arrow":
        with pa.ipc.new_file(sink, schema) as writer:
            yield writer
    else:
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            yield writer
