"""Null, NaN and a column that is not there give the same rows and the same derived columns, for each input of each rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from alert_data import NIGHT, TDE
from archives import Opened, messages
from changed_alerts import alerts_of, saved, with_candidates, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.declarations import load_surveys
from flight_server.catalog.missing import missing_as_null
from flight_server.derive import derive, load_derived
from flight_server.ingest.casts import cast_exactly
from flight_server.ingest.cells import cell_types, flatten
from flight_server.ingest.tables import table_rows
from flight_server.protocol.query import Query
from flight_server.storage.merge import drop_superseded
from flight_server.storage.protocols import ALERT

CATALOG = load_catalog()
SURVEY = load_surveys()["ztf"]
DERIVED = load_derived("ztf")
KNOWN = CATALOG.known["ztf"]
GIVEN = {"centre": (10.0, 20.0)}
IDENTITY = {"i:objectId", "i:jd"}  # without them there is no row
NESTED = tuple(f"d:{name}_" for name in SURVEY.alerts.nested)


def conditions() -> set[str]:
    found = set()
    for table in SURVEY.tables.values():
        for where in (table.where, table.points and table.points.where):
            found |= where.columns() if where else set()
    return found


INPUTS = conditions() | {column.name for made in DERIVED.values() for column in made.derivation.needs.values()}
INPUTS |= {column.name for made in DERIVED.values() for column in made.derivation.optional.values()}
INPUTS |= {name for table in SURVEY.tables.values() for name in table.latest}
ALERT_INPUTS = sorted(INPUTS - IDENTITY - {"d:classification"} - {name for name in INPUTS if name.startswith(NESTED)})
POINT_INPUTS = sorted(
    name for name in conditions() | {"i:diffmaglim", "i:fid"} if name in {"i:magpsf", "i:rb", "i:nbad", "i:fid", "i:diffmaglim"}
)


def as_nan(values: pa.Array, missing: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
    """Return numbers as pandas writes them: NaN where they are missing. A text stays text unless all are missing."""
    if pa.types.is_string(values.type):
        return pa.array(np.full(len(values), np.nan)) if missing.all() else as_null(values, missing)
    numbers = np.array(values.cast(pa.float64(), safe=False).fill_null(np.nan))
    numbers = np.where(missing, np.nan, numbers)
    return pa.array(numbers, pa.float32() if pa.types.is_float32(values.type) else pa.float64())


def as_null(values: pa.Array, missing: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
    return pc.if_else(pa.array(missing), pa.scalar(None, values.type), values)


@cache
def alerts() -> pa.Table:
    """Alerts that together meet most rules."""
    whole = pa.concat_tables([alerts_of(TDE)[:6], alerts_of(NIGHT)[:6]], promote_options="default")
    rows = len(whole)
    sso = pa.array(["1234" if row % 3 == 0 else "null" for row in range(rows)])
    changed = {"roid": pa.array([3 if row % 3 == 0 else 0 for row in range(rows)], pa.int32())}
    changed |= {"tns": pa.array(["SN Ia" if row % 4 == 0 else "" for row in range(rows)])}
    changed |= {"anomaly_score": pa.array(np.linspace(-1, 1, rows)), "slsn_score": pa.array(np.linspace(0, 1, rows))}
    changed |= {"tracklet": pa.array(["TRCK_1" if row % 5 == 0 else "" for row in range(rows)])}
    return with_candidates(with_fields(whole, **changed), ssnamenr=sso)


def field_of(whole: pa.Table, name: str) -> pa.Array:
    family, field = name.split(":")
    source = whole["candidate"].combine_chunks() if family == "i" else None
    if source is not None:
        return source.field(field)
    return whole[field].combine_chunks() if field in whole.column_names else pa.nulls(len(whole), KNOWN[name].type)


def with_cell(whole: pa.Table, name: str, values: pa.Array | None) -> pa.Table:
    family, field = name.split(":")
    if family == "d":
        return whole if values is None and field not in whole.column_names else with_fields(whole, **{field: values})
    if values is not None:
        return with_candidates(whole, **{field: values})
    struct = whole["candidate"].combine_chunks()
    fields = {part.name: struct.field(part.name) for part in struct.type if part.name != field}
    return with_fields(whole, candidate=pa.StructArray.from_arrays(list(fields.values()), names=list(fields)))


def with_point(whole: pa.Table, name: str, change: Callable[[pa.Array], pa.Array | None]) -> pa.Table:
    field = name.partition(":")[2]
    lists = whole["prv_candidates"].combine_chunks()
    points = lists.flatten()
    fields = {part.name: pc.struct_field(points, part.name) for part in points.type}
    values = change(fields[field])
    fields = {part: array for part, array in fields.items() if part != field} | ({} if values is None else {field: values})
    offsets = np.append(0, np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy()))
    made = pa.StructArray.from_arrays(list(fields.values()), names=list(fields))
    return with_fields(whole, prv_candidates=pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), made))


def outcome(whole: pa.Table, changed: str) -> Mapping[str, Any]:
    """Return the rows of all tables and the derived columns; of the changed column itself only what is missing."""
    types, _ = cell_types(whole.schema, SURVEY.alerts)
    types = {name: KNOWN[name].type if name in KNOWN else kind for name, kind in types.items()}
    cells = flatten(whole, SURVEY.alerts, types)
    found: dict[str, Any] = {}
    for number, (table, rows) in enumerate(table_rows(SURVEY, CATALOG, cells, points=True)):
        columns = {name: missing_as_null(rows[name]) for name in rows.column_names if name != ALERT}
        columns.setdefault(changed, pa.nulls(len(rows)))
        if table.name == "ztf":
            keys = np.arange(len(rows)) // 2
            kept = drop_superseded(table, rows, keys)[0]
            found[f"{table.name}{number}: kept"] = kept[table.id].to_pylist()
        found[f"{table.name}{number}"] = {name: columns[name].to_pylist() for name in sorted(columns)}
        if table.name == "ztf" and number == 0:
            needed = {one.name: one for made in DERIVED.values() for one in made.derivation.needs.values()}
            inputs = {
                name: rows[name] if name in rows.column_names else pa.nulls(len(rows), one.type) for name, one in needed.items()
            }
            made = derive(
                pa.table(inputs | ({"d:tracklet": rows["d:tracklet"]} if "d:tracklet" in rows.column_names else {})),
                DERIVED,
                DERIVED,
                GIVEN,
            )
            found["derived"] = {name: values.to_pylist() for name, values in made.items()}
    return found


@pytest.mark.deep(after=8)
@pytest.mark.parametrize("name", ALERT_INPUTS)
def test_a_missing_cell_of_an_alert_is_missing_however_it_is_written(name: str) -> None:
    whole = alerts()
    values = field_of(whole, name)
    everything = np.ones(len(whole), bool)
    some = np.arange(len(whole)) % 2 == 0
    absent = outcome(with_cell(whole, name, None), name)
    for missing in (everything,) if name == "i:candid" else (everything, some):  # float64 rounds candids
        null = outcome(with_cell(whole, name, as_null(values, missing)), name)
        assert outcome(with_cell(whole, name, as_nan(values, missing)), name) == null
        if missing is everything:
            assert null == absent
            assert outcome(with_cell(whole, name, pa.nulls(len(whole))), name) == absent


@pytest.mark.parametrize("name", POINT_INPUTS)
def test_a_missing_cell_of_a_point_is_missing_however_it_is_written(name: str) -> None:
    whole = alerts()
    absent = outcome(with_point(whole, name, lambda _: None), name)
    for step in (1, 2, 3):

        def missing(values: pa.Array, step: int = step) -> np.ndarray[Any, np.dtype[np.bool_]]:
            return np.arange(len(values)) % step == 0

        null = outcome(with_point(whole, name, lambda values: as_null(values, missing(values))), name)
        assert outcome(with_point(whole, name, lambda values: as_nan(values, missing(values))), name) == null
        if step == 1:
            assert null == absent


def test_the_sweep_sees_what_rules_do() -> None:
    whole = outcome(alerts(), "i:magpsf")
    assert {name.rstrip("0123456789") for name in whole} >= {
        "ztf",
        "ztf.upper",
        "ztf.tns",
        "ztf.ssnamenr",
        "ztf.tracklet",
        "ztf.anomaly",
    }
    assert len({*whole["derived"]["v:classification"]}) > 1
    for name in ("i:ra", "i:magpsf", "d:tns", "d:roid", "i:ssnamenr", "d:anomaly_score", "i:jdstarthist"):
        assert outcome(with_cell(alerts(), name, None), name) != outcome(alerts(), name)


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.bool_(), pa.string(), pa.binary()])
def test_nan_is_null_where_a_type_has_none(kind: pa.DataType) -> None:
    assert cast_exactly(pa.array([np.nan, None], pa.float64()), kind, "x").to_pylist() == [None, None]
    assert cast_exactly(pa.array([np.nan, 1.0], pa.float32()), pa.int32(), "x").to_pylist() == [None, 1]


def test_nan_stays_in_a_column_that_can_hold_it() -> None:
    assert np.isnan(cast_exactly(pa.array([np.nan]), pa.float32(), "x")[0].as_py())


@pytest.mark.both_stores
def test_a_file_that_went_through_pandas_gives_the_same_answers(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    whole = alerts()
    some = np.arange(len(whole)) % 2 == 0
    frame = pd.DataFrame({name: as_nan(field_of(whole, f"d:{name}"), some) for name in ("roid", "mulens", "anomaly_score")})
    by_pandas = with_fields(whole, **{name: pa.array(frame[name].to_numpy()) for name in frame})
    by_arrow = with_fields(whole, **{name: as_null(field_of(whole, f"d:{name}"), some) for name in frame})
    answers = []
    for name, table in (("pandas", by_pandas), ("arrow", by_arrow)):
        opened = open_store(name)
        assert not opened.ingest(saved(table, tmp_path / f"{name}.parquet")).failures
        rows = {}
        for table_name in ("ztf", "ztf.class", "ztf.anomaly", "ztf.ssnamenr"):
            columns = ("i:objectId", "i:jd", "d:roid", *(["v:classification"] if table_name == "ztf" else []))
            rows[table_name] = messages(opened, Query(table=table_name, all=True, columns=columns)).table.to_pylist()
        answers.append(rows)
    assert answers[0] == answers[1]
    assert answers[0]["ztf.anomaly"]


@pytest.mark.both_stores
def test_a_derived_column_counts_what_no_file_has_as_null(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    names = ("roid", "mulens", "rf_kn_vs_nonkn", "tracklet")
    bare = alerts_of(TDE)
    bare = with_fields(bare, **{name: None for name in names if name in bare.column_names})
    null = with_fields(bare, **{name: pa.nulls(len(bare), KNOWN[f"d:{name}"].type) for name in names})
    found = []
    for name, table in (("bare", bare), ("null", null)):
        opened = open_store(name)
        opened.ingest(saved(table, tmp_path / f"{name}.parquet"))
        columns = ("i:candid", "v:classification", "v:lapse")
        found.append(messages(opened, Query(table="ztf", all=True, columns=columns)).table)
    assert found[0].equals(found[1])
    assert len(found[0]) == len(bare)
