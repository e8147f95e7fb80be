"""One ingest: find the files, determine the types, read each file, and write all of it or nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Survey, Table
from flight_server.ingest.archives import Part
from flight_server.ingest.casts import stored_type, widest
from flight_server.ingest.cells import cell_types, flatten
from flight_server.ingest.files import AlertFile, AlertFiles, Found, find_files, read_alerts
from flight_server.ingest.outcomes import IngestReport, Progress, Teller
from flight_server.ingest.plain_form import plain_schema, plain_table
from flight_server.ingest.tables import history_fields, table_rows
from flight_server.protocol.errors import AlertflightError, BadValue
from flight_server.storage.protocols import RowStore, RowWriter

__all__ = ["ingest", "naming_faults", "recognise", "settle_types"]

_Recognised = tuple[Survey, Mapping[str, pa.DataType]]
TOGETHER_BYTES = 32 << 20  # small files of one schema are read and written together up to this size, for speed


@dataclass(frozen=True, slots=True)
class _Opened:
    found: Found
    name: Path
    file: AlertFile
    survey: Survey
    types: Mapping[str, pa.DataType]

    @property
    def unreadable(self) -> dict[str, str]:
        """The fields that are left out since they cannot be read, with the reasons."""
        not_stored = self.survey.alerts.not_stored
        return {name: why for name, why in self.file.unreadable.items() if name.partition(".")[0] not in not_stored}


def ingest(
    store: RowStore, catalog: Catalog, paths: Iterable[Path], progress: Progress = lambda *_: None, *, history: bool = False
) -> IngestReport:
    """Write alert files to a store, in one transaction.

    Parameters
    ----------
    store
        The store.
    catalog
        The tables and types.
    paths
        Files and folders; folders are searched to any depth.
    progress
        Called after each file with its path and a line about the outcome.
    history
        Whether points of the histories become rows as well, where there is no alert.

    Returns
    -------
    report
        No row of a file in `failures` is in the store; all other files are in it completely.
    """
    paths = list(paths)
    refused: dict[Path, str] = {}
    with AlertFiles() as files:
        while True:
            with store.writing() as writer:
                known = catalog.with_stored(store.view().columns)
                report = _attempt(writer, known, files, paths, refused, progress, history=history)
                if report is not None:
                    report.rows = writer.commit(report.files, report.alerts)
                    return report


def _attempt(  # noqa: PLR0917  (all of it is needed)
    writer: RowWriter,
    catalog: Catalog,
    files: AlertFiles,
    paths: list[Path],
    refused: dict[Path, str],
    progress: Progress,
    *,
    history: bool,
) -> IngestReport | None:
    """Read all files that were not refused; return None if one is refused now that influenced the types."""
    report = IngestReport(failures=dict(refused))
    opened = list(_open_all(paths, files, catalog, report, progress))
    brought = {id(one.types): (one.survey, one.types) for one in opened}  # most files share theirs
    settled = settle_types(brought.values(), catalog, report.not_stored)
    teller = Teller(progress, opened)
    groups = deque(_together(opened))
    while groups:
        some = groups.popleft()
        survey = some[0].survey
        try:
            with naming_faults():
                fields = None if writer.keeps_alerts else history_fields(survey, catalog, points=history)
                alerts = _read([one.file for one in some], survey, fields)
                parts = _rows(alerts, survey, catalog, settled[survey.name], points=history)
            # outside of the guard above: a fault of the store is not one of this file, and ends the ingest
            writer.write(parts, alerts)
        except AlertflightError as error:
            if len(some) > 1:  # find the one at fault
                groups.extendleft([one] for one in reversed(some))
                continue
            refused[some[0].name] = report.failures[some[0].name] = error.message
            teller.refused(some[0], error.message)
            if any(catalog.type_of(survey.alert_table, name) is None for name in some[0].types):
                return None
            continue
        report.files += len(some)
        report.alerts += len(alerts)
        for one in some:
            report.unreadable |= one.unreadable
        teller.written(some)
    return report


def _together(opened: Iterable[_Opened]) -> Iterator[list[_Opened]]:
    """Yield the files in groups of one schema: those that are small together, in the order given."""
    some: list[_Opened] = []
    size = 0
    for one in opened:
        if some and (some[0].types is not one.types or size + one.file.content.size > TOGETHER_BYTES):
            yield some
            some, size = [], 0
        some.append(one)
        size += one.file.content.size
    if some:
        yield some


def _read(files: Sequence[AlertFile], survey: Survey, fields: frozenset[str] | None) -> pa.Table:
    """Return the alerts of files of one schema in their plain form."""
    return pa.concat_tables([plain_table(table, survey.alerts) for table in read_alerts(files, survey.alerts, fields)])


def _rows(
    alerts: pa.Table, survey: Survey, catalog: Catalog, types: Mapping[str, pa.DataType], *, points: bool
) -> list[tuple[Table, pa.Table]]:
    """Return the rows that alerts contribute to each table."""
    return list(table_rows(survey, catalog, flatten(alerts, survey.alerts, types), points=points))


@contextmanager
def naming_faults(what: str = "the file") -> Iterator[None]:
    """Convert exceptions of the readers on malformed input to a BadValue about that input."""
    try:
        yield
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadValue(f"{what} cannot be read: {type(error).__name__} {error}"[:200], field="path") from error


def _open_all(
    paths: Iterable[Path], files: AlertFiles, catalog: Catalog, report: IngestReport, progress: Progress
) -> Iterable[_Opened]:
    schemas = _Schemas(catalog, report.not_stored)
    for found in find_files(paths):
        if found.path in report.failures:
            continue
        if not found.alerts:
            report.skipped.append(found.path)
            continue
        for part in _parts(found, files, report, progress):
            if part.name in report.failures:
                continue
            if part.content is None:
                report.skipped.append(part.name)
                continue
            try:
                with naming_faults():
                    file = files.open(part.content)
                    survey, types = schemas.recognise(file.schema)
            except AlertflightError as error:
                report.failures[part.name] = error.message
                progress(
                    found if part.name == found.path else replace(found, path=part.name, size=0), f"refused: {error.message}"
                )
                continue
            yield _Opened(found, part.name, file, survey, types)


class _Schemas:
    """The schemas of the files of an ingest; most files have the same one.

    Parameters
    ----------
    catalog
        The tables and types.
    not_stored
        The names of columns that are not stored are added to it.
    """

    def __init__(self, catalog: Catalog, not_stored: set[str]) -> None:
        self._catalog = catalog
        self._not_stored = not_stored
        self._known: list[tuple[pa.Schema, _Recognised]] = []
        self._last: tuple[pa.Schema | None, _Recognised | None] = None, None

    def recognise(self, schema: pa.Schema) -> _Recognised:
        """Return the survey of a schema, and the types of its cells; for equal schemas the same objects."""
        last, result = self._last
        if result is None or schema is not last:  # comparing schemas takes as long as reading a packet
            result = next((found for known, found in self._known if known.equals(schema)), None)
            if result is None:
                survey = recognise(schema, self._catalog)
                types, left_out = cell_types(plain_schema(schema, survey.alerts), survey.alerts)
                self._not_stored.update(left_out)
                result = survey, types
                self._known.append((schema, result))
            self._last = schema, result
        return result


def _parts(found: Found, files: AlertFiles, report: IngestReport, progress: Progress) -> list[Part]:
    """Return a file, or the members of an archive; none if it is refused."""
    try:
        return files.parts(found)
    except BadValue as error:
        report.failures[found.path] = error.message
        progress(found, f"refused: {error.message}")
        return []


def recognise(schema: pa.Schema, catalog: Catalog) -> Survey:
    """Return the survey whose alerts have the schema."""
    for survey in catalog.surveys.values():
        if set(survey.alerts.recognised_by) <= set(plain_schema(schema, survey.alerts).names):
            return survey
    known = "; ".join(f"{s.name} has {', '.join(s.alerts.recognised_by)}" for s in catalog.surveys.values())
    raise BadValue(f"the alerts are not of a known survey: {known}", field="path")


def settle_types(
    brought: Iterable[tuple[Survey, Mapping[str, pa.DataType]]], catalog: Catalog, not_stored: set[str]
) -> dict[str, dict[str, pa.DataType]]:
    """Return the type of every cell: that of the catalog, else the stored one, else the widest of the files.

    Parameters
    ----------
    brought
        The types in the files, by survey.
    catalog
        The tables and types.
    not_stored
        The names of cells that the table of alerts does not store are added to it.
    """
    settled: dict[str, dict[str, pa.DataType]] = {}
    for survey, own in brought:
        types = settled.setdefault(survey.name, {})
        table = survey.alert_table
        for name, kind in own.items():
            known = catalog.type_of(table, name)
            found = stored_type(kind)
            if not catalog.storable(table, name):
                not_stored.add(name.partition(":")[2])
            elif known is not None:
                types[name] = known
            elif found is not None:
                types[name] = widest(types[name], found) if name in types else found
    return settled
