"""Reversed spans with a killed gateway, split or moved regions, or a reader that leaves: each row once, in order."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from archives import digest
from cluster_admin import ClusterAdmin
from hbase_rig import Rig, Truth, points_to_kill_at
from waiting import is_running, wait_until

from flight_server.catalog.catalog import load_catalog
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Rows, Scan, Span

KINDS = ("reverse", "one", "many")


def scan_of(rig: Rig, truth: Truth, kind: str) -> tuple[Scan, RowView]:
    view = rig.passing.view()
    catalog = load_catalog().with_stored(view.columns)
    table = catalog.table("ztf")
    columns = catalog.columns(table, truth.table("whole").schema.names)
    if kind == "many":
        names = truth.fields("objects")["ids"]
        return Scan(table=table, columns=columns, spans=[Span(values=(name,)) for name in names]), view
    return Scan(table=table, columns=columns, spans=[Span(prefix="ZTF")], reverse=kind == "reverse"), view


def check(truth: Truth, kind: str, parts: list[Rows]) -> None:
    """Check that each row was received once, in the order of the scan."""
    table = pa.Table.from_batches([rows.batch for rows in parts])
    expected = truth.table("objects" if kind == "many" else "whole")
    if kind == "reverse":
        expected = expected.take(np.arange(len(expected))[::-1])
    assert len(table) == len(expected)
    assert digest(table) == digest(expected.cast(table.schema))
    places = np.concatenate([rows.request_index for rows in parts])
    names = table["i:objectId"].to_pylist()
    order = {name: place for place, name in enumerate(truth.fields("objects")["ids"])}
    assert places.tolist() == ([order[name] for name in names] if kind == "many" else [0] * len(names))


def read(rig: Rig, truth: Truth, kind: str, then: Callable[[int], None] | None = None) -> int:
    """Read a whole scan; call `then` with the number of each point in it. Return the number of points."""
    passed = 0

    def hear(_count: int) -> None:
        nonlocal passed
        if then is not None:
            then(passed)
        passed += 1

    scan, view = scan_of(rig, truth, kind)
    rig.passing.then = hear
    parts = [rows for rows in view.scan(scan) if len(rows.keys)]
    rig.passing.then = None
    check(truth, kind, parts)
    return passed


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_goes_on_where_a_killed_gateway_stopped(kind: str, rig: Rig, truth: Truth, pytestconfig: pytest.Config) -> None:
    points = read(rig, truth, kind)
    assert points > 5
    for point in points_to_kill_at(points - 1, pytestconfig.getoption("--kills") // 4, kind):
        starts = rig.gateway.starts
        killed: list[int] = []

        def kill(passed: int, point: int = point, killed: list[int] = killed) -> None:
            if passed == point:
                killed.append(rig.pid())
                os.kill(killed[0], signal.SIGKILL)

        read(rig, truth, kind, kill)
        assert len(killed) == 1
        wait_until(lambda starts=starts: rig.gateway.starts == starts + 1, "another gateway")  # type: ignore[misc]
        assert not is_running(killed[0])
        rig.rest()


def test_regions_split_and_move_below_a_scan_in_reverse(own_tables: str, own_rig: Rig, admin: ClusterAdmin, truth: Truth) -> None:
    table = f"{own_tables}ztf"
    before = len(admin.regions(table))
    names = sorted(truth.fields("objects")["ids"])

    def change(passed: int) -> None:
        if passed == 1:
            admin.split(table, names[len(names) // 2])
            wait_until(lambda: len(admin.regions(table)) > before, "the region is split")
        if passed == 2:
            for region in admin.regions(table):
                admin.move(region.name, next(server for server in admin.servers() if server != region.server))

    assert read(own_rig, truth, "reverse", change) > 2
    read(own_rig, truth, "reverse")


def test_a_reader_in_reverse_that_stops_for_a_while_holds_no_scanner(rig: Rig, truth: Truth) -> None:
    rig.rest()
    waited: list[int] = []

    def stop(passed: int) -> None:
        if passed == 2:
            wait_until(lambda: not rig.health()["scanners"], "the scanner is closed")
            waited.append(rig.health()["runs"])

    assert read(rig, truth, "reverse", stop) > 4
    assert waited == [1]
    rig.rest()


def test_a_scan_in_reverse_that_is_left_ends(rig: Rig, truth: Truth) -> None:
    before = rig.rest()
    for place in random.Random(4).choices(range(3), k=10):
        scan, view = scan_of(rig, truth, "reverse")
        rows: Iterator[Rows] = (some for some in view.scan(scan) if len(some.keys))
        for _ in range(place):
            next(rows)
        first = next(rows)
        assert rig.health()["runs"]
        assert place or len(first.keys) <= 100
        rows.close()  # type: ignore[attr-defined]
        wait_until(rig.is_idle, "the scan ends")
    assert rig.rest()["references"] == before["references"]
