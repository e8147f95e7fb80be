"""The nested layout: the rows of a flat answer, folded by object."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask
from nested_pandas import NestedFrame

from flight_server.execution.nested_layout import LIGHT_CURVE

TDE = "ZTF20abfcszi"
ID = "i:objectId"
ASKED: dict[str, dict[str, Any]] = {
    "objects": {"ids": ["ZTF25aaugqpe", "nobody", TDE, "ZTF18abadigg"]},
    "one object": {"ids": [TDE]},
    "nobody": {"ids": ["nobody"]},
    "all": {"all": True},
    "cone": {"cone": {"ra": 285.0, "dec": 43.0, "radius": 18_000.0}},
    "in bounds": {"all": True, "start": 2459075.5, "stop": 2460900.0},
    "upper limits": {"ids": [TDE, "ZTF25aaugqpe"], "upper_limits": True},
    "all with upper limits": {"all": True, "upper_limits": True},
    "rates": {"ids": [TDE, "ZTF25aaugqpe"], "columns": ["i:jd", "v:rate", "i:objectId"]},
    "another table": {"table": "ztf.upper", "all": True, "columns": ["i:jd", "i:diffmaglim"]},
    "few objects": {"all": True, "limit_objects": 7},
    "compressed": {"all": True, "compression": "zstd"},
}


def folded(rows: pa.Table) -> list[dict[str, Any]]:
    """Fold flat rows by object, one by one."""
    found = []
    for name, own in groupby(rows.to_pylist(), key=lambda row: row[ID]):
        found.append({ID: name, LIGHT_CURVE: [{k: v for k, v in row.items() if k != ID} for row in own]})
    return found


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(
    "columns", [["i:jd", "i:fid", "i:ssnamenr"], ["i:jd", ID, "d:cdsxmatch"], ["i:objectId", "i:magpsf"]], ids=str
)
def test_each_object_has_its_rows_in_their_order(client: fl.FlightClient, name: str, columns: list[str]) -> None:
    fields: dict[str, Any] = {"table": "ztf", "columns": columns, **ASKED[name]}
    if fields["table"] == "ztf.upper" and columns[0] == ID:
        return
    flat = ask(client, **fields | {"columns": [*[c for c in fields["columns"] if c != ID], ID]})
    curves = ask(client, **fields, layout="nested")
    inner = curves.table.schema.field(LIGHT_CURVE).type
    others = [column for column in fields["columns"] if column != ID]
    assert curves.table.schema.names == [ID, LIGHT_CURVE]
    assert [field.name for field in inner.value_type] == [*others, *(["d:tag"] if fields.get("upper_limits") else [])]
    for field in inner.value_type:
        assert field.equals(flat.table.schema.field(field.name), check_metadata=True)
    assert curves.table.to_pylist() == folded(flat.table)
    record = curves.record
    assert (record["rows"], record["points"]) == (len(curves.table), flat.record["rows"])
    assert record["objects"] == flat.record["objects"] == len(curves.table)
    assert (record["missing_ids"], record["complete"]) == (flat.record["missing_ids"], flat.record["complete"])


def test_it_opens_as_it_is_in_nested_pandas_and_polars(client: fl.FlightClient) -> None:
    table = ask(client, table="ztf", all=True, columns=["i:jd", "i:magpsf"], layout="nested").table
    frame = NestedFrame(table.to_pandas(types_mapper=_arrow_types()))
    points = ask(client, table="ztf", all=True, columns=["i:jd", "i:magpsf"]).table
    assert frame[LIGHT_CURVE].nest.to_flat()["i:jd"].tolist() == points["i:jd"].to_pylist()
    exploded = pl.from_arrow(table).explode(LIGHT_CURVE).unnest(LIGHT_CURVE)
    assert exploded["i:jd"].to_list() == points["i:jd"].to_pylist()


def _arrow_types() -> Any:
    import pandas as pd
    from nested_pandas import NestedDtype

    return lambda kind: NestedDtype(pd.ArrowDtype(kind)) if pa.types.is_list(kind) else pd.ArrowDtype(kind)


def test_a_light_curve_that_does_not_fit_is_named(client: fl.FlightClient) -> None:
    fields: dict[str, Any] = {"table": "ztf", "ids": [TDE], "columns": ["i:jd"], "layout": "nested"}
    assert len(ask(client, **fields, max_message_bytes=2_800).table) == 1
    with pytest.raises(fl.FlightServerError) as caught:
        ask(client, **fields, max_message_bytes=2_300)
    said = json.loads(caught.value.extra_info)
    assert said["code"] == "row_too_large"
    assert said["value"].startswith(f"{TDE}_")
    assert "light curve" in said["message"]


def test_the_plan_has_the_same_schema(client: fl.FlightClient) -> None:
    ticket = json.dumps({"table": "ztf", "ids": [TDE], "columns": ["i:jd"], "layout": "nested"}).encode()
    found = client.get_flight_info(fl.FlightDescriptor.for_command(ticket))
    assert found.schema.equals(client.do_get(found.endpoints[0].ticket).read_all().schema, check_metadata=True)
    assert found.total_records == -1
