"""Two ingests into HBase at once: the second waits, whoever died or is silent is passed over, and nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alert_data import NIGHT, TDE
from archives import digest, messages, open_embedded
from hbase_ingested import Ingested
from processes import COMMAND
from waiting import wait_until

from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.protocol.query import Query
from flight_server.storage.hbase import writer_lock
from flight_server.storage.hbase.schema_rows import WRITER
from flight_server.storage.hbase.writer_lock import FREE, QUALIFIER

HOLDS = """
import sys
from pathlib import Path
from flight_server.catalog.catalog import load_catalog
from flight_server.service.stores import open_store
from flight_server.settings import load_settings
store = open_store(load_settings(Path(sys.argv[1]), environment={}), load_catalog())
with store.writing():
    print("holds", flush=True)
    input()
"""


def cell(tables: Ingested) -> str | None:
    """Return the cell of the lock, read without the product."""
    found = tables.stores.admin.rows(f"{tables.prefix}ztf", WRITER).get(WRITER.encode(), {})
    return next((value.value.decode() for value in found.values()), None)


def put(tables: Ingested, **words: Any) -> None:
    put_text(tables, json.dumps({"owner": "other", "host": "elsewhere", "process": 1, "began": "1", "beat": 0} | words))


def put_text(tables: Ingested, text: str) -> None:
    tables.stores.admin.put(f"{tables.prefix}ztf", WRITER, {f"i:{QUALIFIER}": text.encode()})


def test_two_commands_at_once_lose_nothing(empty: Ingested, tmp_path: Path) -> None:
    words = [COMMAND, "ingest", "--config", empty.config]
    both = [subprocess.Popen([*words, file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for file in (TDE, NIGHT)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert any("another ingest is writing" in error and "this one waits" in error for _, error in said)
    embedded = open_embedded(tmp_path / "store")
    embedded.ingest(TDE, NIGHT)
    for table in ("ztf", "ztf.pixel128", "ztf.class", "ztf.upper"):
        found = [messages(one, Query(table=table, all=True)).table for one in (embedded, empty.open())]
        assert digest(found[0]) == digest(found[1].select(found[0].schema.names)), table
    embedded.store.close()
    assert cell(empty) == FREE


def test_who_was_killed_on_this_machine_is_passed_over_at_once(empty: Ingested) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(empty.config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        held = cell(empty)
        assert held is not None
        assert json.loads(held)["process"] == process.pid
        entered = threading.Event()

        def write() -> None:
            with empty.open().store.writing():
                entered.set()

        writing = threading.Thread(target=write)
        writing.start()
        assert not entered.wait(2.0), "it lives, so this one waits"
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        writing.join(30)  # a lease is longer
        assert entered.is_set()
    finally:
        process.kill()
        process.communicate()
    assert cell(empty) == FREE


def test_who_is_silent_for_a_lease_has_lost_it(empty: Ingested, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_lock, "LEASE_SECONDS", 3.0)
    store = empty.open().store
    put(empty)
    with store.writing():
        assert '"other"' not in str(cell(empty))
    put(empty)
    beats = iter(range(1, 7))
    done = threading.Event()

    def beat() -> None:
        for number in beats:
            if done.wait(1.0):
                return
            put(empty, beat=number)

    beating = threading.Thread(target=beat)
    beating.start()
    with store.writing():
        assert next(beats, None) is None, "it waited while the other one renewed its right"
    done.set()
    beating.join()


@pytest.mark.parametrize("text", ["{", "[]", '{"owner": "other"}', '{"owner": "a", "host": "b", "process": "1", "began": "1"}'])
def test_a_damaged_cell_is_named_and_left_as_it_is(empty: Ingested, text: str) -> None:
    store = empty.open().store
    with store.writing():
        pass
    put_text(empty, text)
    with pytest.raises(CorruptData, match=f"{WRITER} of the table {empty.prefix}ztf in HBase names no ingest"), store.writing():
        pass
    assert cell(empty) == text


def test_who_has_lost_it_writes_nothing_more(empty: Ingested, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_lock, "LEASE_SECONDS", 1.5)
    store = empty.open().store
    with store.writing() as writer:
        put(empty)  # as who waits does after a lease
        wait_until(lambda: _is_lost(writer), "the loss is noticed")
    assert '"other"' in str(cell(empty)), "the right of another ingest is left alone"


def _is_lost(writer: Any) -> bool:
    try:
        writer._check_locks()
    except BackendLost as error:
        assert "run it again" in error.message
        return True
    return False
