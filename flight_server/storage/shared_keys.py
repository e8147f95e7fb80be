"""Row keys of several alerts of one object from one exposure.

The key of an alert names object and time, so such alerts share it. The alert that is stored first keeps the key, of
several in one ingest the one with the smallest ID. The keys of the others end with a separator and their alert ID, in
every table: they have the same beginning, by which all readers of the tables look for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.catalog.missing import missing_as_null
from flight_server.storage.keys import row_keys
from flight_server.storage.merge import key_array
from flight_server.storage.protocols import RowView, Sharing
from flight_server.storage.runs import Runs
from flight_server.storage.scans import Scan

__all__ = ["SharedKeys"]

Keys = npt.NDArray[np.bytes_]
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
SEPARATOR = "_"
KEYS_AT_ONCE = 65_536
UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class _Detections:
    """n rows of a table of alerts: row keys, alert IDs, IDs of the detections in their exposures, whether they are points."""

    keys: Keys
    alerts: Ids
    detections: Ids
    points: Flags

    @staticmethod
    def of(table: Table, rows: pa.Table | pa.RecordBatch, keys: Keys) -> _Detections:
        """Return those of some rows; an unknown ID is `UNKNOWN`."""
        alerts = _ids(rows, table.alert_id)
        if table.points is None:
            return _Detections(keys, alerts, alerts, np.zeros(len(keys), dtype=bool))
        points = np.ones(len(keys), dtype=bool)
        if table.points.lacks in rows.schema.names:
            points = np.asarray(missing_as_null(rows[table.points.lacks]).is_null())
        return _Detections(keys, alerts, _ids(rows, table.points.latest[0]), points)

    @staticmethod
    def join(parts: Sequence[_Detections]) -> _Detections:
        """Return the rows of all parts."""
        columns = zip(*((part.keys, part.alerts, part.detections, part.points) for part in parts), strict=True)
        return _Detections(*(np.concatenate(column) for column in columns))


class SharedKeys:
    """The keys of the alerts of one ingest, and which of them do not get the key of their object and time.

    Parameters
    ----------
    catalog
        The tables and columns.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._added: dict[str, list[_Detections]] = {}  # by survey
        self._longer: dict[str, tuple[Keys, Ids]] = {}  # by survey: the plain keys and the alert IDs of the others

    def add(self, table: Table, rows: pa.Table, keys: Keys) -> None:
        """Add the rows of one file, of any table; only those of the table of alerts count."""
        if table == self._catalog.surveys[table.survey].alert_table:
            self._added.setdefault(table.survey, []).append(_Detections.of(table, rows, keys))

    def settle(self, view: RowView) -> Sharing:
        """Choose the alerts whose keys end with their IDs, before `divide`.

        Parameters
        ----------
        view
            The content of the store before this ingest.
        """
        alerts: set[int] = set()
        left_out: dict[str, int] = {}
        for survey in sorted(self._added):
            table = self._catalog.surveys[survey].alert_table
            added = _Detections.join(self._added.pop(survey))
            held = _held(table, self._catalog, view, np.unique(added.keys))
            keys, ids = _others(added, held)
            if len(ids):
                self._longer[survey] = keys, ids
                alerts.update(ids.tolist())
            left_out |= _left_out(_Detections.join([held, added]))
        return Sharing(tuple(sorted(alerts)), left_out)

    def divide(self, table: Table, rows: pa.Table, keys: Keys, others: Runs) -> tuple[pa.Table, Keys]:
        """Move the rows whose keys are longer to `others`; return the remaining rows and their keys.

        Parameters
        ----------
        table
            The table.
        rows, keys
            n rows and their plain keys.
        others
            Takes the other rows with their final keys.
        """
        longer = self._longer.get(table.survey)
        if longer is None or not table.keeps_each_alert or table.alert_id not in rows.column_names:
            return rows, keys
        alerts = self._catalog.surveys[table.survey].alert_table
        ids = _ids(rows, table.alert_id)
        moved = np.isin(ids, longer[1])
        if not moved.any():
            return rows, keys
        pairs = set(zip(longer[0].tolist(), longer[1].tolist(), strict=True))
        places = np.flatnonzero(moved)
        plain = keys[places] if table == alerts else key_array(row_keys(alerts, rows.take(pa.array(places))))
        moved[places] = [pair in pairs for pair in zip(plain.tolist(), ids[places].tolist(), strict=True)]
        places = np.flatnonzero(moved)
        if len(places):
            ends = (
                f"{key.decode()}{SEPARATOR}{one}" for key, one in zip(keys[places].tolist(), ids[places].tolist(), strict=True)
            )
            others.add(rows.take(pa.array(places)), key_array(pa.array(list(ends), pa.string())))
        return rows.filter(pa.array(~moved)), keys[~moved]


def _others(added: _Detections, held: _Detections) -> tuple[Keys, Ids]:
    """Return keys and IDs of the alerts that come after the first one of their key."""
    first = dict(zip(held.keys[~held.points].tolist(), held.alerts[~held.points].tolist(), strict=True))
    own = ~added.points & (added.alerts != UNKNOWN)
    keys, ids = added.keys[own], added.alerts[own]
    order = np.lexsort((ids, keys))
    keys, ids = keys[order], ids[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    holder = ids[np.repeat(starts, np.diff(np.append(starts, len(keys))))]
    if first:
        known = [(place, first[key]) for place, key in enumerate(keys.tolist()) if key in first]
        for place, one in known:
            holder[place] = one
    other = (ids != holder) & (holder != UNKNOWN)
    return keys[other], ids[other]


def _left_out(found: _Detections) -> dict[str, int]:
    """Return how many detections of points are left out, by row key: an alert or a later point has their key."""
    keys = found.keys[found.points]
    if not len(keys):
        return {}
    detections: dict[bytes, set[int]] = {}
    for key, one in zip(keys.tolist(), found.detections[found.points].tolist(), strict=True):
        detections.setdefault(key, set()).add(one)
    alerts: dict[bytes, set[int]] = {}
    for key, one in zip(found.keys[~found.points].tolist(), found.detections[~found.points].tolist(), strict=True):
        if key in detections:
            alerts.setdefault(key, set()).add(one)
    counts = {
        key: len(own - alerts[key] - {UNKNOWN}) if key in alerts else len(own - {UNKNOWN}) - 1 for key, own in detections.items()
    }
    return {key.decode(): count for key, count in counts.items() if count > 0}


def _held(table: Table, catalog: Catalog, view: RowView, keys: Keys) -> _Detections:
    """Return the stored rows with these keys, which are sorted."""
    stored = view.columns.get(table.name, {})
    names = [table.alert_id, *((table.points.lacks, table.points.latest[0]) if table.points else ())]
    columns = Projection(catalog.known[table.survey][name] for name in dict.fromkeys(names) if name in stored)
    parts = [_Detections.of(table, pa.table({table.alert_id: pa.nulls(0, pa.int64())}), keys[:0])]
    if table.alert_id in stored:
        for first in range(0, len(keys), KEYS_AT_ONCE):
            scan = Scan(table=table, columns=columns, keys=keys[first : first + KEYS_AT_ONCE])
            parts += [_Detections.of(table, some.batch, some.keys) for some in view.scan(scan)]
    return _Detections.join(parts)


def _ids(rows: pa.Table | pa.RecordBatch, column: str) -> Ids:
    """Return whole numbers, shape (n,), with `UNKNOWN` for null."""
    if column not in rows.schema.names:
        return np.full(len(rows), UNKNOWN)
    return np.asarray(rows[column].cast(pa.int64()).fill_null(UNKNOWN))
