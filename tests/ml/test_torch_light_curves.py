"""The data set for PyTorch in one process: tensors, labels, cutouts, states and errors."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import TDE as TDE_ALERTS
from archives import Opened
from changed_alerts import alerts_of, saved, with_fields

import flight_client as af
from flight_client.padding import Padding, pad
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BadValue

torch = pytest.importorskip("torch", reason="PyTorch is not installed: ./scripts/test --all installs it")
from flight_client.torch import LightCurves, tensors  # noqa: E402  (torch first)

TDE = "ZTF20abfcszi"
COLUMNS = ["i:jd", "i:magpsf", "i:fid"]


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.fixture
def ids(archive: af.Archive) -> list[str]:
    return sorted(set(archive.all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()))


@pytest.fixture
def make(archive: af.Archive, ids: list[str]) -> Callable[..., LightCurves]:
    def made(padding: Padding | None = None, **how: Any) -> LightCurves:
        given = {"batch_size": 5, "objects_each": 8, "buffer": 12} | how
        return LightCurves(archive.objects(ids, columns=COLUMNS), padding, **given)

    return made


def names(batches: Any) -> list[str]:
    return [name for batch in batches for name in batch["ids"].tolist()]


def test_tensors_share_the_memory_of_the_arrays(archive: af.Archive) -> None:
    padded = pad(archive.objects(TDE, columns=COLUMNS).nested().to_arrow())
    found = tensors(padded)
    for name in ("values", "times", "mask", "lengths", "origins"):
        array = getattr(padded, name)
        assert found[name].data_ptr() == array.ctypes.data
        assert tuple(found[name].shape) == array.shape
    found["values"][0, 0, 0] = 7.0
    assert padded.values[0, 0, 0] == 7.0
    kinds = [found[name].dtype for name in ("values", "times", "mask", "lengths")]
    assert kinds == [torch.float32, torch.float64, torch.bool, torch.int64]


def test_batches_hold_the_light_curves(archive: af.Archive, ids: list[str], make: Callable[..., LightCurves]) -> None:
    rows = archive.objects(ids, columns=["i:objectId", *COLUMNS]).to_arrow().to_pylist()
    seen = []
    for batch in make():
        for number, name in enumerate(batch["ids"].tolist()):
            seen.append(name)
            own = [row for row in rows if row["i:objectId"] == name]
            length = int(batch["lengths"][number])
            assert batch["times"][number, :length].tolist() == [row["i:jd"] for row in own]
            assert batch["values"][number, :length].tolist() == [[row["i:magpsf"], row["i:fid"]] for row in own]
            assert batch["mask"][number].tolist() == [turn < length for turn in range(batch["mask"].shape[1])]
    assert sorted(seen) == ids


def test_choices_of_padding_are_kept_and_counted(make: Callable[..., LightCurves]) -> None:
    batches = list(make(Padding(length=3, longest="random", relative=True)))
    assert sum(batch["cut"] for batch in batches) == 18, "of the 21 points of one object"
    assert {batch["values"].shape[1:] for batch in batches} == {(3, 2)}
    again = list(make(Padding(length=3, longest="random", relative=True)))
    assert all(bool((one["times"] == other["times"]).all()) for one, other in zip(batches, again, strict=True))


def test_labels_come_from_a_mapping_or_a_function(make: Callable[..., LightCurves], ids: list[str]) -> None:
    known = {name: number for number, name in enumerate(ids)}
    for batch in make(labels=known):
        assert batch["labels"].tolist() == [known[name] for name in batch["ids"].tolist()]

    def brightness(batch: pa.RecordBatch) -> list[float]:
        return [min(point["i:magpsf"] for point in curve) for curve in batch["lightcurve"].to_pylist()]

    for batch in make(labels=brightness):
        mags = batch["values"][:, :, 0].masked_fill(~batch["mask"], 99.0)
        assert batch["labels"].tolist() == mags.min(dim=1).values.tolist()
    del known[ids[3]]
    with pytest.raises(BadValue, match=f"1 objects have no label, such as {ids[3]}"):
        list(make(labels=known))
    with pytest.raises(BadValue, match="one number for each of 5 objects, not <U1 of shape"):
        list(make(labels=lambda batch: ["a"] * len(batch)))
    with pytest.raises(BadValue, match=r"float64 of shape \(1,\)"):
        list(make(labels=lambda _: [1.0]))


def test_stamps_come_in_the_same_batch(archive: af.Archive, ids: list[str]) -> None:
    asked = archive.objects(ids, columns=COLUMNS, cutouts=["Science", "Difference"])
    batches = list(LightCurves(asked, batch_size=30, seed=2, stamp="first"))
    assert sorted(names(batches)) == ids
    for batch in batches:
        assert batch["cutouts"].shape == (len(batch["ids"]), 2, 63, 63)
        assert batch["cutouts"].dtype == torch.float32
        assert bool(batch["cutouts_mask"].all())
        assert batch["values"].shape[2] == 2, "light curves as without stamps"


def test_stamps_that_cannot_be_read_are_told(
    open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient], tmp_path: Path
) -> None:
    alerts = alerts_of(TDE_ALERTS)
    held = alerts["cutoutScience"].combine_chunks()
    stamps = [gzip.compress(b"nothing of the kind"), *held.field("stampData").to_pylist()[1:]]
    changed = pa.StructArray.from_arrays([held.field("fileName"), pa.array(stamps, pa.binary())], names=["fileName", "stampData"])
    opened = open_store()
    opened.ingest(saved(with_fields(alerts, cutoutScience=changed), tmp_path / "broken.parquet"))
    with FlightServer(opened.archive, opened.settings) as running:
        asked = af.connect(f"grpc://127.0.0.1:{running.port}").objects(TDE, columns=COLUMNS, cutouts=["Science"])
        with pytest.warns(UserWarning, match="1 cutouts cannot be read, such as .*not_fits"):
            [batch] = LightCurves(asked)
    assert bool(batch["cutouts_mask"].all()), "that of another point"


def test_a_state_goes_on_behind_every_batch(make: Callable[..., LightCurves], ids: list[str]) -> None:
    whole = make()
    whole.set_epoch(2)
    order = names(whole)
    assert sorted(order) == ids
    for most in range(0, 16, 3):
        cut = make()
        cut.set_epoch(2)
        begun = iter(cut)
        before = names(next(begun) for _ in range(most))
        state = json.loads(json.dumps(cut.state_dict()))
        begun.close()  # type: ignore[attr-defined]
        after = make()
        after.load_state_dict(state)
        assert after.epoch == 2
        assert before + names(after) == order
        assert names(after) == order[len(before) :], "the same pass once more"
        after.set_epoch(3)
        assert sorted(names(after)) == ids
        after.set_epoch(2)
        assert before + names(after) == order


def test_a_state_has_the_plan_that_was_made(archive: af.Archive, ids: list[str]) -> None:
    asked = archive.objects(ids, columns=COLUMNS)
    first = LightCurves(asked, objects_each=10)
    other = LightCurves(asked)
    assert len(other.endpoints) == 1
    other.load_state_dict(first.state_dict())
    assert other.endpoints == first.endpoints


def test_states_of_others_are_refused(make: Callable[..., LightCurves]) -> None:
    state = make().state_dict()
    for name, other in (("seed", {"seed": 8}), ("batch_size", {"batch_size": 6}), ("rank", {"rank": 1, "world_size": 2})):
        with pytest.raises(BadValue, match=f"the state has {name}"):
            make(**other).load_state_dict(state)
    begun = make()
    next(iter(begun))
    going_on = make()
    going_on.load_state_dict(begun.state_dict() | {"workers": 3})
    with pytest.raises(BadValue, match="from 3 workers, but there are 1"):
        next(iter(going_on))
    batch = next(iter(begun))
    begun.set_epoch(1)
    with pytest.raises(BadValue, match="the batch is from epoch 0, but this is epoch 1"):
        begun.mark(batch)


def test_the_last_batch_may_be_left_out(make: Callable[..., LightCurves], ids: list[str]) -> None:
    batches = list(make(drop_last=True))
    assert [len(batch["ids"]) for batch in batches] == [5] * (len(ids) // 5)


def test_splits_and_order(make: Callable[..., LightCurves], ids: list[str]) -> None:
    assert sorted(name for split in ("train", "val", "test") for name in names(make(split=split))) == ids
    halves = {"a": 0.5, "b": 0.5}
    assert sorted(names(make(split="a", fractions=halves)) + names(make(split="b", fractions=halves))) == ids
    assert names(make(shuffle=False)) == ids
    assert names(make(seed=1)) not in (ids, names(make(seed=2)))


def test_rank_and_world_size_come_from_the_environment(
    make: Callable[..., LightCurves], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    for rank in "012":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "3")
        own = names(make())
        assert own
        found += own
    assert sorted(found) == ids
    assert repr(make()) == "<LightCurves: 77 objects of ztf, 3 columns, 10 endpoints, rank 2 of 3>"


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"buffer": 0}, "buffer"),
        ({"seed": -1}, "seed"),
        ({"objects_each": 0}, "objects_each"),
        ({"stamp": "best"}, "stamp"),
        ({"fractions": {"a": 1.0}}, "split"),
        ({"split": "valid"}, "split"),
        ({"rank": 1}, "rank"),
        ({"rank": 2, "world_size": 2}, "rank"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make: Callable[..., LightCurves], how: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as caught:
        make(**how)
    assert caught.value.field == field
    with pytest.raises(BadValue, match="epochs count from 0"):
        make().set_epoch(-1)


def test_stamps_are_kept_as_they_are(archive: af.Archive) -> None:
    asked = archive.objects(TDE, columns=COLUMNS, cutouts=["Science"])
    [batch] = LightCurves(asked)
    rows = asked.changed(cutout_format="array").to_arrow()
    last = rows["b:cutoutScience_stampData"][len(rows) - 1].as_py()
    np.testing.assert_array_equal(batch["cutouts"][0, 0].numpy().ravel(), np.asarray(last, np.float32).ravel())
