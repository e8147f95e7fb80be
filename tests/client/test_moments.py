"""Times in Python and in the shell: the same rows as for the same time in a ticket."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask
from astropy.time import Time, TimeDelta
from click.testing import CliRunner

import flight_client as af
from flight_client.moments import moment
from flight_server.cli.app import main
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BadValue
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.protocol.times import to_table_time

NAME = "ZTF20abfcszi"
MOMENT = datetime(2020, 8, 25, 6, 30)
MILLISECONDS = 1_598_337_000_000
JD = 2459086.770833333
NEW_YORK = timezone(-timedelta(hours=4))
MASKED = Time(["2020-08-25T06:30", "2020-08-26"])
MASKED[1] = np.ma.masked

# the same time, in every form
SAME = {
    "text": "2020-08-25T06:30",
    "with a zone": "2020-08-25T02:30:00-04:00",
    "compact": "20200825T0630",
    "milliseconds": MILLISECONDS,
    "milliseconds as text": str(MILLISECONDS),
    "jd": JD,
    "jd as text": f" {JD} ",
    "mjd": JD - 2_400_000.5,
    "decimal": Decimal("2459086.770833333"),
    "datetime": MOMENT,
    "datetime in UTC": MOMENT.replace(tzinfo=UTC),
    "datetime in New York": MOMENT.replace(tzinfo=UTC).astimezone(NEW_YORK),
    "timestamp": pd.Timestamp(MOMENT),
    "timestamp with a zone": pd.Timestamp(MOMENT, tz="UTC").tz_convert("America/New_York"),
    "timestamp of nanoseconds": pd.Timestamp("2020-08-25 06:30:00.000000001"),
    **{f"datetime64[{unit}]": np.datetime64(MOMENT).astype(f"datetime64[{unit}]") for unit in ("m", "s", "ms", "us", "ns")},
    "datetime64 without dimensions": np.array(MOMENT, dtype="datetime64[us]"),
    "item of a Series": pd.Series([MOMENT]).dt.tz_localize("UTC").dt.tz_convert("Europe/Paris")[0],
    "item of polars": pl.Series([MOMENT])[0],
    "scalar of Arrow": pa.scalar(MOMENT),
    "scalar of Arrow with a zone": pa.scalar(MOMENT.replace(tzinfo=UTC), pa.timestamp("ms", "Europe/Paris")),
    "float64": np.float64(JD),
    "Time": Time(MOMENT),
    "Time in TAI": Time(MOMENT).tai,
    "Time in TDB": Time(MOMENT).tdb,
    "Time of an array with masks": MASKED[0],
    "Time from JD": Time(JD, format="jd"),
}
DAYS = {
    "text": "2020-08-25",
    "compact": "20200825",
    "number": 20200825,
    "int64": np.int64(20200825),
    "date": date(2020, 8, 25),
    "datetime64": np.datetime64("2020-08-25"),
    "scalar of Arrow": pa.scalar(date(2020, 8, 25)),
    "timestamp": pd.Timestamp("2020-08-25"),
    "Time": Time("2020-08-25"),
}
MISSING = {
    "NaT": pd.NaT,
    "NA": pd.NA,
    "datetime64": np.datetime64("NaT"),
    "NaN": float("nan"),
    "numpy's NaN": np.float64("nan"),
    "masked": np.ma.masked,
    "masked Time": MASKED[1],
    "null of Arrow": pa.scalar(None, pa.timestamp("us")),
}
NO_TIMES = {
    "true": True,
    "numpy's true": np.True_,
    "list": [2459000.5],
    "array of one": np.array([2459000.5]),
    "array": Time(["2020-08-25", "2020-08-26"]),
    "array of one Time": Time(["2020-08-25"]),
    "Series": pd.Series([pd.Timestamp("2020-08-25")]),
    "polars": pl.Series([date(2020, 8, 25)]),
    "Arrow": pa.array([2459000.5]),
    "duration": timedelta(5),
    "timedelta64": np.timedelta64(5, "D"),
    "TimeDelta": TimeDelta(59000, format="jd"),
    "Quantity": 2459000.5 * u.d,
    "time of day": time(6, 30),
    "bytes": b"2020-08-25",
    "Period": pd.Period("2020-08"),
    "seconds": 1598337000,
    "datetime before 1990": datetime(1989, 12, 31),
    "datetime64 far ahead": np.datetime64(10**17, "s"),
    "Timestamp after 2100": pd.Timestamp("2101-01-01"),
    "Time before 1990": Time("1980-01-01"),
    "Time without a scale": Time(2459000.5, format="jd", scale="local"),
    "large": 10**400,
    "infinite": np.float32("inf"),
}


def read(name: str, value: Any) -> Any:
    return moment(name, value, lambda: "utc")


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}", progress=False)


@pytest.mark.parametrize("form", SAME)
def test_every_form_of_a_time_is_that_time(form: str) -> None:
    assert to_table_time("start", read("start", SAME[form]), "jd", "utc") == pytest.approx(JD, rel=0, abs=1e-9)
    assert abs(read("as_of", SAME[form]) - MILLISECONDS) <= 1
    assert read("as_of", read("as_of", SAME[form])) == read("as_of", SAME[form])


@pytest.mark.parametrize("form", DAYS)
def test_every_form_of_a_day_is_that_day(form: str) -> None:
    assert to_table_time("start", read("start", DAYS[form]), "jd", "utc") == 2459086.5
    assert read("night", DAYS[form]) == "20200825"


def test_a_night_is_the_date_in_utc() -> None:
    late = datetime(2020, 8, 24, 22, tzinfo=NEW_YORK)
    for value in (late, pd.Timestamp(late), Time(late), np.datetime64("2020-08-25T02:00")):
        assert read("night", value) == "20200825"
    assert [read("night", np.datetime64(text)) for text in ("2020-08", "2020")] == ["202008", "2020"]


@pytest.mark.parametrize("field", ["start", "stop", "as_of", "night"])
@pytest.mark.parametrize("form", MISSING)
def test_a_missing_time_is_refused(form: str, field: str) -> None:
    with pytest.raises(BadValue, match=f"{field} is missing") as caught:
        read(field, MISSING[form])
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["start", "stop", "as_of", "night"])
@pytest.mark.parametrize("form", NO_TIMES)
def test_what_is_no_time_is_refused_by_its_name(form: str, field: str) -> None:
    with pytest.raises(BadValue, match=f"{field} (must be|cannot be converted)") as caught:
        read(field, NO_TIMES[form])
    assert caught.value.field == field


def test_rows_are_those_of_the_ticket_in_python_and_in_the_shell(archive: af.Archive, client: fl.FlightClient) -> None:
    wanted = ask(client, table="ztf", ids=[NAME], columns=["i:jd"], start="2020-08-25T06:30").table["i:jd"].to_pylist()
    assert 0 < len(wanted) < 21
    for name in ("datetime in New York", "timestamp", "datetime64[ns]", "Time in TAI", "mjd"):
        assert archive.objects(NAME, columns="i:jd", start=SAME[name]).to_arrow()["i:jd"].to_pylist() == wanted
    for value in (SAME["text"], SAME["jd as text"], SAME["milliseconds as text"], SAME["compact"]):
        command = ["get", "--url", archive.url, "--ids", NAME, "--columns", "i:jd", "--start", str(value)]
        printed = CliRunner().invoke(main, command).stdout.split()
        assert [float(line) for line in printed[1:]] == wanted
    refused = CliRunner().invoke(main, ["get", "--url", archive.url, "--ids", NAME, "--stop", "2020-08"])
    assert refused.exit_code == 2
    assert "stop must be a time from 1990 to 2100" in refused.output


def test_an_earlier_state_is_named_by_any_form_of_time(archive: af.Archive) -> None:
    whole = archive.objects(NAME, columns="i:jd")
    rows = len(whole.to_arrow())
    assert whole.record is not None
    now = whole.record.as_of
    assert now is not None
    moments = [datetime.fromtimestamp(now / 1000, UTC), Time(now / 1000, format="unix"), np.datetime64(now, "ms"), str(now)]
    for value in moments:
        answer = archive.objects(NAME, columns="i:jd", as_of=value)
        assert len(answer.to_arrow()) == rows
        assert answer.record is not None
        assert answer.record.as_of == now
    assert len(archive.objects(NAME, columns="i:jd", as_of=date(1990, 1, 1)).to_arrow()) == 0
    command = ["get", "--url", archive.url, "--ids", NAME, "--columns", "i:jd", "--as-of", "1990-01-01"]
    assert "no rows for 1 of the IDs" in CliRunner().invoke(main, command).stderr
    # seconds would be a time in January 1970, before all data
    for value in (now // 1000, now * 1000):
        with pytest.raises(BadValue, match="milliseconds since 1970"):
            archive.objects(NAME, as_of=value)


def test_a_plan_takes_the_same(archive: af.Archive) -> None:
    wanted = archive.objects(NAME, columns="i:jd", start="2020-08-25T06:30").to_arrow()
    for name in ("datetime in New York", "datetime64[ns]", "Time in TAI", "jd as text"):
        (endpoint,) = af.plan(archive.url, {"table": "ztf", "ids": [NAME], "columns": ["i:jd"], "start": SAME[name]}).endpoints
        assert sum(len(piece.batch) for piece in af.read_endpoint(endpoint)) == len(wanted)


def test_nights_of_a_table(archive: af.Archive) -> None:
    for value in (date(2020, 8, 31), "2020-08-31", 20200831):
        assert archive.select(table="statistics_class", night=value).to_arrow() is not None


def test_a_start_after_the_stop_is_refused_at_once(archive: af.Archive) -> None:
    with pytest.raises(BadValue, match="is after stop"):
        archive.objects(NAME, start=datetime(2020, 8, 26), stop=date(2020, 8, 25))


def test_a_time_in_another_scale_is_converted_to_that_of_the_table() -> None:
    utc = Time("2020-08-25T06:30")
    assert moment("start", utc, lambda: "tai") == utc.tai.jd
    with pytest.raises(BadValue, match="start cannot be converted to"):
        moment("start", Time(JD, format="jd", scale="local"), lambda: "utc")


def test_only_a_time_asks_for_the_scale() -> None:
    def ask_server() -> str:
        raise AssertionError

    for value in (MOMENT, JD, np.datetime64(MOMENT)):
        assert moment("start", value, ask_server)
    assert moment("as_of", Time(MOMENT), ask_server) == MILLISECONDS


def test_no_package_is_loaded_for_a_time_without_it() -> None:
    program = "import sys; from datetime import datetime; from flight_client.moments import moment\n"
    program += "moment('start', datetime(2020, 8, 25), lambda: 'utc'); print({'pandas', 'astropy', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "astropy" not in done.stdout
    assert "pandas" not in done.stdout


@pytest.mark.parametrize("form", ["text", "compact", "number"])
def test_a_ticket_reads_a_day_as_the_library_does(form: str) -> None:
    ticket = {"table": "ztf", "all": True, "start": DAYS[form], "as_of": DAYS[form]}
    query = parse_ticket(json.dumps(ticket).encode())
    assert (query.start, query.as_of) == ("2020-08-25", read("as_of", DAYS[form]))
