import json

import pytest
from alert_data import GOLDEN

from flight_server.derive.classes import load_classes, nearest_names
from flight_server.derive.classification import LABELS

CLASSES = load_classes("ztf")


def test_there_are_369_names_and_each_is_another():
    assert (len(CLASSES.fink), len(CLASSES.tns), len(CLASSES.simbad)) == (11, 43, 315)
    assert len(set(CLASSES.names)) == 369


@pytest.mark.skipif(not GOLDEN.exists(), reason="the public service's answers are not at hand")
def test_the_names_are_those_that_the_service_lists():
    listed = json.loads((GOLDEN.parent / "ztf_classes.json").read_text())
    assert sorted(CLASSES.names) == sorted(name for names in listed.values() for name in names)


def test_every_label_that_is_given_can_be_asked_for_but_unknown():
    assert set(LABELS) - set(CLASSES.fink) == {"Unknown"}
    assert {"SLSN candidate", "(CTA) Blazar low state", "(CTA) Blazar high state"} == set(CLASSES.fink) - set(LABELS)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("Early SN Ia", "Early SN Ia candidate"),
        ("early sn ia candidate", "Early SN Ia candidate"),
        ("Kilonova", "(TNS) Kilonova"),
        ("solar system MPC", "Solar System MPC"),
        ("SIMBAD QSO", "(SIMBAD) QSO"),
        ("(TNS) SN-Ia", "(TNS) SN Ia"),
        ("RRLyrae", "(SIMBAD) RRLyrae"),
        ("Microlensing", "Microlensing candidate"),
    ],
)
def test_the_nearest_name_comes_first(word, nearest):
    found = nearest_names(word, CLASSES.names)
    assert found[0] == nearest
    assert len(found) <= 3


@pytest.mark.parametrize("word", ["", "0123456789", "zzzzzzzzzzzzzzz" * 100_000])
def test_a_word_that_is_like_nothing_has_no_near_names(word):
    assert nearest_names(word, CLASSES.names) == []


def test_equally_near_names_keep_their_order_and_a_number_bounds_them():
    assert nearest_names("abx", ["aby", "abz", "abw", "q"], 2) == ["aby", "abz"]


def test_a_survey_without_classes_is_an_error():
    with pytest.raises(KeyError, match="lsst"):
        load_classes("lsst")
