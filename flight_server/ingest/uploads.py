"""One upload: alerts arrive batch by batch, are buffered on disk, and are written to the store together or not at all.

They are buffered because the store has one writer at a time: a client that sends slowly, or stalls, must not block other
writers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.ingest.cell_types import settle_types
from flight_server.ingest.cells import Cells, cell_types, flatten
from flight_server.ingest.plain_form import plain_schema, plain_table
from flight_server.ingest.run import naming_faults, recognise
from flight_server.ingest.tables import table_rows, unplaced_alerts
from flight_server.protocol.errors import AlertflightError, BackendLost, BadValue, StreamCancelled, TooLarge
from flight_server.storage.protocols import RowStore
from flight_server.storage.row_keys import check_keys
from flight_server.storage.scratch import ScratchFolder

__all__ = ["Upload", "UploadReport"]

MAX_BATCH_BYTES = 64 << 20
MAX_BATCH_ROWS = 1_000_000  # nulls, and runs of equal values, take no bytes
TOGETHER_BYTES = 32 << 20  # small batches are checked and written together up to this size, for speed


@dataclass(frozen=True, slots=True)
class UploadReport:
    """The result of an upload.

    The number of alerts, the rows written to each table, `Sharing.alerts`, by column the values that lost decimal digits, and
    the alerts that belong to no table of alerts.
    """

    alerts: int
    rows: Mapping[str, int]
    sharing: tuple[int, ...] = ()
    rounded: Mapping[str, int] = field(default_factory=dict)
    unplaced: tuple[int, ...] = ()


class Upload:
    """An upload in progress; the store has none of its alerts before `commit`.

    Parameters
    ----------
    store
        The store.
    catalog
        The tables and types.
    name
        The survey of the alerts.
    schema
        The columns of all batches, as in the alert files of the survey.

    Raises
    ------
    BadValue
        The survey does not exist, or its alerts have other columns; the message names the cause.
    """

    def __init__(self, store: RowStore, catalog: Catalog, name: str, schema: pa.Schema) -> None:
        survey = catalog.surveys.get(name)
        if survey is None:
            known = ", ".join(catalog.surveys)
            raise BadValue(f"there is no survey {name!r:.60}; known are {known}", field="survey", value=name)
        with naming_faults("the schema"):
            plain = plain_schema(schema, survey.alerts)
        if recognise(schema, catalog) != survey:
            raise BadValue(f"the schema is not that of alerts of the survey {name}", field="survey", value=name)
        self._survey = survey
        self._store = store
        self._catalog = catalog
        with naming_faults("the schema"):
            self._brought, _ = cell_types(plain, self._survey.alerts)
        self._described = catalog.described(survey.alert_table)
        self._filled: set[str] = set()  # the cells with a value
        self._known, self._types = self._settled(self._brought)
        self._batches = 0
        self._alerts = 0
        self._unchecked: dict[int, pa.Table] = {}
        self._unchecked_bytes = 0
        self._folder = ScratchFolder("upload")
        self._file = self._folder.path / "alerts.arrow"
        with _naming_disk():
            self._sink = pa.OSFile(str(self._file), "wb")
            self._kept = pa.ipc.new_stream(self._sink, plain)

    def add(self, batch: pa.RecordBatch) -> None:
        """Buffer a batch. It is checked later, together with others, but before anything is written to the store.

        Raises
        ------
        TooLarge, BadValue, BackendLost
            The batch is too large, a value is invalid, or the disk is full; the message names batch, column and row.
        """
        number = self._batches
        with _naming_batch(number):
            batch.validate(full=True)  # before any other use: clients may send any bytes
        if len(batch) > MAX_BATCH_ROWS:
            message = f"batch {number} has {len(batch)} rows, more than {MAX_BATCH_ROWS}: send smaller batches"
            raise TooLarge(message, field="batch", value=number)
        _check_size(number, batch.nbytes)
        with _naming_batch(number):
            alerts = plain_table(pa.Table.from_batches([batch]), self._survey.alerts, limit=MAX_BATCH_BYTES)
        _check_size(number, alerts.nbytes)
        self._batches += 1
        if not len(batch):
            return
        if self._unchecked_bytes + alerts.nbytes > TOGETHER_BYTES:
            self._check()
        self._unchecked[number] = alerts
        self._unchecked_bytes += alerts.nbytes
        with _naming_disk():
            self._kept.write_table(alerts)
        self._alerts += len(alerts)

    def commit(self, gone: Callable[[], bool] = lambda: False) -> UploadReport:
        """Write the whole upload, in one transaction.

        Parameters
        ----------
        gone
            Returns whether the client has disconnected; called once the store is free, which may take a while.
        """
        self._check()
        with _naming_disk():
            self._kept.close()
            self._sink.close()
        if not self._alerts:
            return UploadReport(0, {})
        with self._store.writing() as writer:
            if gone():
                raise StreamCancelled("the client disconnected before its upload was written: nothing of it is stored")
            # another ingest may have added columns meanwhile; a column of nulls has no say in its type
            types_with_values = {name: kind if name in self._filled else pa.null() for name, kind in self._brought.items()}
            known, types = self._settled(types_with_values)
            rounded: Counter[str] = Counter()
            unplaced: list[int] = []
            for together in self._together():
                alerts = pa.Table.from_batches(together)
                cells = self._flat(alerts, types)
                writer.write(list(table_rows(self._survey, known, cells)), alerts)
                rounded.update(cells.rounded)
                unplaced += unplaced_alerts(self._survey, known, cells)
            rows = writer.commit(1, self._alerts)
            return UploadReport(self._alerts, rows, writer.sharing.alerts, rounded, tuple(unplaced))

    def close(self) -> None:
        """Delete the buffered batches."""
        self._sink.close()
        self._folder.cleanup()

    def _check(self) -> None:
        """Flatten the latest batches, and check that their rows have keys."""
        batches = self._unchecked
        self._unchecked, self._unchecked_bytes = {}, 0
        try:
            self._check_together(list(batches.values()))
        except AlertflightError:
            for number, batch in batches.items():
                with _naming_batch(number):  # the error names the batch
                    self._check_together([batch])
            raise

    def _check_together(self, batches: list[pa.Table]) -> None:
        if not batches:
            return
        with naming_faults("the upload"):
            cells = self._flat(pa.concat_tables(batches), self._types)
            self._filled |= cells.filled()
            for table, rows in table_rows(self._survey, self._known, cells):
                check_keys(table, rows)

    def _flat(self, alerts: pa.Table, types: Mapping[str, pa.DataType]) -> Cells:
        return flatten(alerts, self._survey.alerts, types, types.keys() - self._described)

    def _settled(self, brought: Mapping[str, pa.DataType]) -> tuple[Catalog, Mapping[str, pa.DataType]]:
        """Return the catalog with the columns of the store as of now, and the type of each cell."""
        view = self._store.view()
        known = self._catalog.with_stored(view.columns)
        return known, settle_types([(self._survey, brought)], known, set(), view)[self._survey.name]

    def _together(self) -> Iterator[list[pa.RecordBatch]]:
        """Yield groups of batches that are written together."""
        some: list[pa.RecordBatch] = []
        size = 0
        with _naming_disk(), pa.memory_map(str(self._file)) as kept:
            for batch in pa.ipc.open_stream(kept):
                if some and size + batch.nbytes > TOGETHER_BYTES:
                    yield some
                    some, size = [], 0
                some.append(batch)
                size += batch.nbytes
            if some:
                yield some


def _check_size(number: int, size: int) -> None:
    if size > MAX_BATCH_BYTES:
        message = f"batch {number} has {size} bytes, more than {MAX_BATCH_BYTES}: send smaller batches"
        raise TooLarge(message, field="batch", value=number)


@contextmanager
def _naming_batch(number: int) -> Iterator[None]:
    """Add the number of the batch to errors."""
    try:
        with naming_faults("it"):
            yield
    except AlertflightError as error:
        raise type(error)(f"batch {number}: {error.message}", field=error.field, value=error.value) from error


@contextmanager
def _naming_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # not the text of the error, which may name a path of the server
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        message = f"the upload could not be buffered on disk: {reason}; nothing of it is stored, send it again"
        raise BackendLost(message) from error
