"""Selections by position, class, name, night and time, against brute force over whole tables."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask
from astropy.coordinates import SkyCoord
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.derive import derive, load_derived
from flight_server.execution.sky_pixels import pixels_of
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Cone, Query, SkyMap

Fields = dict[str, Any]


def everything(client: fl.FlightClient, table: str, columns: list[str]) -> list[Fields]:
    return ask(client, table=table, all=True, columns=columns).table.to_pylist()


@pytest.fixture(scope="module")
def places(sample: Opened) -> tuple[list[Fields], SkyCoord]:
    answer = sample.archive.answer(
        Query(table="ztf.pixel128", all=True, columns=("i:objectId", "i:jd", "i:ra", "i:dec", "i:jdstarthist")), Caller()
    )
    rows = pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema).to_pylist()
    return rows, SkyCoord([row["i:ra"] for row in rows], [row["i:dec"] for row in rows], unit="deg")


def inside(places: tuple[list[Fields], SkyCoord], cone: Cone) -> list[tuple[float, Fields]]:
    """Return the alerts in a cone by separation, object and time; the separations are astropy's."""
    rows, positions = places
    apart = positions.separation(SkyCoord(cone.ra, cone.dec, unit="deg")).deg
    found = [(away, row) for away, row in zip(apart.tolist(), rows, strict=True) if away <= cone.radius / 3600]
    return sorted(found, key=lambda one: (one[0], one[1]["i:objectId"], one[1]["i:jdstarthist"]))


def asked(sample: Opened, **fields: Any) -> tuple[pa.Table, Fields]:
    answer = sample.archive.answer(Query(**fields), Caller())
    messages = list(answer.messages)
    return pa.Table.from_batches([message.batch for message in messages], schema=answer.schema), messages[-1].metadata


cones = st.builds(
    Cone,
    st.one_of(st.floats(0, 360, exclude_max=True), st.sampled_from([0.0, 359.9999])),
    st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0])),
    st.one_of(st.floats(0, 18_000), st.just(18_000.0)),
)


@more_examples(0.6)
@given(st.data())
def test_cones_find_what_brute_force_finds(sample: Opened, places: tuple[list[Fields], SkyCoord], data: st.DataObject) -> None:
    rows, _ = places
    cone = data.draw(cones)
    if data.draw(st.booleans()):  # about an object: most of the sky is empty
        row = data.draw(st.sampled_from(rows))
        away = data.draw(st.floats(0, 5))
        ra, dec = (row["i:ra"] + data.draw(st.floats(-away, away))) % 360, row["i:dec"] + data.draw(st.floats(-away, away))
        cone = Cone(ra, float(np.clip(dec, -90, 90)), cone.radius)
    expected = inside(places, cone)
    columns = ("i:objectId", "i:jd", "v:separation_degree")
    table, record = asked(sample, table="ztf.pixel128", cone=cone, columns=columns)
    assert [(row["i:objectId"], row["i:jd"]) for row in table.to_pylist()] == [
        (row["i:objectId"], row["i:jd"]) for _, row in expected
    ]
    assert table["v:separation_degree"].to_pylist() == pytest.approx([away for away, _ in expected], abs=1e-12)
    assert record["complete"]
    assert record["rows"] == len(expected)
    table, record = asked(sample, table="ztf", cone=cone, columns=("i:objectId", "i:jd"))
    objects = list(dict.fromkeys(row["i:objectId"] for _, row in expected))
    assert list(dict.fromkeys(table["i:objectId"].to_pylist())) == objects
    assert record["objects"] == len(objects)
    assert record["missing"] == 0


@pytest.mark.both_stores
def test_a_cone_gives_all_rows_of_its_objects_with_all_that_goes_with_ids(client: fl.FlightClient) -> None:
    (row,) = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:ra", "i:dec"], limit=1).table.to_pylist()
    cone = {"ra": row["i:ra"], "dec": row["i:dec"], "radius": 3}
    for more in (
        {},
        {"upper_limits": True},
        {"cutouts": ["Science"]},
        {"start": 2459060.0},
        {"limit": 3},
        {"columns": ["i:jd", "v:rate"]},
    ):
        by_place = ask(client, table="ztf", cone=cone, **more)
        by_name = ask(client, table="ztf", ids=["ZTF20abfcszi"], **more)
        assert by_place.table.equals(by_name.table)
        assert by_place.record["rows"] == by_name.record["rows"] > 0


@pytest.mark.both_stores
def test_a_cone_over_the_index_is_bounded_by_the_first_detection(sample: Opened, places: tuple[list[Fields], SkyCoord]) -> None:
    rows, _ = places
    starts = sorted(row["i:jdstarthist"] for row in rows)
    middle = starts[len(starts) // 2]
    row = next(row for row in rows if row["i:jdstarthist"] == middle)
    cone = Cone(row["i:ra"], row["i:dec"], 18_000.0)
    found = [one["i:objectId"] for _, one in inside(places, cone) if one["i:jdstarthist"] >= middle]
    table, _ = asked(sample, table="ztf.pixel128", cone=cone, columns=("i:objectId",), start=middle)
    assert table["i:objectId"].to_pylist() == found
    later, _ = asked(sample, table="ztf.pixel128", cone=cone, columns=("i:objectId",), stop=middle)
    assert not set(later["i:objectId"].to_pylist()) & set(found)


@pytest.mark.both_stores
def test_classes_come_newest_first(client: fl.FlightClient) -> None:
    rows = everything(client, "ztf.class", ["d:classification", "i:jd", "i:objectId"])
    assert len(rows) > 50
    for name in {row["d:classification"] for row in rows}:
        meant = sorted((r for r in rows if r["d:classification"] == name), key=lambda r: (-r["i:jd"], r["i:objectId"]))
        whole = ask(client, table="ztf.class", columns=["d:classification", "i:jd", "i:objectId"], **{"class": name})
        assert whole.table.to_pylist() == meant
        assert whole.record["objects"] == len({row["i:objectId"] for row in meant})
        some = ask(client, table="ztf.class", columns=["i:jd"], limit=2, **{"class": name})
        assert some.table["i:jd"].to_pylist() == [row["i:jd"] for row in meant[:2]]
        assert some.record["complete"] == (len(meant) <= 2)
        middle = meant[len(meant) // 2]["i:jd"]
        later = ask(client, table="ztf.class", columns=["i:jd"], start=middle, **{"class": name}).table["i:jd"].to_pylist()
        earlier = ask(client, table="ztf.class", columns=["i:jd"], stop=middle, **{"class": name}).table["i:jd"].to_pylist()
        assert later + earlier == [row["i:jd"] for row in meant]
        assert all(jd >= middle for jd in later)


@pytest.mark.both_stores
def test_limit_objects_counts_objects(client: fl.FlightClient) -> None:
    rows = ask(client, table="ztf.class", columns=["i:objectId"], **{"class": "Unknown"}).table["i:objectId"].to_pylist()
    for most in (1, 3, 1000):
        answer = ask(client, table="ztf.class", columns=["i:jd"], limit_objects=most, **{"class": "Unknown"})
        expected = next((place for place in range(len(rows)) if len(set(rows[: place + 1])) > most), len(rows))
        assert len(answer.table) == answer.record["rows"] == expected
        assert answer.record["objects"] == len(set(rows[:expected]))
        assert answer.record["complete"] == (expected == len(rows))
    whole = ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()
    some = ask(client, table="ztf", all=True, columns=["i:objectId"], limit_objects=7).table["i:objectId"].to_pylist()
    assert len(set(some)) == 7
    assert some == whole[: len(some)]
    assert whole[len(some)] not in some


@pytest.mark.both_stores
def test_lists_by_time_are_chosen_by_bounds_alone(client: fl.FlightClient) -> None:
    rows = sorted(everything(client, "ztf.anomaly", ["i:jd", "i:objectId"]), key=lambda row: (-row["i:jd"], row["i:objectId"]))
    assert len(rows) > 3
    middle = rows[2]["i:jd"]
    assert ask(client, table="ztf.anomaly", columns=["i:jd", "i:objectId"], start=middle).table.to_pylist() == rows[:3]
    assert ask(client, table="ztf.anomaly", columns=["i:jd", "i:objectId"], stop=middle).table.to_pylist() == rows[3:]
    assert ask(client, table="ztf.anomaly", columns=["i:jd", "i:objectId"], all=True).table.to_pylist() == rows


@pytest.mark.both_stores
def test_objects_are_counted_once_where_their_rows_are_apart(client: fl.FlightClient) -> None:
    for table in ("ztf.class", "ztf.anomaly", "ztf.pixel128", "ztf"):
        answer = ask(client, table=table, all=True, columns=["i:objectId"], max_message_bytes=4096)
        assert answer.record["objects"] == len(set(answer.table["i:objectId"].to_pylist()))


@pytest.mark.both_stores
def test_names_of_the_solar_system(client: fl.FlightClient) -> None:
    rows = everything(client, "ztf.ssnamenr", ["i:ssnamenr", "i:jd"])
    assert rows
    for row in rows:
        found = ask(client, table="ztf.ssnamenr", sso=row["i:ssnamenr"], columns=["i:ssnamenr", "i:jd"]).table.to_pylist()
        assert found == [one for one in rows if one["i:ssnamenr"] == row["i:ssnamenr"]]
        assert not ask(client, table="ztf.ssnamenr", sso=row["i:ssnamenr"][:-1] or "x").table.to_pylist()


@pytest.mark.both_stores(1)
@pytest.mark.parametrize("nside", [8, 128, 512])
def test_a_sky_map_gives_what_lies_in_its_pixels(sample: Opened, places: tuple[list[Fields], SkyCoord], nside: int) -> None:
    rows, _ = places
    own = pixels_of(np.array([row["i:ra"] for row in rows]), np.array([row["i:dec"] for row in rows]), nside)
    chosen = random.Random(nside).sample(sorted(set(own.tolist())), 12)
    skymap = SkyMap(nside, tuple((pixel, pixel + 1) for pixel in chosen if pixel + 1 < 12 * nside * nside))
    wanted = {pixel for first, last in skymap.ranges for pixel in range(first, last + 1)}
    expected = {row["i:objectId"] for row, pixel in zip(rows, own.tolist(), strict=True) if pixel in wanted}
    for table in ("ztf.pixel128", "ztf"):
        found, record = asked(sample, table=table, skymap=skymap, columns=("i:objectId",))
        assert set(found["i:objectId"].to_pylist()) == expected
        assert record["objects"] == len(expected)


@pytest.mark.both_stores
def test_derived_columns_are_those_of_the_whole_object_whatever_is_asked(client: fl.FlightClient) -> None:
    names = [name for name, column in load_derived("ztf").items() if not column.derivation.given]
    stored = ask(client, table="ztf", ids=["ZTF20abfcszi", "ZTF18abadigg"]).table
    expected = derive(stored, names, load_derived("ztf"))
    asked_ = ask(client, table="ztf", ids=["ZTF20abfcszi", "ZTF18abadigg"], columns=["i:jd", *names, "i:magpsf"])
    assert asked_.table.schema.names == ["i:jd", *names, "i:magpsf"]
    for name in names:
        assert asked_.table[name].combine_chunks().equals(expected[name]), name
        assert asked_.table.schema.field(name).metadata[b"origin"] == b"derived"
    middle = stored["i:jd"][7].as_py()
    later = ask(
        client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:jd", "v:rate", "v:g-r"], start=middle, max_message_bytes=4096
    )
    mask = pa.array([row["i:objectId"] == "ZTF20abfcszi" and row["i:jd"] >= middle for row in stored.to_pylist()])
    assert later.table["v:rate"].combine_chunks().equals(expected["v:rate"].filter(mask))
    whole = ask(client, table="ztf", all=True, columns=["i:objectId", "v:rate", "v:g-r"], max_message_bytes=4096).table
    mine = whole.filter(pa.compute.equal(whole["i:objectId"], "ZTF20abfcszi"))
    assert mine["v:rate"].combine_chunks().equals(expected["v:rate"].slice(0, len(mine)))


@pytest.mark.both_stores
def test_derived_columns_beside_upper_limits_are_of_the_alerts_alone(client: fl.FlightClient) -> None:
    ids = ["ZTF20abfcszi", "ZTF25aauurnj"]
    alone = ask(client, table="ztf", ids=ids, columns=["i:jd", "v:rate", "v:lapse"]).table
    both = ask(client, table="ztf", ids=ids, columns=["i:jd", "v:rate", "v:lapse"], upper_limits=True).table
    own = pa.compute.equal(both["d:tag"], "valid")
    assert both.filter(own).drop_columns(["d:tag"]).equals(alone)
    others = both.filter(pa.compute.invert(own))
    assert len(others) > 0
    assert others["v:rate"].null_count == others["v:lapse"].null_count == len(others)


@pytest.mark.both_stores
def test_a_whole_table_with_derived_columns_goes_on_from_any_cursor(client: fl.FlightClient) -> None:
    fields: Fields = {"table": "ztf", "all": True, "columns": ["i:objectId", "i:jd", "v:rate"], "max_message_bytes": 4096}
    whole = ask(client, **fields)
    cursors = [said["cursor"] for rows, said in whole.messages if rows]
    assert len(cursors) > 1
    sent = np.cumsum([rows for rows, _ in whole.messages if rows])
    for place, cursor in zip(sent.tolist(), cursors, strict=True):
        rest = ask(client, **fields, resume_after=cursor).table
        assert rest.equals(whole.table.slice(place))


BAD: list[tuple[Fields, str, str]] = [
    ({"table": "ztf", "cone": {"ra": float("nan"), "dec": 0, "radius": 1}}, "bad_value", "cone.ra"),
    ({"table": "ztf", "cone": {"ra": float("inf"), "dec": 0, "radius": 1}}, "bad_value", "cone.ra"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 90.1, "radius": 1}}, "bad_value", "cone.dec"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": float("nan"), "radius": 1}}, "bad_value", "cone.dec"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 0, "radius": -1}}, "bad_value", "cone.radius"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 0, "radius": 18_000.1}}, "bad_value", "cone.radius"),
    ({"table": "ztf", "cone": {"ra": "1", "dec": 0, "radius": 1}}, "bad_value", "cone.ra"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 0}}, "bad_value", "cone"),
    ({"table": "ztf.class", "class": "SN candidat"}, "bad_value", "class"),
    ({"table": "ztf.class", "class": "SN candidate", "start": "yesterday"}, "bad_value", "start"),
    ({"table": "ztf.class", "class": "SN candidate", "start": 2459001.0, "stop": 2459000.0}, "bad_value", "start"),
    ({"table": "ztf.class", "ids": ["ZTF20abfcszi"]}, "not_supported", "ids"),
    ({"table": "ztf", "class": "SN candidate"}, "not_supported", "class"),
    ({"table": "ztf.upper", "cone": {"ra": 1, "dec": 0, "radius": 1}}, "not_supported", "cone"),
    ({"table": "ztf", "start": 2459000.0}, "no_selection", "ids"),
    ({"table": "ztf.class", "class": "SN candidate", "all": True}, "invalid_ticket", "all"),
    ({"table": "ztf", "ids": ["a"], "cone": {"ra": 1, "dec": 0, "radius": 1}}, "invalid_ticket", "cone"),
    ({"table": "statistics_class", "night": "2020-8"}, "bad_value", "night"),
    ({"table": "ztf.tns_resolver", "name": "AT 2020", "start": 2459000.0}, "not_supported", "start"),
    ({"table": "ztf", "skymap": {"nside": 100, "ranges": [[0, 1]]}}, "bad_value", "skymap.nside"),
    ({"table": "ztf", "skymap": {"nside": 2, "ranges": [[0, 48]]}}, "bad_value", "skymap.ranges"),
    ({"table": "ztf", "skymap": {"nside": 2, "ranges": [[5, 4]]}}, "bad_value", "skymap.ranges"),
    ({"table": "ztf", "skymap": {"nside": 2, "ranges": []}}, "bad_value", "skymap.ranges"),
    ({"table": "ztf", "ids": ["a"], "columns": ["v:ratee"]}, "unknown_column", "columns"),
    ({"table": "ztf", "ids": ["a"], "columns": ["v:separation_degree"]}, "not_supported", "columns"),
    ({"table": "ztf.class", "class": "SN candidate", "columns": ["v:rate"]}, "not_supported", "columns"),
    ({"table": "ztf.upper", "ids": ["a"], "columns": ["v:classification"]}, "unknown_column", "columns"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 0, "radius": 1}, "as_of": 1_600_000_000_000}, "not_supported", "as_of"),
    ({"table": "ztf.class", "class": "SN candidate", "resume_after": "x"}, "cursor_mismatch", "resume_after"),
    ({"table": "ztf.class", "class": "SN candidate", "layout": "nested"}, "not_supported", "layout"),
    ({"table": "ztf.pixel128", "cone": {"ra": 1, "dec": 0, "radius": 1}, "layout": "nested"}, "not_supported", "layout"),
    ({"table": "ztf", "ids": ["a"], "layout": "nested", "cutouts": ["Science"]}, "not_supported", "layout"),
    ({"table": "ztf", "ids": ["a"], "layout": "nested", "columns": ["i:objectId"]}, "bad_value", "columns"),
    ({"table": "ztf", "ids": ["a"], "key_range": ["a", "b"]}, "not_supported", "key_range"),
    ({"table": "ztf", "cone": {"ra": 1, "dec": 0, "radius": 1}, "key_range": ["a", "b"]}, "not_supported", "key_range"),
    ({"table": "ztf", "all": True, "key_range": ["a", "b" * 5000]}, "bad_value", "key_range"),
]


@pytest.mark.parametrize(("fields", "code", "field"), BAD, ids=lambda value: str(value)[:60] if isinstance(value, dict) else None)
def test_what_cannot_be_meant_is_refused_by_name(client: fl.FlightClient, fields: Fields, code: str, field: str) -> None:
    with pytest.raises(fl.FlightError) as caught:
        ask(client, **fields)
    said = json.loads(caught.value.extra_info)
    assert (said["code"], said["field"]) == (code, field)
    if code == "bad_value" and field == "class":
        assert "SN candidate" in said["message"]
