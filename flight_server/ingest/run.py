"""One ingest: find the files, settle the types, read each file, write all of it or nothing."""

from __future__ import annotations

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
from flight_server.ingest.tables import history_fields, table_rows
from flight_server.protocol.errors import AlertflightError, BadValue
from flight_server.storage.protocols import RowStore, RowWriter

__all__ = ["IngestReport", "ingest", "naming_faults", "recognise", "settle_types"]

Progress = Callable[[Found, str], None]


@dataclass(slots=True)
class IngestReport:
    """What an ingest did.

    `rows` counts rows written by table, `failures` gives the reason by file, `skipped` lists files in folders
    that are no alert files, and `not_stored` the columns that files have but tables do not.
    """

    files: int = 0
    alerts: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    not_stored: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Opened:
    found: Found
    survey: Survey
    types: Mapping[str, pa.DataType]


def ingest(
    store: RowStore, catalog: Catalog, paths: Iterable[Path], progress: Progress = lambda *_: None, *, history: bool = False
) -> IngestReport:
    """Put alert files into a store, in one transaction.

    Parameters
    ----------
    store
        Where the rows go.
    catalog
        The tables and types.
    paths
        Files and folders; folders are searched to any depth.
    progress
        Called after each file with it and a line on what became of it.
    history
        Whether the points of the alerts' histories become rows too, where no alert is.

    Returns
    -------
    report
        A file in `failures` left nothing behind; all others are in.
    """
    paths = list(paths)
    refused: dict[Path, str] = {}
    while True:
        with store.writing() as writer:
            report = _attempt(writer, catalog.with_stored(store.view().columns), paths, refused, progress, history=history)
            if report is not None:
                report.rows = writer.commit(report.files, report.alerts)
                return report


def _attempt(
    writer: RowWriter, catalog: Catalog, paths: list[Path], refused: dict[Path, str], progress: Progress, *, history: bool
) -> IngestReport | None:
    """Read all files but those refused before; None if another one was refused that had a say in the types."""
    report = IngestReport(failures=dict(refused))
    opened = list(_open_all(paths, catalog, report, progress))
    settled = settle_types(((one.survey, one.types) for one in opened), catalog, report.not_stored)
    for one in opened:
        try:
            with naming_faults():
                fields = None if writer.keeps_alerts else history_fields(one.survey, catalog, points=history)
                alerts = open_alerts(one.found.path).read(one.survey.alerts, fields)
                cells = flatten(alerts, one.survey.alerts, settled[one.survey.name])
                parts = list(table_rows(one.survey, catalog, cells, points=history))
            # not under the guard above: a fault of the store is not one of this file, and ends the ingest
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
    return report


@contextmanager
def naming_faults(what: str = "the file") -> Iterator[None]:
    """Turn what a malformed file makes the readers say into an error about that file, or whatever is read."""
    try:
        yield
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
    """Give the survey whose alerts have this schema."""
    for survey in catalog.surveys.values():
        if set(survey.alerts.recognised_by) <= set(schema.names):
            return survey
    known = "; ".join(f"{s.name} has {', '.join(s.alerts.recognised_by)}" for s in catalog.surveys.values())
    raise BadValue(f"these are no alerts of a known survey: {known}", field="path")


def settle_types(
    brought: Iterable[tuple[Survey, Mapping[str, pa.DataType]]], catalog: Catalog, not_stored: set[str]
) -> dict[str, dict[str, pa.DataType]]:
    """Give the type of every cell: the catalog's, else the stored one, else the widest that is brought.

    Parameters
    ----------
    brought
        The types of what comes, by survey.
    catalog
        The tables and types.
    not_stored
        Gets the names of what the table of alerts has no place for, and which is left out.
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
