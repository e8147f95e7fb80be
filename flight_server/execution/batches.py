"""Batches cut by bytes: messages of 1 to 2 MiB, never larger than the client takes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from flight_server.protocol.errors import RowTooLarge
from flight_server.storage.scans import Rows

__all__ = ["cut"]

SMALL_BYTES = 524_288  # less than this is joined with what follows
TARGET_BYTES = 1_048_576
MOST_BYTES = 2_097_152
FRAME_BYTES = 48
ENVELOPE_BYTES = 2048  # what a message holds besides the batch: framing, sequence number, cursor


def cut(rows: Iterator[Rows], max_message_bytes: int, compression: str | None = None, what: str = "row") -> Iterator[Rows]:
    """Cut and join rows into what fits a message each; the first leave at once.

    Parameters
    ----------
    rows
        Rows as they are read.
    max_message_bytes
        The most that one message may have.
    compression
        How the messages will be compressed, which makes small buffers larger.
    what
        What a row is called in the error; its key follows.

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
    """Tells the size of a batch in a message."""

    def __init__(self, compression: str | None, soft: int, what: str) -> None:
        self.what = what
        self._options = pa.ipc.IpcWriteOptions(compression=compression) if compression else None
        self.soft = soft

    def __call__(self, batch: pa.RecordBatch) -> int:
        """Give the size; exactly where compression could take it over the limit."""
        plain = int(pa.ipc.get_record_batch_size(batch))
        # a compressed buffer is at most so much larger than what it holds; a column has up to three
        if self._options is None or plain + batch.num_columns * 3 * FRAME_BYTES + plain // 200 <= self.soft:
            return plain
        sink = pa.MockOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=self._options) as writer:
            writer.write_batch(batch)
            once = sink.size()
            writer.write_batch(batch)
            return int(sink.size()) - int(once)


def _split(rows: Rows, measure: _Measure, hard: int, size: int | None = None) -> Iterator[Rows]:
    """Halve rows until each part has at most the size wanted; a single row may have `hard`."""
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
        message = f"the {measure.what} {key} takes {size} bytes, more than one message may have: raise max_message_bytes"
        raise RowTooLarge(message, field="max_message_bytes", value=key)
