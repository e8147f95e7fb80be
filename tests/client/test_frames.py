"""Answers as pandas and Polars frames."""

from __future__ import annotations

import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
from archives import ask


def test_ids_are_exact_in_pandas(client: fl.FlightClient) -> None:
    ticket = json.dumps({"table": "ztf", "all": True, "columns": ["i:objectId", "i:candid", "i:magpsf", "d:gaiaVarFlag"]})
    frame = client.do_get(fl.Ticket(ticket)).read_all().to_pandas(types_mapper=pd.ArrowDtype)
    exact = ask(client, **json.loads(ticket)).table
    assert frame["i:candid"].dtype == pd.ArrowDtype(pa.int64())
    assert frame["i:candid"].tolist() == exact["i:candid"].to_pylist()
    assert max(frame["i:candid"]) > 2**53
    assert frame["d:gaiaVarFlag"].dtype == pd.ArrowDtype(pa.int32()), "nulls do not turn integers into floats"
    assert frame["d:gaiaVarFlag"].isna().any()


def test_ids_are_exact_in_polars(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", all=True, columns=["i:objectId", "i:candid", "i:jd", "i:magpsf"])
    frame = pl.from_arrow(answered.table)
    assert frame.schema == {"i:objectId": pl.String, "i:candid": pl.Int64, "i:jd": pl.Float64, "i:magpsf": pl.Float32}
    assert frame["i:candid"].to_list() == answered.table["i:candid"].to_pylist()
    assert frame.group_by("i:objectId").len().filter(pl.col("i:objectId") == "ZTF20abfcszi")["len"].item() == 21
