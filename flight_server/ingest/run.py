"""One ingest: find the files, determine the types, read each file, and write all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Survey
from flight_server.ingest.casts import stored_type, widest
from flight_server.ingest.cells import cell_types, flatten
from flight_server.ingest.files import Found, find_files, open_alerts
from flight_server.ingest.left_out_points import LeftOutPoints
from flight_server.ingest.tables import history_fields, table_rows
from flight_server.protocol.errors import AlertflightError, BadValue
from flight_server.storage.protocols import RowStore, RowWriter, Sharing

__all__ = ["IngestReport", "ingest", "naming_faults", "recognise", "settle_types"]

Progress = Callable[[Found, str], None]


@dataclass(slots=True)
class IngestReport:
    """The result of an ingest.

    `rows` counts rows written by table, `failures` has the reason by file, `skipped` lists files in folders that are
    not alert files, `not_stored` the columns of the files that no table stores, and `sharing` the detections that share
    an exposure with another one of their object. `left_out` counts the points of histories that are not stored since the
    last point of their history is of another kind, by table.
    """

    files: int = 0
    alerts: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    not_stored: set[str] = field(default_factory=set)
    sharing: Sharing = field(default_factory=Sharing)
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Opened:
    found: Found
    survey: Survey
    types: Mapping[str, pa.DataType]


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
            report = _attempt(writer, catalog.with_stored(store.view().columns), paths, refused, progress, history=history)
            if report is not None:
                report.rows = writer.commit(report.files, report.alerts)
                report.sharing = writer.sharing
                return report


def _attempt(
    writer: RowWriter, catalog: Catalog, paths: list[Path], refused: dict[Path, str], progress: Progress, *, history: bool
) -> IngestReport | None:
    """Read all files that were not refused; return None if one is refused now that influenced the types."""
    report = IngestReport(failures=dict(refused))
    left_out = LeftOutPoints()
    opened = list(_open_all(paths, catalog, report, progress))
    settled = settle_types(((one.survey, one.types) for one in opened), catalog, report.not_stored)
    for one in opened:
        try:
            with naming_faults():
                fields = None if writer.keeps_alerts else history_fields(one.survey, catalog, points=history)
                alerts = open_alerts(one.found.path).read(one.survey.alerts, fields)
                cells = flatten(alerts, one.survey.alerts, settled[one.survey.name])
                parts = list(table_rows(one.survey, catalog, cells, points=history, left_out=left_out))
            # outside of the guard above: a fault of the store is not one of this file, and ends the ingest
            writer.write(parts, alerts)
        except AlertflightError as error:
            refused[one.found.path] = report.failures[one.found.path] = error.message
            progress(one.found, f"refused: {error.message}")
            alert_table = one.survey.alert_table
            if any(catalog.type_of(alert_table, name) is None for name in one.types):
                return None
            continue
        report.files += 1
        report.alerts += len(alerts)
        progress(one.found, f"{len(alerts)} alerts")
    report.left_out = left_out.counts()
    return report


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


def _open_all(paths: Iterable[Path], catalog: Catalog, report: IngestReport, progress: Progress) -> Iterable[_Opened]:
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
        yield _Opened(found, survey, types)


def recognise(schema: pa.Schema, catalog: Catalog) -> Survey:
    """Return the survey whose alerts have the schema."""
    for survey in catalog.surveys.values():
        if set(survey.alerts.recognised_by) <= set(schema.names):
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
