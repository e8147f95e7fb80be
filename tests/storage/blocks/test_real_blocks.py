"""Every cutout of every available real file, against pyarrow."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, SHARED
from block_answers import KINDS, load, reader, some_rows

FOLDER = SHARED if SHARED.is_dir() else SAMPLES


def _with_stamps(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.rglob("*.parquet")) if path.is_file()]
    return [path for path in found if "cutoutScience" in pq.read_schema(path).names]


FILES = _with_stamps(FOLDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.relative_to(FOLDER).parts[-2:])[:60])
def test_all_stamps_of_a_real_file(path: Path) -> None:
    block = load(path)
    count = len(block.alert_ids)
    cutouts = reader(path)
    block.check(cutouts, list(range(count)))
    block.check(cutouts, some_rows(count, count))
    for row in range(min(count, 10)):
        block.check(cutouts, [row], [KINDS[row % 3]])


def test_files_with_and_without_offset_indexes_are_among_them() -> None:
    found = set()
    for path in FILES:
        metadata = pq.read_metadata(path)
        chunks = [metadata.row_group(0).column(place) for place in range(metadata.num_columns)]
        found |= {chunk.has_offset_index for chunk in chunks if chunk.path_in_schema.startswith("cutoutScience")}
    assert True in found
    assert FOLDER != SHARED or found == {True, False}


def test_an_alert_that_is_not_in_the_block_is_told_from_one_without_stamps() -> None:
    path = next(SAMPLES.glob("part-00002-*.parquet"))
    block = load(path)
    cutouts = reader(path)
    paths = pa.array([str(path), str(path), None, str(path), str(path)])
    object_ids = pa.array([block.object_ids[0].as_py(), "ZTF99other", "ZTF99none", None, block.object_ids[1].as_py()])
    alert_ids = pa.array([block.alert_ids[0].as_py(), block.alert_ids[1].as_py(), 5, 7, None])
    stamps = cutouts.read(block.layout, paths, object_ids, alert_ids, ["Science"])
    assert [(one.row, one.kind, one.reason) for one in stamps.failures] == [(row, "Science", "not_in_block") for row in (1, 3, 4)]
    assert stamps.kinds["Science"].is_valid().to_pylist() == [True, False, False, False, False]
