import base64

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.planning.cursors import Place, read_cursor
from flight_server.protocol.errors import CursorMismatch
from flight_server.storage.scans import Rows

OURS, THEIRS = "0123456789ab", "0123456789ac"
KEYS = st.binary(min_size=1, max_size=60).map(lambda key: key.rstrip(b"\0")).filter(bool)
U32, U63 = st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1)
PLACES = st.builds(Place, U32, KEYS, st.integers(1, 2**32 - 1), U63, U32, U63, st.binary(min_size=8, max_size=8))


def rows(asked, keys):
    asked = np.array(asked, dtype=np.int64)
    return Rows(pa.record_batch({"n": pa.array(asked)}), asked, np.array(keys, dtype="S8"))


@given(PLACES)
def test_a_cursor_is_read_as_it_was_made_by_its_own_query_alone(place):
    text = place.cursor(OURS)
    assert read_cursor(text, OURS, place.request_index + 1) == place
    for fingerprint, objects in ((THEIRS, place.request_index + 1), (OURS, place.request_index)):
        with pytest.raises(CursorMismatch) as caught:
            read_cursor(text, fingerprint, objects)
        assert caught.value.field == "resume_after"


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([b"a", b"b"])), min_size=1, max_size=30), st.data())
def test_a_place_counts_the_rows_of_its_key_over_the_borders_of_messages(items, data):
    items.sort()
    cuts = data.draw(st.lists(st.integers(1, len(items)), unique=True).map(sorted)) or [len(items)]
    place, first = None, 0
    for last in cuts:
        some = items[first:last]
        place = Place.behind(rows([a for a, _ in some], [k for _, k in some]), place)
        asked, key = items[last - 1]
        assert place == Place(asked, key, items[:last].count((asked, key)), last)
        first = last


def test_a_key_of_any_bytes_fits_beside_a_batch():
    for key in (b"\xff\x00\x01" * 340 + b"x", b'"\\' * 512):
        text = Place(7, key, 1, 2**40).cursor(OURS)
        assert len(text) < 1500
        assert read_cursor(text, OURS, 8).key == key


def place(request_index=0, key=b"k", same=1):
    return Place(request_index, key, same, 0).cursor(OURS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "\ud800",
        "AAAA",
        "!" * 40,
        place()[:-1],
        place() + "=",
        place() + "\n",
        place(key=b""),
        place(same=0),
        place(request_index=1),
        place(key=b"k" * 5000),
        base64.urlsafe_b64encode(b"\x01").decode(),
    ],
    ids=repr,
)
def test_what_is_no_cursor_is_a_mismatch(text):
    with pytest.raises(CursorMismatch):
        read_cursor(text, OURS, 1)


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda content: base64.urlsafe_b64encode(content).decode()))
def test_any_text_is_a_place_or_a_mismatch(text):
    try:
        assert read_cursor(text, OURS, 5).request_index < 5
    except CursorMismatch as error:
        assert 0 < len(error.message) < 300
