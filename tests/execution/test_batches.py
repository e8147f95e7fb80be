import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.execution.batches import cut
from flight_server.protocol.errors import RowTooLarge
from flight_server.storage.scans import Rows

MIB = 1_048_576
DEFAULT = 3_670_016
SCHEMA = pa.schema([("n", pa.int32()), ("b", pa.bool_()), ("stamp", pa.binary())])


def rows(sizes, first=0):
    """Rows numbered from `first` on, each with a cutout of a number of bytes, or null."""
    numbers = np.arange(first, first + len(sizes))
    stamps = pa.array([None if size is None else bytes(size) for size in sizes], pa.binary())
    flags = pa.array([None if size is None else True for size in sizes], pa.bool_())
    batch = pa.record_batch([pa.array(numbers, pa.int32()), flags, stamps], schema=SCHEMA)
    return Rows(batch, numbers, np.array([b"key%d" % n for n in numbers], dtype="S12"))


def numbered(pieces):
    first = 0
    for sizes in pieces:
        yield rows(sizes, first)
        first += len(sizes)


def size(some):
    return pa.ipc.get_record_batch_size(some.batch)


PIECES = st.lists(st.lists(st.none() | st.integers(0, 1500), min_size=1, max_size=40), max_size=12)


@given(PIECES, st.integers(8_000, 60_000))
def test_every_row_comes_once_and_in_order_and_fits(pieces, most):
    found = list(cut(numbered(pieces), most))
    total = sum(len(sizes) for sizes in pieces)
    for some in found:
        assert len(some.batch) == len(some.request_index) == len(some.keys)
        assert size(some) <= most
    for of in (lambda s: s.batch["n"].to_pylist(), lambda s: s.request_index.tolist()):
        assert [n for some in found for n in of(some)] == list(range(total))
    assert [key for some in found for key in some.keys.tolist()] == [b"key%d" % n for n in range(total)]
    lengths = [None if s is None else len(s) for some in found for s in some.batch["stamp"].to_pylist()]
    assert lengths == [n for sizes in pieces for n in sizes]


def test_messages_are_at_most_two_mebibytes():
    found = list(cut(numbered([[900_000] * 7, [100] * 50, [3 * MIB], [1_999_000], [40_000] * 200]), DEFAULT))
    assert all(size(some) <= 2 * MIB or len(some.batch) == 1 for some in found)
    assert max(size(some) for some in found) > 3 * MIB


def test_a_piece_of_uneven_rows_is_cut_at_two_mebibytes_too():
    found = list(cut(numbered([[MIB] * 3 + [10] * 100]), DEFAULT))
    assert all(size(some) <= 2 * MIB for some in found)


def test_small_pieces_are_joined_into_one_to_two_mebibytes():
    found = list(cut(numbered([[10_000]] * 800), DEFAULT))
    assert [len(found[0].batch), sum(len(some.batch) for some in found)] == [1, 800]
    # pieces are weighed before they are joined, which saves some of their weight
    assert all(0.9 * MIB <= size(some) <= 2 * MIB for some in found[1:-1])


def test_joining_never_makes_a_message_larger_than_asked():
    most = 1_000_000
    first, with_null, last = ([1], [None], [])
    plain = pa.schema([("n", pa.int32()), ("m", pa.int32())])

    def many(values):
        batch = pa.record_batch([pa.array(values, pa.int32())] * 2, schema=plain)
        return Rows(batch, np.arange(len(values)), np.full(len(values), b"k"))

    last = [1] * ((most - 8_000) // 8)  # nearly full, and without a null needs no bitmap
    found = list(cut(iter([many(values) for values in (first, with_null, last)]), most))
    assert max(pa.ipc.get_record_batch_size(some.batch) for some in found) <= most


@pytest.mark.parametrize("sizes", [[10], [600_000] * 8, [None]], ids=["small", "to be cut", "null"])
def test_the_first_rows_leave_before_more_are_read(sizes):
    asked = []

    def source():
        for number in range(3):
            asked.append(number)
            yield rows(sizes)

    next(cut(source(), DEFAULT))
    assert asked == [0]


@pytest.mark.parametrize("before", [[], [5, 5], [400_000]])
def test_a_row_that_cannot_fit_is_named(before):
    with pytest.raises(RowTooLarge) as caught:
        list(cut(numbered([before, [7, 700_000, 7]]), 500_000))
    key = f"key{len(before) + 1}"
    assert (caught.value.code, caught.value.value) == ("row_too_large", key)
    assert key in caught.value.message


def test_a_message_too_small_for_any_row_is_row_too_large():
    for most in (1, 2048, 2100):
        with pytest.raises(RowTooLarge):
            list(cut(numbered([[1]]), most))


def test_joined_and_part_are_inverse():
    pieces = list(numbered([[1, None], [3], [4, 5, 6]]))
    whole = Rows.concat(pieces)
    again = [whole.slice(0, 2), whole.slice(2, 1), whole.slice(3, 3)]
    for mine, theirs in zip(again, pieces, strict=True):
        assert mine.batch.equals(theirs.batch)
        assert mine.request_index.tolist() == theirs.request_index.tolist()
        assert mine.keys.tolist() == theirs.keys.tolist()
    assert Rows.concat(pieces[:1]) is pieces[0]
