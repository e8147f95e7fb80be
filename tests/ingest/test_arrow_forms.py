"""Alerts in every way of Arrow to write them: the store's answers are those of the plain file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NEWEST
from archives import Opened, digest, messages, open_embedded
from arrow_forms import FORMS
from changed_alerts import alerts_of, saved, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import load
from flight_server.protocol.errors import BadValue, TooLarge
from flight_server.protocol.query import Query

Store = Callable[..., Opened]
TABLES = [name for name, table in load_catalog().tables.items() if table.rows not in {"loaded", "stamps"}]
STAMPS = ("Science", "Template", "Difference")


def answers(opened: Opened) -> dict[str, str]:
    """Return the digest of each table, of the alerts with cutouts."""
    found = {}
    for name in TABLES:
        more = {"cutouts": STAMPS} if name == "ztf" else {}
        found[name] = digest(messages(opened, Query(table=name, all=True, **more)).table)
    return found


def texts(opened: Opened) -> dict[str, str]:
    """Return the rows of each table as text, with NaN as null: pandas makes one of the other."""
    rows = {name: messages(opened, Query(table=name, all=True)).table.to_pylist() for name in TABLES}
    return {name: str(found).replace("NaN", "null").replace("nan", "None") for name, found in rows.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    opened = open_embedded(tmp_path_factory.mktemp("plain"))
    assert opened.ingest(NEWEST).alerts == 9
    return answers(opened)


def uploaded(opened: Opened, alerts: pa.Table) -> None:
    upload = opened.archive.upload("ztf", alerts.schema)
    try:
        for batch in alerts.to_batches(max_chunksize=4):
            upload.add(batch)
        assert upload.commit().alerts == len(alerts)
    finally:
        upload.close()


@pytest.mark.deep(after=6)
@pytest.mark.parametrize("name", FORMS)
def test_alerts_of_every_form_give_the_same_answers(open_store: Store, tmp_path: Path, plain: dict[str, str], name: str) -> None:
    alerts = FORMS[name].table(alerts_of(NEWEST))
    opened = open_store()
    try:
        pq.write_table(alerts, tmp_path / "alerts.parquet", row_group_size=4)
    except pa.ArrowNotImplementedError:  # Parquet has no runs and views of lists
        uploaded(opened, alerts)
    else:
        assert not opened.ingest(tmp_path / "alerts.parquet").failures
    assert answers(opened) == plain


@pytest.mark.parametrize("name", ["as_view", "as_dictionary", "hidden_large"])
def test_uploads_of_every_form_give_the_same_answers(open_store: Store, plain: dict[str, str], name: str) -> None:
    opened = open_store()
    uploaded(opened, FORMS[name].table(alerts_of(NEWEST)))
    assert answers(opened) == plain


def test_what_polars_writes_gives_the_same_answers(open_store: Store, tmp_path: Path, plain: dict[str, str]) -> None:
    frame = pl.read_parquet(NEWEST)
    frame.write_parquet(tmp_path / "alerts.parquet")
    frame.write_ipc(tmp_path / "alerts.arrow")
    opened = open_store("ingested")
    assert not opened.ingest(tmp_path / "alerts.parquet").failures
    assert answers(opened) == plain
    opened = open_store("uploaded")
    with pa.ipc.open_file(tmp_path / "alerts.arrow") as file:
        uploaded(opened, file.read_all())
    assert answers(opened) == plain


def test_what_pandas_writes_gives_the_same_answers(open_store: Store, tmp_path: Path) -> None:
    # pandas cannot write a map with numbers, which it reads as pairs
    alerts = saved(with_fields(alerts_of(NEWEST), blazar_stats=None), tmp_path / "alerts.parquet")
    plain = open_store("plain")
    plain.ingest(alerts)
    pd.read_parquet(alerts).iloc[[*range(9)]].to_parquet(tmp_path / "pandas.parquet", index=True)
    opened = open_store("pandas")
    assert not opened.ingest(tmp_path / "pandas.parquet").failures
    assert texts(opened) == texts(plain)
    labels = set(pq.read_schema(tmp_path / "pandas.parquet").names) - set(pq.read_schema(alerts).names)
    assert labels == {"__index_level_0__"} <= opened.reports[-1].not_stored


WHEN = [1_717_200_000_000_000_000, None, 1_717_200_000_123_000_000]
TEXTS = ["2024-06-01 00:00:00.000000", None, "2024-06-01 00:00:00.123000"]
TIMES = {
    "ms": (pa.timestamp("ms"), ""),
    "us": (pa.timestamp("us"), ""),
    "ns": (pa.timestamp("ns"), ""),
    "ms in Paris": (pa.timestamp("ms", "Europe/Paris"), "Z"),
    "us in UTC": (pa.timestamp("us", "UTC"), "Z"),
    "ns in another zone": (pa.timestamp("ns", "+09:30"), "Z"),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_time_is_the_same_text_in_every_unit_and_zone(open_store: Store, tmp_path: Path, name: str) -> None:
    kind, zone = TIMES[name]
    values = pa.array(WHEN * 3, pa.timestamp("ns")).cast(pa.timestamp(kind.unit)).cast(pa.int64()).view(kind)
    file = saved(with_fields(alerts_of(NEWEST), processed=values), tmp_path / "a.parquet")
    opened = open_store()
    assert not opened.ingest(file).failures
    found = messages(opened, Query(table="ztf", all=True, columns=("d:processed",))).table["d:processed"].to_pylist()
    expected = [text and text + zone for text in TEXTS * 3]
    assert sorted(map(str, found)) == sorted(map(str, expected))


NUMBERS = {
    "decimal": (pa.array([None, "0.1", "12345.67"] * 3).cast(pa.decimal128(9, 2)), [None, 0.1, 12345.67]),
    "long decimal": (
        pa.array([None, "1.5", "12345678901234567890.25"] * 3).cast(pa.decimal128(38, 10)),
        [None, "1.5", "12345678901234567890.25"],
    ),
    "whole decimal": (
        pa.array([None, "-7", "123456789012345678"] * 3).cast(pa.decimal128(18, 0)),
        [None, -7, 123456789012345678],
    ),
    "half": (pa.array([None, 1.5, -0.25] * 3, pa.float32()).cast(pa.float16()), [None, 1.5, -0.25]),
    "duration": (pa.array([None, 1_500, -1] * 3, pa.duration("ms")), [None, "PT1.5S", "PT-0.001S"]),
    "date": (pa.array([None, 0, 86_400_000 * 366] * 3, pa.int64()).cast(pa.date64()), [None, "1970-01-01", "1971-01-02"]),
    "time": (pa.array([None, 1, 3_600] * 3, pa.time32("s")), [None, "00:00:01.000000", "01:00:00.000000"]),
    "flags": (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([None, 0, 3] * 3, pa.int8())), [None, False, True]),
    "names": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([None, bytes(16), b"\1" * 16] * 3, pa.binary(16))),
        [None, "00000000-0000-0000-0000-000000000000", "01010101-0101-0101-0101-010101010101"],
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_new_column_keeps_every_digit(open_store: Store, name: str) -> None:
    values, expected = NUMBERS[name]
    opened = open_store()
    uploaded(opened, with_fields(alerts_of(NEWEST), score=values))
    found = messages(opened, Query(table="ztf", all=True, columns=("d:score",))).table["d:score"].to_pylist()
    assert sorted(map(str, found)) == sorted(map(str, expected * 3))


def test_a_time_that_no_calendar_has_is_named(open_store: Store, tmp_path: Path) -> None:
    values = pa.array([0] * 8 + [2**62], pa.timestamp("us"))
    file = saved(with_fields(alerts_of(NEWEST), processed=values), tmp_path / "a.parquet")
    assert "d:processed, row 8" in open_store().ingest(file).failures[file]


def test_few_bytes_do_not_unfold_to_many(open_store: Store) -> None:
    alerts = alerts_of(NEWEST)
    same = pa.DictionaryArray.from_arrays(pa.array([0] * 9, pa.int8()), pa.array(["x" * (8 << 20)]))
    for name, values in (("text", same), ("struct", pa.StructArray.from_arrays([same], names=["a"]))):
        table = with_fields(alerts, **{name: values})
        upload = open_store().archive.upload("ztf", table.schema)
        with pytest.raises(TooLarge, match=f"batch 0: column {name}: its equal values unfold to more than 67108864 bytes"):
            upload.add(table.to_batches()[0])
        upload.close()
    rows = 1_000_001
    nulls = pa.record_batch({name: pa.nulls(rows) for name in ("objectId", "candid", "candidate")})
    upload = open_store().archive.upload("ztf", nulls.schema)
    with pytest.raises(TooLarge, match="batch 0 has 1000001 rows, more than 1000000: send smaller batches"):
        upload.add(nulls)
    upload.close()


def test_lists_and_maps_without_any_entry_are_taken(open_store: Store) -> None:
    empty = {
        "prv_candidates": pa.array([[], None, []] * 3, pa.list_(pa.null())),
        "mangrove": pa.array([[], None, []] * 3, pa.large_list(pa.null())),
        "blazar_stats": pa.array([[], None, []] * 3, pa.map_(pa.string(), pa.null())),
        "lc_features_g": pa.nulls(9),
    }
    opened, plain = open_store(), open_store("plain")
    uploaded(opened, with_fields(alerts_of(NEWEST), **empty))
    uploaded(plain, with_fields(alerts_of(NEWEST), **dict.fromkeys(empty)))
    assert answers(opened) == answers(plain)
    upload = opened.archive.upload("ztf", with_fields(alerts_of(NEWEST), mangrove=pa.array([[None]] * 9)).schema)
    with pytest.raises(BadValue, match="column mangrove: a key of a map is null"):
        upload.add(with_fields(alerts_of(NEWEST), mangrove=pa.array([[None]] * 9)).to_batches()[0])
    upload.close()


ENTRY = pa.struct([("key", pa.string()), ("value", pa.string())])
NO_MAPS = {
    "null key": (pa.array([[{"key": None, "value": "v"}]] * 9, pa.list_(ENTRY)), "a key of a map is null"),
    "one of a pair": (pa.array([[["a", "b"], ["a"]]] * 9), "not pairs of key and value"),
    "null pair": (pa.array([[["a", "b"], None]] * 9), "not pairs of key and value"),
}


@pytest.mark.parametrize(("values", "message"), NO_MAPS.values(), ids=NO_MAPS)
def test_lists_that_are_no_maps_are_refused_by_name(open_store: Store, tmp_path: Path, values: pa.Array, message: str) -> None:
    file = saved(with_fields(alerts_of(NEWEST), mangrove=values), tmp_path / "a.parquet")
    failure = open_store().ingest(file).failures[file]
    assert "mangrove" in failure
    assert message in failure


@pytest.mark.parametrize(
    "name", [name for name in FORMS if name.startswith(("as_large", "as_view", "as_dict", "as_runs", "mixed"))]
)
def test_loaded_rows_of_every_form_are_the_same(open_store: Store, tmp_path: Path, name: str) -> None:
    rows = pa.table({"objectId": ["ZTF1", "ZTF2", "ZTF2"], "internal_name": ["a", None, "c"], "comments": ["x", "y", "y"]})
    written = FORMS[name].table(rows)
    file = tmp_path / "rows.parquet"
    try:
        pq.write_table(written, file)
    except pa.ArrowNotImplementedError:
        pytest.skip("Parquet has no such type")
    opened = open_store()
    assert load(opened.store, load_catalog(), "ztf.metadata", [file]).written == 2
    found = messages(opened, Query(table="ztf.metadata", all=True)).table.to_pylist()
    assert [(row["i:objectId"], row["d:internal_name"], row["d:comments"]) for row in found] == [
        ("ZTF1", "a", "x"),
        ("ZTF2", "c", "y"),
    ]
