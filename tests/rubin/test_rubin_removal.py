"""Objects of Rubin are removed from all tables; single alerts are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alert_data import RUBIN
from archives import Opened
from rubin_archives import asking

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest.removal import find_rows, remove, typed_objects
from flight_server.protocol.errors import NotSupported

SURVEY = load_catalog().surveys["rubin"]
GONE = 170028528328769656


def test_an_object_leaves_all_tables(open_store: Callable[..., Opened]) -> None:
    archive = open_store()
    assert not archive.ingest(RUBIN, history=True).failures
    ask = asking(archive)
    stored = archive.store.view().columns
    named = [name for name in SURVEY.tables if "r:diaObjectId" in stored.get(name, {})]
    before = {name: ask(table=name, all=True, columns=["r:diaObjectId"]).table[0].to_pylist() for name in named}
    found = find_rows(archive.store, load_catalog(), SURVEY, objects=typed_objects(SURVEY, load_catalog(), [str(GONE)]))
    assert found.missing == ()
    assert found.counts == {name: ids.count(GONE) for name, ids in before.items() if GONE in ids}
    assert {"rubin.diaSource_static", "rubin.diaObject", "rubin.fp", "rubin.cutouts", "rubin.pixel1024"} <= found.counts.keys()
    remove(archive.store, load_catalog(), SURVEY, found)
    archive.archive.refresh()
    for name, ids in before.items():
        left = ask(table=name, all=True, columns=["r:diaObjectId"]).table[0].to_pylist()
        assert left == [one for one in ids if one != GONE], name
    assert ask(table="rubin.mpc_orbits", all=True).record["rows"] == 1


def test_single_alerts_are_refused(open_store: Callable[..., Opened]) -> None:
    archive = open_store()
    with pytest.raises(NotSupported, match=r"rubin\.pixel1024 cannot be made again"):
        find_rows(archive.store, load_catalog(), SURVEY, alerts=(1,))
