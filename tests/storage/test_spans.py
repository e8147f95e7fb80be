"""Spans of row keys, on both stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from alert_data import NEWEST, NIGHT, TDE
from archives import Opened

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.storage.scans import Scan, Span

CATALOGUE = load_catalog()
TABLE = CATALOGUE.table("ztf")
COLUMNS = Projection([CATALOGUE.known["ztf"]["i:objectId"], CATALOGUE.known["ztf"]["i:jd"]])


def read(opened: Opened, **words: Any) -> tuple[list[bytes], list[int]]:
    found = [rows for rows in opened.store.view().scan(Scan(table=TABLE, columns=COLUMNS, **words)) if len(rows.batch)]
    keys = [key for rows in found for key in rows.keys.tolist()]
    assert keys == [f"{row['i:objectId']}_{row['i:jd']}".encode() for rows in found for row in rows.batch.to_pylist()]
    return keys, [place for rows in found for place in rows.request_index.tolist()]


@pytest.fixture(scope="module")
def three(make_store: Callable[[], Opened]) -> Opened:
    """A store of three files, each a segment in the embedded store."""
    opened = make_store()
    for path in (TDE, NIGHT, NEWEST):
        opened.ingest(path)
    return opened


def test_spans_give_what_begins_alike_in_the_order_asked(three: Opened) -> None:
    every, _ = read(three)
    names = sorted({key.partition(b"_")[0].decode() for key in every})
    spans = [Span(values=(names[5],)), Span(prefix="ZTF20abf"), Span(values=("ZTF99none",)), Span(values=(names[2],))]
    keys, asked = read(three, spans=spans)
    starts = [f"{names[5]}_", "ZTF20abf", "ZTF99none_", f"{names[2]}_"]
    expected = [(number, key) for number, start in enumerate(starts) for key in every if key.startswith(start.encode())]
    assert list(zip(asked, keys, strict=True)) == expected
    assert len(expected) > 20
    assert read(three, spans=[]) == ([], [])
    assert read(three, spans=[Span(values=("x" * 2000,))]) == ([], [])


def test_a_span_of_everything_is_the_table(three: Opened) -> None:
    every, _ = read(three)
    assert read(three, spans=[Span()])[0] == every
    assert read(three, spans=[Span()], reverse=True)[0] == every[::-1]


def test_a_span_of_several_values_is_all_between_the_first_and_the_last(three: Opened) -> None:
    every, _ = read(three)
    names = sorted({key.partition(b"_")[0].decode() for key in every})
    keys, _ = read(three, spans=[Span(values=(names[2],), last=names[6])])
    assert keys == [key for key in every if names[2] <= key.partition(b"_")[0].decode() <= names[6]]
    assert len({key.partition(b"_")[0] for key in keys}) == 5


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_ends_before_a_key(three: Opened, reverse: bool) -> None:
    every, _ = read(three)
    for place in (0, 1, len(every) // 2, len(every) - 1):
        keys, _ = read(three, spans=[Span()], before=every[place], reverse=reverse)
        assert keys == (every[:place][::-1] if reverse else every[:place])


def test_times_bound_a_span_and_reverse_turns_it(three: Opened) -> None:
    every, _ = read(three, spans=[Span(values=("ZTF20abfcszi",))])
    times = [float(key.partition(b"_")[2]) for key in every]
    middle = float(np.median(times))
    for start, stop in ((middle, None), (None, middle), (times[3], times[9]), (times[0] - 1000, times[-1] + 1000), (1.5, 2.5)):
        span = Span(values=("ZTF20abfcszi",), start=start, stop=stop)
        keys, _ = read(three, spans=[span])
        meant = [k for k, t in zip(every, times, strict=True) if (start is None or t >= start) and (stop is None or t < stop)]
        assert set(meant) <= set(keys) <= set(every)
        assert keys == sorted(keys)
        assert start == 1.5 or all(stop is None or float(key.partition(b"_")[2]) < np.floor(stop) + 1 for key in keys)
        assert read(three, spans=[span], reverse=True)[0] == keys[::-1]


def test_a_reversed_span_can_be_left_early(three: Opened) -> None:
    every, _ = read(three)
    scan = three.store.view().scan(Scan(table=TABLE, columns=COLUMNS, spans=[Span(prefix="ZTF")], reverse=True))
    first = next(rows for rows in scan if len(rows.batch))
    scan.close()  # type: ignore[attr-defined]
    assert first.keys[0] == every[-1]
