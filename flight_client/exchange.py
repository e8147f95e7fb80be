"""Rows for a stream of IDs or positions of any length, answered one by one in order, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_client.calls import act
from flight_client.connections import Interrupted
from flight_client.progress import Progress
from flight_client.records import Record
from flight_client.retries import Retries
from flight_client.stream import Stream
from flight_server.protocol.errors import AlertflightError, Forbidden

__all__ = ["Exchange", "batches_of_ids", "batches_of_places"]

FEW, MANY = 1000, 50_000  # rows sent at once: few at first, for early answers; servers accept 100,000
INDEX = "index"


def batches_of_ids(ids: Iterable[str | int]) -> Iterator[pa.RecordBatch]:
    """Yield batches of IDs of growing size."""
    rest, size = iter(ids), FEW
    while taken := list(islice(rest, size)):
        kind = pa.int64() if all(isinstance(one, int) for one in taken) else pa.string()
        yield pa.record_batch({"id": pa.array(taken if kind == pa.int64() else map(str, taken), kind)})
        size = min(2 * size, MANY)


def batches_of_places(ra: object, dec: object, radius: object) -> Iterator[pa.RecordBatch]:
    """Yield batches of positions: degrees, degrees, arcsec; a single radius is used for all of them."""
    sent = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (ra, dec, radius)))
    whole = pa.record_batch(dict(zip(("ra", "dec", "radius"), (np.ravel(one) for one in sent), strict=True)))
    for first in range(0, len(whole), MANY):
        yield whole.slice(first, MANY)


class Exchange:
    """Rows for a stream of IDs or positions: iterate over the record batches, once.

    The first column is `index`: the position, from 0, of the input that a row is for. Each input is answered, repeated or
    not. `record` is set at the end; its `objects` is None if a stream was interrupted.

    Parameters
    ----------
    url
        The server.
    ticket
        The ticket, without a selection.
    sent
        IDs or positions, in batches no larger than a server accepts.
    retries, progress
        As in `connect`.
    """

    def __init__(
        self,
        url: str,
        ticket: bytes,
        sent: Iterator[pa.RecordBatch],
        retries: Retries | None = None,
        progress: bool | None = None,
    ) -> None:
        self.record: Record | None = None
        self._url = url
        self._ticket = ticket
        self._sent = sent
        self._retries = retries or Retries()
        self._progress = progress

    def __repr__(self) -> str:
        return f"<Exchange: {'not read to the end' if self.record is None else f'{self.record.rows:,} rows'}>"

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Send the input and read its rows, in order.

        Raises
        ------
        AlertflightError
            What the server raised, as the same class.
        """
        record, ticket = Record(), _Ticket(self._url, self._ticket)
        drawn = Progress(self._progress)
        first = rows = 0
        try:
            for batch in self._sent:
                for answer in _BatchExchange(self._url, ticket, batch, first).answers(self._retries, record):
                    rows += len(answer)
                    drawn.show(rows, 0)
                    yield answer
                first += len(batch)
        finally:
            drawn.end()
        self.record = record


class _Ticket:
    """The ticket of an exchange, signed by the server once that asks for it."""

    def __init__(self, url: str, command: bytes) -> None:
        self._url = url
        self._command = command
        self.content = command
        self._is_new = False

    def accepted(self) -> None:
        """Note that the server has answered the ticket."""
        self._is_new = False

    def sign(self, refusal: Forbidden) -> bool:
        """Return whether the exchange can be tried again after a refusal, with a ticket that is signed now."""
        if refusal.field not in {"sig", "exp"} or self._is_new:
            return False
        self.content = json.dumps(act(self._url, "exchange-ticket", self._command.decode())).encode()
        self._is_new = True
        return True


class _BatchExchange:
    """The answers to one batch, over as many streams as needed."""

    def __init__(self, url: str, ticket: _Ticket, sent: pa.RecordBatch, first: int) -> None:
        self._url = url
        self._ticket = ticket
        self._sent = sent
        self._first = first  # the position of the first row of the batch in all input
        self._whole = 0  # rows of the batch whose answers were passed on completely
        self._rows = 0
        self._seen = np.zeros(len(sent), dtype=bool)
        # answers to the row that may be incomplete: an interrupted stream starts again with this row
        self._held: list[pa.RecordBatch] = []

    def answers(self, retries: Retries, record: Record) -> Iterator[pa.RecordBatch]:
        """Yield the answers; their completeness record is added to `record` at the end."""
        tries = retries.begin((self._url,))
        resumed = 0
        while True:
            stream = None
            try:
                stream = Stream(self._url, self._ticket.content, self._sent.slice(self._whole))
                self._ticket.accepted()
                begin = self._whole
                for batch in stream:
                    tries.progress()
                    yield from self._take(batch, begin)
                yield from self._give(len(self._sent))
                record.add(self._record(stream, resumed))
            except Interrupted:
                resumed += 1
            except Forbidden as refusal:
                if not self._ticket.sign(refusal):
                    raise
            except AlertflightError as failure:
                if not tries.again(failure):
                    raise
                resumed += 1
            else:
                return
            finally:
                self._held.clear()
                if stream is not None:
                    stream.close()

    def _take(self, batch: pa.RecordBatch, begin: int) -> Iterator[pa.RecordBatch]:
        """Renumber rows by their position in all input, and yield those that are complete."""
        local = batch[INDEX].to_numpy() + begin
        last = int(local[-1])
        numbered = batch.set_column(0, batch.schema.field(0), pa.array(local + self._first))
        if last > self._whole:
            at = int(np.searchsorted(local, last))
            self._held.append(numbered.slice(0, at))
            yield from self._give(last)
            numbered = numbered.slice(at)
        self._held.append(numbered)
        self._seen[local] = True

    def _give(self, whole: int) -> Iterator[pa.RecordBatch]:
        given, self._held = self._held, []
        self._whole = max(self._whole, whole)
        for batch in given:
            if len(batch):
                self._rows += len(batch)
                yield batch

    def _record(self, stream: Stream, resumed: int) -> Record:
        # a long list is sent in parts, and a repeated ID may be in several
        missing = list(dict.fromkeys(stream.whole_list("missing_ids")))
        found = Record.of(stream.record, missing, stream.whole_list("failed_cutouts"))
        if resumed:
            found.rows, found.resumed, found.objects, found.digest = self._rows, resumed, None, None
            found.points = None
            if "id" in self._sent.schema.names:
                found.missing_ids = pc.unique(self._sent["id"].filter(pa.array(~self._seen))).to_pylist()
        return found
