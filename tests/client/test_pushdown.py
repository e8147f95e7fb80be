"""Conditions as parts of a ticket: no matching row is lost, and all supported conditions are pushed down."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flight_client.pushdown import Condition, Table, declared, narrowed
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.protocol.times import to_table_time

ZTF = declared("ztf")
ANOMALY = declared("ztf.anomaly")
assert ZTF is not None
assert ANOMALY is not None
MJD = replace(ZTF, time_format="mjd")
MEETS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}

EDGE = 2_447_892.5  # a ticket takes no earlier time
moments = st.sampled_from([2_459_092.880381898, 2_458_849.5, EDGE, math.nextafter(EDGE, 0), 59_092.25, 0.0, -1.0])
moments = st.one_of(moments, moments.map(lambda value: math.nextafter(value, math.inf)), st.floats(-1e7, 1e7))
names = st.sampled_from(["ZTF20abfcszi", "ZTF18aaa", "ZTF19bbb", "ztf18aaa", ""])
times = st.one_of(moments, st.sampled_from([math.nan, math.inf, -math.inf, 2_459_092, 59_092, 2**60]))
conditions = st.one_of(
    st.builds(Condition, st.just("i:jd"), st.sampled_from(sorted(MEETS)), st.tuples(times)),
    st.builds(Condition, st.just("i:jd"), st.just("in"), st.lists(times, max_size=3).map(tuple)),
    st.builds(Condition, st.just("i:objectId"), st.just("in"), st.lists(names, max_size=3).map(tuple)),
    st.builds(Condition, st.just("i:objectId"), st.sampled_from(sorted(MEETS)), st.tuples(names)),
    st.builds(Condition, st.just("i:magpsf"), st.sampled_from(sorted(MEETS)), st.tuples(st.floats(10, 20))),
)
bounds = st.one_of(
    st.none(), st.sampled_from([2_459_092.880381898, EDGE, 59_092.25]), st.floats(EDGE, 2_488_434), st.floats(47_892, 88_433)
)
asked = st.one_of(st.none(), st.lists(names.filter(bool), min_size=1, max_size=3, unique=True).map(tuple))
tables = st.sampled_from([ZTF, MJD, ANOMALY])


def is_met(condition: Condition, row: dict[str, str | float]) -> bool:
    value = row[condition.column]
    if condition.relation == "in":
        return value in condition.values
    return MEETS[condition.relation](value, condition.values[0])


def is_selected(query: Query, table: Table, row: dict[str, str | float]) -> bool:
    """Return whether the server has the row in its answer."""
    start, stop = (
        None if value is None else to_table_time(name, value, table.time_format, "utc")
        for name, value in (("start", query.start), ("stop", query.stop))
    )
    within = (start is None or row["i:jd"] >= start) and (stop is None or row["i:jd"] < stop)
    return within and (query.ids is None or row["i:objectId"] in query.ids)


rows = st.fixed_dictionaries({"i:objectId": names, "i:jd": moments, "i:magpsf": st.just(15.0)})


@given(tables, asked, st.tuples(bounds, bounds), st.lists(conditions, max_size=4), rows)
def test_no_row_that_meets_the_conditions_is_lost(table, ids, between, drawn, row):
    query = Query(table="ztf.anomaly" if table is ANOMALY else "ztf", ids=ids if table is not ANOMALY else None, all=ids is None)
    for name, bound in zip(("start", "stop"), between, strict=True):
        bounded = replace(query, **{name: bound})
        query = bounded if is_selected(bounded, table, row) else query
    assume(is_selected(query, table, row))
    narrow = narrowed(query, table, [condition for condition in drawn if is_met(condition, row)])
    assert narrow is not None
    assert is_selected(narrow, table, row)


@given(tables, asked, st.lists(conditions, max_size=4))
def test_a_narrow_ticket_is_one_that_servers_take(table, ids, drawn):
    query = Query(
        table="ztf.anomaly" if table is ANOMALY else "ztf",
        ids=ids if table is not ANOMALY else None,
        all=ids is None or table is ANOMALY,
    )
    narrow = narrowed(query, table, drawn)
    if narrow is not None:
        assert parse_ticket(narrow.to_json()) == narrow
        assert narrow.start is None or narrow.stop is None or narrow.start < narrow.stop


@pytest.mark.parametrize(
    ("query", "wanted", "ticket"),
    [
        ({"all": True}, [("i:objectId", "in", "a", "b")], {"ids": ["a", "b"]}),
        ({}, [("i:objectId", "in", "a", "b"), ("i:objectId", "in", "b", "c")], {"ids": ["b"]}),
        ({"ids": ["a", "b"]}, [("i:objectId", "in", "b", "c")], {"ids": ["b"]}),
        ({"all": True}, [("i:jd", ">=", 2459000.5)], {"all": True, "start": 2459000.5}),
        ({"all": True}, [("i:jd", ">", 2459000.5), ("i:jd", ">", 2459001.5)], {"all": True, "start": 2459001.5}),
        ({"all": True}, [("i:jd", "<=", 2459000.5)], {"all": True, "stop": 2459000.5000000005}),
        ({"all": True}, [("i:jd", "in", 2459000.5, 2459002)], {"all": True, "start": 2459000.5, "stop": 2459002.0000000005}),
        ({"all": True, "start": 2459000.5}, [("i:jd", ">", 2458000.5)], {"all": True, "start": 2459000.5}),
        # what a ticket would take for something else, or cannot say
        ({"all": True}, [("i:jd", ">", 59000.5)], {"all": True}),
        ({"all": True}, [("i:jd", ">", 0.0), ("i:jd", "<", 1e308)], {"all": True}),
        ({"all": True, "start": "2020-08-20"}, [("i:jd", ">", 2459000.5)], {"all": True, "start": "2020-08-20"}),
        ({"all": True}, [("i:objectId", ">", "a"), ("i:magpsf", ">", 15.0)], {"all": True}),
        (
            {"cone": {"ra": 1.0, "dec": 2.0, "radius": 3.0}},
            [("i:objectId", "in", "a")],
            {"cone": {"ra": 1.0, "dec": 2.0, "radius": 3.0}},
        ),
        # the first rows are to be looked at, not the first that meet a condition
        ({"all": True, "limit": 3}, [("i:objectId", "in", "a")], {"all": True, "limit": 3}),
        ({"all": True, "limit_objects": 3}, [("i:jd", ">", 2459000.5)], {"all": True, "limit_objects": 3}),
        # times are inside of light curves there
        (
            {"all": True, "layout": "nested"},
            [("i:jd", ">", 2459000.5), ("i:objectId", "in", "a")],
            {"ids": ["a"], "layout": "nested"},
        ),
    ],
)
def test_a_ticket_says_what_it_can(query, wanted, ticket):
    given_conditions = [Condition(column, relation, tuple(values)) for column, relation, *values in wanted]
    made = parse_ticket(json.dumps({"table": "ztf"} | (query or {"all": True})).encode())
    narrow = narrowed(made if query else replace(made, all=False), ZTF, given_conditions)
    assert narrow is not None
    assert narrow.to_dict() == {"table": "ztf"} | ticket


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"all": True}, [("i:objectId", "in", "a"), ("i:objectId", "in", "b")]),
        ({"ids": ("a",)}, [("i:objectId", "in", "b")]),
        ({"all": True}, [("i:jd", ">", 2459001.5), ("i:jd", "<", 2459000.5)]),
        ({"all": True, "stop": 2459000.5}, [("i:jd", ">=", 2459000.5)]),
        ({"all": True}, [("i:jd", "in")]),
    ],
)
def test_conditions_that_no_row_meets_ask_for_nothing(query, wanted):
    given_conditions = [Condition(column, relation, tuple(values)) for column, relation, *values in wanted]
    assert narrowed(Query(table="ztf", **query), ZTF, given_conditions) is None


def test_ids_of_digits_are_the_integers_that_filters_have():
    query = Query(table="ztf", ids=("0012", 7, "8"))
    narrow = narrowed(query, ZTF, [Condition("i:objectId", "in", (12, 7))])
    assert narrow is not None
    assert narrow.ids == ("0012", 7)


def test_a_table_that_is_not_kept_by_object_is_asked_by_time_alone():
    given_conditions = [Condition("i:objectId", "in", ("a",)), Condition("i:jd", ">", (2459000.5,))]
    assert narrowed(Query(table="ztf.anomaly"), ANOMALY, given_conditions) == Query(table="ztf.anomaly", start=2459000.5)


def test_a_table_that_this_release_does_not_know_has_no_declaration():
    assert declared("ztff") is None


def test_a_bound_does_not_leave_the_times_of_a_ticket_by_one_step_of_a_float():
    last = math.nextafter(88_434.0, 0)  # the last MJD
    whole = Query(table="ztf", all=True)
    assert narrowed(whole, MJD, [Condition("i:jd", "<=", (last,))]) == whole
    assert narrowed(whole, MJD, [Condition("i:jd", "<=", (math.nextafter(last, 0),))]) == replace(whole, stop=last)
