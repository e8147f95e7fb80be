"""Statistics by night, counted from the alerts of a store."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.catalog.missing import missing_as_null
from flight_server.derive.classes import load_classes
from flight_server.ingest.table_load import LoadReport, put_rows
from flight_server.ingest.tables import computed_columns, computed_from
from flight_server.storage.protocols import RowStore, RowView
from flight_server.storage.scans import Scan

__all__ = ["count_nights"]

TABLE = "statistics_class"
NIGHT, RAW = "basic:night", "basic:raw"
UNIX_EPOCH = 2_440_587.5
BANDS = {"basic:n_g": 1, "basic:n_r": 2}
NO_COUNTERPART = ("Unknown", "Fail")


@dataclass(slots=True)
class _Night:
    """The counts of one night, and its distinct exposures and fields."""

    counts: Counter[str] = field(default_factory=Counter)
    exposures: set[float] = field(default_factory=set)
    fields: set[int] = field(default_factory=set)

    def cells(self) -> dict[str, int]:
        return {"basic:exposures": len(self.exposures), "basic:fields": len(self.fields), **self.counts}


def count_nights(store: RowStore, catalog: Catalog) -> LoadReport:
    """Count the alerts of each night, and write the counts to `statistics_class`.

    A night is a UTC date: a night at Palomar falls on a single one. The number of alerts before the quality cuts
    (`basic:raw`) cannot be counted from the alerts, and stays as it was loaded.
    """
    table = catalog.table(TABLE)
    view = store.view()
    nights: dict[str, _Night] = defaultdict(_Night)
    known = catalog.with_stored(view.columns)
    alerts = known.surveys[table.survey].alert_table
    # the rows of the main table, so each alert counts once, in the class of its merged cells
    for some in view.scan(Scan(table=alerts, columns=_columns(known, alerts))) if view.columns.get(alerts.name) else ():
        _count(nights, known, alerts, pa.Table.from_batches([some.batch]))
    names = sorted({name for night in nights.values() for name in night.cells()})
    held = _held_raw(view, known, table)
    dates = sorted(nights)
    rows = pa.table(
        {
            NIGHT: pa.array(dates, pa.string()),
            RAW: pa.array([held.get(night) for night in dates], pa.int64()),
            **{name: pa.array([nights[night].cells().get(name) for night in dates], pa.int64()) for name in names},
        }
    )
    return LoadReport(0, len(rows), put_rows(store, known, table, rows))


def _columns(catalog: Catalog, alerts: Table) -> Projection:
    """Return the columns to read: those counted, and the inputs of the class."""
    wanted = {"i:jd", "i:fid", "i:field", "d:cdsxmatch"} | {one.name for one in computed_from(catalog.surveys[alerts.survey])}
    if alerts.points:
        wanted.add(alerts.points.lacks)
    return Projection(column for name, column in catalog.stored_columns(alerts).items() if name in wanted)


def _count(nights: dict[str, _Night], catalog: Catalog, alerts: Table, rows: pa.Table) -> None:
    """Add alerts to the counts of their nights."""
    if alerts.points:
        rows = rows.filter(pc.is_valid(missing_as_null(rows[alerts.points.lacks])))  # points of a history are not alerts
    columns = {name: rows[name].combine_chunks() for name in rows.column_names}
    classes = computed_columns(catalog.surveys[alerts.survey], columns, len(rows)).get("d:classification")
    labels = columns.get("d:cdsxmatch", pa.nulls(len(rows), pa.string()))
    labels = missing_as_null(labels, catalog.known[alerts.survey]["d:cdsxmatch"].missing)
    days = np.floor(columns["i:jd"].to_numpy() - UNIX_EPOCH).astype("datetime64[D]")
    hosts = pa.array(sorted(load_classes(alerts.survey).extragalactic), pa.string())
    matched = pc.fill_null(
        pc.invert(pc.or_(pc.equal(labels, NO_COUNTERPART[0]), pc.starts_with(labels, NO_COUNTERPART[1]))), fill_value=False
    )
    galactic = pc.and_(matched, pc.is_in(labels, hosts))
    for day in np.unique(days):
        mask = pa.array(days == day)
        night = nights[str(day).replace("-", "")]
        here = {name: values.filter(mask) for name, values in columns.items()}
        night.counts["basic:sci"] += len(here["i:jd"])
        for name, band in BANDS.items():
            night.counts[name] += pc.sum(pc.equal(here["i:fid"], band)).as_py() or 0
        night.exposures.update(here["i:jd"].to_pylist())
        night.fields.update(value for value in pc.unique(here["i:field"]).to_pylist() if value is not None)
        night.counts["class:simbad_tot"] += pc.sum(matched.filter(mask)).as_py() or 0
        night.counts["class:simbad_gal"] += pc.sum(galactic.filter(mask)).as_py() or 0
        for entry in pc.value_counts(classes.filter(mask)).to_pylist() if classes is not None else ():
            if entry["values"] is not None:
                night.counts[f"class:{entry['values']}"] += entry["counts"]


def _held_raw(view: RowView, catalog: Catalog, table: Table) -> dict[str, int | None]:
    """Return the loaded counts of alerts before the quality cuts, by night."""
    if not view.columns.get(table.name):
        return {}
    scan = Scan(table=table, columns=catalog.columns(table, [NIGHT, RAW]))
    return {
        night: raw for some in view.scan(scan) for night, raw in zip(*(c.to_pylist() for c in some.batch.columns), strict=True)
    }
