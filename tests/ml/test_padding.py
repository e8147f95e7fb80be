"""Padded arrays against plain Python over the same light curves."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask
from hypothesis import given, settings
from hypothesis import strategies as st

from flight_client.padding import Padded, Padding, pad, regroup
from flight_server.protocol.errors import BadValue, CorruptData, TooLarge, UnknownColumn

JD = 2_459_080.5
UTC = {"time_scale": "utc"}
CURVE = pa.struct(
    [
        pa.field("i:jd", pa.float64(), metadata=UTC),
        pa.field("i:magpsf", pa.float32()),
        pa.field("i:fid", pa.int32()),
        pa.field("i:ra", pa.float64()),
        pa.field("d:good", pa.bool_()),
    ]
)
COLUMNS = ("i:magpsf", "i:fid", "i:ra", "d:good")
SCHEMA = pa.schema([pa.field("i:objectId", pa.string()), pa.field("lightcurve", pa.list_(CURVE))])
BIG = 170_587_115_523_932_323

odd = st.sampled_from([None, math.nan, math.inf, -math.inf])
point = st.fixed_dictionaries(
    {
        "i:jd": st.floats(JD, JD + 1000) | odd,
        "i:magpsf": st.floats(-30, 30, width=32) | odd,
        "i:fid": st.integers(-3, 1 << 24) | st.none(),
        "i:ra": st.floats(0, 360) | odd,
        "d:good": st.booleans() | st.none(),
    }
)
curves = st.lists(st.none() | st.lists(st.none() | point, max_size=7), max_size=9)


def batch_of(found: list[Any], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    ids = pa.array([f"ZTF{number:09}" for number in range(len(found))])
    return pa.record_batch([ids, pa.array(found, schema.field(1).type)], schema=schema)


@dataclass
class Expected:
    points: list[list[tuple[float, list[float]]]]
    dropped: int = 0
    filled: int = 0
    cut: int = 0


def expected(found: list[Any], how: Padding) -> Expected:
    """Pad light curves in a plain loop."""
    made = Expected([])
    for curve in found:
        kept = []
        for one in curve or []:
            cells = [None if one is None else one[name] for name in ("i:jd", *COLUMNS)]
            time, *values = (math.nan if cell is None else float(cell) for cell in cells)
            if how.missing == "drop" and not all(map(math.isfinite, [time, *values])):
                made.dropped += 1
                continue
            if how.missing == "fill" and not math.isfinite(time):
                made.dropped += 1
                continue
            if how.missing == "fill":
                assert how.fill is not None
                made.filled += sum(not math.isfinite(value) for value in values)
                values = [value if math.isfinite(value) else how.fill for value in values]
            kept.append((time, values))
        if how.length is not None and len(kept) > how.length and how.longest != "random":
            made.cut += len(kept) - how.length
            kept = kept[: how.length] if how.longest == "first" else kept[-how.length :]
        if how.relative:
            origin = min((time for time, _ in kept if math.isfinite(time)), default=0.0)
            kept = [(time - origin, values) for time, values in kept]
        made.points.append(kept)
    return made


def same(array: np.ndarray[Any, Any], wanted: Any) -> None:
    np.testing.assert_array_equal(array, np.array(wanted, array.dtype).reshape(array.shape))


def check(padded: Padded, wanted: Expected, how: Padding) -> None:
    longest = max(map(len, wanted.points), default=0) if how.length is None else how.length
    assert padded.values.shape == (len(wanted.points), longest, len(COLUMNS))
    assert (padded.values.dtype, padded.times.dtype, padded.mask.dtype) == (np.float32, np.float64, np.bool_)
    same(padded.lengths, [len(points) for points in wanted.points])
    same(padded.mask, [[turn < len(points) for turn in range(longest)] for points in wanted.points])
    blank = (0.0, [0.0] * len(COLUMNS))
    full = [points + [blank] * (longest - len(points)) for points in wanted.points]
    same(padded.times, [[time for time, _ in points] for points in full])
    same(padded.values, [[values for _, values in points] for points in full])
    assert (padded.dropped, padded.filled, padded.cut) == (wanted.dropped, wanted.filled, wanted.cut)


choices = st.builds(
    Padding,
    missing=st.sampled_from(["drop", "keep"]),
    relative=st.booleans(),
    length=st.integers(1, 8),
    longest=st.sampled_from(["first", "last"]),
) | st.builds(Padding, missing=st.just("fill"), fill=st.floats(-9, 9, width=32), relative=st.booleans())


@settings(deadline=None)
@given(found=curves, how=choices, first=st.integers(0, 3), last=st.integers(0, 3))
def test_arrays_hold_what_a_loop_finds(found: list[Any], how: Padding, first: int, last: int) -> None:
    batch = batch_of(found)
    part = batch.slice(first, max(len(batch) - first - last, 0))
    padded = pad(part, how)
    check(padded, expected(found[first : first + len(part)], how), how)
    assert padded.ids.tolist() == part.column(0).to_pylist()
    for array in (padded.values, padded.times, padded.mask, padded.lengths, padded.origins):
        assert array.flags.c_contiguous
        assert array.flags.writeable


@settings(deadline=None)
@given(found=curves, length=st.integers(1, 4), seed=st.integers(0, 5))
def test_drawn_points_are_points_of_the_object_in_order(found: list[Any], length: int, seed: int) -> None:
    how = Padding(missing="drop", length=length, longest="random")
    padded = pad(batch_of(found), how, np.random.default_rng(seed))
    whole = expected(found, Padding(missing="drop"))
    assert padded.cut == sum(max(len(points) - length, 0) for points in whole.points)
    for number, points in enumerate(whole.points):
        assert padded.lengths[number] == min(len(points), length)
        given_points = list(zip(padded.times[number].tolist(), padded.values[number].tolist(), strict=True))
        left = iter([(time, np.float32(values).tolist()) for time, values in points])
        assert all(one in left for one in given_points[: padded.lengths[number]]), "in their order"
    again = pad(batch_of(found), how, np.random.default_rng(seed))
    same(again.values, padded.values)


def test_every_point_may_be_drawn() -> None:
    found = [[dict.fromkeys(("i:jd", "i:magpsf", "i:fid", "i:ra"), turn) | {"d:good": True} for turn in range(6)]] * 50
    padded = pad(batch_of(found), Padding(length=2, longest="random"), np.random.default_rng(3))
    assert set(padded.times.ravel().tolist()) == set(range(6))
    assert len({tuple(times) for times in padded.times.tolist()}) > 5, "drawn for each object anew"


def simple(**changed: Any) -> dict[str, Any]:
    return {"i:jd": JD, "i:magpsf": 18.5, "i:fid": 1, "i:ra": 10.0, "d:good": True} | changed


def test_times_keep_their_doubles() -> None:
    found = [[simple(), simple(**{"i:jd": JD + 1e-7})]]
    padded = pad(batch_of(found))
    assert padded.times.tolist() == [[JD, JD + 1e-7]]
    relative = pad(batch_of(found), Padding(relative=True))
    assert relative.origins.tolist() == [JD]
    assert relative.times.tolist() == [[0.0, JD + 1e-7 - JD]]


def test_ids_of_64_bits_are_exact() -> None:
    schema = pa.schema([pa.field("r:diaObjectId", pa.int64()), SCHEMA.field(1)])
    batch = pa.record_batch([pa.array([BIG, 4]), pa.array([[simple()], []], SCHEMA.field(1).type)], schema=schema)
    padded = pad(batch)
    assert padded.ids.dtype == np.int64
    assert padded.ids.tolist() == [BIG, 4]
    with pytest.raises(CorruptData, match="1 of the IDs in r:diaObjectId are null"):
        pad(pa.record_batch([pa.array([BIG, None]), batch.column(1)], schema=schema))


def test_missing_values_are_refused_unless_something_is_chosen() -> None:
    found = [[simple(), simple(**{"i:magpsf": None})], [simple(**{"i:magpsf": math.nan}), simple(**{"i:jd": None})]]
    with pytest.raises(BadValue, match=r"\(2 of i:magpsf, 1 of the time\): choose missing drop, fill or keep") as caught:
        pad(batch_of(found))
    assert caught.value.field == "i:magpsf"


def test_a_light_curve_over_the_length_is_refused_unless_something_is_chosen() -> None:
    with pytest.raises(TooLarge, match="ZTF000000001 has 3 points, and length is 2"):
        pad(batch_of([[simple()] * 2, [simple()] * 3]), Padding(length=2))


@pytest.mark.parametrize("value", [(1 << 24) + 1, -(1 << 24) - 1])
def test_integers_that_float32_lacks_are_refused_by_name(value: int) -> None:
    with pytest.raises(BadValue, match=f"i:fid has integers that float32 cannot represent, such as {value}"):
        pad(batch_of([[simple(**{"i:fid": value}), simple(**{"i:fid": None})]]), Padding(missing="drop"))
    assert pad(batch_of([[simple(**{"i:fid": 1 << 24})]])).values[0, 0, 1] == 1 << 24


def test_numbers_over_float32_are_refused_by_name() -> None:
    with pytest.raises(BadValue, match=r"i:ra has numbers too large for float32, such as 1e\+39"):
        pad(batch_of([[simple(**{"i:ra": 1e39}), simple(**{"i:ra": math.inf})]]), Padding(missing="keep"))


def curve_with(*fields: pa.Field) -> pa.RecordBatch:
    kind = pa.struct([CURVE.field(0), *fields])
    blanks = {pa.string(): "x", pa.float64(): 1.0, pa.binary(): b"x"}
    one = {"i:jd": JD} | {field.name: blanks[field.type] for field in fields}
    schema = pa.schema([SCHEMA.field(0), pa.field("lightcurve", pa.list_(kind))])
    return batch_of([[one]], schema)


def test_columns_that_are_neither_numbers_nor_texts_are_refused_by_name() -> None:
    batch = curve_with(pa.field("i:bytes", pa.binary()), pa.field("i:ra", pa.float64()))
    with pytest.raises(BadValue, match="i:bytes has type binary, which is neither numeric nor text"):
        pad(batch)
    assert pad(batch, Padding(columns=("i:ra",))).columns == ("i:ra",)


TEXTS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}


@pytest.mark.parametrize("kind", TEXTS.values(), ids=TEXTS)
def test_texts_are_padded_beside_the_values(kind: pa.DataType) -> None:
    curve = pa.struct([CURVE.field(0), CURVE.field(1), pa.field("d:tag", kind)])
    schema = pa.schema([SCHEMA.field(0), pa.field("lightcurve", pa.list_(curve))])
    tags = [["valid", "upperlim", None], ["badquality"], []]
    points = [
        [{"i:jd": JD + number, "i:magpsf": 18.0 if tag == "valid" else None, "d:tag": tag} for number, tag in enumerate(some)]
        for some in tags
    ]
    cells = [one for some in points for one in some]
    struct = pa.StructArray.from_arrays(
        [
            pa.array([one[field.name] for one in cells], pa.string() if field.name == "d:tag" else field.type).cast(field.type)
            for field in curve
        ],
        fields=list(curve),
    )
    batch = pa.record_batch([pa.array(["a", "b", "c"]), pa.ListArray.from_arrays([0, 3, 4, 4], struct)], schema=schema)
    kept = pad(batch, Padding(missing="keep"))
    assert kept.columns == ("i:magpsf",)
    assert kept.texts["d:tag"].tolist() == [["valid", "upperlim", ""], ["badquality", "", ""], ["", "", ""]]
    assert kept.mask.tolist() == [[True, True, True], [True, False, False], [False, False, False]]
    assert (kept.texts["d:tag"] == "valid").tolist() == [[True, False, False], [False] * 3, [False] * 3]
    assert np.isnan(kept.values[0, 1:, 0]).all()
    dropped = pad(batch, Padding(missing="drop"))
    assert (dropped.texts["d:tag"].tolist(), dropped.mask.tolist()) == ([["valid"], [""], [""]], [[True], [False], [False]])
    cut = pad(batch, Padding(missing="keep", length=2, longest="last"))
    assert cut.texts["d:tag"].tolist() == [["upperlim", ""], ["badquality", ""], ["", ""]]
    assert cut.cut == 1
    alone = pad(batch.slice(0, 1), Padding(missing="fill", fill=-1.0))
    assert alone.texts["d:tag"].tolist() == [["valid", "upperlim", ""]], "also without any padding"
    assert pad(batch, Padding(columns=("i:magpsf",), missing="keep")).texts == {}
    named = pad(batch, Padding(columns=("d:tag", "i:magpsf"), missing="keep"))
    assert (named.columns, list(named.texts)) == (("i:magpsf",), ["d:tag"])
    assert repr(kept) == "<Padded: 3 objects x 3 points x 1 columns, texts d:tag>"


def test_light_curves_with_upper_limits_are_padded(client: fl.FlightClient) -> None:
    ticket = {"table": "ztf", "ids": ["ZTF25aauurnj"], "columns": ["i:jd", "i:magpsf", "i:diffmaglim"]}
    curves = ask(client, **ticket, upper_limits=True, layout="nested").table
    points = curves["lightcurve"][0].as_py()
    padded = pad(curves, Padding(missing="keep"))
    assert padded.columns == ("i:magpsf", "i:diffmaglim")
    assert padded.texts["d:tag"].tolist() == [[point["d:tag"] for point in points]]
    detected = padded.texts["d:tag"] != "upperlim"
    assert np.isfinite(padded.values[detected][:, 0]).all()
    assert np.isnan(padded.values[~detected][:, 0]).all()
    assert detected.sum() == pad(curves, Padding(missing="drop", columns=("i:magpsf",))).lengths.sum()


def test_a_further_time_is_not_rounded_by_hours() -> None:
    batch = curve_with(pa.field("i:jdstarthist", pa.float64(), metadata=UTC), pa.field("i:ra", pa.float64()))
    with pytest.raises(BadValue, match=r"2 columns have a time scale \(i:jd, i:jdstarthist\): name the column"):
        pad(batch)
    with pytest.raises(BadValue, match="i:jdstarthist is a time, which float32 rounds to hours"):
        pad(batch, Padding(time="i:jd"))
    assert pad(batch, Padding(time="i:jd", columns=("i:ra",))).times.tolist() == [[JD]]


def test_unknown_columns_and_other_layouts_are_refused() -> None:
    with pytest.raises(UnknownColumn, match="no column 'i:mag', only i:jd, i:magpsf"):
        pad(batch_of([[simple()]]), Padding(columns=("i:mag",)))
    with pytest.raises(BadValue, match="layout nested"):
        pad(pa.record_batch({"i:objectId": ["a"], "i:jd": [JD]}))


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"missing": "zero"}, "missing"),
        ({"longest": "best", "length": 3}, "longest"),
        ({"longest": "first"}, "longest"),
        ({"length": 0}, "length"),
        ({"missing": "fill"}, "fill"),
        ({"fill": 0.0}, "fill"),
    ],
)
def test_choices_that_make_no_sense_are_refused(choice: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as caught:
        Padding(**choice)
    assert caught.value.field == field


def test_tables_and_large_lists_are_taken_and_nothing_is_fine() -> None:
    batch = batch_of([[simple()], [simple()] * 3])
    table = pa.Table.from_batches([batch, batch.slice(1)])
    assert pad(table).lengths.tolist() == [1, 3, 3]
    assert pad(SCHEMA.empty_table()).values.shape == (0, 0, 4)
    assert pad(batch.slice(2), Padding(length=5)).values.shape == (0, 5, 4)
    large = pa.record_batch([batch.column(0), batch.column(1).cast(pa.large_list(CURVE))], names=SCHEMA.names)
    same(pad(large).values, pad(batch).values)


def test_a_padded_batch_says_what_it_is_in_one_line() -> None:
    found = [[simple(), simple(**{"i:magpsf": None})], [simple()] * 3]
    padded = pad(batch_of(found), Padding(missing="drop", length=2, longest="last"))
    assert repr(padded) == "<Padded: 2 objects x 2 points x 4 columns, 1 dropped, 1 cut>"
    assert len(padded) == 2
    assert pickle.loads(pickle.dumps(padded)).lengths.tolist() == [1, 2]


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=8), objects=st.integers(1, 7))
def test_regrouping_keeps_all_rows_in_order(sizes: list[int], objects: int) -> None:
    ends = np.cumsum([0, *sizes]).tolist()
    batches = [pa.record_batch({"id": pa.array(range(first, last), pa.int64())}) for first, last in pairwise(ends)]
    found = list(regroup(batches, objects))
    assert [value for batch in found for value in batch["id"].to_pylist()] == list(range(ends[-1]))
    assert all(len(batch) == objects for batch in found[:-1])
    assert all(1 <= len(batch) <= objects for batch in found[-1:])
