"""Light curves, one row per object, as arrays of structs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask
from spark_sessions import Session

pytestmark = pytest.mark.timeout(1200)

TDE = "ZTF20abfcszi"
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:fid", "i:magpsf"]


@pytest.fixture
def options(url: str) -> dict[str, str]:
    return {"url": url, "table": "ztf", "all": "true", "layout": "nested", "columns": ",".join(COLUMNS)}


def test_light_curves_are_arrays_of_structs(spark: Session, options: dict[str, str], client: fl.FlightClient) -> None:
    direct = ask(client, table="ztf", all=True, layout="nested", columns=COLUMNS).table
    read = spark.read(options)
    assert read.table.column_names == ["i:objectId", "lightcurve"]
    assert read.table.schema.field("lightcurve").type.equals(direct.schema.field("lightcurve").type)
    points = {row["i:objectId"]: row["lightcurve"] for row in read.table.to_pylist()}
    assert points == {row["i:objectId"]: row["lightcurve"] for row in direct.to_pylist()}
    (curve,) = (field for field in read.schema["fields"] if field["name"] == "lightcurve")
    inside = {field["name"]: field for field in curve["type"]["elementType"]["fields"]}
    assert (inside["i:candid"]["type"], inside["i:magpsf"]["type"]) == ("long", "float")
    assert inside["i:magpsf"]["metadata"]["unit"] == "mag"


def test_points_of_light_curves_are_the_rows(spark: Session, options: dict[str, str], client: fl.FlightClient) -> None:
    flat = ask(client, table="ztf", all=True, columns=COLUMNS).table.select(["i:objectId", "i:candid", "i:jd"])
    read = spark.read(options, select=["`i:objectId`", "inline(transform(lightcurve, p -> struct(p.`i:candid`, p.`i:jd`)))"])
    found = read.table.rename_columns(["i:objectId", "i:candid", "i:jd"])
    order = [("i:objectId", "ascending"), ("i:jd", "ascending")]
    assert pa.table(found.sort_by(order).columns, names=found.column_names).to_pylist() == flat.sort_by(order).to_pylist()


def test_filters_on_the_object_are_pushed(spark: Session, options: dict[str, str]) -> None:
    where = f"`i:objectId` = '{TDE}' AND size(lightcurve) > 2"
    off, on = (spark.read(options, where=where, pushing=pushing) for pushing in (False, True))
    assert off.table.to_pylist() == on.table.to_pylist()
    assert [len(row["lightcurve"]) for row in on.table.to_pylist()] == [21]
