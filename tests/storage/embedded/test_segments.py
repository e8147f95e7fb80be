import bisect
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Column, Projection
from flight_server.protocol.errors import AlertflightError, CorruptData
from flight_server.storage.embedded.segment_cache import SegmentCache
from flight_server.storage.embedded.segment_output import SegmentOutput
from flight_server.storage.embedded.segments import WRITTEN, Segment, SegmentProjection

TABLE = load_catalog().table("ztf")


def make(folder, rows, keys, pieces=1):
    """Write a segment to the two files that its name `s` stands for, in one piece or several."""
    whole = rows.append_column(WRITTEN, pa.array(np.full(len(rows), 5)))
    output = SegmentOutput(folder, TABLE, whole.schema, key_width=keys.dtype.itemsize, number=1)
    step = -(-len(rows) // pieces)
    for first in range(0, len(rows), step):
        output.append(whole.slice(first, step), keys[first : first + step])
    (record,) = output.finish()
    for file in (folder / "segments" / "ztf").iterdir():
        file.replace(folder / f"s{file.suffix}")
    return record


def sample(rows):
    table = pa.table(
        {"i:jd": np.arange(rows) + 0.5, "d:tns": pa.array([None if n % 3 else f"é{n}" for n in range(rows)], pa.string())}
    )
    return table, np.array([b"%07d" % n for n in range(rows)], dtype="S9")


@pytest.mark.parametrize(("rows", "batches"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2500, 3)])
def test_what_was_written_is_read(tmp_path, rows, batches):
    table, keys = sample(rows)
    segment = Segment(tmp_path / "s", make(tmp_path, table, keys))
    assert segment.schema.names == [*table.schema.names, WRITTEN]
    assert segment.keys(0, rows).tolist() == keys.tolist()
    read = pa.Table.from_batches([segment.batch(n) for n in range(batches)])
    assert read.drop_columns([WRITTEN]).equals(table)
    assert [len(segment.batch(n)) for n in range(batches)] == [1000] * (batches - 1) + [rows - 1000 * (batches - 1)]
    with pytest.raises(IndexError):
        segment.batch(batches)
    assert pa.ipc.open_file(pa.memory_map(str(tmp_path / "s.arrow"))).read_all().equals(read)
    assert (segment.record.rows, segment.record.first_time, segment.record.last_time) == (rows, 0.5, rows - 0.5)


@pytest.mark.parametrize("parts", [2, 7, 900])
def test_rows_that_arrive_in_parts_are_written_as_if_at_once(tmp_path, parts):
    table, keys = sample(2500)
    (tmp_path / "parts").mkdir()
    parted, whole = (
        Segment(at / "s", make(at, table, keys, count)) for at, count in ((tmp_path / "parts", parts), (tmp_path, 1))
    )
    assert parted.keys(0, 2500).tolist() == whole.keys(0, 2500).tolist()
    assert all(parted.batch(number).equals(whole.batch(number)) for number in range(3))
    assert parted.fences.tolist() == whole.fences.tolist()


def test_a_table_of_many_chunks_and_an_offset_is_written_whole(tmp_path):
    table, keys = sample(1500)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 900), table.slice(901)]).slice(7)
    segment = Segment(tmp_path / "s", make(tmp_path, chunked, keys[7:]))
    read = pa.Table.from_batches([segment.batch(0), segment.batch(1)])
    assert read.drop_columns([WRITTEN]).equals(chunked)


def spans(file):
    """Return begin and end of the schema and of each batch in a file."""
    reader = pa.BufferReader(file.read_bytes())
    reader.seek(8)
    found = [8]
    for _ in range(1 + pa.ipc.open_file(file).num_record_batches):
        pa.ipc.read_message(reader)
        found.append(reader.tell())
    return list(pairwise(found))


def damaged(file, position, bit=0x10):
    content = bytearray(file.read_bytes())
    content[position] ^= bit
    file.write_bytes(content)


def test_any_flipped_byte_of_a_batch_is_corrupt_data(tmp_path):
    table, keys = sample(3)
    record = make(tmp_path, table, keys)
    file = tmp_path / "s.arrow"
    for position in range(*spans(file)[1]):
        damaged(file, position)
        with pytest.raises(CorruptData) as caught:
            Segment(tmp_path / "s", record).batch(0)
        assert caught.value.field == "ztf"
        assert "from 0000000 on" in caught.value.message
        assert str(tmp_path) not in caught.value.message
        damaged(file, position)
    assert Segment(tmp_path / "s", record).batch(0).select(table.schema.names).to_pylist() == table.to_pylist()


def test_a_flipped_byte_spoils_its_own_batch_only(tmp_path):
    table, keys = sample(2500)
    record = make(tmp_path, table, keys)
    damaged(tmp_path / "s.arrow", spans(tmp_path / "s.arrow")[2][0] + 300)
    segment = Segment(tmp_path / "s", record)
    assert len(segment.batch(0)) + len(segment.batch(2)) == 1500
    for _ in range(2):  # it stays found
        with pytest.raises(CorruptData) as caught:
            segment.batch(1)
    assert "from 0001000 up to 0002000" in caught.value.message


def test_no_flipped_byte_of_the_schema_changes_what_is_read_in_silence(tmp_path):
    table, keys = sample(3)
    record = make(tmp_path, table, keys)
    file = tmp_path / "s.arrow"
    wrong = set()
    for position in range(*spans(file)[0]):
        damaged(file, position)
        try:
            segment = Segment(tmp_path / "s", record)
            if segment.batch(0).select(table.schema.names).schema != table.schema or segment.batch(0).num_rows != 3:
                wrong.add("read as something else")
        except CorruptData:
            pass
        except Exception as error:
            wrong.add(type(error).__name__)
        damaged(file, position)
    assert wrong == set()


@pytest.mark.parametrize("file", ["s.arrow", "s.keys"])
@pytest.mark.parametrize("left", [0, 1, 0.5, -1], ids=["nothing", "one byte", "half", "all but one byte"])
def test_a_truncated_file_is_corrupt_data_when_it_is_opened(tmp_path, file, left):
    record = make(tmp_path, *sample(30))
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: int(len(content) * left) if isinstance(left, float) else left])
    with pytest.raises(CorruptData) as caught:
        Segment(tmp_path / "s", record)
    assert caught.value.field == "ztf"
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("file", ["s.arrow", "s.keys"])
def test_a_missing_or_longer_file_is_corrupt_data(tmp_path, file):
    record = make(tmp_path, *sample(3))
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content + b"\0")
    with pytest.raises(AlertflightError, match="bytes"):
        Segment(tmp_path / "s", record)
    (tmp_path / file).unlink()
    with pytest.raises(CorruptData):
        Segment(tmp_path / "s", record)


TEXTS = st.text("ab_~é", min_size=1, max_size=6).map(str.encode)


@given(
    st.lists(TEXTS, min_size=1, max_size=20, unique=True),
    st.lists(st.text("ab_~é", min_size=1, max_size=20).map(str.encode), max_size=20),
)
def test_search_finds_the_places_of_needles_of_any_width(tmp_path_factory, keys, needles):
    keys = sorted(keys)
    needles = needles + keys + [key + b"a" for key in keys]
    folder = tmp_path_factory.mktemp("s")
    segment = Segment(folder / "s", make(folder, pa.table({"n": range(len(keys))}), np.array(keys, dtype=np.bytes_)))
    for side, place in (("left", bisect.bisect_left), ("right", bisect.bisect_right)):
        assert segment.search(np.array(needles, dtype=np.bytes_), side).tolist() == [place(keys, needle) for needle in needles]


def test_search_over_many_batches(tmp_path):
    table, keys = sample(3500)
    segment = Segment(tmp_path / "s", make(tmp_path, table, keys))
    needles = [*keys.tolist(), *(key + b"x" for key in keys.tolist()), b"", b"~"]
    for side, place in (("left", bisect.bisect_left), ("right", bisect.bisect_right)):
        found = segment.search(np.array(needles, dtype=np.bytes_), side)
        assert found.tolist() == [place(keys.tolist(), needle) for needle in needles]


def test_a_flipped_key_is_corrupt_data_for_those_who_touch_its_batch(tmp_path):
    table, keys = sample(2500)
    record = make(tmp_path, table, keys)
    damaged(tmp_path / "s.keys", 1500 * keys.dtype.itemsize + 6)
    segment = Segment(tmp_path / "s", record)
    assert segment.search(np.array([b"0000999", b"0002001"])).tolist() == [999, 2001]
    for touch in (lambda: segment.search(np.array([b"0001001"])), lambda: segment.keys(999, 1001)):
        with pytest.raises(CorruptData, match="from 0001000 up to 0002000"):
            touch()


def test_columns_that_a_segment_lacks_are_typed_nulls(tmp_path):
    segment = Segment(tmp_path / "s", make(tmp_path, *sample(3)))
    columns = Projection([Column(name="new", type=pa.float32()), Column(name="i:jd", type=pa.float64())])
    batch = SegmentProjection(segment, columns).batch(0)
    assert batch.schema == columns.schema
    assert batch.to_pydict() == {"new": [None] * 3, "i:jd": [0.5, 1.5, 2.5]}


def test_the_cache_keeps_what_was_used_last():
    cache, made = SegmentCache(2), []

    def get(name):
        batch = lambda number: made.append(name) or pa.record_batch({name: [number]})  # noqa: E731
        return cache.batch(SimpleNamespace(key=(1, name), segment=SimpleNamespace(generation=1), batch=batch), 1).batch

    for name in "abacab":
        assert get(name).schema.names == [name]
    assert made == ["a", "b", "c", "b"]
