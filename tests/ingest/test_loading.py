"""Tables loaded from files: rows are read back, and errors name what cannot be loaded."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT, TDE, swept_files
from archives import Opened
from click.testing import CliRunner
from derived_reference import class_of

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.app import main
from flight_server.derive.classes import load_classes
from flight_server.ingest import LoadReport, count_nights, load
from flight_server.protocol.errors import AlertflightError, BadValue, NotSupported, UnknownColumn, UnknownTable
from flight_server.storage.scans import Scan

TNS = [
    {"fullname": "SN 2023ixf", "internalname": "ZTF23aaklqou", "ra": "210.91067", "declination": "54.31165", "type": "SN II"},
    {"fullname": "SN 2023ixf", "internalname": "ATLAS23lpp", "ra": "210.91067", "declination": "54.31165", "type": "SN II"},
    {"fullname": "SN 1987A", "internalname": None, "ra": "83.8667", "declination": "-69.2697", "type": "SN II-pec"},
]
SSO = [
    {"i:ssnamenr": "8467", "i:name": "Benoitcarry", "i:number": "8467"},
    {"i:ssnamenr": "1981E28", "i:name": "Benoitcarry", "i:number": "8467"},
    {"i:ssnamenr": "C/2020V2", "i:name": "C/2020 V2", "i:number": None},
]
META = [
    {"objectId": "ZTF1", "internal_name": "first", "comments": 'a "comment", over\ntwo lines', "username": "x"},
    {"objectId": "ZTF12", "internal_name": "second", "comments": None, "username": "y"},
]


def put(opened: Opened, table: str, *files: Path) -> LoadReport:
    return load(opened.store, load_catalog(), table, files)


def held(opened: Opened, table: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by key, without nulls."""
    catalog = opened.archive.catalog()
    columns = catalog.columns(catalog.table(table), None)
    parts = opened.store.view().scan(Scan(table=catalog.table(table), columns=columns, **fields))
    rows = [
        (key.decode(), row)
        for some in parts
        if len(some.batch)
        for key, row in zip(some.keys.tolist(), some.batch.to_pylist(), strict=True)
    ]
    return {key: {name: value for name, value in row.items() if value is not None} for key, row in rows}


def written(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format of the file's suffix."""
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pa.csv.write_csv(pa.Table.from_pylist(rows), file)
    return file


FORMS = ["rows.parquet", "rows.csv", "rows.json", "rows.jsonl"]


@pytest.mark.both_stores(1)
@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_come_of_every_form_of_file(open_store: Callable[..., Opened], tmp_path: Path, form: str) -> None:
    opened = open_store()
    file = written(tmp_path / form, META)
    assert put(opened, "ztf.metadata", file) == LoadReport(1, 2, 2)
    assert put(opened, "ztf.metadata", file) == LoadReport(1, 2, 0), "an equal row is not written again"
    expected = {
        row["objectId"]: {
            ("i:" if name == "objectId" else "d:") + name: value for name, value in row.items() if value is not None
        }
        for row in META
    }
    assert held(opened, "ztf.metadata") == expected
    assert set(held(opened, "ztf.metadata", ids=["ZTF1"])) == {"ZTF1"}, "not also the object whose name begins so"


@pytest.mark.both_stores
def test_an_object_of_tns_has_a_row_for_each_of_its_names(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    put(opened, "ztf.tns_resolver", written(tmp_path / "a.csv", TNS))
    rows = held(opened, "ztf.tns_resolver")
    assert set(rows) == {"sn 1987a_", "sn 2023ixf_atlas23lpp", "sn 2023ixf_ztf23aaklqou"}
    assert rows["sn 2023ixf_ztf23aaklqou"] == {f"d:{name}": value for name, value in TNS[0].items()}
    changed = {**TNS[0], "type": "SN IIP", "ra": None}
    assert put(opened, "ztf.tns_resolver", written(tmp_path / "b.json", [TNS[0], changed])).written == 1, "the later one stands"
    assert held(opened, "ztf.tns_resolver")["sn 2023ixf_ztf23aaklqou"]["d:type"] == "SN IIP"


@pytest.mark.both_stores
def test_names_of_the_solar_system_are_numbered_where_they_are_alike(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    assert put(opened, "ztf.sso_resolver", written(tmp_path / "a.json", SSO[:1])).written == 2
    first = held(opened, "ztf.sso_resolver")
    assert set(first) == {"8467@0", "benoitcarry@0"}
    put(opened, "ztf.sso_resolver", written(tmp_path / "b.json", [SSO[2], SSO[1], SSO[0]]))
    rows = held(opened, "ztf.sso_resolver")
    assert set(rows) == {"8467@0", "8467@1", "benoitcarry@0", "benoitcarry@1", "1981e28@0", "c/2020v2@0", "c/2020 v2@0"}
    assert {key: rows[key] for key in first} == first, "a row that is held keeps its number"
    assert (rows["8467@1"], rows["benoitcarry@1"]) == (SSO[1], SSO[1])
    assert put(opened, "ztf.sso_resolver", written(tmp_path / "c.json", SSO)).written == 0


@pytest.mark.both_stores
def test_columns_that_nobody_named_are_taken_where_the_table_has_room(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    orbits = [{"ssoCandId": "7", "a": 2.5, "arc_length": 3}, {"ssoCandId": "77", "a": None, "arc_length": 4}]
    put(opened, "ztf.orb_cand", written(tmp_path / "a.json", orbits))
    assert held(opened, "ztf.orb_cand") == {
        "cand_7": {"d:ssoCandId": "7", "d:a": 2.5, "d:arc_length": 3},
        "cand_77": {"d:ssoCandId": "77", "d:arc_length": 4},
    }
    assert set(held(opened, "ztf.orb_cand", ids=["7"])) == {"cand_7"}
    light = [{"jd": 2459000.5, "ssoCandId": 7, "magpsf": 18.4025}]
    put(opened, "ztf.sso_cand", written(tmp_path / "b.parquet", light))
    ((key, row),) = held(opened, "ztf.sso_cand").items()
    assert (key, row["d:ssoCandId"], row["d:magpsf"]) == ("2459000.5_7", "7", pytest.approx(18.4025, rel=1e-7))


BAD: list[tuple[str, str, str, type[AlertflightError], str]] = [
    ("ztf.metadata", "a.csv", "objectId,comments\nZTF1,x\n,y\n", BadValue, "column i:objectId, row 1: None is null"),
    ("ztf.metadata", "a.csv", "objectId,colour\nZTF1,red\n", UnknownColumn, "ztf.metadata has no column 'colour'"),
    ("ztf.metadata", "a.csv", "objectId,i:objectId\nZTF1,ZTF1\n", BadValue, "i:objectId occurs twice"),
    ("ztf.metadata", "a.csv", "objectId,comments\nZTF1\n", BadValue, "the file is broken"),
    ("ztf.metadata", "a.csv", "comments\nx\n", BadValue, "there is no column i:objectId, which row keys need"),
    ("ztf.metadata", "a.json", '[{"objectId": "ZTF1"}, 3]', BadValue, "row 1: '3' is not an object"),
    ("ztf.metadata", "a.json", '[{"objectId": ["ZTF1"]}]', BadValue, "column objectId, row 0"),
    ("ztf.metadata", "a.json", '[{"objectId": "ZTF1"}', BadValue, "the JSON is broken in line 1"),
    ("ztf.metadata", "a.json", '[{"objectId": "a"}, {"objectId": 1}]', BadValue, "column objectId, row 1: 1 has another type"),
    ("ztf.metadata", "a.parquet", "PAR1", BadValue, "the file is broken"),
    (
        "ztf.sso_cand",
        "a.csv",
        "ssoCandId,jd\n1,2459000.5\n2,late\n",
        BadValue,
        "column d:jd, row 1: 'late' does not fit into double",
    ),
    (
        "ztf.sso_cand",
        "a.csv",
        "ssoCandId,jd,fid\n1,2459000.5,1.5\n",
        BadValue,
        "column d:fid, row 0: '1.5' does not fit into int32",
    ),
    ("ztf.sso_cand", "a.csv", "ssoCandId,jd\n1,nan\n", BadValue, "column d:jd, row 0: 'nan.0' is not a number"),
    ("ztf.sso_resolver", "a.csv", "name,number\nx,1\n", BadValue, "there is no column i:ssnamenr"),
]


@pytest.mark.parametrize(("table", "name", "content", "kind", "message"), BAD, ids=[f"{bad[0]} {bad[4][:40]}" for bad in BAD])
def test_what_cannot_be_loaded_is_named_and_nothing_goes_in(  # noqa: PLR0917  (pytest passes by name)
    open_store: Callable[..., Opened],
    tmp_path: Path,
    table: str,
    name: str,
    content: str,
    kind: type[AlertflightError],
    message: str,
) -> None:
    opened = open_store()
    good = written(
        tmp_path / "good.json",
        META if table == "ztf.metadata" else SSO if "resolver" in table else [{"jd": 1.5, "ssoCandId": "1"}],
    )
    bad = tmp_path / name
    bad.write_text(content)
    with pytest.raises(kind) as caught:
        put(opened, table, good, bad)
    assert caught.value.message.startswith(f"{bad}: ")
    assert message in caught.value.message
    assert held(opened, table) == {}


def test_only_tables_that_no_alert_fills_are_loaded(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", META)
    with pytest.raises(NotSupported, match=r"ztf is filled by ingest; tables that can be loaded are ztf.tns_resolver"):
        put(open_store(), "ztf", file)
    with pytest.raises(UnknownTable, match=r"did you mean ztf.metadata"):
        put(open_store(), "ztf.meta", file)
    with pytest.raises(BadValue, match="No such file"):
        put(open_store(), "ztf.metadata", tmp_path / "gone.csv")


@pytest.mark.both_stores
def test_nights_are_counted_from_the_alerts(make_store: Callable[[], Opened], tmp_path: Path) -> None:
    opened = make_store()
    files = swept_files()
    opened.ingest(*files)
    put(opened, "statistics_class", written(tmp_path / "a.json", [{"night": "20200831", "raw": 200000, "sci": 3}]))
    report = count_nights(opened.store, load_catalog())
    rows = held(opened, "statistics_class")
    assert report.read == report.written == len(rows)
    assert count_nights(opened.store, load_catalog()).written == 0
    assert rows["ztf_20200831"]["basic:raw"] == 200000, "what no alert tells stays"
    alerts = held(opened, "ztf")
    nights = defaultdict(list)
    for cells in alerts.values():
        moment = dt.datetime(2000, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(days=cells["i:jd"] - 2451545.0)
        nights[f"{moment:%Y%m%d}"].append(cells)
    assert set(rows) == {f"ztf_{night}" for night in nights}
    hosts = load_classes("ztf").extragalactic
    for night, found in nights.items():
        row = dict(rows[f"ztf_{night}"])
        matched = [c["d:cdsxmatch"] for c in found if not c.get("d:cdsxmatch", "Unknown").startswith(("Unknown", "Fail"))]
        classes = Counter(class_of(defaultdict(lambda: None, cells)) for cells in found)
        del classes[None]
        row.pop("basic:raw", None)
        assert row == {
            "basic:night": night,
            "basic:sci": len(found),
            "basic:n_g": sum(c["i:fid"] == 1 for c in found),
            "basic:n_r": sum(c["i:fid"] == 2 for c in found),
            "basic:exposures": len({c["i:jd"] for c in found}),
            "basic:fields": len({c["i:field"] for c in found}),
            "class:simbad_tot": len(matched),
            "class:simbad_gal": sum(label in hosts for label in matched),
            **{f"class:{name}": count for name, count in classes.items()},
        }


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "store")]
    file = written(tmp_path / "a.csv", TNS)
    run = CliRunner().invoke
    done = run(main, ["load", "ztf.tns_resolver", str(file), *data])
    assert (done.exit_code, done.output) == (0, "3 rows of 1 file; 3 rows to ztf.tns_resolver\n")
    again = run(main, ["load", "ztf.tns_resolver", str(file), *data])
    assert again.output == "3 rows of 1 file; nothing new\n"
    wrong = run(main, ["load", "ztf.metadata", str(file), *data])
    assert wrong.exit_code == 2
    assert f"{file}: ztf.metadata has no column 'fullname'" in wrong.output
    assert run(main, ["ingest", str(TDE), str(NIGHT), *data]).exit_code == 0
    assert run(main, ["statistics", *data]).output == "10 nights; 10 rows to statistics_class\n"


@pytest.mark.both_stores
def test_a_row_that_is_loaded_again_has_no_cell_of_the_one_before(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    first = tmp_path / "first.json"
    first.write_text(
        json.dumps([{"objectId": "ZTF1", "comments": "old", "username": "x"}, {"objectId": "ZTF2", "comments": "kept"}])
    )
    put(opened, "ztf.metadata", first)
    second = tmp_path / "second.json"
    second.write_text(json.dumps([{"objectId": "ZTF1", "comments": None, "username": "x"}]))
    assert put(opened, "ztf.metadata", second).written == 1, "nothing but a cell that goes"
    assert held(opened, "ztf.metadata")["ZTF1"] == {"i:objectId": "ZTF1", "d:username": "x"}
    third = tmp_path / "third.json"
    third.write_text(json.dumps([{"objectId": "ZTF1", "internal_name": "n", "comments": "new"}]))
    put(opened, "ztf.metadata", third)
    assert held(opened, "ztf.metadata") == {
        "ZTF1": {"i:objectId": "ZTF1", "d:internal_name": "n", "d:comments": "new"},
        "ZTF2": {"i:objectId": "ZTF2", "d:comments": "kept"},
    }
