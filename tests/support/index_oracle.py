"""Expected contents of the index tables, computed from the alerts in plain Python; see `oracle`.

The predicates and keys are written out once more here, from the description of the tables, not from the declarations.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
from derived_reference import class_of

Cells = dict[str, Any]


def ring_pixel(ra: float, dec: float, nside: int) -> int:
    """Return the HEALPix pixel in RING order, by the formulas of Gorski et al. 2005, section 5."""
    z, turn = math.sin(math.radians(dec)), (ra % 360.0) / 90.0
    if abs(z) <= 2 / 3:
        base, off = nside * (0.5 + turn), nside * 0.75 * z
        up, down = math.floor(base - off), math.floor(base + off)
        ring = nside + 1 + up - down
        shift = 1 - ring % 2
        place = ((up + down - nside + shift + 1) // 2) % (4 * nside)
        return 2 * nside * (nside - 1) + (ring - 1) * 4 * nside + place
    part = turn % 1.0
    width = nside * math.sqrt(3 * (1 - abs(z)))
    up, down = math.floor(part * width), math.floor((1 - part) * width)
    ring = up + down + 1
    place = math.floor(turn * ring) % (4 * ring)
    return 2 * ring * (ring - 1) + place if z > 0 else 12 * nside * nside - 2 * ring * (ring + 1) + place


def low(cells: Cells, *names: str) -> bool:
    return all(0 <= cells.get(f"d:blazar_stats_{name}", -1) < 1 for name in names)


def high(cells: Cells, *names: str) -> bool:
    return all(cells.get(f"d:blazar_stats_{name}", -1) >= 1 for name in names)


def jd(cells: Cells) -> str:
    return repr(float(cells["i:jd"]))


def dated(cells: Cells) -> str:
    return f"{jd(cells)}_{cells['i:objectId']}"


# for each table which alerts are in it, and under which key
RULES: dict[str, tuple[Callable[[Cells], bool], Callable[[Cells], str]]] = {
    "ztf.pixel128": (
        lambda c: 0 <= c["i:ra"] <= 360,
        lambda c: f"{ring_pixel(c['i:ra'], c['i:dec'], 128)}_{float(c['i:jdstarthist'])!r}_{c['i:objectId']}",
    ),
    "ztf.class": (lambda c: "d:classification" in c, lambda c: f"{c['d:classification']}_{dated(c)}"),
    "ztf.tns": (lambda c: c.get("d:tns", "") != "", lambda c: f"{c['d:tns']}_{dated(c)}"),
    "ztf.ssnamenr": (lambda c: c.get("d:roid") == 3, lambda c: f"{c['i:ssnamenr']}_{jd(c)}"),
    "ztf.tracklet": (lambda c: c.get("d:tracklet", "").startswith("TRCK_"), lambda c: f"{c['d:tracklet']}_{c['i:objectId']}"),
    "ztf.anomaly": (lambda c: c.get("d:anomaly_score", 0) < 0, dated),
    "ztf.low_state_blazars": (lambda c: low(c, "m1", "m2") or low(c, "instantness_low", "robustness_low"), dated),
    "ztf.high_state_blazars": (lambda c: high(c, "instantness_high", "robustness_high"), dated),
    "ztf.slsn": (lambda c: c.get("d:slsn_score", -1) >= 0.5, dated),
}
NEWEST_STANDS = {"ztf.pixel128", "ztf.ssnamenr", "ztf.tracklet"}


def versions(files: list[Path]) -> dict[str, dict[str, list[Cells]]]:
    """Return the versions of the expected alert, by table and row key."""
    found: dict[str, dict[str, list[Cells]]] = {table: defaultdict(list) for table in RULES}
    for file in files:
        for alert in oracle.read_alerts(file):
            cells = oracle.alert_cells(alert)
            label = class_of(defaultdict(lambda: None, cells))
            cells |= {} if label is None else {"d:classification": label}
            for table, (is_in, key) in RULES.items():
                if is_in(cells):
                    found[table][key(cells)].append(cells)
    for table in NEWEST_STANDS:
        for key, held in found[table].items():
            newest = max((cells["i:jd"], cells["i:candid"]) for cells in held)
            found[table][key] = [cells for cells in held if (cells["i:jd"], cells["i:candid"]) == newest]
    return found
