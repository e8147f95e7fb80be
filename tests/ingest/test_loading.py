"""Tables loaded from files: rows are read back, and errors name what cannot be loaded."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import zipfile
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
from flight_server.protocol.errors import AlertflightError, BadValue, NotSupported, UnknownTable
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
    ("ztf.metadata", "a.csv", "name,colour\nZTF1,red\n", BadValue, "there is no column i:objectId, which row keys need"),
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
        META if table == "ztf.metadata" else SSO if "resolver" in table else [{"jd": 2459000.5, "ssoCandId": "1"}],
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
    assert f"{file}: there is no column i:objectId" in wrong.output
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


HEADER = [
    *("objid", "name_prefix", "name", "ra", "declination", "redshift", "typeid", "type", "reporting_groupid", "reporting_group"),
    *("source_groupid", "source_group", "discoverydate", "discoverymag", "discmagfilter", "filter", "reporters"),
    *("time_received", "internal_names", "Discovery_ADS_bibcode", "Class_ADS_bibcodes", "creationdate", "lastmodified"),
]
OF_TNS = [
    {"objid": "1", "name_prefix": "SN", "name": "2023ixf", "ra": "210.910674637", "declination": "54.3116510708",
     "redshift": "0.000804", "typeid": "10", "type": "SN II", "discoverydate": "2023-05-19 17:27:15.000",
     "internal_names": "ATLAS23lpp, ZTF23aaklqou, ZTF23aaklqou", "reporters": 'K. Itagaki, "others"'},
    {"objid": "2", "name_prefix": "AT", "name": "2019e10", "ra": "12.5", "declination": "-7", "internal_names": ""},
    {"objid": "3", "name_prefix": "", "name": "2020abc", "ra": "0.1", "declination": "0.2", "internal_names": ",PS20a,"},
]  # fmt: skip


def of_tns(first: str | None = "2023-05-20 00:00:00 - 23:59:59") -> str:
    """Return a list as TNS publishes it: the day, a header, and all values in quotes."""
    lines = [HEADER, *([row.get(name, "") for name in HEADER] for row in OF_TNS)]
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in lines]
    return "\n".join([*([f'"{first}"'] if first else []), *quoted]) + "\n"


TNS_FORMS = ["list.csv", "list.csv.zip", "list.csv.gz", "no_day.csv", "marked.csv", "list.parquet"]


@pytest.mark.parametrize("form", TNS_FORMS)
def test_the_list_of_tns_is_loaded_as_it_is_published(open_store: Callable[..., Opened], tmp_path: Path, form: str) -> None:
    file = tmp_path / form
    text = of_tns(None if form == "no_day.csv" else "2023-05-20 00:00:00")
    if form.endswith(".zip"):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("tns_public_objects.csv", text)
    elif form.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    elif form.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([dict.fromkeys(HEADER) | row for row in OF_TNS]), file)
    else:
        file.write_text(text, encoding="utf-8-sig" if form == "marked.csv" else "utf-8")
    opened = open_store()
    report = put(opened, "ztf.tns_resolver", file)
    assert (report.read, report.written) == (4, 4)
    rows = held(opened, "ztf.tns_resolver")
    assert set(rows) == {"sn 2023ixf_atlas23lpp", "sn 2023ixf_ztf23aaklqou", "at 2019e10_", "2020abc_ps20a"}
    assert rows["sn 2023ixf_ztf23aaklqou"] == {
        "d:fullname": "SN 2023ixf",
        "d:internalname": "ZTF23aaklqou",
        "d:ra": "210.910674637",
        "d:declination": "54.3116510708",
        "d:redshift": "0.000804",
        "d:type": "SN II",
        "d:discoverydate": "2023-05-19 17:27:15.000",
    }
    assert rows["at 2019e10_"] == {"d:fullname": "AT 2019e10", "d:ra": "12.5", "d:declination": "-7"}
    said = "\n".join(report.remarks)
    assert f"{file}: d:fullname is made of name_prefix, name" in said
    assert f"{file}: d:internalname is made of internal_names" in said
    assert "columns not loaded: objid, typeid, reporting_groupid" in said
    assert ("2023-05-20" in said) == (form not in {"no_day.csv", "list.parquet"})


def test_columns_that_the_table_does_not_have_are_left_out_by_name(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    rows = [{"objectId": "ZTF1", "comments": "x", "colour": "red", "flags": [1, 2], "more": {"a": 1}}]
    for form in ("a.json", "a.parquet"):
        report = put(opened, "ztf.metadata", written(tmp_path / form, rows))
        assert [remark.partition(": ")[2] for remark in report.remarks if "flags" in remark] != []
        assert {name for remark in report.remarks for name in remark.rpartition(": ")[2].split(", ")} == {
            "colour",
            "flags",
            "more",
        }
        assert held(opened, "ztf.metadata") == {"ZTF1": {"i:objectId": "ZTF1", "d:comments": "x"}}
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a.csv", "objectId\nZTF1\n")
        archive.writestr("b.csv", "objectId\nZTF2\n")
    with pytest.raises(BadValue, match=r"two.zip: there are 2 files in this archive: unpack it"):
        put(opened, "ztf.metadata", two)


def test_the_command_names_what_it_left_out(tmp_path: Path) -> None:
    file = tmp_path / "tns.csv"
    file.write_text(of_tns())
    done = CliRunner().invoke(main, ["load", "ztf.tns_resolver", str(file), "--data", str(tmp_path / "store")])
    assert done.exit_code == 0
    assert done.stdout == "4 rows of 1 file; 4 rows to ztf.tns_resolver\n"
    assert "columns not loaded: objid, typeid" in done.stderr
