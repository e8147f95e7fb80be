"""Shards of an answer: each object once, another order in each epoch, resumable at any position; splits by ID."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import flight_client as af
from flight_client.nested_batches import stamp_arrays
from flight_client.padding import Padding, pad
from flight_client.records import Record
from flight_client.shards import Place, Shard, Source, dealt, from_texts, to_texts
from flight_client.splits import FRACTIONS, in_split, place_of
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BadValue, UnknownColumn

TDE, OTHER = "ZTF20abfcszi", "ZTF18abtljjk"
COLUMNS = ["i:jd", "i:magpsf"]


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.fixture
def ids(archive: af.Archive) -> list[str]:
    return sorted(set(archive.all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()))


def names(batch: pa.RecordBatch) -> list[str]:
    return list(batch.column(0).to_pylist())


def read(shard: Shard, source: Source, objects: int = 4, place: Place | None = None) -> list[tuple[list[str], Place]]:
    return [(names(batch), behind) for batch, behind in shard.batches(source, objects, place or Place(), Record())]


@pytest.mark.parametrize("shards", [1, 3, 40])
@pytest.mark.parametrize("buffer", [0, 1, 10, 1000])
def test_each_object_comes_once_over_all_shards(archive: af.Archive, ids: list[str], shards: int, buffer: int) -> None:
    source = Source.of(archive.objects(ids, columns=COLUMNS), "last", None)
    endpoints = source.plan(6)
    assert len(endpoints) == -(-len(ids) // 6)
    found = [read(dealt(endpoints, number, shards, buffer, (1, 0)), source) for number in range(shards)]
    assert sorted(name for shard in found for some, _ in shard for name in some) == ids
    assert all(len(some) == 4 for shard in found for some, _ in shard[:-1])


def test_a_whole_table_comes_once(archive: af.Archive, ids: list[str]) -> None:
    source = Source.of(archive.all("ztf", columns=COLUMNS), "last", None)
    endpoints = source.plan(None)
    found = [name for number in (0, 1) for some, _ in read(dealt(endpoints, number, 2, 9, (1, 0)), source) for name in some]
    assert sorted(found) == ids


def test_light_curves_are_those_of_the_archive(archive: af.Archive) -> None:
    source = Source.of(archive.objects(TDE, columns=COLUMNS), "last", None)
    batch, _ = next(dealt(source.plan(None), 0, 1, 8, (0, 0)).batches(source, 8, Place(), Record()))
    rows = archive.objects(TDE, columns=COLUMNS).to_arrow()
    padded = pad(batch)
    assert padded.times[0].tolist() == rows["i:jd"].to_pylist()
    assert padded.values[0, :, 0].tolist() == rows["i:magpsf"].to_pylist()


def test_the_order_follows_from_seed_and_epoch(archive: af.Archive, ids: list[str]) -> None:
    source = Source.of(archive.objects(ids, columns=COLUMNS), "last", None)
    endpoints = source.plan(6)

    def order(buffer: int, *seed: int) -> list[str]:
        return [name for some, _ in read(dealt(endpoints, 0, 1, buffer, (seed[0], seed[1])), source) for name in some]

    assert order(0, 1, 0) == ids
    first = order(20, 1, 0)
    assert first == order(20, 1, 0)
    others = [order(20, 1, 1), order(20, 2, 0), order(1, 1, 0), ids]
    assert first not in others
    # with a buffer of one object only the endpoints are in another order
    assert sorted(order(1, 1, 0)[:6]) in [ids[start : start + 6] for start in range(0, len(ids), 6)]


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize("buffer", [0, 5, 33])
def test_a_shard_goes_on_behind_every_batch(archive: af.Archive, buffer: int, split: str | None) -> None:
    source = Source.of(archive.all("ztf", columns=COLUMNS), "last", split and (split, None))
    cut = Source.of(archive.objects([*_all(source)], columns=COLUMNS), "last", None)
    # the splits are found in the batches, as they are where no IDs are known
    cut = replace(cut, split=source.split)
    shard = dealt(cut.plan(7), 1, 2, buffer, (4, 2))
    whole = read(shard, cut)
    assert len(whole) > 5
    for number, (_, behind) in enumerate(whole):
        assert read(shard, cut, place=behind) == whole[number + 1 :]


@pytest.mark.parametrize("buffer", [0, 10])
def test_a_shard_goes_on_within_an_endpoint_of_many_batches(archive: af.Archive, ids: list[str], buffer: int) -> None:
    source = Source.of(archive.objects(ids, max_message_bytes=32_768), "last", None)
    endpoints = source.plan(40)
    assert len(list(source.read(endpoints, Record()))) > len(endpoints) + 2
    shard = dealt(endpoints, 0, 1, buffer, (4, 2))
    whole = read(shard, source)
    for number, (_, behind) in enumerate(whole):
        assert read(shard, source, place=behind) == whole[number + 1 :]


def _all(source: Source) -> list[str]:
    endpoints = source.plan(None)
    return [name for _, batch in replace(source, split=None).read(endpoints, Record()) for name in names(batch)]


def test_plans_become_texts_and_come_back(archive: af.Archive, ids: list[str]) -> None:
    endpoints = Source.of(archive.objects(ids, columns=COLUMNS), "last", None).plan(30)
    assert from_texts(to_texts(endpoints)) == endpoints


@pytest.mark.parametrize("which", ["first", "last"])
@pytest.mark.parametrize("message_bytes", [65_536, 3_670_016])
def test_stamps_are_those_of_the_first_or_last_point_that_has_some(archive: af.Archive, which: str, message_bytes: int) -> None:
    fields: dict[str, Any] = {"upper_limits": True, "max_message_bytes": message_bytes, "cutouts": ["Science", "Difference"]}
    asked = archive.objects([TDE, OTHER], columns=COLUMNS, **fields)
    source = Source.of(asked, which, None)
    batch, _ = next(dealt(source.plan(None), 0, 1, 8, (0, 0)).batches(source, 8, Place(), Record()))
    pixels, there = stamp_arrays(batch, source.kinds, source.shape)
    assert pixels.shape == (2, 2, 63, 63)
    assert there.all()
    how = Padding(columns=("i:magpsf",), missing="keep")  # upper limits come with a column of text
    rows = asked.changed(cutout_format="array", columns=("i:objectId", *COLUMNS)).to_arrow()
    assert rows["b:cutoutScience_stampData"].null_count > 0, "upper limits have none"
    for number, name in enumerate(names(batch)):
        own = rows.filter(pa.compute.equal(rows["i:objectId"], name))
        assert pad(batch.slice(number, 1), how).times[0].tolist() == own["i:jd"].to_pylist()
        for place, kind in enumerate(source.kinds):
            held = own[f"b:cutout{kind}_stampData"].drop_null()
            one = held[0 if which == "first" else len(held) - 1].as_py()
            np.testing.assert_array_equal(pixels[number, place].ravel(), np.asarray(one, np.float32).ravel())


def test_objects_without_stamps_have_none(archive: af.Archive) -> None:
    rows = archive.objects(OTHER, columns=["i:jd", "d:tag"], upper_limits=True).to_arrow().to_pylist()
    jd = next(row["i:jd"] for row in rows if row["d:tag"] == "upperlim")
    within = {"start": jd - 1e-6, "stop": jd + 1e-6}
    asked = archive.objects(OTHER, columns=COLUMNS, cutouts=["Template"], upper_limits=True, **within)
    source = Source.of(asked, "last", None)
    [(batch, _)] = dealt(source.plan(None), 0, 1, 8, (0, 0)).batches(source, 8, Place(), Record())
    assert len(batch["lightcurve"][0]) == 1, "an upper limit, which has no stamps"
    pixels, there = stamp_arrays(batch, source.kinds, source.shape)
    assert not there.any()
    assert not pixels.any()


def test_what_the_server_refuses_is_refused_at_once(archive: af.Archive) -> None:
    with pytest.raises(UnknownColumn):
        Source.of(archive.objects(TDE, columns=["i:mag"]), "last", None)


def test_missing_objects_raise_if_that_is_wanted(archive: af.Archive) -> None:
    source = Source.of(archive.objects([TDE, "ZTF00nowhere"], columns=COLUMNS, missing="raise"), "last", None)
    with pytest.raises(af.MissingObjects, match="ZTF00nowhere"):
        read(dealt(source.plan(1), 0, 1, 8, (0, 0)), source)


def test_splits_are_apart_and_whole(archive: af.Archive, ids: list[str]) -> None:
    found = []
    for split in FRACTIONS:
        source = Source.of(archive.objects(ids, columns=COLUMNS), "last", (split, None))
        asked = source.answer.query.ids
        assert asked is not None
        assert len(asked) < len(ids), "others are not even asked for"
        found += [name for some, _ in read(dealt(source.plan(9), 0, 1, 8, (0, 0)), source) for name in some]
    assert sorted(found) == ids


def test_a_split_is_a_part_of_the_hash() -> None:
    many = [f"ZTF22{number:07}" for number in range(20_000)]
    for split, fraction in FRACTIONS.items():
        assert abs(in_split(many, split).mean() - fraction) < 0.01
    digest = hashlib.blake2b(b"170587115523932323", digest_size=8).digest()
    assert place_of(170587115523932323) == int.from_bytes(digest, "big") // 2**11 / 2**53
    halves = {"a": 0.5, "b": 0.5}
    assert [place_of(name) < 0.5 for name in many[:100]] == in_split(many[:100], "a", halves).tolist()


def test_splits_that_make_no_sense_are_refused(archive: af.Archive) -> None:
    with pytest.raises(BadValue, match="split must be one of train, val, test, not 'valid'"):
        in_split([TDE], "valid")
    for fractions in ({"a": 0.5, "b": 0.4}, {"a": 1.5, "b": -0.5}):
        with pytest.raises(BadValue, match="add up to 1"):
            in_split([TDE], "a", fractions)
    with pytest.raises(BadValue, match="none of the 1 objects is in the split train"):
        Source.of(archive.objects(TDE, columns=COLUMNS), "last", ("train", None))


def test_without_torch_the_extra_is_named() -> None:
    program = """
import sys
sys.modules["torch"] = None
from flight_server.protocol.errors import NotSupported
try:
    import flight_client.torch
except NotSupported as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "this needs another package: pip install 'alertflight[torch]'\n"
