import json
import sys
from dataclasses import replace
from datetime import date

import pytest
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.query import CUTOUT_KINDS, MAX_TICKET_BYTES, Query
from flight_server.protocol.ticket_json import parse_ticket

BASE = {"table": "ztf", "ids": ["ZTF20abfcszi"]}
LARGEST = 2**63 - 1
FIELDS = ["table", "ids", "all", "columns", "cutouts", "cutout_format", "upper_limits", "start", "stop", "limit", "compression"]
FIELDS += ["as_of", "resume_after", "digest", "max_message_bytes", "layout", "key_range", "plan", "tag", "forced"]
FIELDS += ["cone", "class", "sso", "tracklet", "name", "night", "skymap", "limit_objects"]


def parsed(**fields):
    return parse_ticket(json.dumps(BASE | fields).encode())


def refused(ticket):
    with pytest.raises(AlertflightError) as caught:
        parse_ticket(ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode())
    return caught.value


@pytest.mark.parametrize(
    ("field", "value", "meaning"),
    [
        ("table", "rubin.diaSource_static", "rubin.diaSource_static"),
        ("ids", ["b", "a", "b"], ("b", "a")),
        ("ids", [3, "3", -3, 3], (3, "3", -3)),
        ("ids", [LARGEST], (LARGEST,)),
        ("ids", ["é", " "], ("é", " ")),
        ("all", False, False),
        ("columns", ["*"], None),
        ("columns", ["i:jd", "d:tns", "i:candid"], ("i:jd", "d:tns", "i:candid")),
        ("cutouts", [], ()),
        ("cutouts", ["Difference", "Science", "Template"], ("Difference", "Science", "Template")),
        ("cutout_format", "bytes", "bytes"),
        ("cutout_format", "fits", "fits"),
        ("upper_limits", True, True),
        ("start", 59092, 59092.0),
        ("start", 2459092.8803819, 2459092.8803819),
        ("start", "2020-08-31", "2020-08-31"),
        ("stop", "59092", 59092.0),
        ("stop", 20200831, "2020-08-31"),
        ("limit", 1, 1),
        ("limit", LARGEST, LARGEST),
        ("as_of", 1598864864996, 1598864864996),
        ("as_of", "2020-08-31", 1598832000000),
        ("resume_after", "anything", "anything"),
        ("compression", "none", "none"),
        ("compression", "lz4", "lz4"),
        ("compression", "zstd", "zstd"),
        ("digest", True, True),
        ("max_message_bytes", 1, 1),
        ("layout", "rows", "rows"),
        ("layout", "nested", "nested"),
        ("key_range", ["a", "b"], ("a", "b")),
        ("key_range", ["", "b"], ("", "b")),
        ("key_range", ["a", ""], ("a", "")),
        ("key_range", ["", ""], ("", "")),
        ("plan", "3f", "3f"),
        ("max_message_bytes", 64 * 1024 * 1024, 64 * 1024 * 1024),
    ],
)
def test_a_value_is_taken(field, value, meaning):
    found = getattr(parsed(**{field: value}), field)
    assert found == meaning
    assert type(found) is type(meaning)


def test_the_defaults_are_those_of_the_language():
    assert parsed() == Query(table="ztf", ids=("ZTF20abfcszi",))
    assert parsed().max_message_bytes == 3_670_016
    assert parse_ticket(b'{"table": "ztf", "all": true}') == Query(table="ztf", all=True)


NAN, INFINITY = float("nan"), float("inf")
NO_TEXT = [None, 1, 1.5, True, "", [], ["ztf"], {}, NAN]
NO_FLAG = [None, 0, 1, "true", "", [], {}, NAN]
NO_COUNT = [None, 0, -1, 1.0, 1.5, "3", True, [], {}, NAN, INFINITY, LARGEST + 1, 10**400]
NO_MOMENT = [None, True, "", [], {}, NAN, INFINITY, -INFINITY, LARGEST + 1, -LARGEST - 1, 1e300, 10**400, -(10**4000)]
BAD = {
    "table": NO_TEXT,
    "ids": [None, "a", 1, {}, {"a": 1}, [None], [True], [1.0], [""], [["a"]], [{}], ["a", NAN], [LARGEST + 1], [-LARGEST - 1]],
    "all": NO_FLAG,
    "columns": [None, "i:jd", {}, [], [1], [None], [""], [["i:jd"]], ["i:jd", "i:jd"], [True], [NAN]],
    "cutouts": [None, "Science", {}, ["science"], ["Science", "Science"], [["Science"]], [None], [1], [{}], ["All"]],
    "cutout_format": [*NO_TEXT, "FITS", "png"],
    "upper_limits": NO_FLAG,
    "start": NO_MOMENT,
    "stop": NO_MOMENT,
    "limit": NO_COUNT,
    "as_of": NO_MOMENT,
    "resume_after": NO_TEXT,
    "compression": [*NO_TEXT, "LZ4", "gzip"],
    "digest": NO_FLAG,
    "max_message_bytes": [*NO_COUNT, 64 * 1024 * 1024 + 1],
    "layout": [*NO_TEXT, "nest", "Rows"],
    "key_range": [None, "a", [], ["a"], ["a", "b", "c"], [1, 2], ["b", "a"], ["a", "a"]],
    "plan": NO_TEXT,
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in values], ids=lambda v: str(v)[:30]
)
def test_a_value_is_refused_by_its_name(field, value):
    error = refused(BASE | {field: value})
    assert (error.code, error.field) == ("bad_value", field)
    offered = [value, *value] if isinstance(value, list) else [value]
    texts = [json.dumps(item) for item in offered] + [item for item in offered if isinstance(item, str)]
    assert any(text.startswith(error.value.rstrip("…")) for text in texts)


@pytest.mark.parametrize(
    ("ticket", "code", "field"),
    [
        (b"", "invalid_ticket", "ticket"),
        (b" ", "invalid_ticket", "ticket"),
        (b"{", "invalid_ticket", "ticket"),
        (b"[]", "invalid_ticket", "ticket"),
        (b"null", "invalid_ticket", "ticket"),
        (b"NaN", "invalid_ticket", "ticket"),
        (b'"ztf"', "invalid_ticket", "ticket"),
        (b"{} {}", "invalid_ticket", "ticket"),
        (b"{'table': 'ztf'}", "invalid_ticket", "ticket"),
        (b'\xef\xbb\xbf{"table": "ztf", "all": true}', "invalid_ticket", "ticket"),
        (b'{"table": "z\xfff", "all": true}', "invalid_ticket", "ticket"),
        ('{"table": "ztf", "all": true}'.encode("utf-16"), "invalid_ticket", "ticket"),
        (b'{"table": "\\ud800", "all": true}', "invalid_ticket", "ticket"),
        (b'{"\\udfff": 1}', "invalid_ticket", "ticket"),
        (b'{"table": "ztf", "ids": ["a\\ud800"]}', "invalid_ticket", "ticket"),
        (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.", "invalid_ticket", "ticket"),  # a pickle
        (b"[" * 100_000, "invalid_ticket", "ticket"),
        (b'{"a":' * 100_000, "invalid_ticket", "ticket"),
        (b'{"table": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_ticket", "ticket"),
        (b'{"table": "ztf", "limit": ' + b"9" * 5000 + b"}", "invalid_ticket", "ticket"),
        (b'{"table": "ztf", "table": "ztf", "all": true}', "invalid_ticket", "table"),
        (b'{"table": "ztf", "all": true, "\\u0061ll": true}', "invalid_ticket", "all"),
        (b'{"all": true}', "invalid_ticket", "table"),
        (b'{"table": "ztf", "ids": ["a"], "all": true}', "invalid_ticket", "all"),
        (b'{"table": "ztf"}', "no_selection", "ids"),
        (b'{"table": "ztf", "all": false}', "no_selection", "ids"),
        (b'{"table": "ztf", "ids": []}', "no_selection", "ids"),
        (b'{"table": "ztf", "ids": [], "start": 59000}', "no_selection", "ids"),
        (b'{"table": "ztf", "ids": ["a"], "Columns": []}', "unknown_field", "Columns"),
        (b'{"table": "ztf", "ids": ["a"], "objectId": "a"}', "unknown_field", "objectId"),
        (b'{"": 1}', "unknown_field", ""),
        (b'{"table": "ztf", "ids": ["a"], "cone": {}, "colums": []}', "unknown_field", "colums"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_ticket_is_refused(ticket, code, field):
    error = refused(ticket)
    assert (error.code, error.field) == (code, field)
    assert len(error.message) < 300


def test_a_surrogate_pair_is_one_character():
    assert parse_ticket(b'{"table": "ztf", "ids": ["\\ud83d\\ude00"]}').ids == ("\U0001f600",)


def test_the_size_of_a_ticket_is_bounded_to_the_byte():
    def ticket(size):
        start, end = b'{"table":"ztf","ids":["', b'"]}'
        return start + b"a" * (size - len(start) - len(end)) + end

    assert parse_ticket(ticket(MAX_TICKET_BYTES)).ids
    assert parse_ticket(ticket(100), max_bytes=100).ids
    for size, most in ((MAX_TICKET_BYTES + 1, MAX_TICKET_BYTES), (101, 100)):
        with pytest.raises(AlertflightError) as caught:
            parse_ticket(ticket(size), max_bytes=most)
        assert (caught.value.code, caught.value.field, caught.value.value) == ("too_large", "ticket", str(size))


@pytest.mark.deep(after=3)
@pytest.mark.parametrize("field", ["limit", "columns", "cutouts", "start", "digest", "compression"])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_no_depth_of_nesting_breaks_the_parser(field, opening, closing):
    limit = sys.getrecursionlimit()
    for depth in range(limit - 300, limit + 2):
        value = opening * depth + b"1" + closing * depth
        error = refused(b'{"table": "ztf", "ids": ["a"], "%s": %s}' % (field.encode(), value))
        assert error.code in {"bad_value", "invalid_ticket"}


TEXT = st.text(min_size=1, max_size=20)
START = st.none() | st.dates(date(1990, 1, 1), date(2019, 12, 31)).map(str) | st.floats(2447892.5, 2458849.5)
STOP = st.none() | st.dates(date(2020, 1, 1), date(2100, 12, 31)).map(str) | st.floats(58849.0, 88433.5)
AS_OF = st.integers(631_152_000_000, 4_133_980_799_999)
COLUMNS = st.lists(TEXT, min_size=1, max_size=5, unique=True).map(tuple).filter(lambda names: names != ("*",))
SELECTION = st.just({"all": True}) | st.builds(
    lambda ids: {"ids": tuple(ids)}, st.lists(TEXT | st.integers(-LARGEST, LARGEST), min_size=1, max_size=5, unique=True)
)
OTHERS = st.fixed_dictionaries(
    {"table": TEXT},
    optional={
        "columns": COLUMNS,
        "cutouts": st.lists(st.sampled_from(CUTOUT_KINDS), unique=True).map(tuple),
        "cutout_format": st.sampled_from(["bytes", "fits"]),
        "upper_limits": st.booleans(),
        "start": START,
        "stop": STOP,
        "limit": st.none() | st.integers(1, LARGEST),
        "as_of": st.none() | AS_OF,
        "resume_after": st.none() | TEXT,
        "compression": st.sampled_from(["none", "lz4", "zstd"]),
        "digest": st.booleans(),
        "max_message_bytes": st.integers(1, 64 * 1024 * 1024),
        "layout": st.sampled_from(["rows", "nested"]),
        "key_range": st.none() | st.tuples(TEXT, TEXT).filter(lambda pair: pair[0] < pair[1]),
        "plan": st.none() | TEXT,
    },
)
QUERIES = st.builds(lambda selection, others: Query(**selection, **others), SELECTION, OTHERS)


@given(QUERIES)
def test_a_query_survives_its_ticket(query):
    assert parse_ticket(query.to_json()) == query
    assert parse_ticket(query.to_json()).fingerprint() == query.fingerprint()


@given(QUERIES, QUERIES)
def test_a_cursor_is_bound_to_its_query(first, second):
    assert (first.fingerprint() == second.fingerprint()) == (bare(first) == bare(second))


@given(QUERIES, st.none() | st.integers(1, LARGEST), st.none() | TEXT)
def test_a_query_that_goes_on_is_the_same_query(query, as_of, cursor):
    assert replace(query, as_of=as_of, resume_after=cursor).fingerprint() == query.fingerprint() == bare(query).fingerprint()


def bare(query):
    return replace(query, as_of=None, resume_after=None, plan=None)


def test_spelling_does_not_change_the_fingerprint():
    other = b' {"ids" : ["ZTF20abfcszi"],"digest":false , "columns":["*"], "table":"zt\\u0066"} '
    assert parse_ticket(other).fingerprint() == parsed().fingerprint()
    assert len(parsed().fingerprint()) == 12


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())) | st.just("Science"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON, max_size=5)
TICKETS = JSON | OBJECT | OBJECT.map(lambda fields: BASE | fields)


def parses_or_says_why(ticket):
    try:
        assert isinstance(parse_ticket(ticket), Query)
    except AlertflightError as error:
        assert 0 < len(error.message) < 300
        assert json.loads(error.to_json())["code"] == error.code


@more_examples(3)
@given(TICKETS)
def test_any_json_parses_or_says_why(value):
    parses_or_says_why(json.dumps(value).encode())


@given(
    st.binary()
    | TICKETS.map(lambda value: json.dumps(value).encode()).flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n]))
)
def test_any_bytes_parse_or_say_why(ticket):
    parses_or_says_why(ticket)
