"""Fault injection: commands that are made to fail, and the contents of the store after them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from alert_data import MANY_AVRO, NEWEST, TDE
from warm_commands import Ended, WarmCommands

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.ingest import ingest
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import CorruptData
from flight_server.protocol.query import CUTOUT_KINDS, Query
from flight_server.settings import load_settings
from flight_server.storage.embedded import EmbeddedStore, verify_folder
from flight_server.storage.embedded.manifest import Manifest, SegmentRecord
from flight_server.storage.embedded.segments import WRITTEN

Contents = dict[str, tuple[int, str]]
EMBEDDED = "flight_server.storage.embedded"
SPILLING = {"flight_server.storage.runs.RUN_BYTES": 16_384, "flight_server.storage.runs.PART_BYTES": 32_768}
INGESTING = (
    "run.spilled",
    "segment.data",
    "segment.keys",
    "block.drafted",
    "block.published",
    "commit.before",
    "commit.inside",
    "commit.after",
)
INGESTING_INTO_HBASE = ("hbase.created", "hbase.put", "hbase.committed", "hdfs.drafted", "hdfs.published")
COMPACTING = (
    "segment.data",
    "segment.keys",
    "commit.before",
    "commit.inside",
    "commit.after",
    "compact.before",
    "compact.committed",
    "compact.removing",
)
# the command with some constants of its modules, or the size of the files that it may write, changed
CHILD = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from warm_commands import command
command(json.loads(sys.argv[1]), sys.argv[2:])
"""
# root writes to read-only folders too, unless it has given that right away
UNPRIVILEGED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for right in (1, 2) if os.geteuid() == 0 else ():  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.prctl(24, right, 0, 0, 0):  # PR_CAPBSET_DROP
        raise OSError(ctypes.get_errno(), "the right to write anywhere cannot be given up")
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Scene:
    """A command that changes a store: the store as it was, and the contents before and after it."""

    command: tuple[str, ...]
    folder: Path | None
    before: Contents
    after: Contents

    def copy(self, folder: Path) -> Path:
        if self.folder is not None:
            shutil.copytree(self.folder, folder)
        return folder


def run_afresh(
    command: tuple[str | Path, ...], folder: Path, inject: str = "", **changes: int
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(changes), *map(str, command), "--data", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({"ALERTFLIGHT_INJECT": inject} if inject else {}),
    )


@dataclass(frozen=True)
class Runner:
    """A runner of commands in processes forked from a warm one."""

    warm: WarmCommands

    def __call__(
        self, command: tuple[str | Path, ...], folder: Path, inject: str = "", kill_after: float | None = None, **changes: int
    ) -> Ended:
        return self.warm.run([*command, "--data", folder], inject=inject, changes=changes, kill_after=kill_after)


def do(scene: Scene, store: EmbeddedStore) -> None:
    """Run the scene's command in this process."""
    if scene.command[0] == "compact":
        store.compact(full=True)
    else:
        report = ingest(store, load_catalog(), [Path(word) for word in scene.command[1:]])
        assert not report.failures


def do_again(scene: Scene, folder: Path) -> None:
    store = EmbeddedStore(folder)
    do(scene, store)
    store.close()


def unprivileged(command: list[str | Path]) -> list[str]:
    return [sys.executable, "-c", UNPRIVILEGED, *map(str, command)]


def is_clear(done: Ended | subprocess.CompletedProcess[str]) -> bool:
    """Return whether a command failed with a one-line message."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return done.returncode in {2, 3} and len(errors) == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr


def everything(archive: Archive, name: str) -> tuple[int, str]:
    """Read all rows, columns and cutouts of a table; return rows and digest. A cutout that cannot be read is an error."""
    table = archive.catalog().table(name)
    cutouts = CUTOUT_KINDS if table.cutouts and table.survey == "ztf" else ()
    answer = archive.answer(Query(table=name, all=True, digest=True, cutouts=cutouts), Caller())
    record = list(answer.messages)[-1].metadata
    assert record["complete"]
    if record["cutout_errors"]:
        raise CorruptData(f"stamps are damaged: {record['cutout_errors']}", field="cutouts")
    return record["rows"], record["digest"]


def open_archive(folder: Path) -> tuple[Archive, EmbeddedStore]:
    catalog = load_catalog()
    store = EmbeddedStore(folder, catalog)
    settings = load_settings(environment={}, data=str(folder))
    settings = replace(settings, limits=replace(settings.limits, cutouts=1_000_000))
    return Archive(catalog, store, store.cutouts, settings), store


def contents(folder: Path) -> Contents:
    """Return rows and digest of every table; the row count of the store must be that of the answer."""
    archive, store = open_archive(folder)
    try:
        found = {name: everything(archive, name) for name in archive.states()}
        assert {name: state.rows for name, state in archive.states().items()} == {name: rows for name, (rows, _) in found.items()}
        return found
    finally:
        store.close()


def damage(folder: Path) -> list[str]:
    return list(verify_folder(folder))


_same_rows: dict[str, str] = {}  # digests of data files without the times of writing, by the digests of the files
_same_stores: dict[str, Contents] = {}


def checked_contents(folder: Path) -> Contents:
    """Return `contents` of a store after checking that it has no damage; cached for equal stores.

    Alike are stores that agree in every record of the manifest and every byte of the files it names, but for names,
    ages and times of writing, of which only the order reaches an answer: verify has just proved that the files are those of the
    manifest, so what is equal here gives equal answers, and what is not is read in full.
    """
    if not (folder / "manifest.sqlite").exists():  # killed before there was a store
        return contents(folder)
    assert damage(folder) == []
    manifest = Manifest(folder / "manifest.sqlite")
    try:
        state = manifest.read()
    finally:
        manifest.close()
    alike = repr(
        (
            [_like(folder, record) for record in state.segments],
            [(block.name, block.rows, block.bytes, block.sha256, block.footer_crc) for block in state.blocks],
            state.columns,
        )
    )
    if alike not in _same_stores:
        _same_stores[alike] = contents(folder)
    return _same_stores[alike]


def _like(folder: Path, record: SegmentRecord) -> tuple[object, ...]:
    """Return the parts of a segment that determine answers; the manifest lists segments by age."""
    if record.data_sha256 not in _same_rows:
        found = hashlib.sha256()
        with pa.ipc.open_file((folder / "segments" / record.table_name / f"{record.name}.arrow").read_bytes()) as reader:
            rows = reader.read_all().drop_columns([WRITTEN])
        found.update(rows.schema.serialize())
        for batch in rows.to_batches():
            found.update(batch.serialize())
        _same_rows[record.data_sha256] = found.hexdigest()
    times = (record.first_time, record.last_time)
    return (
        record.table_name,
        record.rows,
        record.replaced,
        record.key_width,
        record.keys_sha256,
        times,
        _same_rows[record.data_sha256],
    )


def files(folder: Path) -> dict[Path, int]:
    found = [file for part in ("segments", "blocks", "runs") for file in (folder / part).rglob("*") if file.is_file()]
    return {file.relative_to(folder): file.stat().st_size for file in found}


def fill(folder: Path, *paths: Path) -> Path:
    """Ingest each path separately, so that each becomes a segment."""
    store = EmbeddedStore(folder)
    for path in paths:
        assert not ingest(store, load_catalog(), [path]).failures
    store.close()
    return folder


def write_changed(file: Path, label: str, swap: bool) -> Path:
    """Write the alerts of one object again, with another class and, if `swap`, with exchanged cutouts."""
    table = pq.ParquetFile(TDE).read()
    table = table.set_column(table.column_names.index("cdsxmatch"), "cdsxmatch", pa.array([label] * len(table)))
    if swap:
        science, template = (table.column_names.index(name) for name in ("cutoutScience", "cutoutTemplate"))
        names = table.column_names
        names[science], names[template] = names[template], names[science]
        table = table.rename_columns(names)
    pq.write_table(table, file)
    return file


def write_coincident(file: Path) -> Path:
    """Write an object's alerts with histories in which limits, bad points and alerts have the same times."""
    table = pq.ParquetFile(TDE).read()
    alerts = table.to_pylist()
    times = sorted(alert["candidate"]["jd"] for alert in alerts)
    moments = [times[0] - 0.5, times[0], times[5], times[5] + 0.25, times[5] + 0.5, times[-1], times[-1] + 1]
    point = alerts[0]["prv_candidates"][0]
    limits = [point | {"jd": jd, "magpsf": None, "diffmaglim": 20.5} for jd in moments]
    bad = [point | {"jd": jd, "magpsf": 18.5, "rb": 0.1, "nbad": 1} for jd in moments[1:]]
    for alert, history in zip(alerts, [limits, bad] + [[]] * 19, strict=True):
        alert["prv_candidates"] = history
    pq.write_table(pa.Table.from_pylist(alerts, schema=table.schema), file)
    return file


def rename(folder: Path, number: int) -> None:
    """Rename the objects of a simulated night, so that they sort between those of other nights."""
    for file in folder.rglob("*.parquet"):
        table = pq.ParquetFile(file).read()
        names = [f"{name}{number}" for name in table["objectId"].to_pylist()]
        pq.write_table(table.set_column(table.column_names.index("objectId"), "objectId", pa.array(names)), file)


def make_scenes(folder: Path, run: Runner) -> dict[str, Scene]:
    """Make the scenes: a first ingest, an ingest over stored rows, and a compaction of five ingests."""
    folder.mkdir(exist_ok=True)
    first, second = write_changed(folder / "1.parquet", "AGN", swap=True), write_changed(folder / "2.parquet", "QSO", swap=False)
    empty, one = fill(folder / "empty"), fill(folder / "one", TDE)
    many = fill(Path(shutil.copytree(one, folder / "many")), MANY_AVRO, NEWEST, first, second)
    again = ("ingest", str(MANY_AVRO), str(first))
    scenes = {}
    beginnings: list[tuple[str, tuple[str, ...], Path | None, Path]] = [
        ("first", ("ingest", str(MANY_AVRO)), None, empty),
        ("again", again, one, one),
        ("compact", ("compact", "--full"), many, many),
    ]
    for name, command, old, held in beginnings:
        new = folder / f"{name}-new"
        if old is not None:
            shutil.copytree(old, new)
        done = run(command, new, **SPILLING)
        assert done.returncode == 0, done.stderr
        scenes[name] = Scene(command, old, contents(held), contents(new))
    assert scenes["again"].before != scenes["again"].after
    assert scenes["compact"].before == scenes["compact"].after
    return scenes


def until_unharmed(attempt: Callable[[int], bool]) -> int:
    """Fail at the first, second, ... passing of a point until an attempt succeeds; return the failures."""
    turn = 1
    while attempt(turn):
        turn += 1
    return turn - 1
