"""The fast decoder of tickets never differs from the strict one, and never accepts a repeated name."""

import json

import pytest
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.json_text import load_object
from flight_server.protocol.ticket_json import decode_query, parse_query, parse_ticket

SPACE = st.text(" \t\n\r", max_size=2)
TEXT = (
    st.sampled_from(["", "a", ":", '":', " :", '\t":"', "i:jd", "\\", "é", "\U0001f600", "*", "Science", "lz4", "2020"])
    | st.text()
)
NUMBER = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "1.0",
        "1e2",
        "9223372036854775807",
        "-9223372036854775808",
        "9.223372036854775807e18",
        "1e400",
        "NaN",
        "9" * 400,
    ]
)
NUMBER |= st.floats().map(json.dumps) | st.integers(-(2**65), 2**65).map(str)
NUMBER |= st.decimals(-(10**6), 10**6, places=25).map(lambda number: f"{number:f}")


def written(text, form):
    """Write a text as JSON: as it is, in ASCII, or with every character escaped."""
    if form == 2:
        units = text.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4)) + '"'
    return json.dumps(text, ensure_ascii=bool(form))


STRING = st.builds(written, TEXT, st.integers(0, 2))


def lists(items, size=3):
    return st.lists(st.builds("{}{}{}".format, SPACE, items, SPACE), max_size=size).map(lambda found: f"[{','.join(found)}]")


def objects(members):
    return st.lists(members, max_size=5).map(lambda found: f"{{{','.join(found)}}}")


def member(name, value):
    return st.builds(
        lambda form, value, *space: f"{space[0]}{written(name, form)}{space[1]}:{space[2]}{value}{space[3]}",
        st.sampled_from([0, 0, 0, 1, 2]),
        value,
        *[SPACE] * 4,
    )


ANY = st.recursive(
    NUMBER | STRING | st.sampled_from(["true", "false", "null"]),
    lambda inner: lists(inner) | objects(st.sampled_from(["a", "ra", "table"]).flatmap(lambda name: member(name, inner))),
    max_leaves=4,
)
CONE = objects(st.sampled_from(["ra", "dec", "radius"]).flatmap(lambda name: member(name, NUMBER | st.just("60"))))
SKYMAP = objects(
    member("nside", st.sampled_from(["1", "8", "3"])) | member("ranges", lists(st.sampled_from(["[0,5]", "[ 3 ,11]", "[5,3]"])))
)
VALUES = {
    "table": st.just('"ztf"'),
    "ids": lists(STRING | NUMBER),
    "all": st.sampled_from(["true", "false"]),
    "cone": CONE,
    "skymap": SKYMAP,
    "columns": lists(STRING),
    "cutouts": lists(STRING | st.just('"Science"'), 2),
    "start": NUMBER | STRING,
    "limit": NUMBER,
    "night": STRING,
    "digest": st.just("true"),
    "key_range": lists(STRING, 2),
}
MEMBER = st.sampled_from([*VALUES, "class", "colour", "forced"]).flatmap(
    lambda name: member(name, VALUES.get(name, STRING) | ANY if name not in {"table", "all"} else VALUES[name])
)
TICKETS = st.lists(MEMBER, max_size=4).flatmap(
    lambda members: st.permutations([*members, '"table":"ztf"', '"ids" : ["a:b"]']).map(lambda all_: f"{{{','.join(all_)}}}")
)
TICKETS |= objects(MEMBER)


def outcome(read):
    try:
        query = read()
    except AlertflightError as error:
        return error.info()
    return None if query is None else (repr(query), query.to_json())


@more_examples(5)
@given(TICKETS)
def test_quick_decoding_is_exact(ticket):
    text = ticket.encode("utf-8", "surrogatepass")
    quick = outcome(lambda: decode_query(text))
    assert quick is None or quick == outcome(lambda: parse_query(load_object(text)))


@st.composite
def repeating(draw):
    """Write an object with one name twice, each in some spelling, among other members."""
    name = draw(st.sampled_from([*VALUES, "ra", "dec", "radius", "nside", "ranges", "colour"]))
    value = VALUES.get(name, NUMBER)
    others = draw(st.lists(MEMBER, max_size=2))
    return f"{{{','.join(draw(st.permutations([draw(member(name, value)), draw(member(name, value)), *others])))}}}"


@st.composite
def repeating_tickets(draw):
    """Write a ticket that repeats a name, in itself or in an object of it."""
    ticket = draw(repeating())
    for name in draw(st.lists(st.sampled_from(["cone", "skymap", "ids", "columns", "colour"]), max_size=2)):
        inner = f"[{ticket}]" if draw(st.booleans()) else ticket
        members = [draw(member(name, st.just(inner))), '"table": "ztf"']
        ticket = f"{{{','.join(draw(st.permutations(members)))}}}"
    return ticket


@more_examples(5)
@given(repeating_tickets())
def test_a_repeated_name_is_refused_at_any_depth(ticket):
    text = ticket.encode("utf-8", "surrogatepass")
    assert decode_query(text) is None
    with pytest.raises(AlertflightError) as caught:
        parse_ticket(text)
    assert caught.value.code == "invalid_ticket"
    assert "occurs twice" in caught.value.message or caught.value.field == "ticket"  # a lone surrogate


@pytest.mark.parametrize("again", ['"ra":10', '"ra" : 10', '"\\u0072a"\t:\n10'])
def test_a_repeated_name_in_a_cone_is_refused(again):
    whole = '{"table":"ztf","cone":{"ra":10,"dec":5,"radius":60%s}}'
    assert decode_query((whole % "").encode())
    with pytest.raises(AlertflightError, match="the field 'ra' occurs twice"):
        parse_ticket((whole % f",{again}").encode())


@pytest.mark.parametrize(
    "ticket",
    [
        b'{"table":"ztf","ids":["ZTF20abfcszi"],"columns":["i:jd","i:fid","i:magpsf"]}',
        b'{"table": "ztf", "cone": {"ra": 10, "dec": -3.5, "radius": 60}, "limit": 3, "digest": false}',
        b'{\n\t"table" : "ztf",\n\t"skymap" : {"nside" : 8, "ranges" : [[0, 5]]}\n}',
        b'{"t\\u0061ble":"ztf","class":"SN \\"Ia\\" candidate"}',
    ],
)
def test_ordinary_tickets_are_decoded_quickly(ticket):
    assert decode_query(ticket) == parse_query(load_object(ticket)) != None  # noqa: E711
