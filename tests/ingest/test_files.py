"""Ingest of files that are unusual, broken, or newer than the table."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import MANY_AVRO, NEWEST, NIGHT, SAMPLES, TDE
from archives import Opened
from changed_alerts import with_candidates

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BackendLost, BadValue
from flight_server.protocol.query import Query

Store = Callable[..., Opened]


def rows(opened: Opened, table: str = "ztf", **fields: Any) -> pa.Table:
    answer = opened.archive.answer(Query(table=table, all=True, **fields), Caller())
    return pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema)


def changed(source: Path, target: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(change(pq.ParquetFile(source).read()), target)
    return target


@pytest.mark.both_stores
def test_a_value_that_does_not_fit_rejects_its_file_and_only_that(open_store: Store, tmp_path: Path) -> None:
    fids = [1] * 21
    fids[13] = 2**40
    bad = changed(TDE, tmp_path / "bad.parquet", lambda t: with_candidates(t, fid=pa.array(fids, pa.int64())))
    opened = open_store()
    report = opened.ingest(bad, NEWEST)
    assert list(report.failures) == [bad]
    assert "i:fid" in report.failures[bad]
    assert "row 13" in report.failures[bad]
    assert str(2**40) in report.failures[bad]
    assert len(rows(opened)) == report.alerts == 9
    assert not set(rows(opened, "ztf.upper")["i:objectId"].to_pylist()) & {"ZTF20abfcszi"}


def test_float64_is_rounded_to_the_nearest_float32(open_store: Store, tmp_path: Path) -> None:
    values = [18.4 + n / 7 for n in range(21)]
    file = changed(TDE, tmp_path / "wide.parquet", lambda t: with_candidates(t, magpsf=pa.array(values)))
    opened = open_store()
    opened.ingest(file)
    column = rows(opened, columns=("i:magpsf",))["i:magpsf"]
    assert column.type == pa.float32()
    assert sorted(column.to_pylist()) == sorted(pa.array(values).cast(pa.float32(), safe=False).to_pylist())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "neither"),
        (b"PAR1 and then nonsense", "broken"),
        (b"Obj\x01 and then nonsense", "broken"),
        (b"just text", "neither"),
        (TDE.read_bytes()[:100_000], "broken"),
        (MANY_AVRO.read_bytes()[:200_000], "broken"),
    ],
)
def test_a_broken_file_is_named_with_the_reason(open_store: Store, tmp_path: Path, content: bytes, reason: str) -> None:
    bad = tmp_path / "in" / "bad.parquet"
    bad.parent.mkdir()
    bad.write_bytes(content)
    opened = open_store()
    for path in (bad, bad.parent):
        report = opened.ingest(path, NEWEST)
        assert list(report.failures) == [bad]
        assert reason in report.failures[bad]
    assert len(rows(opened)) == 9


def test_files_are_told_apart_by_content_and_folders_searched(open_store: Store, tmp_path: Path) -> None:
    night = tmp_path / "year=2025" / "month=06" / "day=14"
    night.mkdir(parents=True)
    (night / "part-0.parquet").write_bytes(MANY_AVRO.read_bytes())
    (night / "no-ending").write_bytes(NEWEST.read_bytes())
    (night / "_SUCCESS").write_bytes(b"")
    (night / ".part-0.parquet.crc").write_bytes(b"crc")
    (night / "notes.txt").write_text("not alerts")
    opened = open_store()
    report = opened.ingest(tmp_path / "year=2025")
    assert report.files == 2
    assert report.alerts == 20
    assert report.skipped == [night / "notes.txt"]
    assert not report.failures


def test_a_file_of_another_survey_is_refused(open_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "other.parquet"
    pq.write_table(pa.table({"sourceId": [1], "source": [{"ra": 1.0}]}), file)
    report = open_store().ingest(file)
    assert "known survey" in report.failures[file]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_avro_of_every_codec(open_store: Store, tmp_path: Path, codec: str) -> None:
    with MANY_AVRO.open("rb") as handle:
        reader = fastavro.reader(handle)
        alerts, schema = list(reader), json.loads(json.dumps(reader.writer_schema))
    packed = io.BytesIO()
    fastavro.writer(packed, fastavro.parse_schema(schema), alerts, codec=codec)
    file = tmp_path / "alerts.avro"
    file.write_bytes(packed.getvalue())
    opened, plain = open_store("packed"), open_store("plain")
    assert opened.ingest(file).alerts == 11
    plain.ingest(MANY_AVRO)
    assert rows(opened).equals(rows(plain))


@pytest.mark.both_stores
def test_a_later_file_with_more_columns_widens_the_table(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    before = rows(opened)
    opened.ingest(NEWEST)
    after = rows(opened)
    assert "d:gaiaClass" not in before.schema.names
    assert "d:gaiaClass" in after.schema.names
    held = after.filter(pa.compute.equal(after["i:objectId"], "ZTF20abfcszi"))
    assert held.select(before.schema.names).equals(before)
    assert held["d:gaiaClass"].null_count == len(before)


@pytest.mark.both_stores
def test_a_null_never_overwrites_and_the_later_write_wins(open_store: Store, tmp_path: Path) -> None:
    def with_class(values: list[str | None]) -> Callable[[pa.Table], pa.Table]:
        return lambda t: t.set_column(t.column_names.index("cdsxmatch"), "cdsxmatch", pa.array(values))

    opened = open_store()
    opened.ingest(TDE)
    before = rows(opened)
    opened.ingest(changed(TDE, tmp_path / "nulls.parquet", with_class([None] * 21)))
    assert rows(opened).equals(before)
    opened.ingest(changed(TDE, tmp_path / "new.parquet", with_class(["QSO"] * 20 + [None])))
    after = rows(opened)
    assert sorted(after["d:cdsxmatch"].to_pylist()).count("QSO") == 20
    assert after.drop_columns(["d:cdsxmatch"]).equals(before.drop_columns(["d:cdsxmatch"]))


@pytest.mark.parametrize("name", ["", None, "ZTF_20", "a\0b", "x" * 2000])
def test_an_object_id_that_no_row_key_can_hold_is_refused(open_store: Store, tmp_path: Path, name: str | None) -> None:
    names = ["ZTF20abfcszi"] * 20 + [name]
    file = changed(
        TDE, tmp_path / "ids.parquet", lambda t: t.set_column(t.column_names.index("objectId"), "objectId", pa.array(names))
    )
    report = open_store().ingest(file)
    assert "i:objectId, row 20" in report.failures[file]


@pytest.mark.both_stores
def test_alerts_without_stamps_go_in_and_stamps_can_follow(open_store: Store, tmp_path: Path) -> None:
    bare = changed(
        TDE, tmp_path / "bare.parquet", lambda t: t.drop_columns(["cutoutScience", "cutoutTemplate", "cutoutDifference"])
    )
    opened = open_store()
    opened.ingest(bare)
    assert rows(opened, cutouts=("Science",))["b:cutoutScience_stampData"].null_count == 21
    opened.ingest(TDE)
    assert rows(opened, cutouts=("Science",))["b:cutoutScience_stampData"].null_count == 0
    opened.ingest(bare)
    assert rows(opened, cutouts=("Science",))["b:cutoutScience_stampData"].null_count == 0


def test_nothing_is_visible_when_an_ingest_fails_midway(open_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from flight_server.storage.embedded.manifest import Manifest

    opened = open_store()
    opened.ingest(TDE)
    before = rows(opened)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched, pytest.raises(BackendLost, match=r"no space left.*it is unchanged"):
        patched.setattr(Manifest, "commit", fail)
        opened.ingest(NIGHT)
    assert rows(opened).equals(before)
    assert rows(open_store()).equals(before)
    opened.ingest(NIGHT)
    assert len(rows(opened)) == 88
    files = list(opened.settings.folder.rglob("*.arrow"))
    assert len(files) == 4 + 7, "what the failed ingest left behind is gone"


def test_the_command_reports_and_exits_with_one(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from flight_server.cli.app import main

    bad = tmp_path / "bad.avro"
    bad.write_bytes(b"Obj\x01")
    data = ["--data", str(tmp_path / "store")]
    done = CliRunner().invoke(main, ["ingest", str(bad), str(SAMPLES), str(tmp_path / "absent.avro"), *data])
    assert done.exit_code == 1
    assert "108 alerts of 4 files" in done.output
    assert f"{bad}: refused" in done.output
    assert "absent.avro: refused: the file cannot be read: No such file" in done.output
    again = CliRunner().invoke(main, ["ingest", str(SAMPLES), *data])
    assert again.exit_code == 0
    assert "nothing new" in again.output


def test_a_data_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    from flight_server.storage.embedded import EmbeddedStore

    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadValue, match="cannot be used"):
        EmbeddedStore(file / "store")
