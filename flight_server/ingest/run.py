"""One ingest: find the files, settle the types, read each file, write all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from flight_server.catalogue import Catalogue
from flight_server.declarations import Survey
from flight_server.errors import AlertflightError, BadValue
from flight_server.ingest.casting import stored_type, widest
from flight_server.ingest.cells import cell_types, flatten
from flight_server.ingest.files import Found, find_files, open_alerts
from flight_server.ingest.tables import history_fields, table_rows
from flight_server.storage.protocols import RowStore

__all__ = ["IngestReport", "ingest"]

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


def ingest(store: RowStore, catalogue: Catalogue, paths: Iterable[Path], progress: Progress = lambda *_: None) -> IngestReport:
    """Put alert files into a store, in one transaction.

    Parameters
    ----------
    store
        Where the rows go.
    catalogue
        The tables and types.
    paths
        Files and folders; folders are searched to any depth.
    progress
        Called after each file with it and a line on what became of it.

    Returns
    -------
    report
        A file in `failures` left nothing behind; all others are in.
    """
    report = IngestReport()
    with store.writing() as writer:
        catalogue = catalogue.with_stored(store.view().columns)
        opened = list(_open_all(paths, catalogue, report, progress))
        settled = _settle_types(opened, catalogue)
        for one in opened:
            try:
                alerts = open_alerts(one.found.path).read(one.survey.alerts, history_fields(one.survey))
                cells = flatten(alerts, one.survey.alerts, settled[one.survey.name])
                writer.write(list(table_rows(one.survey, catalogue, cells)))
            except AlertflightError as error:
                report.failures[one.found.path] = error.message
                progress(one.found, f"refused: {error.message}")
                continue
            report.files += 1
            report.alerts += len(alerts)
            progress(one.found, f"{len(alerts)} alerts")
        report.rows = writer.commit(report.files, report.alerts)
    return report


def _open_all(paths: Iterable[Path], catalogue: Catalogue, report: IngestReport, progress: Progress) -> Iterable[_Opened]:
    for found in find_files(paths):
        if not found.alerts:
            report.skipped.append(found.path)
            continue
        try:
            file = open_alerts(found.path)
            survey = _recognise(file.schema, catalogue)
            types, left_out = cell_types(file.schema, survey.alerts)
        except AlertflightError as error:
            report.failures[found.path] = error.message
            progress(found, f"refused: {error.message}")
            continue
        report.not_stored.update(left_out)
        yield _Opened(found, survey, types)


def _recognise(schema: pa.Schema, catalogue: Catalogue) -> Survey:
    for survey in catalogue.surveys.values():
        if set(survey.alerts.recognised_by) <= set(schema.names):
            return survey
    known = "; ".join(f"{s.name} has {', '.join(s.alerts.recognised_by)}" for s in catalogue.surveys.values())
    raise BadValue(f"these are no alerts of a known survey: {known}", field="path")


def _settle_types(opened: Iterable[_Opened], catalogue: Catalogue) -> dict[str, dict[str, pa.DataType]]:
    """Give the type of every cell: the catalogue's, else the stored one, else the widest that these files have."""
    settled: dict[str, dict[str, pa.DataType]] = {}
    for one in opened:
        types = settled.setdefault(one.survey.name, {})
        table = next(table for table in one.survey.tables.values() if table.rows == "alerts")
        for name, kind in one.types.items():
            known = catalogue.type_of(table, name)
            found = stored_type(kind)
            if known is not None:
                types[name] = known
            elif found is not None:
                types[name] = widest(types[name], found) if name in types else found
    return settled
