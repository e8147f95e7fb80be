"""Reordering of rows from key order to time order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from flight_server.execution.newest_first import newest_first
from flight_server.storage.scans import Rows

times = st.builds(
    lambda day, digits, places: round(day + digits / 10**7, places),
    st.integers(2459092, 2459094),
    st.sampled_from([0, 5000000, 5100000, 5110000, 5111111, 1234567, 1230000, 1200000, 1000000, 9999999]),
    st.integers(1, 7),
)


def key(time: float, name: str) -> bytes:
    return f"SN_{np.format_float_positional(time, trim='0')}_{name}".encode()


def text_of(key: bytes) -> str:
    return key.split(b"_")[1].decode()


@settings(deadline=None)
@given(st.lists(st.tuples(times, st.sampled_from("abc")), unique=True, max_size=40), st.integers(1, 7))
def test_rows_come_by_time_whatever_their_text(found: list[tuple[float, str]], size: int) -> None:
    by_key = sorted(found, key=lambda one: key(*one), reverse=True)

    def stored() -> Iterator[Rows]:
        for first in range(0, len(by_key), size):
            some = by_key[first : first + size]
            batch = pa.record_batch({"t": [time for time, _ in some], "n": [name for _, name in some]})
            yield Rows(batch, np.zeros(len(some), dtype=np.int64), np.array([key(*one) for one in some]))

    given_ = list(newest_first(stored(), "t", text_of))
    rows = [(row["t"], row["n"]) for some in given_ for row in some.batch.to_pylist()]
    assert rows == sorted(found, key=lambda one: (-one[0], key(*one)))
    assert [k for some in given_ for k in some.keys.tolist()] == [key(*row) for row in rows]


def test_rows_of_full_length_times_do_not_wait() -> None:
    times = [2459092.1234567 - number / 1000 for number in range(100)]
    batch = pa.record_batch({"t": times})
    rows = Rows(batch, np.zeros(100, dtype=np.int64), np.array([key(time, "a") for time in times]))
    first = next(newest_first(iter([rows]), "t", text_of))
    assert len(first.batch) == 99
