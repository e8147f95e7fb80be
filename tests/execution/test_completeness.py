import json
from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.execution.completeness import CompletenessCounter
from flight_server.storage.scans import Rows

MOST = 262_144


def rows(asked):
    asked = np.array(asked, dtype=np.int64)
    batch = pa.record_batch({"n": pa.array(asked)})
    return Rows(batch, asked, np.array([b"k%d" % n for n in asked], dtype="S8"))


def record_of(counter, cursor=None):
    return counter.record(7, cursor, {})


@given(st.integers(0, 30), st.lists(st.lists(st.integers(0, 29), min_size=1), max_size=6))
def test_each_asked_object_was_seen_or_is_missing(count, batches):
    ids = [f"ZTF{n}" if n % 2 else n for n in range(count)]
    batches = [[n % count for n in batch] for batch in batches] if count else []
    counter = CompletenessCounter(ids)
    for batch in batches:
        counter.count(rows(batch), None)
    seen = {n for batch in batches for n in batch}
    record = record_of(counter).to_dict()
    assert (record["rows"], record["objects"]) == (sum(map(len, batches)), len(seen))
    assert record["missing_ids"] == [value for n, value in enumerate(ids) if n not in seen]
    assert record["missing"] == len(record["missing_ids"])
    assert (record["complete"], record["cursor"], record["as_of"]) == (True, None, 7)
    assert list(record_of(counter).notes()) == []


def noted(counter):
    notes = list(record_of(counter).notes())
    return notes, [value for note in [*notes, record_of(counter).to_dict()] for value in note["missing_ids"]]


@pytest.mark.parametrize(
    "ids",
    [
        [f"ZTF20abf{n:05d}" for n in range(40_000)],
        list(range(10**17, 10**17 + 30_000)),
        ["é" * 100 + str(n) for n in range(3_000)],
        ['"\\' * 200 + str(n) for n in range(1_000)],
        ["x" * 200_000, "y" * 200_000, "z", "w" * 250_000],
        ["x" * 300_000, "y"],
    ],
    ids=["texts", "numbers", "accents", "escapes", "long", "longer than a note"],
)
def test_many_missing_ids_are_spread_over_notes_and_none_is_lost(ids):
    counter = CompletenessCounter(ids)
    notes, found = noted(counter)
    assert found == ids
    assert record_of(counter).to_dict()["missing"] == len(ids)
    assert all(list(note) == ["missing_ids"] and note["missing_ids"] for note in notes)
    assert all(len(json.dumps(note)) <= MOST or len(note["missing_ids"]) == 1 for note in notes)
    assert len(json.dumps(record_of(counter).to_dict())) <= MOST + 1024


@pytest.mark.parametrize("length", range(MOST - 70, MOST + 8))
def test_nothing_is_lost_near_the_limit(length):
    ids = ["a" * (length - 14), "b", "c"]
    notes, found = noted(CompletenessCounter(ids))
    assert found == ids
    assert bool(notes) == (len(json.dumps(ids)) > MOST)


def test_after_a_limit_nothing_is_said_to_be_missing():
    counter = CompletenessCounter(["a", "b"])
    counter.count(rows([0]), None)
    counter.complete = False
    record = record_of(counter, "here").to_dict()
    assert (record["complete"], record["missing"], record["missing_ids"], record["cursor"]) == (False, 0, [], "here")
    assert list(record_of(counter).notes()) == []


@given(st.lists(st.lists(st.sampled_from("aabc"), min_size=1, max_size=6), max_size=6))
def test_objects_of_a_whole_table_are_counted_over_the_borders_of_batches(batches):
    counter = CompletenessCounter(None)
    for batch in batches:
        counter.count(rows([0] * len(batch)), pa.array(batch))
    flat = [value for batch in batches for value in batch]
    assert record_of(counter).to_dict()["objects"] == len(list(groupby(flat)))
    assert record_of(counter).to_dict()["rows"] == len(flat)
    assert record_of(counter).to_dict()["missing_ids"] == []


def test_the_record_is_json_with_the_words_of_the_design():
    counter = CompletenessCounter(["a"])
    counter.cutouts.errors.update(["bad_gzip", "bad_gzip"])
    record = json.loads(json.dumps(record_of(counter).to_dict()))
    words = ["complete", "rows", "objects", "missing", "missing_ids", "failed_cutouts"]
    words += ["missing_cutouts", "cutout_errors", "cutout_bytes_read"]
    assert list(record) == [*words, "as_of", "cursor"]
    assert record["cutout_errors"] == {"bad_gzip": 2}


def test_an_object_known_to_have_rows_is_neither_missing_nor_counted():
    counter = CompletenessCounter(["a", "b", "c", "d"])
    counter.mark_present(np.array([0, 0]))
    counter.mark_present(1)
    counter.count(rows([1, 2]), None)
    record = record_of(counter).to_dict()
    assert (record["rows"], record["objects"], record["missing_ids"]) == (2, 2, ["d"])


def test_objects_that_are_found_on_the_way_are_seen_or_missing():
    ids = ["a"]
    counter = CompletenessCounter(ids)
    counter.count(rows([0]), None)
    for number in range(1, 50):
        ids += [f"b{number}", f"c{number}"]
        counter.count(rows([2 * number]), None)
    counter.mark_present(3)
    assert counter.objects == 50
    assert counter.missing() == [f"b{number}" for number in range(1, 50) if number != 2]


def test_more_objects_than_fit_in_memory_are_not_counted(monkeypatch):
    monkeypatch.setattr("flight_server.execution.completeness.MOST_DISTINCT", 3)
    counter = CompletenessCounter(None, mixed=True)
    for number, ids in enumerate((["a", "b"], ["b", "c"], ["d"], ["a"])):
        counter.count(rows(range(len(ids))), pa.array(ids))
        assert counter.objects == (2, 3, None, None)[number]
    assert record_of(counter).to_dict()["objects"] is None
    assert record_of(counter).rows == 6
