import sqlite3
import zlib
from dataclasses import fields, replace

import pytest

from flight_server.protocol.errors import AlertflightError, BadValue, CorruptData
from flight_server.storage.embedded import manifest as manifest_module
from flight_server.storage.embedded.manifest import BlockRecord, ColumnRecord, IngestRecord, Manifest, SegmentRecord

SEGMENT = SegmentRecord(
    1,
    "ztf",
    "00000001",
    1,
    10,
    2,
    30,
    4096,
    "ab" * 32,
    "cd" * 32,
    2459000.123456789,
    None,
    1_600_000_000_000,
    7,
    b"\0\xff" * 32,
    b"key0key1",
)
BLOCK = BlockRecord("blocks/1.parquet", 10, 2**40, "ef" * 32, 9)
COLUMN = ColumnRecord("ztf", "d:é", 0, "float")
INGEST = IngestRecord(1, 1_600_000_000_000, 3, 10)
ALL = (SEGMENT, BLOCK, COLUMN, INGEST)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "manifest.sqlite"


@pytest.fixture
def opened(file):
    made = []

    def opens(path=file):
        made.append(Manifest(path))
        return made[-1]

    yield opens
    for manifest in made:
        manifest.close()


def held(manifest):
    state = manifest.read()
    return (state.segments, state.blocks, state.columns, state.ingests)


def test_a_new_manifest_is_empty(opened):
    assert held(opened()) == ((), (), (), ())


def test_records_come_back_as_they_were_and_in_order(opened):
    opened().commit(
        [
            *ALL,
            replace(SEGMENT, id=3, age=1),
            replace(SEGMENT, id=2, age=2),
            replace(COLUMN, name="b", position=1),
            replace(COLUMN, name="a", position=2),
        ]
    )
    segments = (SEGMENT, replace(SEGMENT, id=3, age=1), replace(SEGMENT, id=2, age=2))
    assert held(opened()) == (
        segments,
        (BLOCK,),
        (COLUMN, replace(COLUMN, name="b", position=1), replace(COLUMN, name="a", position=2)),
        (INGEST,),
    )


def test_segments_are_added_and_removed_in_one_step(opened):
    manifest = opened()
    manifest.commit([SEGMENT, replace(SEGMENT, id=2)])
    manifest.commit([replace(SEGMENT, id=3, rows=20)], remove_segments=[1, 2])
    assert held(opened())[0] == (replace(SEGMENT, id=3, rows=20),)


def test_a_commit_that_fails_leaves_nothing_behind(opened):
    manifest = opened()
    manifest.commit([SEGMENT])
    with pytest.raises(sqlite3.IntegrityError):
        manifest.commit([BLOCK, INGEST, replace(SEGMENT, rows=99)])
    assert held(manifest) == held(opened()) == ((SEGMENT,), (), (), ())
    manifest.commit([BLOCK])  # and the manifest can still be written
    assert held(opened())[1] == (BLOCK,)


def test_a_commit_shows_in_another_connection(opened):
    reader, writer = opened(), opened()
    version = reader.read().version
    assert reader.change_counter() == version
    writer.commit([SEGMENT])
    assert reader.change_counter() != version
    assert held(reader)[0] == (SEGMENT,)
    assert reader.read().version == reader.change_counter()


def cells():
    tables = {"segment": SEGMENT, "block": BLOCK, "held_column": COLUMN, "ingest": INGEST}
    return [(table, field.name) for table, record in tables.items() for field in fields(record)]


def changed(value):
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return 1.5 if value is None else value + type(value)(2**-20 if isinstance(value, float) else 1)


@pytest.mark.parametrize(
    ("table", "column"), [*cells(), *((table, "checksum") for table in ("segment", "block", "held_column", "ingest"))]
)
def test_any_changed_value_of_a_row_is_corrupt_data(file, opened, table, column):
    opened().commit(ALL)
    connection = sqlite3.connect(file)
    (value,) = connection.execute(f"SELECT {column} FROM {table}").fetchone()
    with connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (changed(value),))
    connection.close()
    with pytest.raises(CorruptData) as caught:
        opened().read()
    assert caught.value.field == table
    assert table in caught.value.message


def test_any_flipped_bit_of_the_file_is_found_or_does_no_harm(file, opened, tmp_path):
    opened().commit(ALL)
    expected = held(opened())
    content = file.read_bytes()
    wrong = set()
    for position in range(0, len(content), 41):
        broken = tmp_path / f"{position}.sqlite"
        broken.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        try:
            if held(opened(broken)) != expected:
                wrong.add("read as something else")
        except AlertflightError:
            pass
        except Exception as error:
            wrong.add(type(error).__name__)
    assert wrong == set()


def test_another_format_is_refused_by_number(file, opened):
    opened().commit(ALL)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(BadValue) as caught:
        opened()
    assert (caught.value.field, caught.value.value) == ("data", "7")


def first_format(file):
    """Downgrade the manifest to format 1, whose segments have no `whole_since`."""
    manifest = Manifest(file)
    segments, others = manifest.read().segments, len(fields(SegmentRecord))
    manifest.close()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("DROP TABLE segment")
    names = ", ".join(field.name for field in fields(SegmentRecord) if field.name != "whole_since")
    connection.execute(f"CREATE TABLE segment ({names}, checksum, PRIMARY KEY (id))")
    for record in segments:
        values = tuple(getattr(record, name) for name in names.split(", "))
        marks = ", ".join("?" * others)
        connection.execute(f"INSERT INTO segment VALUES ({marks})", (*values, zlib.crc32(repr(values).encode())))
    found = 0
    for table, key in (("segment", "id"), ("block", "name"), ("held_column", "table_name, name"), ("ingest", "id")):
        rows = connection.execute(f"SELECT checksum FROM {table} ORDER BY {key}").fetchall()
        found = zlib.crc32(repr((table, rows)).encode(), found)
    connection.execute("UPDATE summary SET checksum = ?", (found,))
    connection.execute("PRAGMA user_version = 1")
    connection.execute("COMMIT")
    return connection


def test_a_manifest_of_the_first_format_is_brought_to_this_one(file, opened):
    compacted = replace(SEGMENT, id=5, age=3, whole_since=SEGMENT.written)
    opened().commit([*ALL, compacted])
    connection = first_format(file)
    for _ in range(2):
        assert held(opened()) == ((SEGMENT, compacted), (BLOCK,), (COLUMN,), (INGEST,))
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    opened().commit([replace(SEGMENT, id=6, age=6)])
    assert len(held(opened())[0]) == 3


def test_a_damaged_manifest_of_the_first_format_stays_as_it_is(file, opened):
    opened().commit(ALL)
    connection = first_format(file)
    connection.execute("UPDATE segment SET rows = 11")
    for _ in range(2):
        with pytest.raises(CorruptData):
            opened()
    assert connection.execute("SELECT rows FROM segment").fetchall() == [(11,)]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.execute("DROP TABLE segment")
    with pytest.raises(CorruptData):
        opened()
    connection.close()


def test_a_manifest_of_the_first_format_that_cannot_be_written_says_so(file, opened, monkeypatch):
    opened().commit(ALL)
    connection = first_format(file)
    connection.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(manifest_module, "BUSY_SECONDS", 0.0)
    with pytest.raises(BadValue, match="format 1 and cannot be migrated to format 2: database is locked"):
        opened()
    connection.execute("ROLLBACK")
    connection.close()
    assert held(opened())[0] == (SEGMENT,)


def test_a_manifest_whose_making_was_killed_is_made_again(file, opened):
    file.touch()  # SQLite makes the file before its first transaction
    assert held(opened()) == ((), (), (), ())
