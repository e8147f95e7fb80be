import numpy as np
import pyarrow as pa
import pytest
from depth import more_examples
from derived_reference import HOSTS, class_of, classifications, frame_of
from hypothesis import given
from hypothesis import strategies as st

from flight_server.catalog.catalog import load_catalog
from flight_server.derive import derive, load_derived
from flight_server.derive.classes import load_classes
from flight_server.derive.classification import LABELS

DERIVED = load_derived("ztf")
KNOWN = load_catalog().known["ztf"]
SCORES = st.sampled_from([0.0, 0.5, np.nextafter(0.5, 1), 0.9]) | st.none()
# 0.4 as a float32 is more than 0.4, but its text is not
SINGLES = st.sampled_from([0.0, 0.4, 0.40000004, 0.5, 0.50000006, 0.99]) | st.none()
LABELS_SEEN = ["Unknown", "Transient", "Fail", "Fail 504", "Galaxy", "Galaxy_x", "galaxy", "SN", "QSO", "nan", ""]
ALERTS = st.fixed_dictionaries(
    {
        "d:cdsxmatch": st.sampled_from(["Unknown"] * 6 + [*LABELS_SEEN, "Candidate_SN*"]) | st.none(),
        "d:roid": st.sampled_from([0, 0, 0, 1, 2, 3]) | st.none(),
        "d:mulens": st.sampled_from([0.0, 0.0, 0.0, -1.0, 1e-9]) | st.none(),
        **dict.fromkeys(["d:snn_snia_vs_nonia", "d:snn_sn_vs_all", "d:rf_snia_vs_nonia", "d:rf_kn_vs_nonkn"], SCORES),
        "i:ndethist": st.sampled_from([0, 1, 2, 19, 20, 21]) | st.none(),
        "i:drb": SINGLES,
        "i:classtar": SINGLES,
        "i:jd": st.just(2459092.5) | st.none(),
        "i:jdstarthist": st.sampled_from([2459092.5 - days for days in (0, 4.75, 5, 5.25, 90, 90.25)]) | st.none(),
        "d:tracklet": st.sampled_from([None, None, "", "TRCK_20200831_090744_01", "trck_", "xTRCK_"]),
    }
)


def table_of(alerts):
    return pa.table({name: pa.array([alert[name] for alert in alerts], KNOWN[name].type) for name in alerts[0]})


@given(st.lists(ALERTS, min_size=1, max_size=40))
@more_examples(1.5)
def test_alerts_have_the_class_that_the_rules_give_one_by_one(alerts):
    found = derive(table_of(alerts), ["v:classification"], DERIVED)["v:classification"].to_pylist()
    assert found == [class_of(alert) for alert in alerts]


def test_each_class_is_reached_and_simbad_stands_over_all():
    likely = {"d:snn_snia_vs_nonia": 0.9, "i:drb": 0.9, "i:classtar": 0.9}
    plain = dict.fromkeys(DERIVED["v:classification"].needs, 0.0)
    plain |= {"d:cdsxmatch": "Unknown", "d:tracklet": "", "i:ndethist": 5, "d:roid": 0}
    alerts = [
        plain | changed
        for changed in (
            {},
            {"d:mulens": 0.1},
            likely,
            likely | {"d:rf_snia_vs_nonia": 0.6},
            likely | {"d:rf_snia_vs_nonia": 0.6, "d:rf_kn_vs_nonkn": 0.6},
            {"d:roid": 2},
            {"d:roid": 2, "d:tracklet": "TRCK_20200831_090744_01"},
            {"d:roid": 3, "d:tracklet": "TRCK_20200831_090744_01"},
            {"d:roid": 3, "d:mulens": 0.1},
            likely | {"d:roid": 2},
            {"d:roid": 3, "d:mulens": 0.1, "d:cdsxmatch": "QSO"},
        )
    ]
    found = derive(table_of(alerts), ["v:classification"], DERIVED)["v:classification"].to_pylist()
    assert found == [*LABELS, "Ambiguous", "QSO"]


def test_a_table_without_tracklets_has_none():
    alert = dict.fromkeys(DERIVED["v:classification"].needs, 0.0) | {"d:cdsxmatch": "Unknown", "d:roid": 2, "i:ndethist": 1}
    rows = table_of([alert] * 20)
    assert "d:tracklet" not in rows.schema.names
    assert set(derive(rows, ["v:classification"], DERIVED)["v:classification"].to_pylist()) == {"Solar System candidate"}


@pytest.mark.parametrize("label", load_classes("ztf").simbad)
def test_a_class_of_simbad_is_itself_unless_it_is_a_galaxy_or_none(label):
    alert = dict.fromkeys(DERIVED["v:classification"].needs, 0.0) | {"d:cdsxmatch": label, "d:roid": 0, "i:ndethist": 1}
    expected = "Unknown" if label.startswith("Galaxy") or label in {"Unknown", "Transient"} else label
    assert derive(table_of([alert]), ["v:classification"], DERIVED)["v:classification"].to_pylist() == [expected]


@given(st.lists(ALERTS, min_size=1, max_size=40))
def test_the_plain_reference_of_benchmarks_follows_the_same_rules(alerts):
    whole = [alert for alert in alerts if alert["d:cdsxmatch"] is not None and alert["d:roid"] is not None]
    if whole:
        assert classifications(frame_of(table_of(whole))).tolist() == [class_of(alert) for alert in whole]


def test_the_hosts_are_the_34_labels_of_the_declaration():
    assert load_classes("ztf").extragalactic == HOSTS
    assert len(HOSTS) == 34
