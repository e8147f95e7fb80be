"""Spans in reverse over many regions, some of them empty, with bounds that are rows, bounds of regions, or neither."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from archives import Opened
from hbase_stores import HBaseStores

from flight_server.catalog.catalog import load_catalog
from flight_server.storage.scans import Scan, Span

NAMES = ("AAA", "ZTF18a", "ZTF18aa", "ZTF18ab", "ZTF20b", "ZTF20bb", "ZTF20bc", "ZTF21é", "ZTF9", "schemer", "zzz")
TIMES = (2458999.5, 2459000.5, 2459000.75, 2459010.25)
# the first row, the first key of an object, a row, the end of an object's keys, between objects, a long prefix, two behind all
SPLITS = (
    b"AAA_2458999.5",
    b"ZTF18aa_",
    b"ZTF18ab_2459000.5",
    b"ZTF20b`",
    b"ZTF20bb_2459000.6",
    b"ZTF20c",
    b"ZTF20d",
    b"ZTF21\xc3\xa9_2459000.75",
    b"schema",
    b"zzzz",
    b"zzzzz",
)
OLD, NEW = 1_600_000_000_000, 1_700_000_000_000  # when rows were written
ROWS = {f"{name}_{time}".encode(): (name, time, NEW if time == TIMES[2] else OLD) for name in NAMES for time in TIMES}
KEYS = sorted(ROWS)


@pytest.fixture(scope="module")
def split(hbase_stores: HBaseStores) -> Opened:
    """A table of twelve regions."""
    prefix = hbase_stores.prefix()
    admin = hbase_stores.admin
    admin.create(f"{prefix}ztf", splits=SPLITS)
    assert len(admin.regions(f"{prefix}ztf")) == len(SPLITS) + 1
    admin.put_schema(f"{prefix}ztf", "schema_1.0_1.0", {"i:objectId": "string", "i:jd": "double"})
    for written in (OLD, NEW):
        rows = {
            key: {"i:objectId": name.encode(), "i:jd": struct.pack(">d", time), "i:odd": b"?"}
            for key, (name, time, when) in ROWS.items()
            if when == written
        }
        admin.put_rows(f"{prefix}ztf", rows, written)
    return hbase_stores.open(prefix)


def keys_of(opened: Opened, **words: Any) -> list[bytes]:
    view = opened.store.view()
    catalog = load_catalog().with_stored(view.columns)
    table = catalog.table("ztf")
    columns = catalog.columns(table, ["i:objectId", "i:jd"])
    parts = [rows for rows in view.scan(Scan(table=table, columns=columns, **words)) if len(rows.keys)]
    found = [key for rows in parts for key in rows.keys.tolist()]
    read = [(row["i:objectId"], row["i:jd"]) for rows in parts for row in rows.batch.to_pylist()]
    assert read == [ROWS[key][:2] for key in found]
    return found


def prefixes() -> set[str]:
    """Return all prefixes of keys, and some prefixes of no key."""
    texts = [key.decode() for key in KEYS]
    return {text[:length] for text in texts for length in range(len(text) + 1)} | {"ZTF20d", "ZTF7", "a", "zzzzzz", "0"}


def test_every_beginning_of_a_key_is_read_in_both_directions(split: Opened) -> None:
    assert len(prefixes()) > 150
    for prefix in sorted(prefixes()):
        expected = [key for key in KEYS if key.startswith(prefix.encode())]
        assert keys_of(split, spans=[Span(prefix=prefix)]) == expected, prefix
        assert keys_of(split, spans=[Span(prefix=prefix)], reverse=True) == expected[::-1], prefix


def test_many_spans_may_lie_across_regions(split: Opened) -> None:
    starts = ["s", "ZTF18", "0", "zzz", "ZTF20", "ZTF9", "A", "ZTF21", "ZTF7"]
    spans = [Span(prefix=start) for start in starts]
    expected = [key for start in starts for key in KEYS if key.startswith(start.encode())]
    assert len(expected) == len(KEYS)
    assert keys_of(split, spans=spans) == expected
    overlapping = [Span(prefix="ZTF20"), Span(), *spans]
    assert keys_of(split, spans=overlapping) == [*(key for key in KEYS if key.startswith(b"ZTF20")), *KEYS, *expected]


def test_times_bound_a_span_in_reverse(split: Opened) -> None:
    for name in NAMES:
        for start in (None, *TIMES):
            for stop in (None, *TIMES):
                times = [t for t in TIMES if (start is None or t >= start) and (stop is None or t < int(stop) + 1)]
                expected = [f"{name}_{time}".encode() for time in times]
                span = Span(values=(name,), start=start, stop=stop)
                assert keys_of(split, spans=[span], reverse=True) == expected[::-1], span


def test_spans_that_can_hold_no_row_are_left_out_of_many(split: Opened) -> None:
    turned = Span(values=("ZTF20b",), start=2459010.25, stop=2459000.5)
    long = Span(values=("x" * 2000,))
    spans = [turned, Span(values=("zzz",)), long, Span(values=("ZTF9",)), turned, Span(prefix="zzzzzz"), Span(prefix="ZTF18aa_")]
    expected = [key for name in (b"zzz_", b"ZTF9_", b"ZTF18aa_") for key in KEYS if key.startswith(name)]
    assert keys_of(split, spans=spans) == expected
    assert keys_of(split, spans=[turned]) == keys_of(split, spans=[turned], reverse=True) == []
    assert keys_of(split, spans=[turned, long]) == []


def test_rows_written_later_are_left_out_in_reverse(split: Opened) -> None:
    old = [key for key in KEYS if ROWS[key][2] == OLD]
    assert 0 < len(old) < len(KEYS)
    assert keys_of(split, spans=[Span()], reverse=True, as_of=OLD) == old[::-1]


def test_cells_without_a_known_type_are_counted_in_reverse(split: Opened) -> None:
    assert keys_of(split, spans=[Span()], reverse=True) == KEYS[::-1]
    before = split.store.left_out()["ztf"]["i:odd"]
    assert keys_of(split, spans=[Span(prefix="ZTF18")], reverse=True)
    assert split.store.left_out()["ztf"]["i:odd"] == before + 3 * len(TIMES)


@pytest.mark.parametrize("words", [{"spans": [Span(), Span()]}, {"spans": []}, {"ids": ["ZTF9"]}, {}])
def test_only_a_single_span_is_read_in_reverse(split: Opened, words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="single span"):
        keys_of(split, reverse=True, **words)
