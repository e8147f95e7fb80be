"""Removal of alerts: their rows leave all tables, in one transaction.

Index rows have keys that the alert alone does not give (its class may have changed since), so all tables are read for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Survey, Table
from flight_server.ingest.cells import Cells
from flight_server.ingest.tables import table_rows
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.storage.protocols import RowStore, RowView
from flight_server.storage.row_keys import keys_of
from flight_server.storage.scans import Rows, Scan

__all__ = ["Removal", "find_rows", "remove", "typed_objects"]

Keys = npt.NDArray[np.bytes_]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Removal:
    """The rows to remove, by table, the objects that they belong to, and the IDs that no row has."""

    keys: Mapping[str, Keys]
    objects: tuple[str | int, ...]
    missing: tuple[str | int, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of rows by table."""
        return {name: len(keys) for name, keys in self.keys.items()}


def find_rows(
    store: RowStore,
    catalog: Catalog,
    survey: Survey,
    *,
    objects: Sequence[str | int] = (),
    alerts: Sequence[int] = (),
    progress: Progress = lambda _: None,
) -> Removal:
    """Find the rows of objects, or of single alerts, in all tables that are filled from alerts.

    Parameters
    ----------
    store, catalog, survey
        The store, and the survey whose tables are read.
    objects, alerts
        The IDs of the objects and of the alerts.
    progress
        Called with the number of rows read since the last call.

    Raises
    ------
    NotSupported
        The rows that stand for objects cannot be made again of the alerts that remain.
    AlertflightError
        A table cannot be read.
    """
    if alerts:
        _check_single(survey)
    view = store.view()
    wanted = _Wanted(survey, catalog, tuple(objects), tuple(alerts))
    keys: dict[str, Keys] = {}
    owners: dict[str | int, None] = {}
    seen: set[str | int] = set()
    for table in survey.tables.values():
        if table.rows == "loaded" or not wanted.names(view, table):
            continue
        found = []
        for some in wanted.scan(view, table):
            progress(len(some))
            chosen = wanted.chosen(table, some)
            if len(chosen):
                found.append(chosen.keys)
                held = {name: chosen.batch[name].to_pylist() for name in chosen.batch.schema.names}
                owners |= dict.fromkeys(held.get(survey.alert_table.id, ()))
                seen.update(*held.values())
        if found:
            keys[table.name] = np.unique(np.concatenate(found))
    missing = tuple(one for one in (*objects, *alerts) if one not in seen)
    return Removal(keys, tuple(owners), missing)


def _check_single(survey: Survey) -> None:
    """Raise if a table has one row of several alerts with cells that the table of alerts does not have."""
    own = set(survey.alert_table.structs)
    for table in survey.tables.values():
        if table.pixels is not None and set(table.structs) - own:
            why = f"the row of an object in {table.name} cannot be made again of its other alerts"
            raise NotSupported(f"single alerts of {survey.name} cannot be removed, since {why}: remove objects", field="alert")


def remove(store: RowStore, catalog: Catalog, survey: Survey, removal: Removal) -> Mapping[str, int]:
    """Remove rows, and put back those that they had overwritten; return the number of rows put back, by table.

    A table that keeps the newest alert of an object gets the newest one that remains.
    """
    with store.writing() as writer:
        view = store.view()
        known = catalog.with_stored(view.columns)
        parts = [(table, rows) for table, rows in _overwritten(survey, known, view, removal) if len(rows)]
        for name, keys in removal.keys.items():
            writer.remove(known.table(name), keys)
        if parts:
            writer.write(parts, pa.table({}))
        return writer.commit(0, 0)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The objects and alerts to remove."""

    survey: Survey
    catalog: Catalog
    objects: tuple[str | int, ...]
    alerts: tuple[int, ...]

    def names(self, view: RowView, table: Table) -> list[str]:
        """Return the columns of a table by which its rows belong to objects and alerts; rows of points belong to no alert."""
        stored = view.columns.get(table.name, {})
        found = [name for name in (self.survey.alert_table.id, table.alert_id) if name in stored]
        return found if self.objects or table.alert_id in found else []

    def scan(self, view: RowView, table: Table) -> Iterator[Rows]:
        """Read the IDs of the rows that may belong to them."""
        known = self.catalog.described(table)
        columns = Projection(known[name] for name in self.names(view, table))
        if table.by_object and table.id == self.survey.alert_table.id and not self.alerts:
            return view.scan(Scan(table=table, columns=columns, ids=self.objects))
        return view.scan(Scan(table=table, columns=columns))

    def chosen(self, table: Table, rows: Rows) -> Rows:
        """Return the rows that belong to them."""
        mask: pa.Array = pa.array(np.zeros(len(rows), dtype=bool))
        for name, wanted in ((self.survey.alert_table.id, self.objects), (table.alert_id, self.alerts)):
            if name in rows.batch.schema.names:
                ids = rows.batch[name]
                mask = pc.or_(mask, pc.fill_null(pc.is_in(ids, pa.array(wanted, ids.type)), fill_value=False))
        return rows.filter(np.asarray(mask))


def _overwritten(survey: Survey, catalog: Catalog, view: RowView, removal: Removal) -> Iterator[tuple[Table, pa.Table]]:
    """Yield the rows of remaining alerts of the same objects, in the tables where a removed row stood over them."""
    table = survey.alert_table
    over = [one for one in survey.tables.values() if one.on_equal_key == "overwrite" and one.name in removal.keys]
    if not over or not removal.objects or table.name not in view.columns:
        return
    columns = Projection(catalog.stored_columns(table).values())
    removed = removal.keys.get(table.name, np.zeros(0, dtype="S1"))
    for some in view.scan(Scan(table=table, columns=columns, ids=removal.objects)):
        kept = ~np.isin(some.keys, removed)
        if table.points is not None:
            kept &= np.asarray(some.batch[table.points.lacks].is_valid())
        rows = some.filter(kept)
        if not len(rows):
            continue
        cells = {name: rows.batch[name] for name in rows.batch.schema.names if rows.batch[name].null_count < len(rows)}
        version = pa.array([""] * len(rows), pa.string())
        for other, made in table_rows(survey, catalog, Cells(cells, {}, version, {})):
            if other in over:
                yield other, made.filter(pa.array(np.isin(keys_of(other, made), removal.keys[other.name])))


def typed_objects(survey: Survey, catalog: Catalog, objects: Sequence[str]) -> tuple[str | int, ...]:
    """Return object IDs in the type of their column.

    Raises
    ------
    BadValue
        One is not a number where IDs are numbers.
    """
    kind = catalog.described(survey.alert_table)[survey.alert_table.id].type
    if pa.types.is_string(kind):
        return tuple(objects)
    for one in objects:
        if not one.isdecimal():
            raise BadValue(f"{one!r:.80} is not an object ID of {survey.name}, which are numbers", field="object", value=one)
    return tuple(map(int, objects))
