"""One ingest: find the files, determine the types, read each file, and write all of it or nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Survey
from flight_server.ingest.casts import stored_type
from flight_server.ingest.cell_types import contested_columns, settle_types
from flight_server.ingest.cells import Cells, cell_types, flatten
from flight_server.ingest.files import Found, find_files, open_alerts
from flight_server.ingest.left_out_points import LeftOutPoints
from flight_server.ingest.tables import history_fields, point_types, table_rows
from flight_server.protocol.errors import AlertflightError, BadValue
from flight_server.storage.protocols import RowStore, RowView, RowWriter, Sharing

__all__ = ["IngestReport", "ingest", "naming_faults", "recognise"]

Progress = Callable[[Found, str], None]


@dataclass(slots=True)
class IngestReport:
    """The result of an ingest.

    `rows` counts rows written by table, `failures` has the reason by file, `skipped` lists files in folders that are
    not alert files, `not_stored` the columns of the files that no table stores, and `sharing` the detections that share
    an exposure with another one of their object. `left_out` counts the points of histories that are not stored since the
    last point of their history is of another kind, by table; `rounded` counts the values that lost decimal digits, by column.
    """

    files: int = 0
    alerts: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    not_stored: set[str] = field(default_factory=set)
    sharing: Sharing = field(default_factory=Sharing)
    left_out: Mapping[str, int] = field(default_factory=dict)
    rounded: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file, its survey, and the types of its cells and of the points that become rows."""

    found: Found
    survey: Survey
    types: Mapping[str, pa.DataType]
    points: Mapping[str, pa.DataType]

    def cells(
        self, types: Mapping[str, pa.DataType], described: Collection[str], fields: frozenset[str] | None
    ) -> tuple[pa.Table, Cells]:
        """Read the alerts, with these fields of the history, and flatten them."""
        alerts = open_alerts(self.found.path).read(self.survey.alerts, fields)
        return alerts, flatten(alerts, self.survey.alerts, types, types.keys() - described)


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
    while True:
        with store.writing() as writer:
            report = _attempt(writer, catalog, store.view(), paths, refused, progress=progress, history=history)
            if report is not None:
                report.rows = writer.commit(report.files, report.alerts)
                report.sharing = writer.sharing
                return report


def _attempt(
    writer: RowWriter,
    catalog: Catalog,
    view: RowView,
    paths: list[Path],
    refused: dict[Path, str],
    *,
    progress: Progress,
    history: bool,
) -> IngestReport | None:
    """Read all files that were not refused; return None if one is refused now that influenced the types."""
    report = IngestReport(failures=dict(refused))
    left_out = LeftOutPoints()
    catalog = catalog.with_stored(view.columns)
    opened = list(_open_all(paths, catalog, report, progress, history=history))
    brought = [(one.survey, types) for one in opened for types in (one.types, one.points)]
    contested = contested_columns(brought, catalog)
    if contested:
        brought = [pair for one in opened for pair in _with_values(one, catalog, contested)]
    settled = settle_types(brought, catalog, report.not_stored, view)
    catalog = _with_types(catalog, settled)
    for one in opened:
        described = catalog.described(one.survey.alert_table)
        try:
            with naming_faults():
                fields = None if writer.keeps_alerts else history_fields(one.survey, catalog, points=history)
                alerts, cells = one.cells(settled[one.survey.name], described, fields)
                parts = list(table_rows(one.survey, catalog, cells, points=history, left_out=left_out))
            # outside of the guard above: a fault of the store is not one of this file, and ends the ingest
            writer.write(parts, alerts)
        except AlertflightError as error:
            refused[one.found.path] = report.failures[one.found.path] = error.message
            progress(one.found, f"refused: {error.message}")
            held = view.columns.get(one.survey.alert_table.name, {})
            further = (one.types.keys() | one.points.keys()) - described.keys()
            if any(name not in held or (one.survey.name, name) in contested for name in further):
                return None
            continue
        report.files += 1
        report.alerts += len(alerts)
        report.rounded.update(cells.rounded)
        progress(one.found, f"{len(alerts)} alerts")
    report.left_out = left_out.counts()
    return report


def _with_values(
    one: _Opened, catalog: Catalog, contested: Collection[tuple[str, str]]
) -> Iterator[tuple[Survey, Mapping[str, pa.DataType]]]:
    """Yield the types of a file, without those of contested columns that have no value in it."""
    described = catalog.described(one.survey.alert_table)
    own = {name: stored_type(kind) for name, kind in one.types.items() if (one.survey.name, name) in contested}
    empty: set[str] = set()
    types = {name: kind for name, kind in own.items() if kind is not None}
    with suppress(AlertflightError), naming_faults():  # a file that cannot be read is refused later
        columns = one.cells(types, described, frozenset())[1].columns if types else {}
        empty = {name for name, values in columns.items() if values.null_count == len(values)}
    yield one.survey, {name: pa.null() if name in empty else kind for name, kind in one.types.items()}
    yield one.survey, one.points


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
    paths: Iterable[Path], catalog: Catalog, report: IngestReport, progress: Progress, *, history: bool
) -> Iterable[_Opened]:
    for found in find_files(paths):
        if found.path in report.failures:
            continue
        if not found.alerts:
            report.skipped.append(found.path)
            continue
        try:
            with naming_faults():
                file = open_alerts(found.path)
                survey = recognise(file.schema, catalog)
                types, left_out = cell_types(file.schema, survey.alerts)
        except AlertflightError as error:
            report.failures[found.path] = error.message
            progress(found, f"refused: {error.message}")
            continue
        report.not_stored.update(left_out)
        points = point_types(survey, file.schema) if history else {}
        points = {name: kind for name, kind in points.items() if catalog.storable(survey.alert_table, name)}
        yield _Opened(found, survey, types, points)


def recognise(schema: pa.Schema, catalog: Catalog) -> Survey:
    """Return the survey whose alerts have the schema."""
    for survey in catalog.surveys.values():
        if set(survey.alerts.recognised_by) <= set(schema.names):
            return survey
    known = "; ".join(f"{s.name} has {', '.join(s.alerts.recognised_by)}" for s in catalog.surveys.values())
    raise BadValue(f"the alerts are not of a known survey: {known}", field="path")
