"""Batches cut by bytes: messages of 1 to 2 MiB, never larger than the client takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from flight_server.errors import RowTooLarge
from flight_server.storage.protocols import Rows, joined, part

__all__ = ["cut"]

SMALL_BYTES = 524_288  # less than this is joined with what follows
TARGET_BYTES = 1_048_576
MOST_BYTES = 2_097_152
FRAME_BYTES = 48
ENVELOPE_BYTES = 2048  # what a message holds besides the batch: framing, sequence number, cursor


def cut(rows: Iterator[Rows], max_message_bytes: int, *, compressed: bool = False) -> Iterator[Rows]:
    """Cut and join rows into what fits a message each; the first leave at once.

    Parameters
    ----------
    rows
        Rows as they are read.
    max_message_bytes
        The most that one message may have.
    compressed
        Whether the messages will be compressed, which makes small buffers larger.

    Raises
    ------
    RowTooLarge
        One row alone does not fit; names its key.
    """
    rows, columns = _peek(rows)
    # a frame of LZ4 or Zstandard is at most so much larger than what it holds; a column has up to three
    growth = columns * 3 * FRAME_BYTES + max_message_bytes // 200 if compressed else 0
    hard = max_message_bytes - ENVELOPE_BYTES - growth
    soft = min(MOST_BYTES, hard)
    waiting: list[Rows] = []
    size = 0
    first = True
    for piece in rows:
        if len(piece.batch) == 0:
            continue
        bytes_ = pa.ipc.get_record_batch_size(piece.batch)
        if waiting and (size + bytes_ > soft or bytes_ >= SMALL_BYTES):
            yield from _split(joined(waiting), soft, hard)
            waiting, size = [], 0
        if first or bytes_ >= SMALL_BYTES:
            yield from _split(piece, soft, hard)
            first = False
            continue
        waiting.append(piece)
        size += bytes_
        if size >= min(TARGET_BYTES, soft):
            yield from _split(joined(waiting), soft, hard)
            waiting, size = [], 0
    if waiting:
        yield from _split(joined(waiting), soft, hard)


def _peek(rows: Iterator[Rows]) -> tuple[Iterator[Rows], int]:
    """Tell the number of columns, which all rows share."""
    first = next(rows, None)
    return (rows, 0) if first is None else (chain((first,), rows), first.batch.num_columns)


def _split(rows: Rows, soft: int, hard: int) -> Iterator[Rows]:
    """Halve rows until each part has at most `soft` bytes; a single row may have `hard`."""
    length = len(rows.batch)
    size = pa.ipc.get_record_batch_size(rows.batch)
    if size <= soft:
        yield rows
    elif length > 1:
        step = max(1, min(-(-length // 2), length * soft * 3 // (size * 4)))
        for begin in range(0, length, step):
            yield from _split(part(rows, begin, step), soft, hard)
    elif size <= hard:
        yield rows
    else:
        key = rows.keys[0].decode(errors="replace")
        message = f"the row {key} takes {size} bytes, more than one message may have: raise max_message_bytes"
        raise RowTooLarge(message, field="max_message_bytes", value=key)
