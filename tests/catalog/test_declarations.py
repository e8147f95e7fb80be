import copy

import pytest

from flight_server.catalog.declarations import load_surveys, parse_survey
from flight_server.settings.resources import load_folder
from flight_server.storage.keys import key_expression

PACKAGED = {declared["survey"]: declared for declared in load_folder("tables")}
TABLES = [(survey, table) for survey in load_surveys().values() for table in survey.tables.values()]


def at(declared, path):
    for step in path:
        declared = declared[step]
    return declared


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("alerts",),
        ("alerts", "cells", "i"),
        ("alerts", "nested", "mangrove"),
        ("tables", "ztf"),
        ("tables", "ztf", "upper_limits"),
        ("tables", "ztf.upper", "where", "i:magpsf"),
        ("tables", "ztf.uppervalid", "where", "not", "i:rb"),
    ],
    ids=".".join,
)
def test_an_unknown_word_is_refused_by_name(path):
    declared = copy.deepcopy(PACKAGED["ztf"])
    parse_survey(declared)
    at(declared, path)["colour"] = 1
    with pytest.raises(TypeError, match="colour"):
        parse_survey(declared)


@pytest.mark.parametrize(
    "path",
    [
        ("survey",),
        ("tables",),
        ("alerts", "version"),
        ("alerts", "stamps"),
        ("tables", "ztf", "columns"),
        ("tables", "ztf", "key"),
    ],
    ids=".".join,
)
def test_a_missing_word_is_refused_by_name(path):
    declared = copy.deepcopy(PACKAGED["ztf"])
    del at(declared, path[:-1])[path[-1]]
    with pytest.raises((KeyError, TypeError), match=path[-1]):
        parse_survey(declared)


def test_every_packaged_survey_is_loaded_once():
    assert set(load_surveys()) == set(PACKAGED) >= {"ztf"}
    assert load_surveys() is load_surveys()
    with pytest.raises(TypeError):
        load_surveys()["other"] = None


@pytest.mark.parametrize(("survey", "table"), TABLES, ids=lambda v: v.name)
def test_a_table_refers_to_what_there_is(survey, table):
    assert table.rows in {"alerts", "stamps", "history", "loaded"}
    assert table.rows == "loaded" or set(table.families) <= set(survey.alerts.families)
    assert table.rest <= set(table.families)
    assert table.on_equal_key in {"merge", "overwrite"}
    assert all(map(table.has, (table.id, *table.latest)))
    assert table.in_key <= set(key_expression(table.key).columns)
    assert all(map(table.takes, table.from_key))
    assert not any(map(table.takes, table.key_only))
    assert not table.latest or table.on_equal_key == "overwrite" or table.rows == "history"
    assert table.by_object == (key_expression(table.key).columns[0] == table.id)
    assert table.rows != "alerts" or table.by_object or table.select or table.pixels or table.newest_first
    assert table.time_format in {"jd", "mjd"}
    assert table.cone is None or survey.tables[table.cone].pixels
    for selection in table.select.values():
        part = f"lower({selection.column})" if selection.lower else selection.column
        assert key_expression(table.key).columns[0] == part
    if table.pixels:
        pixels = table.pixels
        assert key_expression(table.key).columns[0] == f"healpix{pixels.nside}({pixels.ra},{pixels.dec})"
    assert table.cutouts is None or survey.tables[table.cutouts].rows == "stamps"
    for other in (
        *(table.upper_limits.add if table.upper_limits else ()),
        *(table.upper_limits.hidden_by_own if table.upper_limits else ()),
    ):
        assert other in survey.tables


def test_the_quality_cut_of_ztf_is_that_of_the_contract():
    where = load_surveys()["ztf"].tables["ztf.uppervalid"].where
    assert where.columns() == {"i:magpsf", "i:rb", "i:nbad"}
    assert where.conditions["i:magpsf"].missing is False
    assert (where.excluded.conditions["i:rb"].min, where.excluded.conditions["i:nbad"].equal) == (0.55, 0)


def test_stamps_have_the_columns_of_the_broker():
    assert load_surveys()["ztf"].alerts.cutout_columns == {
        k: f"b:cutout{k}_stampData" for k in ("Science", "Template", "Difference")
    }
