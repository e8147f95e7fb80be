"""Names and their beginnings: the rows of exactly the name come first, whatever the limit and from every cursor on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from alert_data import NIGHT
from archives import Opened, messages
from changed_alerts import alerts_of, saved, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import load
from flight_server.planning.plan import Planner
from flight_server.protocol.query import Query

TNS = ["AT 2020", "AT 2020a", "AT 2020-b", "AT 2020 c", "AT 2020_d", "AT 2020Z", "AT 202", "SN 2020"]
SSO = [
    ("8467", "Benoitcarry"),
    ("84670", "x"),
    ("84671", "8467 x"),
    ("846", "8467-a"),
    ("8", "8467"),
    ("1", "Ceres"),
    ("2", "Ceres-b"),
]
TRACKS = ["TRCK_20200831_1", "TRCK_20200831_10", "TRCK_20200831_1 ", "TRCK_20200831", "TRCK_2020083"]


@pytest.fixture
def named(open_store: Callable[..., Opened], tmp_path: Path) -> Opened:
    opened = open_store()
    tns = [
        {"fullname": name, "internalname": f"{inner}{number}"} for number, name in enumerate(TNS) for inner in ("ZTF", "ATLAS")
    ]
    (tmp_path / "tns.json").write_text(json.dumps(tns))
    sso = [{"ssnamenr": f"S{number}{name}", "name": name, "number": number} for number, name in SSO]
    (tmp_path / "sso.json").write_text(json.dumps(sso))
    for table, file in (("ztf.tns_resolver", "tns.json"), ("ztf.sso_resolver", "sso.json")):
        load(opened.store, load_catalog(), table, [tmp_path / file])
    alerts = alerts_of(NIGHT)[:40]
    tracks = pa.array([TRACKS[row % len(TRACKS)] for row in range(len(alerts))])
    opened.ingest(saved(with_fields(alerts, tracklet=tracks), tmp_path / "alerts.parquet"))
    return opened


NAME = {"ztf.tns_resolver": "d:fullname", "ztf.tracklet": "d:tracklet"}
CASES = [
    *(("ztf.tns_resolver", "name", name) for name in ("AT 2020", "at 2020", "At 2020_D", "AT 20", "AT 2020_", "nothing")),
    *(("ztf.sso_resolver", "name", name) for name in ("8467", "84670", "CERES", "846", "c", "none")),
    *(("ztf.tracklet", "tracklet", name) for name in (*TRACKS, "TRCK_")),
]


@pytest.mark.both_stores
def test_exactly_the_name_comes_first_with_every_limit_and_from_every_cursor(named: Opened) -> None:
    for table, field, name in CASES:
        column = NAME.get(table, "i:ssnamenr")
        query = Query(table=table, columns=(column,), **{field: name})
        whole = messages(named, query).table[column].to_pylist()
        everything = messages(named, Query(table=table, columns=(column,), all=True)).table[column].to_pylist()
        if table == "ztf.sso_resolver":
            exact = [f"S{number}{text}" for number, text in SSO if name.lower() in (number.lower(), text.lower())]
            others = [
                f"S{n}{t}"
                for n, t in SSO
                for alias in (n, t)
                if alias.lower().startswith(name.lower()) and alias.lower() != name.lower()
            ]
        else:
            fold = str.lower if field == "name" else str
            exact = [one for one in everything if fold(one) == fold(name)]
            others = [one for one in everything if fold(one).startswith(fold(name)) and fold(one) != fold(name)]
        assert sorted(whole[: len(exact)]) == sorted(exact), (table, name)
        assert sorted(whole[len(exact) :]) == sorted(others), (table, name)
        for limit in (1, 3):
            after, found, complete = None, [], False
            while not complete:
                page = messages(named, replace(query, limit=limit, resume_after=after))
                found += page.table[column].to_pylist()
                after, complete = page.record["cursor"], page.record["complete"]
            assert found == whole


@pytest.mark.both_stores
def test_the_plan_of_a_name_is_in_its_order(named: Opened) -> None:
    planner = Planner(load_catalog())
    for table, field, name in CASES:
        parts, ordered = named.archive.endpoints(planner.plan(Query(table=table, **{field: name})))
        assert ordered
        assert len(parts) == 1
