"""Values that cannot be true are refused at every door, and a file that the caller lost is not blamed on the store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT, TDE
from archives import Opened
from changed_alerts import alerts_of, saved, with_candidates, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import Upload, load
from flight_server.ingest import ingest as run_ingest
from flight_server.ingest.files import Found
from flight_server.protocol.errors import BackendLost, BadValue

ABSURD = [-1e308, 1e308, 0.0, 2447892.4, 2488069.6, float("inf"), float("-inf")]


def with_time(jd: float) -> pa.Table:
    alerts = alerts_of(TDE)
    times = alerts["candidate"].combine_chunks().field("jd").to_pylist()
    return with_candidates(alerts, jd=pa.array([*times[:5], jd, *times[6:]]))


@pytest.mark.parametrize("jd", ABSURD)
def test_a_file_with_an_absurd_time_is_refused(open_store: Callable[..., Opened], tmp_path: Path, jd: float) -> None:
    opened = open_store()
    file = saved(with_time(jd), tmp_path / "odd.parquet")
    report = opened.ingest(file, NIGHT)
    assert report.failures == {file: f"column i:jd, row 5: {jd} is outside of 2447892.5 to 2488069.5"}
    assert report.files == 1


def test_a_point_of_a_history_with_an_absurd_time_is_refused(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(TDE).slice(0, 1)
    points = alerts["prv_candidates"][0].as_py()
    points[2]["jd"] = -5.0
    file = saved(with_fields(alerts, prv_candidates=pa.array([points], alerts["prv_candidates"].type)), tmp_path / "odd.parquet")
    assert "points of histories: column i:jd, row 2: -5.0 is outside" in open_store().ingest(file).failures[file]


@pytest.mark.parametrize("jd", ABSURD)
def test_an_upload_with_an_absurd_time_is_refused(open_store: Callable[..., Opened], jd: float) -> None:
    opened = open_store()
    alerts = with_time(jd)
    upload = Upload(opened.store, load_catalog(), "ztf", alerts.schema)
    upload.add(alerts.combine_chunks().to_batches()[0])
    with closing(upload), pytest.raises(BadValue, match=r"batch 0: column i:jd, row 5: \S+ is outside of") as caught:
        upload.commit()
    assert caught.value.field == "i:jd"


@pytest.mark.parametrize("jd", ABSURD)
def test_a_load_with_an_absurd_time_is_refused(open_store: Callable[..., Opened], tmp_path: Path, jd: float) -> None:
    file = tmp_path / "observations.parquet"
    pq.write_table(pa.table({"ssoCandId": ["a", "b"], "jd": [2459000.5, jd]}), file)
    with pytest.raises(BadValue, match="column d:jd, row 1: "):
        load(open_store().store, load_catalog(), "ztf.sso_cand", [file])


def test_a_file_that_goes_away_is_named_and_not_the_store(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    first, second = (saved(alerts_of(file), tmp_path / f"{number}.parquet") for number, file in enumerate((NIGHT, TDE)))

    def lose_the_second(found: Found, _: str) -> None:
        if found.path == first:
            second.unlink()

    report = run_ingest(opened.store, load_catalog(), [first, second], lose_the_second)
    assert set(report.failures) == {second}
    assert "No such file or directory" in report.failures[second]
    assert report.alerts == 67


def test_an_upload_whose_buffer_goes_away_says_so(
    open_store: Callable[..., Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alerts = alerts_of(TDE)
    upload = Upload(open_store().store, load_catalog(), "ztf", alerts.schema)
    upload.add(alerts.combine_chunks().to_batches()[0])
    for file in tmp_path.glob("alertflight-upload-*/*"):
        file.unlink()
    with closing(upload), pytest.raises(BackendLost) as caught:
        upload.commit()
    assert caught.value.message.startswith("the upload could not be buffered on disk: ")
    assert str(tmp_path) not in caught.value.message
