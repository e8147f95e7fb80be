"""Deletion of objects and of single alerts: their rows leave every table, the others stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from alert_data import MANY_AVRO, NIGHT, TDE
from archives import Opened, digest, messages
from changed_alerts import alerts_of, saved
from click.testing import CliRunner

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.app import main
from flight_server.ingest.removal import find_rows, remove
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.storage.embedded import EmbeddedStore, verify_folder

CATALOG = load_catalog()
ZTF = CATALOG.surveys["ztf"]
FILLED = [name for name, table in ZTF.tables.items() if table.rows != "loaded"]
OBJECT = "ZTF20abfcszi"


def rows_of(opened: Opened, table: str) -> pa.Table:
    return messages(opened, Query(table=table, all=True)).table


def contents(opened: Opened) -> dict[str, str]:
    """Return a digest of each table, apart from columns without a value, which a store keeps once it had one, and paths."""
    found = {}
    for name in FILLED:
        rows = rows_of(opened, name)
        empty = [column for column in rows.column_names if rows[column].null_count == len(rows) and column.startswith("d:")]
        found[name] = digest(rows.drop_columns(list({*empty, *({"d:hdfs_path"} & set(rows.column_names))})))
    return found


def take_out(opened: Opened, **what: object) -> dict[str, int]:
    found = find_rows(opened.store, CATALOG, ZTF, **what)
    remove(opened.store, CATALOG, ZTF, found)
    return dict(found.counts)


@pytest.mark.both_stores
def test_without_an_object_the_store_is_as_if_it_had_never_come(open_store: Callable[..., Opened]) -> None:
    whole, rest = open_store("whole"), open_store("rest")
    rest.ingest(NIGHT, MANY_AVRO)
    whole.ingest(NIGHT)
    whole.ingest(TDE, MANY_AVRO)
    counts = take_out(whole, objects=(OBJECT,))
    assert counts["ztf"] == counts["ztf.cutouts"] == 21
    assert contents(whole) == contents(rest)
    assert messages(whole, Query(table="ztf", ids=(OBJECT,))).record["missing"] == 1
    # it can come again
    whole.ingest(TDE)
    rest.ingest(TDE)
    assert contents(whole) == contents(rest)


@pytest.mark.both_stores
def test_without_an_alert_the_newest_one_that_remains_stands_in_the_index(
    open_store: Callable[..., Opened], tmp_path: Path
) -> None:
    alerts = alerts_of(TDE)
    times = pc.struct_field(alerts["candidate"].combine_chunks(), "jd")
    newest = int(pc.sort_indices(times)[-1].as_py())
    gone = alerts["candid"][newest].as_py()
    others = saved(alerts.filter(pc.not_equal(alerts["candid"], gone)), tmp_path / "others.parquet")
    whole, rest = open_store("whole"), open_store("rest")
    whole.ingest(TDE)
    rest.ingest(others)
    counts = take_out(whole, alerts=(gone,))
    assert counts["ztf"] == counts["ztf.cutouts"] == counts["ztf.pixel128"] == 1
    found, wanted = contents(whole), contents(rest)
    for name in ("ztf", "ztf.class", "ztf.pixel128"):
        assert found[name] == wanted[name], name
    held = rows_of(whole, "ztf.cutouts")
    assert gone not in held["i:candid"].to_pylist()
    assert len(held) == 20


def test_every_state_and_every_segment_is_without_the_rows(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(TDE)
    opened = open_store()
    parts = [saved(alerts.slice(first, 7), tmp_path / f"{first}.parquet") for first in (0, 7, 14)]
    for part in parts:
        opened.ingest(part)
    before = opened.store.view().as_of
    opened.ingest(NIGHT)
    gone = (alerts["candid"][3].as_py(), alerts["candid"][17].as_py())
    assert take_out(opened, alerts=gone)["ztf"] == 2
    for as_of in (None, before):
        rows = messages(opened, Query(table="ztf", ids=(OBJECT,), as_of=as_of)).table
        assert len(rows) == 19
        assert not set(gone) & set(rows["i:candid"].to_pylist())
    assert opened.archive.states()["ztf"].rows == len(rows_of(opened, "ztf"))
    opened.store.compact(full=True)
    assert len(messages(opened, Query(table="ztf", ids=(OBJECT,))).table) == 19
    assert not list(verify_folder(opened.settings.folder))


def test_an_answer_that_has_begun_goes_on(open_store: Callable[..., Opened]) -> None:
    opened = open_store()
    opened.ingest(NIGHT, TDE)
    view = opened.store.view()
    expected = digest(rows_of(opened, "ztf"))
    answer = opened.archive.answer(Query(table="ztf", all=True), Caller())
    begun = iter(answer.messages)
    first = next(begun)
    take_out(opened, objects=(OBJECT,))
    rest = [message.batch for message in begun]
    assert digest(pa.Table.from_batches([first.batch, *rest], schema=answer.schema)) == expected
    assert opened.store.view() is not view
    assert OBJECT not in rows_of(opened, "ztf")["i:objectId"].to_pylist()


def test_the_command_counts_asks_and_names_what_is_not_there(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "store")]
    run = CliRunner()
    assert run.invoke(main, ["ingest", str(TDE), *data]).exit_code == 0
    refused = run.invoke(main, ["delete", "--object", OBJECT, *data], input="n\n")
    assert "Delete 21 rows of ztf, 21 rows of ztf.class" in refused.stderr
    with_store(tmp_path, lambda rows: rows == 21)
    done = run.invoke(main, ["delete", "--object", OBJECT, "--alert", "7", "--yes", *data])
    assert done.exit_code == 1
    assert "7: no row has this ID" in done.stderr
    assert done.stdout.startswith("21 rows of ztf, ")
    with_store(tmp_path, lambda rows: rows == 0)
    again = run.invoke(main, ["delete", "--object", OBJECT, "--yes", *data])
    assert (again.exit_code, again.stdout) == (1, "nothing to delete\n")
    assert run.invoke(main, ["delete", *data]).exit_code == 2


def with_store(tmp_path: Path, check: Callable[[int], bool]) -> None:
    store = EmbeddedStore(tmp_path / "store")
    assert check(store.view().count(ZTF.tables["ztf"], None) or 0)
    store.close()
