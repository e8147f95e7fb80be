import base64
import hashlib
import hmac
import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.query import Cone, Query, SkyMap
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.security.signatures import Signer

OLD, NEW = b"o" * 32, b"n" * 40
SIGNER = Signer({"k2": NEW, "k1": OLD}, 100)
QUERY = Query(table="ztf", ids=("ZTF20abfcszi", "é"), columns=("i:jd",), start=2459000.0, plan="p1")
NOW = 1_700_000_000.9
ANNE = Caller("anne")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
starts = st.none() | st.floats(2447892.5, 2458849.5) | st.dates(date(1990, 1, 1), date(2019, 12, 31)).map(str)
stops = st.none() | st.floats(58849.0, 88433.5) | st.dates(date(2020, 1, 1), date(2100, 12, 31)).map(str)
other_selections = st.one_of(
    st.builds(lambda ra, dec, radius: {"cone": Cone(ra, dec, radius)}, st.floats(0, 359), st.floats(-90, 90), st.floats(0, 9)),
    st.builds(lambda first, more: {"skymap": SkyMap(8, ((first, first + more),))}, st.integers(0, 300), st.integers(0, 300)),
    st.builds(lambda text: {"class_": text}, texts),
    st.builds(lambda first, more: {"all": True, "key_range": (first, first + more)}, texts, texts),
)
queries = st.builds(
    lambda ids, columns, **rest: Query(table="ztf", ids=tuple(ids), columns=columns and tuple(columns), **rest),
    ids=st.lists(texts | st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, unique_by=lambda value: (type(value), value)),
    columns=st.none() | st.lists(texts.filter(lambda name: name != "*"), min_size=1, unique=True),
    start=starts,
    stop=stops,
    limit=st.none() | st.integers(1, 2**63 - 1),
    digest=st.booleans(),
    plan=st.none() | texts,
)


def signed(query=QUERY, signer=SIGNER, subject="anne"):
    return json.loads(signer.sign(query, subject, NOW))


def refused(ticket, caller=ANNE, now=NOW, signer=SIGNER):
    with pytest.raises(AlertflightError) as caught:
        signer.read(ticket if isinstance(ticket, bytes) else json.dumps(ticket).encode(), caller, now)
    return caught.value.code, caught.value.field


queries |= st.builds(lambda selection, limit: Query(table="ztf", limit=limit, **selection), other_selections, st.integers(1, 9))


@given(queries, texts, st.booleans(), st.booleans())
def test_what_was_signed_is_read(query, subject, ascii_only, in_order):
    ticket = SIGNER.sign(query, subject, NOW)
    assert SIGNER.read(ticket, Caller(subject), NOW + 99) == query
    again = json.dumps(json.loads(ticket), ensure_ascii=ascii_only, sort_keys=in_order, indent=1).encode()
    assert SIGNER.read(again, Caller(subject), NOW) == query


def test_the_signature_is_over_sorted_json_without_spaces():
    ticket = signed()
    assert list(ticket) == ["query", "kid", "sub", "exp", "sig"]
    assert (ticket["kid"], ticket["sub"], ticket["exp"]) == ("k2", "anne", 1_700_000_100)
    covered = {name: ticket[name] for name in ("query", "kid", "sub", "exp")}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    wanted = base64.urlsafe_b64encode(hmac.digest(NEW, text, hashlib.sha256)).decode().rstrip("=")
    assert ticket["sig"] == wanted


def test_a_number_that_a_client_writes_otherwise_is_the_same_number():
    ticket = signed()
    ticket["query"]["start"] = 2459000
    assert SIGNER.read(json.dumps(ticket).encode(), ANNE, NOW) == QUERY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("table", "ztf.upper"),
        ("ids", ["ZTF20abfcszi"]),
        ("ids", ["é", "ZTF20abfcszi"]),
        ("columns", ["i:jd", "i:fid"]),
        ("start", 2458999.0),
        ("stop", 2460000.0),
        ("limit", 1),
        ("cutouts", ["Science"]),
        ("plan", "p2"),
        ("as_of", 1_700_000_000_000),
        ("resume_after", "c"),
        ("max_message_bytes", 9),
    ],
)
def test_another_query_is_not_what_was_signed(field, value):
    ticket = signed()
    ticket["query"][field] = value
    assert refused(ticket) == ("forbidden", "sig")


@pytest.mark.parametrize("field", ["ids", "columns", "start", "plan"])
def test_a_query_with_less_is_not_what_was_signed(field):
    ticket = signed()
    if field == "ids":
        ticket["query"]["all"] = True
    del ticket["query"][field]
    assert refused(ticket) == ("forbidden", "sig")


@pytest.mark.parametrize(("field", "value"), [("exp", 1_900_000_000), ("exp", 1_700_000_101), ("sub", "bert"), ("kid", "k1")])
def test_the_other_fields_are_covered_too(field, value):
    assert refused(signed() | {field: value}, Caller(value if field == "sub" else "anne")) == ("forbidden", "sig")


@given(st.integers(0, 42), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="))
def test_no_other_signature_will_do(place, letter):
    ticket = signed()
    changed = ticket["sig"][:place] + letter + ticket["sig"][place + 1 :]
    if changed != ticket["sig"]:
        assert refused(ticket | {"sig": changed}) == ("forbidden", "sig")
    assert refused(ticket | {"sig": ticket["sig"] + letter}) == ("forbidden", "sig")
    assert refused(ticket | {"sig": ticket["sig"][:place]}) == ("forbidden", "sig")


def test_keys_rotate():
    old = Signer({"k1": OLD}, 100)
    ticket = old.sign(QUERY, "anne", NOW)
    assert SIGNER.read(ticket, ANNE, NOW) == QUERY, "an old key still verifies"
    assert json.loads(SIGNER.sign(QUERY, "anne", NOW))["kid"] == "k2", "the first key signs"
    assert refused(SIGNER.sign(QUERY, "anne", NOW), signer=old) == ("forbidden", "kid")
    assert refused(ticket, signer=Signer({}, 100)) == ("forbidden", "kid")
    assert refused(ticket, signer=Signer({"k1": NEW}, 100)) == ("forbidden", "sig")


@pytest.mark.parametrize(("later", "good"), [(0, True), (99, True), (99.09, True), (99.11, False), (100, False), (1e9, False)])
def test_a_ticket_expires(later, good):
    ticket = SIGNER.sign(QUERY, "anne", NOW)
    if good:
        assert SIGNER.read(ticket, ANNE, NOW + later) == QUERY
    else:
        assert refused(ticket, now=NOW + later) == ("forbidden", "exp")


def test_a_ticket_is_its_callers():
    assert refused(SIGNER.sign(QUERY, "anne", NOW), Caller("bert")) == ("forbidden", "sub")


def test_a_cursor_beside_the_signed_query_goes_into_it():
    ticket = signed() | {"resume_after": "cursor"}
    found = SIGNER.read(json.dumps(ticket).encode(), ANNE, NOW)
    assert found.resume_after == "cursor"
    assert found.fingerprint() == QUERY.fingerprint()
    begun = signed(parse_ticket(b'{"table":"ztf","all":true,"resume_after":"one"}'))
    assert SIGNER.read(json.dumps(begun).encode(), ANNE, NOW).resume_after == "one"
    assert SIGNER.read(json.dumps(begun | {"resume_after": "two"}).encode(), ANNE, NOW).resume_after == "two"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"extra": 1}, "unknown_field", "extra"),
        ({"table": "ztf"}, "unknown_field", "table"),
        ({"exp": "1800000000"}, "invalid_ticket", "exp"),
        ({"exp": 1.8e9}, "invalid_ticket", "exp"),
        ({"exp": True}, "invalid_ticket", "exp"),
        ({"kid": 1}, "invalid_ticket", "kid"),
        ({"sub": None}, "invalid_ticket", "sub"),
        ({"sig": 5}, "invalid_ticket", "sig"),
        ({"sig": "é"}, "forbidden", "sig"),
        ({"query": []}, "invalid_ticket", "query"),
        ({"query": "x"}, "invalid_ticket", "query"),
        ({"query": {"table": "ztf"}}, "no_selection", "ids"),
        ({"query": {"table": "ztf", "idz": []}}, "unknown_field", "idz"),
        ({"resume_after": ""}, "bad_value", "resume_after"),
        ({"resume_after": 5}, "bad_value", "resume_after"),
    ],
)
def test_a_malformed_ticket_is_refused_by_the_name_of_the_field(change, code, field):
    assert refused(signed() | change) == (code, field)


@pytest.mark.parametrize("field", ["query", "kid", "sub", "exp", "sig"])
def test_each_field_is_needed(field):
    ticket = signed()
    del ticket[field]
    assert refused(ticket) == ("invalid_ticket", field)


@pytest.mark.parametrize("ticket", [b"", b"[]", b"{", b"\xff", b'{"sig":"a","sig":"b"}'])
def test_what_is_no_object_is_refused(ticket):
    assert refused(ticket)[0] == "invalid_ticket"
