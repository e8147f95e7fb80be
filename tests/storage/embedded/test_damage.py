"""A store with a damaged or missing file: answers that need it fail and name it, all others work, and no data is dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT, TDE
from archives import Opened

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import CorruptData
from flight_server.protocol.query import Query

Store = Callable[..., Opened]


def count(opened: Opened, **fields: Any) -> int:
    answer = opened.archive.answer(Query(**{"table": "ztf", "all": True, **fields}), Caller())
    return sum(len(message.batch) for message in answer.messages)


def newest(folder: Path, ending: str) -> Path:
    return max((folder / "segments" / "ztf").glob(f"*.{ending}"))


@pytest.mark.parametrize("ending", ["keys", "arrow"])
def test_a_server_does_not_go_on_with_an_old_state_when_the_new_one_is_damaged(open_store: Store, ending: str) -> None:
    serving, writing = open_store(), open_store()
    writing.ingest(TDE)
    assert count(open_store()) == 21
    writing.ingest(NIGHT)
    file = newest(writing.settings.folder, ending)
    content = file.read_bytes()
    file.unlink()
    fresh = open_store()
    for opened in (fresh, fresh, fresh):
        with pytest.raises(CorruptData, match="missing"):
            count(opened)
    assert count(fresh, table="ztf.upper") > 0, "other tables are answered"
    assert fresh.archive.faults()["ztf"].code == "corrupt_data"
    assert fresh.archive.states()["ztf"].rows == 88
    file.write_bytes(content)
    assert count(open_store()) == 88
    del serving


def test_a_damaged_batch_fails_only_those_who_touch_it(open_store: Store, tmp_path: Path) -> None:
    table = pq.ParquetFile(TDE).read()
    place = table.column_names.index("objectId")
    copies = [table.set_column(place, "objectId", pa.array([f"ZTF{number:05d}"] * 21)) for number in range(150)]
    pq.write_table(
        pa.concat_tables(copies).drop_columns(["cutoutScience", "cutoutTemplate", "cutoutDifference"]), tmp_path / "big.parquet"
    )
    opened = open_store()
    opened.ingest(tmp_path / "big.parquet")
    file = newest(opened.settings.folder, "arrow")
    content = bytearray(file.read_bytes())
    content[350_000] ^= 8
    file.write_bytes(content)
    again = open_store()
    assert count(again, all=False, ids=("ZTF00149",)) == 21
    with pytest.raises(CorruptData, match="from ZTF00000_"):
        count(again, all=False, ids=("ZTF00001",))


def test_an_id_longer_than_any_key_is_missing_and_costs_nothing(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    ids = ("x" * 500_000, *(f"ZTF{number}" for number in range(20_000)), "ZTF20abfcszi")
    answer = opened.archive.answer(Query(table="ztf", ids=ids, columns=("i:jd",)), Caller())
    messages = list(answer.messages)
    assert messages[-1].metadata["rows"] == 21
    assert messages[-1].metadata["missing"] == 20_001
    alone = list(opened.archive.answer(Query(table="ztf", ids=("x" * 5000,)), Caller()).messages)
    assert alone[-1].metadata["missing_ids"] == ["x" * 5000]
