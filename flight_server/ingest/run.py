"""One ingest: find the files, determine the types, read each file, and write all of it or nothing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Survey
from flight_server.ingest.archives import Part
from flight_server.ingest.casts import stored_type
from flight_server.ingest.cell_types import contested_columns, settle_types
from flight_server.ingest.cells import Cells, cell_types, flatten
from flight_server.ingest.files import AlertFile, AlertFiles, Found, find_files, read_alerts
from flight_server.ingest.left_out_points import LeftOutPoints
from flight_server.ingest.outcomes import IngestReport, Progress, Teller
from flight_server.ingest.plain_form import plain_schema, plain_table
from flight_server.ingest.tables import history_fields, point_types, table_rows, unplaced_alerts
from flight_server.protocol.errors import AlertflightError, BadValue
from flight_server.storage.protocols import RowStore, RowView, RowWriter

__all__ = ["ingest", "naming_faults", "recognise"]

_Types = Mapping[str, pa.DataType]
TOGETHER_BYTES = 32 << 20  # small files of one schema are read and written together up to this size, for speed


@dataclass(frozen=True, slots=True)
class _Recognised:
    """The survey of a schema, and the types of its cells and of the points that become rows."""

    survey: Survey
    types: _Types
    points: _Types


@dataclass(frozen=True, slots=True)
class _Opened:
    found: Found
    name: Path
    file: AlertFile
    schema: _Recognised

    @property
    def unreadable(self) -> dict[str, str]:
        """The fields that are left out since they cannot be read, with the reasons."""
        not_stored = self.schema.survey.alerts.not_stored
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
                report = _attempt(
                    writer, catalog, store.view(), files, paths, refused=refused, progress=progress, history=history
                )
                if report is not None:
                    report.rows = writer.commit(report.files, report.alerts)
                    report.sharing = writer.sharing
                    return report


def _attempt(
    writer: RowWriter,
    catalog: Catalog,
    view: RowView,
    files: AlertFiles,
    paths: list[Path],
    *,
    refused: dict[Path, str],
    progress: Progress,
    history: bool,
) -> IngestReport | None:
    """Read all files that were not refused; return None if one is refused now that influenced the types."""
    report = IngestReport(failures=dict(refused))
    left_out = LeftOutPoints()
    catalog = catalog.with_stored(view.columns)
    opened = list(_open_all(paths, files, catalog, report, progress=progress, history=history))
    schemas = {id(one.schema): one.schema for one in opened}.values()  # most files share theirs
    brought = [(schema.survey, types) for schema in schemas for types in (schema.types, schema.points)]
    contested = contested_columns(brought, catalog)
    if contested:
        brought = [pair for one in opened for pair in _with_values(one, catalog, contested)]
    settled = settle_types(brought, catalog, report.not_stored, view)
    catalog = _with_types(catalog, settled)
    teller = Teller(progress, opened)
    groups = deque(_together(opened))
    while groups:
        some = groups.popleft()
        survey = some[0].schema.survey
        points_left = LeftOutPoints()
        try:
            with naming_faults():
                fields = None if writer.keeps_alerts or history else history_fields(survey)
                alerts, cells = _read([one.file for one in some], survey, catalog, settled[survey.name], fields)
                parts = list(table_rows(survey, catalog, cells, points=history, left_out=points_left))
                unplaced = unplaced_alerts(survey, catalog, cells)
            # outside of the guard above: a fault of the store is not one of this file, and ends the ingest
            writer.write(parts, alerts)
        except AlertflightError as error:
            if len(some) > 1:  # find the one at fault
                groups.extendleft([one] for one in reversed(some))
                continue
            refused[some[0].name] = report.failures[some[0].name] = error.message
            teller.refused(some[0], error.message)
            if _influenced_types(some[0].schema, catalog, view, contested):
                return None
            continue
        report.files += len(some)
        report.alerts += len(alerts)
        report.rounded.update(cells.rounded)
        report.unplaced += unplaced
        left_out.join(points_left)
        for one in some:
            report.unreadable |= one.unreadable
        teller.written(some)
    report.left_out = left_out.counts()
    return report


def _influenced_types(schema: _Recognised, catalog: Catalog, view: RowView, contested: Collection[tuple[str, str]]) -> bool:
    """Return whether a file of this schema may have had a say in the types of the ingest."""
    held = {name for table in schema.survey.tables for name in view.columns.get(table, {})}
    further = (schema.types.keys() | schema.points.keys()) - catalog.known[schema.survey.name].keys()
    return any(name not in held or (schema.survey.name, name) in contested for name in further)


def _together(opened: Iterable[_Opened]) -> Iterator[list[_Opened]]:
    """Yield the files in groups of one schema: those that are small together, in the order given."""
    some: list[_Opened] = []
    size = 0
    for one in opened:
        if some and (some[0].schema is not one.schema or size + one.file.content.size > TOGETHER_BYTES):
            yield some
            some, size = [], 0
        some.append(one)
        size += one.file.content.size
    if some:
        yield some


def _read(
    files: Sequence[AlertFile], survey: Survey, catalog: Catalog, types: _Types, fields: frozenset[str] | None
) -> tuple[pa.Table, Cells]:
    """Return the alerts of files of one schema in their plain form, and their cells."""
    parts = [plain_table(table, survey.alerts) for table in read_alerts(files, survey.alerts, fields)]
    alerts = pa.concat_tables(parts)
    return alerts, flatten(alerts, survey.alerts, types, types.keys() - catalog.known[survey.name].keys())


def _with_values(one: _Opened, catalog: Catalog, contested: Collection[tuple[str, str]]) -> Iterator[tuple[Survey, _Types]]:
    """Yield the types of a file, without those of contested columns that have no value in it."""
    survey = one.schema.survey
    own = {name: stored_type(kind) for name, kind in one.schema.types.items() if (survey.name, name) in contested}
    empty: set[str] = set()
    types = {name: kind for name, kind in own.items() if kind is not None}
    with suppress(AlertflightError), naming_faults():  # a file that cannot be read is refused later
        cells = _read([one.file], survey, catalog, types, frozenset())[1] if types else None
        empty = set() if cells is None else cells.empty()
    yield survey, {name: pa.null() if name in empty else kind for name, kind in one.schema.types.items()}
    yield survey, one.schema.points


def _with_types(catalog: Catalog, settled: Mapping[str, Mapping[str, pa.DataType]]) -> Catalog:
    """Return the catalog with the types that columns will have after the ingest."""
    stored = dict(catalog.stored)
    for survey, types in settled.items():
        for table in catalog.surveys[survey].tables.values():
            described = catalog.described(table)
            further = {name: kind for name, kind in types.items() if name not in described and table.takes(name)}
            stored[table.name] = {**stored.get(table.name, {}), **further}
    return catalog.with_stored(stored)


@contextmanager
def naming_faults(what: str = "the file") -> Iterator[None]:
    """Convert exceptions of the readers on malformed input to a BadValue about that input, which may also have gone."""
    try:
        yield
    except OSError as error:
        # told here, since the store takes any other error of the system as one of its own disk
        raise BadValue(
            f"{what} cannot be read: {os.strerror(error.errno) if error.errno else error}"[:200], field="path"
        ) from error
    except (pa.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadValue(f"{what} cannot be read: {type(error).__name__} {error}"[:200], field="path") from error


def _open_all(
    paths: Iterable[Path], files: AlertFiles, catalog: Catalog, report: IngestReport, *, progress: Progress, history: bool
) -> Iterable[_Opened]:
    schemas = _Schemas(catalog, report.not_stored, history=history)
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
                    schema = schemas.recognise(file.schema)
            except AlertflightError as error:
                report.failures[part.name] = error.message
                progress(
                    found if part.name == found.path else replace(found, path=part.name, size=0), f"refused: {error.message}"
                )
                continue
            yield _Opened(found, part.name, file, schema)


class _Schemas:
    """The schemas of the files of an ingest; most files have the same one.

    Parameters
    ----------
    catalog
        The tables and types.
    not_stored
        The names of columns that are not stored are added to it.
    history
        Whether points of the histories become rows.
    """

    def __init__(self, catalog: Catalog, not_stored: set[str], *, history: bool) -> None:
        self._catalog = catalog
        self._not_stored = not_stored
        self._history = history
        self._known: list[tuple[pa.Schema, _Recognised]] = []
        self._last: tuple[pa.Schema | None, _Recognised | None] = None, None

    def recognise(self, schema: pa.Schema) -> _Recognised:
        """Return the survey of a schema, and the types in it; for equal schemas the same object."""
        last, result = self._last
        if result is None or schema is not last:  # comparing schemas takes as long as reading a packet
            result = next((found for known, found in self._known if known.equals(schema)), None)
            if result is None:
                survey = recognise(schema, self._catalog)
                plain = plain_schema(schema, survey.alerts)
                types, left_out = cell_types(plain, survey.alerts)
                self._not_stored.update(left_out)
                points = point_types(survey, plain) if self._history else {}
                table = survey.alert_table
                points = {name: kind for name, kind in points.items() if self._catalog.storable(table, name)}
                result = _Recognised(survey, types, points)
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
