"""Simulated alerts work like real ones, and are reproducible."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NEWEST, NIGHT, alert_files
from archives import Opened
from astropy.io import fits
from processes import COMMAND
from store_faults import contents

from flight_server.simulate import simulate

Store = Callable[..., Opened]
KINDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
NAMED = {"ZTF21abfmbix": 33, "ZTF18aaaaaaa": 1}
ALERTS = 40 * 5 + 34
JD_1970 = 2_440_587.5


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    assert simulate(out, objects=40, nights=3, seed=1, alerts_each=5, named=NAMED) == ALERTS
    return out


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stamped")
    simulate(out, objects=10, nights=2, seed=2, alerts_each=4, stamps=True)
    return out


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(file).read() for file in alert_files(folder)])


def candidate(table: pa.Table, name: str) -> Any:
    return table["candidate"].combine_chunks().field(name).to_numpy(zero_copy_only=False)


def written(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in alert_files(folder)}


@pytest.mark.deep(after=1)
@pytest.mark.parametrize("kind", ["parquet", "avro", "stamps"])
def test_the_same_seed_gives_the_same_bytes_and_another_others(kind: str, tmp_path: Path) -> None:
    words = {"parquet": [], "avro": ["--format", "avro"], "stamps": ["--stamps"]}[kind]
    for out, seed in (("one", "5"), ("two", "5"), ("other", "6")):
        command = [
            COMMAND,
            "simulate",
            "--objects",
            "8",
            "--alerts",
            "3",
            "--nights",
            "2",
            "--seed",
            seed,
            "--out",
            tmp_path / out,
        ]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "24 alerts of 8 objects" in done.stdout
    assert len(written(tmp_path / "one")) == 2
    assert written(tmp_path / "one") == written(tmp_path / "two")
    assert not set(written(tmp_path / "one").values()) & set(written(tmp_path / "other").values())


def test_the_counts_of_objects_and_named_ones(plain: Path) -> None:
    counts = Counter(read(plain)["objectId"].to_pylist())
    assert sum(counts.values()) == ALERTS
    assert {name: counts.pop(name) for name in NAMED} == NAMED
    assert len(counts) == 40
    assert set(counts.values()) == {5}
    assert all(re.fullmatch(r"ZTF\d\d[a-z]{7}", name) for name in counts)


def test_many_names_are_all_different(tmp_path: Path) -> None:
    simulate(tmp_path, objects=30_000, nights=1, seed=1, alerts_each=1)
    names = pa.concat_tables([pq.read_table(file, columns=["objectId"], partitioning=None) for file in alert_files(tmp_path)])
    assert len(names["objectId"].unique()) == len(names) == 30_000


def test_row_keys_and_alert_ids_are_unique(plain: Path) -> None:
    table = read(plain)
    keys = list(zip(table["objectId"].to_pylist(), candidate(table, "jd").tolist(), strict=True))
    assert len(set(keys)) == ALERTS
    assert len(set(table["candid"].to_pylist())) == ALERTS
    assert table["candid"].to_pylist() == candidate(table, "candid").tolist()


def test_a_folder_for_each_night_and_times_within_it(plain: Path) -> None:
    nights = sorted({file.parent for file in alert_files(plain)})
    assert len(nights) == 3
    for folder in nights:
        year, month, day = (
            int(part.partition("=")[2])
            for part in folder.relative_to(plain).parts
            if part.startswith(("year=", "month=", "day="))
        )
        assert folder.relative_to(plain) == Path(f"year={year}", f"month={month:02d}", f"day={day:02d}")
        first = datetime(year, month, day, tzinfo=UTC).timestamp() / 86_400 + JD_1970
        jd = candidate(read(folder), "jd")
        assert ((jd >= first) & (jd < first + 1)).all()


def test_objects_stay_in_their_place_and_at_their_brightness(plain: Path) -> None:
    table = read(plain)
    names = np.array(table["objectId"].to_pylist())
    ra, dec, magnitude = (candidate(table, name) for name in ("ra", "dec", "magpsf"))
    here = names == "ZTF21abfmbix"
    assert np.ptp(dec[here]) < 1e-3
    assert np.ptp((ra[here] - ra[here][0] + 180) % 360) < 1e-2
    assert np.ptp(magnitude[here]) < 4
    assert ((ra >= 0) & (ra < 360)).all()
    assert (abs(dec) <= 90).all()
    assert np.ptp(dec) > 30, "different objects stand in different places"
    assert len(set(np.round(ra, 2))) > 30


def test_files_are_laid_out_as_the_broker_writes_them(plain: Path, stamped: Path) -> None:
    template = pq.ParquetFile(NEWEST).schema_arrow.remove_metadata()
    for file in (*alert_files(plain), *alert_files(stamped)):
        opened = pq.ParquetFile(file)
        assert file.name.startswith("part-")
        assert file.name.endswith(".snappy.parquet")
        assert opened.schema_arrow.remove_metadata().equals(template, check_metadata=False)
        assert opened.metadata.num_row_groups == 1
        group = opened.metadata.row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
        assert {chunk.compression for chunk in chunks} == {"SNAPPY"}
        assert all(chunk.has_offset_index for chunk in chunks)
        assert any(chunk.has_column_index for chunk in chunks)


def test_another_template_can_be_given(tmp_path: Path) -> None:
    simulate(tmp_path, objects=5, nights=1, seed=1, alerts_each=2, like=NIGHT)
    (file,) = alert_files(tmp_path)
    assert pq.ParquetFile(file).schema_arrow.equals(pq.ParquetFile(NIGHT).schema_arrow, check_metadata=False)


def test_the_ordinary_ingest_takes_all_of_it(plain: Path, open_store: Store) -> None:
    opened = open_store()
    report = opened.ingest(plain)
    assert not report.failures
    assert not report.skipped
    assert report.alerts == report.rows["ztf"] == ALERTS
    found = contents(opened.settings.folder)
    assert found["ztf"][0] == ALERTS
    # each point of a history that is a limit, or a detection of bad quality, has a row of its own
    assert found["ztf.upper"][0] + found["ztf.uppervalid"][0] > 0
    again = opened.ingest(plain)
    assert not any(again.rows.values()), "the same alerts again are nothing new"


@pytest.mark.deep
def test_avro_gives_the_same_rows_as_parquet(tmp_path: Path) -> None:
    for kind in ("parquet", "avro"):
        command = [COMMAND, "simulate", "--objects", "12", "--alerts", "4", "--nights", "2", "--stamps", "--format", kind]
        subprocess.run([*command, "--out", tmp_path / kind], check=True, capture_output=True)
        done = subprocess.run(
            [COMMAND, "ingest", tmp_path / kind, "--data", tmp_path / f"{kind}-store"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    avro, parquet = contents(tmp_path / "avro-store"), contents(tmp_path / "parquet-store")
    assert parquet["ztf"][0] == parquet["ztf.cutouts"][0] == 48
    assert avro == parquet


def test_avro_files_are_read_by_others(tmp_path: Path) -> None:
    simulate(tmp_path, objects=5, nights=1, seed=1, alerts_each=2, avro=True)
    (file,) = alert_files(tmp_path)
    with file.open("rb") as handle:
        alerts = list(fastavro.reader(handle))
    assert len(alerts) == 10
    assert set(alerts[0]) == set(pq.ParquetFile(NEWEST).schema_arrow.names)


def stamps(table: pa.Table, kind: str) -> Iterator[bytes]:
    return (stamp["stampData"] for stamp in table[kind].to_pylist())


def shape(stamp: bytes) -> tuple[int, ...]:
    with fits.open(io.BytesIO(gzip.decompress(stamp)), ignore_missing_simple=True) as opened:
        return tuple(opened[0].data.shape)


def test_stamps_are_gzipped_fits_of_the_templates_shape_and_differ(stamped: Path) -> None:
    table, template = read(stamped), pq.ParquetFile(NEWEST).read()
    for kind in KINDS:
        shapes = {shape(stamp) for stamp in stamps(template, kind)}
        made = list(stamps(table, kind))
        assert len(made) == 40
        assert {shape(stamp) for stamp in made} <= shapes
        assert len(set(made)) > 10
        assert any(
            not np.array_equal(
                fits.getdata(io.BytesIO(gzip.decompress(made[0])), ignore_missing_simple=True),
                fits.getdata(io.BytesIO(gzip.decompress(other)), ignore_missing_simple=True),
                equal_nan=True,
            )
            for other in made[1:]
        )


def test_stamps_of_simulated_alerts_come_back_byte_for_byte(stamped: Path, open_store: Store) -> None:
    from flight_server.protocol.callers import Caller
    from flight_server.protocol.query import Query

    opened = open_store()
    opened.ingest(stamped)
    answer = opened.archive.answer(Query(table="ztf", all=True, columns=("i:candid",), cutouts=("Science",)), Caller())
    found = pa.Table.from_batches([message.batch for message in answer.messages])
    table = read(stamped)
    expected = dict(zip(table["candid"].to_pylist(), stamps(table, "cutoutScience"), strict=True))
    assert {row["i:candid"]: row["b:cutoutScience_stampData"] for row in found.to_pylist()} == expected


def test_without_stamps_there_are_none(plain: Path) -> None:
    assert all(read(plain)[kind].null_count == ALERTS for kind in KINDS)


@pytest.mark.parametrize("text", ["ZTF21abfmbix", "ZTF21abfmbix:", ":3", "ZTF21abfmbix:0", "ZTF21abfmbix:-1", "ZTF21abfmbix:x"])
def test_a_name_without_a_count_is_refused(text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "simulate", "--objects", "1", "--name", text, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "NAME:ALERTS" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_named_object_that_also_has_a_simulated_name_keeps_its_count(tmp_path: Path) -> None:
    """`ZTF22aaaaaaa` is the first name that the generator gives by itself."""
    simulate(tmp_path, objects=3, nights=1, seed=1, alerts_each=4, named={"ZTF22aaaaaaa": 7})
    counts = Counter(read(tmp_path)["objectId"].to_pylist())
    assert counts["ZTF22aaaaaaa"] == 7
    assert len(counts) == 4
