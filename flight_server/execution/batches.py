"""Batching of rows by bytes: messages of 1 to 2 MiB, never larger than `max_message_bytes`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from flight_server.protocol.errors import RowTooLarge
from flight_server.storage.scans import Rows

__all__ = ["cut"]

SMALL_BYTES = 524_288  # smaller batches are joined with the next ones
TARGET_BYTES = 1_048_576
MOST_BYTES = 2_097_152
FRAME_BYTES = 48
ENVELOPE_BYTES = 2048  # of a message besides the batch: framing, sequence number, cursor


def cut(rows: Iterator[Rows], max_message_bytes: int, compression: str | None = None, what: str = "row") -> Iterator[Rows]:
    """Cut and join rows into batches that fit a message; the first one is sent without waiting for more rows.

    Parameters
    ----------
    rows
        The rows as read.
    max_message_bytes
        The most bytes of one message.
    compression
        The compression of the messages; it makes small buffers larger.
    what
        The name of a row in the error; the row key follows.

    Raises
    ------
    RowTooLarge
        One row alone does not fit; names its key.
    """
    hard = max_message_bytes - ENVELOPE_BYTES
    soft = min(MOST_BYTES, hard)
    measure = _Measure(compression, soft, what)
    waiting: list[Rows] = []
    size = 0
    first = True
    for piece in rows:
        bytes_ = measure(piece.batch)
        if waiting and (size + bytes_ > soft or bytes_ >= SMALL_BYTES):
            yield from _split(Rows.concat(waiting), measure, hard)
            waiting, size = [], 0
        if first or bytes_ >= SMALL_BYTES:
            yield from _split(piece, measure, hard, bytes_)
            first = False
            continue
        waiting.append(piece)
        size += bytes_
        if size >= min(TARGET_BYTES, soft):
            yield from _split(Rows.concat(waiting), measure, hard)
            waiting, size = [], 0
    if waiting:
        yield from _split(Rows.concat(waiting), measure, hard)


class _Measure:
    """The size of a batch in a message."""

    def __init__(self, compression: str | None, soft: int, what: str) -> None:
        self.what = what
        self._options = pa.ipc.IpcWriteOptions(compression=compression) if compression else None
        self.soft = soft

    def __call__(self, batch: pa.RecordBatch) -> int:
        """Return the size in bytes; measured by writing the batch if compression could take it over the limit."""
        plain = int(pa.ipc.get_record_batch_size(batch))
        # compression adds at most this much to a buffer, and a column has up to three buffers
        if self._options is None or plain + batch.num_columns * 3 * FRAME_BYTES + plain // 200 <= self.soft:
            return plain
        sink = pa.MockOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=self._options) as writer:
            writer.write_batch(batch)
            once = sink.size()
            writer.write_batch(batch)
            return int(sink.size()) - int(once)


def _split(rows: Rows, measure: _Measure, hard: int, size: int | None = None) -> Iterator[Rows]:
    """Split rows until each part fits the soft limit; a single row may have `hard` bytes."""
    length = len(rows.batch)
    size = measure(rows.batch) if size is None else size
    if size <= measure.soft:
        yield rows
    elif length > 1:
        step = max(1, min(-(-length // 2), length * measure.soft * 3 // (size * 4)))
        for begin in range(0, length, step):
            yield from _split(rows.slice(begin, step), measure, hard)
    elif size <= hard:
        yield rows
    else:
        key = rows.keys[0].decode(errors="replace")
        message = f"the {measure.what} {key} has {size} bytes, more than fit in one message: raise max_message_bytes"
        raise RowTooLarge(message, field="max_message_bytes", value=key)
