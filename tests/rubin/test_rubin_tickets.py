"""Tickets on the tables of Rubin: IDs, times in TAI, tags, designations, forced photometry, places."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from alert_data import RUBIN
from archives import Opened
from astropy.time import Time
from rubin_archives import MAIN, Ask, asking

from flight_server.derive.designations import packed_designation
from flight_server.planning.ids import typed_ids
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.times import to_table_time

BIG = 170028528328769656  # above 2**53, where floating-point numbers round
MOVING = "K06T06K"
BOTH = pytest.mark.both_stores


@BOTH
def test_ids_as_numbers_digits_and_in_the_form_of_the_survey(asked: Ask) -> None:
    for form in (BIG, str(BIG), f"LSST-AP-DO-{BIG}"):
        answer = asked(ids=[form])
        assert answer.record["missing"] == 0
        assert answer.table["r:diaObjectId"].to_pylist() == [BIG]
    answer = asked(ids=[BIG, str(BIG), BIG + 1, 0, -1])
    assert (answer.record["objects"], answer.missing) == (1, [BIG + 1, 0, -1])


def test_ids_of_another_kind_are_refused_by_name(asked: Ask) -> None:
    for wrong in ("ZTF20abfcszi", f"LSST-AP-DS-{BIG}", "1.7e17", "", str(2**63)):
        with pytest.raises(BadValue, match=r"integers, or LSST-AP-DO- and one") if wrong else pytest.raises(BadValue) as caught:
            asked(ids=[wrong])
        assert caught.value.field == "ids" if not wrong else caught.value.value == wrong
    assert typed_ids(["7"], pa.int64()) == [7]


def test_ids_stay_exact_on_the_way_out(asked: Ask) -> None:
    table = asked(ids=[BIG], columns=["r:diaObjectId", "r:diaSourceId", "r:ssObjectId"]).table
    (source,) = table["r:diaSourceId"].to_pylist()
    assert table.to_pandas()["r:diaSourceId"].tolist() == [source]
    assert pl.from_arrow(table)["r:diaObjectId"].to_list() == [BIG]
    assert json.loads(json.dumps(table.to_pylist()))[0]["r:diaObjectId"] == BIG


@BOTH
def test_a_ticket_by_source_reads_its_cutouts(asked: Ask, alerts: list[dict[str, Any]]) -> None:
    sources = [alert["diaSource"]["diaSourceId"] for alert in alerts]
    answer = asked(table="rubin.cutouts", ids=[f"LSST-AP-DS-{sources[0]}", *sources[1:]], cutouts=["Science", "Difference"])
    assert answer.record["missing_cutouts"] == 0
    by_source = {alert["diaSource"]["diaSourceId"]: alert for alert in alerts}
    assert answer.table["r:diaSourceId"].to_pylist() == sources
    for row in answer.table.to_pylist():
        for kind in ("Science", "Difference"):
            assert row[f"b:cutout{kind}"] == by_source[row["r:diaSourceId"]][f"cutout{kind}"]


@BOTH
def test_times_are_tai_and_dates_are_utc(asked: Ask, alerts: list[dict[str, Any]]) -> None:
    times = sorted(alert["diaSource"]["midpointMjdTai"] for alert in alerts if alert["diaSource"]["diaObjectId"])
    for time in times:
        text = Time(time, format="mjd", scale="tai").utc.isot
        for bound in (time, time + 2_400_000.5, text):
            kept = asked(all=True, start=bound, columns=["r:midpointMjdTai"]).table["r:midpointMjdTai"].to_pylist()
            near = [one for one in times if one >= time - 1e-8]
            assert len(kept) in {len(near), len(near) - times.count(time)}
            left = asked(all=True, stop=bound, columns=["r:midpointMjdTai"]).table["r:midpointMjdTai"].to_pylist()
            assert len(kept) + len(left) == len(times)
    dated = asked(all=True, columns=["r:midpointMjdTai", "v:date"]).table.to_pylist()
    for row in dated:
        assert row["v:date"] == Time(row["r:midpointMjdTai"], format="mjd", scale="tai").utc.iso


@pytest.mark.parametrize("text", ["2016-12-31T23:59:59Z", "2017-01-01", "2026-03-10T03:28:28.555", "1999-07-01T12:00:00+02:00"])
def test_dates_become_tai_as_astropy_has_it(text: str) -> None:
    utc = Time(text.replace("Z", "").partition("+")[0], scale="utc")
    wanted = (utc.tai.mjd - 2 / 24) if "+02" in text else utc.tai.mjd
    assert to_table_time("start", text, "mjd", "tai") == pytest.approx(wanted, abs=1e-11)
    assert to_table_time("start", text, "jd", "tai") == pytest.approx(wanted + 2_400_000.5, abs=1e-9)


@BOTH
def test_designations_packed_and_as_they_are_written(asked: Ask) -> None:
    for form in (MOVING, "2006 TK6", "2006TK6", "2006 tk6"):
        for table in ("rubin.diaSource_sso", "rubin.mpc_orbits"):
            answer = asked(table=table, sso=form, columns=["r:packed_primary_provisional_designation"])
            assert answer.table.column(0).to_pylist() == [MOVING]
    assert asked(table="rubin.diaSource_sso", sso="2006 TK7").record["rows"] == 0
    with pytest.raises(BadValue, match="provisional designation such as 2006 TK6"):
        asked(table="rubin.diaSource_sso", sso="Ceres")


def test_packed_designations() -> None:
    # examples of the Minor Planet Center
    known = {"1995 XA": "J95X00A", "1995 XL1": "J95X01L", "1995 FB13": "J95F13B", "1998 SQ108": "J98SA8Q"}
    known |= {"1998 SV127": "J98SC7V", "1998 SS162": "J98SG2S", "2099 AZ193": "K99AJ3Z", "2008 AA360": "K08Aa0A"}
    known |= {"2007 TA418": "K07Tf8A", "2040 P-L": "PLS2040", "3138 T-1": "T1S3138", "1010 T-2": "T2S1010", "4101 T-3": "T3S4101"}
    assert {text: packed_designation(text) for text in known} == known
    assert {packed: packed_designation(packed) for packed in known.values()} == {packed: packed for packed in known.values()}
    for wrong in ("", "2006 IK6", "1706 TK6", "TK6", "2006 TK6 x", "K06T06"):
        with pytest.raises(BadValue):
            packed_designation(wrong)


@BOTH
def test_a_tag_selects_its_newest_alerts(asked: Ask) -> None:
    everything = asked(tag="extragalactic_new_candidate", columns=["r:midpointMjdTai", "f:xm_gaiadr3_Plx", "r:reliability"])
    times = everything.table["r:midpointMjdTai"].to_pylist()
    assert times == sorted(times, reverse=True)
    direct = asked(table="rubin.tag_extragalactic_new_candidate", all=True, columns=["r:midpointMjdTai"])
    assert direct.table["r:midpointMjdTai"].to_pylist() == times
    assert len(asked(tag="extragalactic_new_candidate", limit=1).table) == min(1, len(times))
    assert all(value >= 0.5 for value in everything.table["r:reliability"].to_pylist())


def test_tags_that_cannot_be_asked_for(asked: Ask) -> None:
    with pytest.raises(NotSupported, match="livestream only"):
        asked(tag="uniform_sample")
    with pytest.raises(BadValue, match="did you mean in_tns"):
        asked(tag="in_tn")
    with pytest.raises(NotSupported, match=r"tables with tag: rubin\.diaSource_static"):
        asked(table="ztf", tag="in_tns")


@BOTH
def test_forced_photometry_comes_in_order_of_time(open_store: Callable[..., Opened], alerts: list[dict[str, Any]]) -> None:
    archive = open_store("forced")
    assert not archive.ingest(RUBIN, history=True).failures
    asked = asking(archive)
    columns = ["r:midpointMjdTai", "r:psfFlux", "r:tag", "r:diaForcedSourceId", "r:diaSourceId"]
    (alert,) = (one for one in alerts if one["diaSource"]["diaObjectId"] == BIG)
    answer = asked(ids=[BIG], forced=True, columns=columns[:3]).table
    times = answer["r:midpointMjdTai"].to_pylist()
    assert times == sorted(times)
    tags = answer["r:tag"].to_pylist()
    assert tags.count("source") == 1 + len(alert["prvDiaSources"])
    assert tags.count("forced") == len(alert["prvDiaForcedSources"])
    forced = {one["midpointMjdTai"]: one["psfFlux"] for one in alert["prvDiaForcedSources"]}
    for row in answer.to_pylist():
        if row["r:tag"] == "forced":
            assert row["r:psfFlux"] == float(np.float32(forced[row["r:midpointMjdTai"]]))
    nested = asked(ids=[BIG], forced=True, layout="nested", columns=columns[:3]).table
    assert len(nested["lightcurve"][0]) == len(answer)
    stamps = asked(ids=[BIG], forced=True, columns=["r:tag"], cutouts=["Template"])
    assert stamps.table["b:cutoutTemplate"].null_count == len(answer) - 1
    with pytest.raises(NotSupported, match="ztf has no forced photometry"):
        asked(table="ztf", ids=["a"], forced=True)


@BOTH
def test_a_cone_finds_objects_by_the_place_of_their_newest_source(asked: Ask) -> None:
    places = asked(table="rubin.pixel1024", all=True, columns=["r:diaObjectId", "r:ra", "r:dec"]).table.to_pylist()
    for place in places:
        cone = {"ra": place["r:ra"], "dec": place["r:dec"], "radius": 2.0}
        answer = asked(cone=cone, columns=["r:diaObjectId", "v:separation_degree"])
        assert answer.table["r:diaObjectId"].to_pylist() == [place["r:diaObjectId"]]
        assert answer.table["v:separation_degree"][0].as_py() < 2 / 3600
        assert asked(table="rubin.diaObject", cone=cone).table["r:diaObjectId"].to_pylist() == [place["r:diaObjectId"]]


def test_magnitudes_are_those_of_the_fluxes(asked: Ask) -> None:
    columns = ["r:psfFlux", "r:psfFluxErr", "v:mag", "v:sigma(mag)", "r:scienceFlux", "v:mag_science"]
    for row in asked(all=True, columns=columns).table.to_pylist():
        for flux, magnitude in (("r:psfFlux", "v:mag"), ("r:scienceFlux", "v:mag_science")):
            if row[flux] > 0:
                assert row[magnitude] == pytest.approx(31.4 - 2.5 * np.log10(row[flux]), abs=1e-6)
            else:
                assert np.isnan(row[magnitude])
        assert row["r:psfFlux"] <= 0 or row["v:sigma(mag)"] == pytest.approx(
            1.0857362 * row["r:psfFluxErr"] / row["r:psfFlux"], rel=1e-4
        )


def test_the_table_is_named_that_has_what_is_asked_for(asked: Ask) -> None:
    with pytest.raises(NotSupported, match="tables with sso: "):
        asked(table=MAIN, sso="2006 TK6")
