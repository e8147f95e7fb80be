"""A second, slow and simple reader of alert files, to compare the archive with.

It shares nothing with the package but the catalog's types: alerts become dictionaries, versions of one alert
are merged cell by cell in Python.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.catalog.columns import Column

Cells = dict[str, Any]
ROOT = ("objectId", "schemavsn", "publisher", "fink_broker_version", "fink_science_version")
NESTED = ("mangrove", "blazar_stats")
LISTS = ("lc_features_g", "lc_features_r")
OUTSIDE = {"candid", "candidate", "prv_candidates", "cutoutScience", "cutoutTemplate", "cutoutDifference"}


def read_alerts(path: Path) -> list[dict[str, Any]]:
    if path.read_bytes()[:4] == b"PAR1":
        return pq.ParquetFile(path).read().to_pylist()
    with path.open("rb") as handle:
        return list(fastavro.reader(handle))


def alert_cells(alert: dict[str, Any]) -> Cells:
    """Return every cell of the alert without nulls; lists of features have a test of their own."""
    cells = {f"i:{name}": value for name, value in alert["candidate"].items()}
    cells |= {f"i:{name}": alert.get(name) for name in ROOT}
    for name, value in alert.items():
        if name in NESTED and value is not None:
            cells |= {f"d:{name}_{part}": item for part, item in dict(value).items()}
        elif name not in OUTSIDE and name not in ROOT and name not in LISTS and not isinstance(value, list | dict):
            cells[f"d:{name}"] = value
    return {name: value for name, value in cells.items() if value is not None}


def expected_tables(files: list[Path], columns: dict[str, Column]) -> dict[str, dict[str, set[Any]]]:
    """Return the possible values of merged cells, by row key and column of `ztf`.

    There is one, but where versions of equal number differ: then the order is by content, which this oracle
    does not repeat.
    """
    versions: dict[str, list[Cells]] = defaultdict(list)
    for file in files:
        for alert in read_alerts(file):
            cells = alert_cells(alert)
            versions[f"{alert['objectId']}_{alert['candidate']['jd']!r}"].append(cells)
    return {key: _merge(found, columns) for key, found in versions.items()}


def _merge(versions: list[Cells], columns: dict[str, Column]) -> dict[str, set[Any]]:
    merged: dict[str, set[Any]] = {}
    for name in {name for cells in versions for name in cells} & set(columns):
        held = [(version(cells), typed(cells[name], columns[name])) for cells in versions if name in cells]
        newest = max(number for number, _ in held)
        merged[name] = {value for number, value in held if number == newest}
    return merged


def version(cells: Cells) -> tuple[tuple[int, ...], ...]:
    names = ("i:fink_broker_version", "i:fink_science_version")
    return tuple(tuple(int(n) for n in re.findall(r"\d+", cells.get(name, ""))) for name in names)


def typed(value: Any, column: Column) -> Any:
    """Return the value in the column's type; NaN as text, so that it equals itself."""
    if pa.types.is_float32(column.type):
        value = float(np.float32(value))
    elif pa.types.is_float64(column.type):
        value = float(value)
    elif pa.types.is_integer(column.type):
        assert int(value) == value
        value = int(value)
    elif pa.types.is_string(column.type):
        value = str(value)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def stamps(files: list[Path]) -> dict[tuple[int, str], set[bytes]]:
    """Return the cutouts in the files, by candid and kind."""
    found: dict[tuple[int, str], set[bytes]] = defaultdict(set)
    for file in files:
        for alert in read_alerts(file):
            for kind in ("Science", "Template", "Difference"):
                stamp = alert.get(f"cutout{kind}")
                if stamp and stamp["stampData"] is not None:
                    found[alert["candid"], kind].add(stamp["stampData"])
    return found


def history(files: list[Path], *, whole: bool = False) -> tuple[set[str], set[str]]:
    """Return the row keys that `ztf.upper` and `ztf.uppervalid` must have, by the broker's rule, or those of all points."""
    upper, bad = set(), set()
    for file in files:
        for alert in read_alerts(file):
            points = alert.get("prv_candidates") or []
            for keys, wanted in ((upper, is_limit), (bad, is_bad)):
                if whole or (points and wanted(points[-1])):
                    keys |= {f"{alert['objectId']}_{point['jd']!r}" for point in points if wanted(point)}
    return upper, bad


def is_limit(point: dict[str, Any]) -> bool:
    return point["magpsf"] is None


def is_bad(point: dict[str, Any]) -> bool:
    good = point["rb"] is not None and point["nbad"] is not None and point["rb"] >= 0.55 and point["nbad"] == 0
    return point["magpsf"] is not None and not good
