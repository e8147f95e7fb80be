"""Rows for a stream of IDs or positions of any length, answered one by one in order, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_client.bad_rows import BadRows
from flight_client.calls import act
from flight_client.connections import Interrupted
from flight_client.endpoints import schema_of
from flight_client.notices import warn
from flight_client.positions import Positions
from flight_client.progress import Progress
from flight_client.records import Record
from flight_client.retries import Retries
from flight_client.stream import Stream
from flight_client.tabular import Tabular
from flight_server.protocol.errors import AlertflightError, Forbidden
from flight_server.protocol.query import SELECTIONS, Query

__all__ = ["EMPTY", "Exchange", "Sent", "batches_of_ids", "batches_of_places"]

EMPTY = "the input is empty, so the answer has no rows"
FEW, MANY = 1000, 50_000  # rows sent at once: few at first, for early answers; servers accept 100,000
INDEX = "index"


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch of input.

    Parameters
    ----------
    batch
        IDs or positions.
    rows
        int64: their rows in the input, from 0.
    """

    batch: pa.RecordBatch
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.batch)


def batches_of_ids(ids: Iterable[str | int | None]) -> Iterator[Sent]:
    """Yield batches of IDs of growing size; None is left out."""
    rest = ((row, one) for row, one in enumerate(ids) if one is not None)
    size = FEW
    while taken := list(islice(rest, size)):
        rows, names = zip(*taken, strict=True)
        kind = pa.int64() if all(isinstance(one, int) for one in names) else pa.string()
        batch = pa.record_batch({"id": pa.array(names if kind == pa.int64() else map(str, names), kind)})
        yield Sent(batch, np.array(rows, dtype=np.int64))
        size = min(2 * size, MANY)


def batches_of_places(places: Positions) -> Iterator[Sent]:
    """Yield batches of positions: degrees, degrees, arcsec."""
    whole = pa.record_batch({"ra": places.ra, "dec": places.dec, "radius": places.radius})
    for first in range(0, len(whole), MANY):
        yield Sent(whole.slice(first, MANY), places.rows[first : first + MANY])


class Exchange(Tabular):
    """Rows for a stream of IDs or positions, read once: by iterating over the record batches, or into a table.

    The first column is `index`: the position, from 0, of the input that a row is for. Each input is answered, repeated or
    not. `record` is set at the end; its `objects` is None if a stream was interrupted.

    Parameters
    ----------
    url
        The server.
    query
        The query, with a selection that has the same columns as the input.
    sent
        IDs or positions, in batches no larger than a server accepts.
    retries, progress
        As in `connect`.
    bad
        The rows of the input that are skipped, complete once all is sent.
    notes
        The column that IDs are from is added to it while they are read, and rows that were skipped at the end.
    """

    def __init__(
        self,
        url: str,
        query: Query,
        sent: Iterator[Sent],
        retries: Retries | None = None,
        progress: bool | None = None,
        *,
        bad: BadRows | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self.record: Record | None = None
        self.notes: list[str] = [] if notes is None else notes
        self._url = url
        self._query = query
        self._sent = sent
        self._bad = bad or BadRows("raise", "ids")
        self._begun = False
        self._schema: pa.Schema | None = None
        self._retries = retries or Retries()
        self._progress = progress

    def __repr__(self) -> str:
        return f"<Exchange: {'not read to the end' if self.record is None else f'{self.record.rows:,} rows'}>"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows: `index`, then the columns of the query."""
        if self._schema is None:
            self._schema = schema_of(self._url, self._query).insert(0, pa.field(INDEX, pa.int64()))
        return self._schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Send the input and read its rows, in order.

        Raises
        ------
        RuntimeError
            The rows were read before: the input is consumed.
        AlertflightError
            What the server raised, as the same class.
        """
        if self._begun:
            raise RuntimeError(
                "an exchange is read once, since its input is consumed: keep its rows with to_arrow(), or make it again"
            )
        self._begun = True
        return self._read()

    def _read(self) -> Iterator[pa.RecordBatch]:
        record, ticket = Record(), _Ticket(self._url, self._command)
        drawn = Progress(self._progress)
        rows = sent = 0
        try:
            for some in self._sent:
                for answer in _BatchExchange(self._url, ticket, some).answers(self._retries, record):
                    rows += len(answer)
                    self._schema = answer.schema
                    drawn.show(rows, 0)
                    yield answer
                sent += len(some)
        finally:
            drawn.end()
        self.notes += self._bad.report()
        record.skipped = self._bad.skipped
        if not sent:
            warn(EMPTY)
        self.record = record

    @property
    def _command(self) -> bytes:
        """The ticket, without a selection."""
        fields = self._query.to_dict()
        return json.dumps({name: value for name, value in fields.items() if name not in SELECTIONS}).encode()


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

    def __init__(self, url: str, ticket: _Ticket, sent: Sent) -> None:
        self._url = url
        self._ticket = ticket
        self._sent = sent.batch
        self._positions = sent.rows
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
        numbered = batch.set_column(0, batch.schema.field(0), pa.array(self._positions[local]))
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
