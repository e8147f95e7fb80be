"""Filters pushed down by Spark reduce what is read, and never change the result."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask
from spark_sessions import ReadFailed, Session

pytestmark = pytest.mark.timeout(1200)

TDE = "ZTF20abfcszi"
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:magpsf"]


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.fixture
def direct(client: fl.FlightClient) -> pa.Table:
    return ask(client, table="ztf", all=True, columns=COLUMNS).table


# {0} and {1} are times of alerts of that object, the first and a later one
FILTERS = {
    f"`i:objectId` = '{TDE}'": 21,
    f"`i:objectId` <=> '{TDE}' AND `i:jd` > {{0}}": 20,
    f"`i:objectId` IN ('{TDE}', 'ZTF00nobody', NULL) AND `i:jd` >= {{0}}": 21,
    f"`i:objectId` = '{TDE}' AND `i:jd` < {{1}}": 5,
    f"`i:objectId` = '{TDE}' AND `i:jd` <= {{1}} AND `i:jd` > {{0}}": 5,
    f"`i:objectId` = '{TDE}' AND `i:jd` = {{1}}": 1,
    f"`i:objectId` = '{TDE}' AND `i:jd` IN ({{0}}, {{1}})": 2,
    f"`i:objectId` = '{TDE}' AND `i:jd` > 59000.5": 21,
    f"`i:objectId` = '{TDE}' AND `i:jd` < 59000.5": 0,
    f"`i:objectId` = '{TDE}' AND `i:jd` > {{1}} AND `i:jd` < {{0}}": 0,
    f"`i:objectId` = '{TDE}' AND NOT `i:jd` = {{0}} AND `i:magpsf` < 18.3 AND `i:objectId` LIKE 'ZTF20%'": None,
    f"`i:objectId` = '{TDE}' OR `i:jd` > {{1}}": None,
    "`i:objectId` = ''": 0,
}


@pytest.mark.parametrize("where", FILTERS)
def test_the_answer_is_the_same_with_filters_pushed_and_not(spark: Session, url: str, direct: pa.Table, where: str) -> None:
    times = sorted(row["i:jd"] for row in direct.to_pylist() if row["i:objectId"] == TDE)
    given = {"options": {"url": url, "table": "ztf", "all": "true", "columns": ",".join(COLUMNS)}}
    given["where"] = where.format(*(f"{time!r}D" for time in (times[0], times[5])))
    pushed = rows(spark.read(**given, pushing=True).table)
    assert pushed == rows(spark.read(**given).table)
    assert set(pushed) <= set(rows(direct))
    if FILTERS[where] is None:
        assert 0 < len(pushed) < len(direct)
    else:
        assert len(pushed) == FILTERS[where]


def test_pushed_filters_narrow_what_is_read(spark: Session, url: str) -> None:
    ids = [*(f"ZTF00none{number:04}" for number in range(2500)), TDE]
    given = {"options": {"url": url, "table": "ztf", "ids": json.dumps(ids), "columns": "i:objectId"}}
    given["where"] = f"`i:objectId` IN ('{TDE}', 'ZTF00none0000')"
    off, on = spark.read(**given), spark.read(**given, pushing=True)
    assert (off.partitions, on.partitions) == (3, 1)
    assert rows(off.table) == rows(on.table) == [(TDE,)] * 21


def test_a_limit_is_counted_before_the_filter(spark: Session, url: str, direct: pa.Table) -> None:
    last = max(direct["i:objectId"].to_pylist())
    given = {"options": {"url": url, "query": json.dumps({"table": "ztf", "all": True, "limit": 1})}}
    for pushing in (False, True):
        assert len(spark.read(**given, where=f"`i:objectId` = '{last}'", pushing=pushing).table) == 0


def test_a_pushed_filter_can_be_the_selection(spark: Session, url: str, client: fl.FlightClient) -> None:
    by_object = {"options": {"url": url, "table": "ztf", "columns": "i:objectId"}, "where": f"`i:objectId` = '{TDE}'"}
    assert len(spark.read(**by_object, pushing=True).table) == 21
    whole = ask(client, table="ztf.anomaly", all=True, columns=["i:jd"]).table
    middle = sorted(whole["i:jd"].to_pylist())[3]
    by_time = {"options": {"url": url, "table": "ztf.anomaly", "columns": "i:jd"}, "where": f"`i:jd` > {middle!r}D"}
    assert rows(spark.read(**by_time, pushing=True).table) == [(jd,) for (jd,) in rows(whole) if jd > middle]
    for given in (by_object, by_time):
        with pytest.raises(ReadFailed, match="NoSelection: select rows"):
            spark.read(**given)
    with pytest.raises(ReadFailed, match="NoSelection: start and stop alone select no rows of ztf"):
        spark.read({"url": url, "table": "ztf"}, where="`i:jd` > 2459000.5D", pushing=True)
