"""Messages of an answer: cut, numbered and digested rows, then the completeness record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from flight_server.catalog.columns import empty_batch
from flight_server.execution.batches import cut
from flight_server.execution.digests import Digest
from flight_server.protocol.completeness import CompletenessRecord, notes_of
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.query import Query
from flight_server.storage.scans import Rows

__all__ = ["Message", "MessageWriter"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer: a record batch and its metadata."""

    batch: pa.RecordBatch
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether this is the completeness record, behind which nothing comes."""
        return "complete" in self.metadata


class MessageWriter:
    """Writer of the messages of one answer.

    Parameters
    ----------
    query
        The query; it has the size limit, compression and digest of messages.
    schema
        The schema of every batch.
    empty
        A batch with zero rows, if one is at hand.
    """

    def __init__(self, query: Query, schema: pa.Schema, empty: pa.RecordBatch | None = None) -> None:
        self._query = query
        self._empty = empty_batch(schema) if empty is None else empty
        self._digest = Digest(schema) if query.digest else None
        self._seq = 0
        self.room = query.max_message_bytes - pa.ipc.get_record_batch_size(self._empty)  # bytes for the metadata

    def data(self, rows: Iterator[Rows], deadline: Deadline, describe: Callable[[Rows], dict[str, Any]]) -> Iterator[Message]:
        """Yield the messages of rows.

        Parameters
        ----------
        rows
            The rows, in the answer's schema.
        deadline
            Checked for each message, and told that rows were sent.
        describe
            Return the metadata of a message, in addition to its number.
        """
        query = self._query
        compression = None if query.compression == "none" else query.compression
        what = "light curve that ends with the row" if query.layout == "nested" else "row"
        for piece in cut(rows, query.max_message_bytes, compression, what):
            deadline.check()
            if self._digest is not None:
                self._digest.update(piece.batch)
            deadline.sending.has_begun = True
            yield Message(piece.batch, {"seq": self._seq} | describe(piece))
            self._seq += 1

    def digest(self) -> dict[str, str]:
        """Return the record's field with the digest, or no field if none was requested."""
        return {} if self._digest is None else {"digest": self._digest.hexdigest()}

    def record(self, record: CompletenessRecord) -> Iterator[Message]:
        """Yield the messages at the end of an answer: long lists in parts, then the record."""
        for note in record.notes(self.room):
            yield Message(self._empty, note)
        yield Message(self._empty, record.to_dict(self.room))

    def notes(self, name: str, values: Sequence[Any]) -> Iterator[Message]:
        """Yield messages with a part of a list of the record, before the record."""
        for note in notes_of(name, values, self.room):
            yield Message(self._empty, note)
