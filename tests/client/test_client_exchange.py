"""Streams of IDs and positions: each is answered, in order, also over broken streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pytest
from archives import ask, digest
from astropy import units as u
from astropy.coordinates import SkyCoord
from cut_proxy import cutting

import flight_client as af
from flight_client.exchange import FEW, MANY, batches_of_ids
from flight_server.flight import FlightServer

TDE = "ZTF20abfcszi"
COLUMNS = ["i:objectId", "i:jd", "i:magpsf"]
SOON = af.Retries(pause=0.001, longest=0.01)


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.fixture
def names(client: fl.FlightClient) -> list[str]:
    return sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))


def expected(client: fl.FlightClient, ids: list[str], columns: list[str] | None = COLUMNS) -> pa.Table:
    """Read each ID with a ticket of its own."""
    fields = {} if columns is None else {"columns": columns}
    held = {one: ask(client, table="ztf", ids=[one], **fields).table for one in set(ids)}
    parts = [held[one].add_column(0, "index", pa.array([index] * len(held[one]), pa.int64())) for index, one in enumerate(ids)]
    return pa.concat_tables(parts)


def test_each_id_is_answered(archive: af.Archive, client: fl.FlightClient, names: list[str]) -> None:
    ids = [TDE, "nobody", *names[:30], TDE, TDE, "no one", "nobody", names[3]]
    exchange = archive.exchange(iter(ids), columns=COLUMNS)
    table = pa.Table.from_batches(exchange)
    assert digest(table) == digest(expected(client, ids))
    assert exchange.record is not None
    assert exchange.record.rows == len(table)
    assert exchange.record.missing_ids == ["nobody", "no one"]
    assert repr(exchange) == f"<Exchange: {len(table)} rows>"


def test_ids_are_taken_as_rows_are_read(archive: af.Archive, names: list[str]) -> None:
    taken: list[str] = []

    def endless() -> Iterator[str]:
        for name in itertools.cycle(names):
            taken.append(name)
            yield name

    rows = iter(archive.exchange(endless(), columns=["i:jd"]))
    first = next(rows)
    assert len(taken) == FEW, "the first IDs are sent and no more"
    seen = [first["index"][0].as_py()]
    while seen[-1] < 3 * FEW:
        seen.append(next(rows)["index"][-1].as_py())
    assert len(taken) < 8 * FEW
    rows.close()
    assert [len(batch) for batch in itertools.islice(batches_of_ids(endless()), 9)][-2:] == [MANY, MANY]


@pytest.mark.both_stores
def test_many_ids_with_few_objects(archive: af.Archive, client: fl.FlightClient, names: list[str]) -> None:
    ids = [f"ZTF99{number:07}" for number in range(70_000)]
    for place in (0, 999, 1000, 31_000, 69_999):
        ids[place] = TDE
    exchange = archive.exchange(ids, columns=["i:jd"])
    table = pa.Table.from_batches(exchange)
    assert pc.value_counts(table["index"]).to_pylist() == [
        {"values": place, "counts": 21} for place in (0, 999, 1000, 31_000, 69_999)
    ]
    assert exchange.record is not None
    assert len(exchange.record.missing_ids) == 70_000 - 5


def test_a_broken_exchange_goes_on_with_what_is_not_answered(
    server: FlightServer, client: fl.FlightClient, names: list[str]
) -> None:
    ids = [TDE, "nobody", *names[:40], TDE, *names, "no one", TDE]
    wanted = expected(client, ids, columns=None)
    broken = 0
    for share in range(50_000, wanted.nbytes, wanted.nbytes // 8):
        with cutting(server.port, share, share) as proxy:
            archive = af.connect(proxy.url, retries=SOON)
            exchange = archive.exchange(ids, max_message_bytes=32_768)
            found = pa.Table.from_batches(exchange)
            assert proxy.cuts > 0
        assert digest(found) == digest(wanted)
        assert exchange.record is not None
        assert exchange.record.rows == len(wanted)
        assert exchange.record.missing_ids == ["nobody", "no one"]
        broken += exchange.record.resumed > 0 and exchange.record.objects is None
    assert broken > 3, "streams broke in the middle"


def test_places(archive: af.Archive, client: fl.FlightClient) -> None:
    found = ask(client, table="ztf", all=True, columns=["i:ra", "i:dec"]).table
    ra, dec = (found[name].to_numpy()[[0, 50, 100]] for name in ("i:ra", "i:dec"))
    ra, dec = np.append(ra, 200.0), np.append(dec, -89.0)
    parts = []
    for index, (x, y) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True)):
        rows = ask(client, table="ztf", cone={"ra": x, "dec": y, "radius": 20}, columns=COLUMNS).table
        parts.append(rows.add_column(0, "index", pa.array([index] * len(rows), pa.int64())))
    wanted = pa.concat_tables(parts)
    assert set(wanted["index"].to_pylist()) == {0, 1, 2}
    places = SkyCoord(ra * u.deg, dec * u.deg)
    for exchange in (
        archive.cones(ra, dec, radius=20, columns=COLUMNS),
        archive.cones(places, radius=20 * u.arcsec, columns=COLUMNS),
        archive.cones(places.galactic, radius=np.full(4, 20.0), columns=COLUMNS),
    ):
        assert digest(pa.Table.from_batches(exchange)) == digest(wanted)
    with pytest.raises(af.errors.BadValue):
        archive.cones(places, radius=3 * u.s)


def test_what_is_wrong_is_said(archive: af.Archive) -> None:
    with pytest.raises(af.errors.UnknownField):
        archive.exchange([TDE], colums=["i:jd"])
    with pytest.raises(af.errors.UnknownColumn, match="did you mean i:jd"):
        list(archive.exchange([TDE], columns=["i:jdd"]))
    later: list[Any] = [*[TDE] * FEW, None]
    rows = iter(archive.exchange(later, columns=["i:jd"]))
    assert len(next(rows)) > 0
    with pytest.raises(af.errors.BadValue, match="row 1000 of ids has no ID"):
        list(rows)
