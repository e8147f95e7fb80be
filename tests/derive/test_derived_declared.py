import inspect
import subprocess
import sys
import warnings

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.io.votable.ucd import check_ucd

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import TYPES
from flight_server.derive import derive, load_derived
from flight_server.derive.declared import OBJECTS, parse_derivation
from flight_server.protocol.errors import BadValue, NotSupported, UnknownColumn
from flight_server.settings.resources import load_folder

DERIVED = load_derived("ztf")
CATALOGUE = load_catalog()
KNOWN = CATALOGUE.known["ztf"]
CENTRE = {"centre": (85.0, 60.0)}
DERIVATIONS = [words for declared in load_folder("derived") for words in declared["derivations"]]
COLUMNS = list(DERIVED.values())


def alerts(count=3):
    """Return rows with all inputs of derived columns; the values are made up."""
    values = {"i:isdiffpos": "t", "i:objectId": "ZTF20abfcszi", "d:cdsxmatch": "Unknown", "d:tracklet": None, "i:jd": 2459092.5}
    values |= {"i:jdstarthist": 2459091.25, "i:fid": 1, "i:ndethist": 3}
    names = sorted({name for column in COLUMNS for name in column.reads(KNOWN)})
    return pa.table({name: pa.array([values.get(name, 0)] * count, KNOWN[name].type) for name in names})


def test_the_columns_are_those_of_the_service_and_the_fluxes():
    of_service = (
        "classification lastdate firstdate lapse constellation rate sigma(rate) g-r sigma(g-r) rate(g-r) sigma(rate(g-r))"
    )
    assert list(DERIVED) == [f"v:{name}" for name in [*of_service.split(), "separation_degree", "flux", "sigma(flux)"]]
    assert not set(DERIVED) & set(KNOWN)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_each_column_says_what_it_is(column):
    assert column.column.description
    assert column.column.origin == "derived"
    assert column.column.type in TYPES.values()
    assert check_ucd(column.column.ucd, check_controlled_vocabulary=True), column.column.ucd
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        u.Unit(column.column.unit, format="vounit")
    metadata = column.column.field().metadata
    assert metadata[b"origin"] == b"derived"
    assert (b"time_scale" in metadata) == column.column.ucd.startswith("time.epoch")


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_each_function_takes_what_is_declared(column):
    derivation = column.derivation
    parameters = inspect.signature(derivation.load()).parameters
    assert set(parameters) == {*derivation.needs, *derivation.optional, *derivation.given}
    assert (OBJECTS in derivation.needs) == (derivation.over == "object")


@pytest.mark.parametrize("survey", ["lsst", ""])
def test_a_survey_without_declarations_has_no_derived_columns(survey):
    assert load_derived(survey) == {}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_reads_what_it_needs_and_no_more(column):
    rows = alerts()
    exactly = rows.select(column.needs)
    assert derive(exactly, [column.name], DERIVED, CENTRE)[column.name].type == column.column.type
    assert column.reads(rows.schema.names)[: len(column.needs)] == column.needs
    assert column.missing(rows.schema.names) == ()
    for name in column.needs:
        without = exactly.drop_columns([name])
        assert column.missing(without.schema.names) == (name,)
        with pytest.raises(UnknownColumn) as caught:
            derive(without, [column.name], DERIVED, CENTRE)
        assert (caught.value.field, caught.value.value) == (column.name, name)
        assert column.name in caught.value.message
        assert name in caught.value.message


def test_the_tracklet_is_read_where_a_store_has_it():
    column = DERIVED["v:classification"]
    assert "d:tracklet" not in column.needs
    assert column.reads(["d:tracklet"]) == (*column.needs, "d:tracklet")
    assert column.reads([]) == column.needs


@pytest.mark.parametrize("of", [lambda rows: rows, lambda rows: rows.combine_chunks().to_batches()[0]], ids=["table", "batch"])
def test_columns_come_in_the_order_asked_for_tables_and_batches(of):
    names = list(reversed(DERIVED))
    made = derive(of(alerts()), names, DERIVED, CENTRE)
    assert list(made) == names
    for name, array in made.items():
        assert isinstance(array, pa.Array)
        assert (array.type, len(array)) == (DERIVED[name].column.type, 3), name


def test_chunks_and_dictionaries_make_no_difference():
    rows = pa.concat_tables([alerts(2), alerts(3)])
    encoded = rows.set_column(rows.schema.get_field_index("i:objectId"), "i:objectId", rows["i:objectId"].dictionary_encode())
    encoded = encoded.set_column(0, encoded.schema.names[0], encoded[0].dictionary_encode())
    large = rows.set_column(
        rows.schema.get_field_index("d:cdsxmatch"), "d:cdsxmatch", rows["d:cdsxmatch"].cast(pa.large_string())
    )
    made = derive(rows.combine_chunks(), DERIVED, DERIVED, CENTRE)
    for other in (rows, encoded, large):
        assert derive(other, DERIVED, DERIVED, CENTRE) == made


@pytest.mark.parametrize("count", [0, 1])
def test_no_rows_and_one_row_have_all_columns(count):
    for name, array in derive(alerts(count), DERIVED, DERIVED, CENTRE).items():
        assert (array.type, len(array)) == (DERIVED[name].column.type, count)


def test_nulls_everywhere_make_nulls_but_for_the_class_that_is_not_known():
    rows = alerts(2)
    nulls = pa.table({name: pa.nulls(2, rows.schema.field(name).type) for name in rows.schema.names})
    untyped = pa.table({name: pa.nulls(2) for name in rows.schema.names})
    for empty in (nulls, untyped):
        for name, array in derive(empty, DERIVED, DERIVED, CENTRE).items():
            assert array.to_pylist() == [None, None], name


def test_a_column_of_another_type_is_refused_by_name():
    rows = alerts()
    place = rows.schema.get_field_index("i:jd")
    with pytest.raises(BadValue) as caught:
        derive(rows.set_column(place, "i:jd", pa.array(["2459092.5"] * 3)), ["v:lapse"], DERIVED)
    assert (caught.value.field, caught.value.value) == ("i:jd", "string")
    place = rows.schema.get_field_index("i:isdiffpos")
    with pytest.raises(BadValue) as caught:
        derive(rows.set_column(place, "i:isdiffpos", pa.array([1, 0, 1])), ["v:flux"], DERIVED)
    assert (caught.value.field, caught.value.value) == ("i:isdiffpos", "int64")


@pytest.mark.parametrize("odd", [-1e308, 1e308, 1e12, float("inf"), float("nan")])
def test_a_value_without_meaning_touches_its_own_row_only(odd):
    rows = alerts()
    every = [name for name in DERIVED if name != "v:separation_degree"]
    before = derive(rows, every, DERIVED)
    for column in ("i:jd", "i:jdstarthist", "i:ra", "i:dec", "i:magpsf", "i:sigmapsf"):
        place = rows.schema.get_field_index(column)
        kind = rows.schema.field(place).type
        values = rows[column].to_pylist()
        changed = rows.set_column(place, column, pa.array([values[0], odd, values[2]], pa.float64()).cast(kind, safe=False))
        after = derive(changed, every, DERIVED)
        for name in every:
            if DERIVED[name].derivation.over == "row":
                kept = after[name].to_pylist()
                assert [kept[0], kept[2]] == [before[name].to_pylist()[row] for row in (0, 2)], (column, name)


def test_infinite_numbers_make_infinite_ones_or_none_without_a_warning():
    rows = alerts(2).drop_columns(["i:magpsf", "i:jd"])
    endless = pa.array([float("inf"), float("inf")])
    rows = rows.append_column("i:magpsf", endless.cast(pa.float32())).append_column("i:jd", pa.array([2459092.5, 2459092.75]))
    made = derive(rows, ["v:rate", "v:flux", "v:g-r"], DERIVED)
    assert {name: array.to_pylist() for name, array in made.items()} == {
        "v:rate": [None, None],
        "v:flux": [0.0, 0.0],
        "v:g-r": [None, None],
    }
    bright = rows.set_column(rows.schema.get_field_index("i:magpsf"), "i:magpsf", pa.array([-999.0, -999.0], pa.float32()))
    assert derive(bright, ["v:flux"], DERIVED)["v:flux"].to_pylist() == [float("inf")] * 2


def test_a_separation_needs_the_centre_of_a_cone():
    for given in ({}, None, {"centre": None}):
        with pytest.raises(NotSupported) as caught:
            derive(alerts(), ["v:separation_degree"], DERIVED, given)
        assert (caught.value.field, caught.value.value) == ("columns", "v:separation_degree")


@pytest.mark.parametrize(("name", "near"), [("v:lastdat", "v:lastdate"), ("v:sigma(rte)", "v:sigma(rate)"), ("v:", "v:rate")])
def test_an_unknown_derived_column_names_near_ones(name, near):
    with pytest.raises(UnknownColumn) as caught:
        derive(alerts(), [name], DERIVED)
    assert (caught.value.field, caught.value.value) == ("columns", name)
    assert near in caught.value.message


def test_numbers_are_the_texts_that_the_service_reads():
    magnitudes = pa.array(np.random.default_rng(3).uniform(10, 22, 10_000).astype(np.float32))
    rows = pa.table({"i:magpsf": magnitudes, "i:sigmapsf": magnitudes, "i:isdiffpos": ["t"] * 10_000})
    expected = [10 ** ((31.4 - float(str(value))) / 2.5) for value in magnitudes.to_numpy()]
    np.testing.assert_allclose(derive(rows, ["v:flux"], DERIVED)["v:flux"].to_numpy(), expected, rtol=1e-14)


def test_an_entry_is_read_as_it_is_written_or_refused():
    words = {"function": "dates.lapse", "over": "row", "needs": {"last": "i:jd", "first": "i:jd"}, "columns": {}}
    assert parse_derivation(words, KNOWN).function == "dates.lapse"
    with pytest.raises(TypeError, match="unheard"):
        parse_derivation(words | {"unheard": 1}, KNOWN)
    with pytest.raises(TypeError, match="night"):
        parse_derivation(words | {"over": "night"}, KNOWN)
    with pytest.raises(KeyError, match="i:nothing"):
        parse_derivation(words | {"needs": {"last": "i:nothing"}}, KNOWN)
    with pytest.raises(KeyError, match="needs"):
        parse_derivation({name: word for name, word in words.items() if name != "needs"}, KNOWN)


def test_what_astronomy_needs_is_loaded_when_a_column_is_made():
    code = (
        "import sys; import flight_server.derive as d; d.load_derived('ztf')\n"
        "heavy = {'astropy', 'erfa', 'pandas'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
