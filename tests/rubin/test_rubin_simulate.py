"""Simulated alerts of Rubin are ingested like real ones, and are as large."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from alert_data import RUBIN, alert_files
from archives import digest, open_embedded
from rubin_archives import MAIN, asking, whole

from flight_server.simulate import simulate

NAMED = {"170028528328769656": 30}
ALERTS = 20 * 3 + 30


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated")
    assert simulate(out, survey="rubin", objects=20, alerts_each=3, nights=4, seed=3, named=NAMED, stamps=True) == ALERTS
    return out


def test_each_alert_is_a_source_with_its_object_and_cutouts(simulated: Path, tmp_path: Path) -> None:
    archive = open_embedded(tmp_path)
    report = archive.ingest(simulated)
    assert not report.failures
    assert (report.alerts, report.unplaced) == (ALERTS, [])
    counts = {MAIN: ALERTS, "rubin.cutouts": ALERTS, "rubin.diaObject": 21}
    assert {name: report.rows[name] for name in counts} == counts
    ask = asking(archive)
    curve = ask(ids=list(NAMED), columns=["r:midpointMjdTai", "r:ra", "r:dec", "r:band", "r:psfFlux"], cutouts=["Template"])
    assert (len(curve.table), curve.record["missing_cutouts"]) == (30, 0)
    times = curve.table["r:midpointMjdTai"].to_pylist()
    assert times == sorted(set(times))
    assert pc.max(curve.table["r:ra"]).as_py() - pc.min(curve.table["r:ra"]).as_py() < 0.01
    assert set(curve.table["r:band"].to_pylist()) <= set("ugrizy")
    place = ask(table="rubin.diaObject", ids=list(NAMED)).table.to_pylist()[0]
    cone = {"ra": place["r:ra"], "dec": place["r:dec"], "radius": 10}
    assert ask(cone=cone, columns=["r:diaObjectId"]).record["objects"] == 1
    archive.store.close()


def test_packets_are_as_large_as_real_ones(simulated: Path) -> None:
    real = pq.read_table(RUBIN)
    real = real.filter(pc.greater(pc.struct_field(real["diaSource"].combine_chunks(), "diaObjectId"), 0))
    made = pa.concat_tables(pq.read_table(file) for file in alert_files(simulated))
    for name in ("prvDiaSources", "prvDiaForcedSources"):
        lengths = set(pc.list_value_length(real[name]).to_pylist())
        assert set(pc.list_value_length(made[name]).to_pylist()) <= lengths
    assert 0.3 < made.nbytes / len(made) / (real.nbytes / len(real)) < 3


def test_histories_can_be_left_out(tmp_path: Path) -> None:
    simulate(tmp_path / "alerts", survey="rubin", objects=2, alerts_each=2, nights=1, seed=5, histories=False)
    archive = open_embedded(tmp_path / "store")
    assert archive.ingest(tmp_path / "alerts", history=True).rows[MAIN] == 4
    assert len(whole(archive, "rubin.fp")) == 0
    archive.store.close()


def test_avro_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    archives = []
    for number, avro in enumerate((False, True)):
        folder = tmp_path / f"alerts{number}"
        simulate(folder, survey="rubin", objects=4, alerts_each=2, nights=2, seed=5, avro=avro)
        archives.append(open_embedded(tmp_path / f"store{number}"))
        assert not archives[-1].ingest(folder, history=True).failures
    for table in (MAIN, "rubin.diaObject", "rubin.fp", "rubin.pixel1024"):
        first, second = (whole(archive, table) for archive in archives)
        assert len(first) > 0
        assert digest(first) == digest(second), table
    for archive in archives:
        archive.store.close()
