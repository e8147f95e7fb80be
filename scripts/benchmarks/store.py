"""The measured stores: built once from simulated alerts, with the ordinary commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.service.process import open_archive
from flight_server.settings import load_settings
from flight_server.storage.embedded import EmbeddedStore

__all__ = ["ALERTS_EACH", "COMMAND", "Stores", "build", "build_one", "ids_of", "opened", "wide_columns"]

ALERTS_EACH = 25
NIGHTS = 30
SEED = 4
WIDE = 130  # the number of columns of a wide line: the first stored ones
COMMAND = Path(sys.executable).with_name("alertflight")


@dataclass(frozen=True, slots=True)
class Stores:
    """The same alerts twice: `compacted`, and after 30 ingests without compaction (`ingests`)."""

    compacted: Path
    ingests: Path


def build(work: Path, objects: int) -> Stores:
    """Build both stores of `objects` objects, or reuse existing ones."""
    stores = Stores(work / f"compacted-{objects}", work / f"ingests-{objects}")
    missing = [store for store in (stores.compacted, stores.ingests) if not _stands(store, objects)]
    if missing:
        alerts = work / f"alerts-{objects}"
        click.echo(f"building the stores of {objects} objects in {work} (once) ...", err=True)
        shutil.rmtree(alerts, ignore_errors=True)
        run("simulate", "--objects", objects, "--nights", NIGHTS, "--seed", SEED, "--out", alerts)
        nights = sorted(alerts.glob("year=*/month=*/day=*"))
        for store in missing:
            _built(store, [nights] if store == stores.compacted else [[night] for night in nights])
        shutil.rmtree(alerts)
    return stores


def build_one(work: Path, objects: int) -> tuple[Path, float, float]:
    """Simulate and ingest `objects` objects at once; return the store and the seconds of both (0: it existed)."""
    store, alerts = work / f"rows-{objects}", work / f"rows-alerts-{objects}"
    if _stands(store, objects):
        return store, 0.0, 0.0
    shutil.rmtree(alerts, ignore_errors=True)
    click.echo(f"building the store of {objects * ALERTS_EACH} rows in {work} (once) ...", err=True)
    begun = time.perf_counter()
    run("simulate", "--objects", objects, "--nights", NIGHTS, "--seed", SEED, "--out", alerts)
    simulated = time.perf_counter()
    unfinished = store.with_name(store.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)
    run("ingest", alerts, "--data", unfinished)
    ended = time.perf_counter()
    unfinished.rename(store)
    shutil.rmtree(alerts)
    return store, simulated - begun, ended - simulated


def run(*words: object) -> str:
    """Run a command of the project, with its progress on a terminal; return its output."""
    errors = None if sys.stderr.isatty() else subprocess.PIPE
    command = [str(word) for word in (COMMAND, *words)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603  (our own command)
    if done.returncode:
        raise click.ClickException(f"alertflight {words[0]} failed: {(done.stderr or '')[-2000:]}")
    return done.stdout


def opened(folder: Path) -> tuple[Archive, EmbeddedStore]:
    """Open a store in this process."""
    archive, store = open_archive(load_settings(environment={}, data=str(folder)))
    assert isinstance(store, EmbeddedStore)
    return archive, store


def wide_columns(archive: Archive) -> list[str]:
    """Return the first 130 stored columns."""
    catalog = archive.catalog()
    return list(catalog.stored_columns(catalog.table("ztf")))[:WIDE]


def ids_of(archive: Archive) -> list[str]:
    """Return all object IDs of a store."""
    query = Query(table="ztf", all=True, columns=("i:objectId",))
    batches = [message.batch for message in archive.answer(query, Caller()).messages]
    found: list[str] = pa.Table.from_batches(batches)[0].unique().to_pylist()
    return found


def _stands(store: Path, objects: int) -> bool:
    if not store.exists():
        return False
    archive, held = opened(store)
    rows = archive.states()["ztf"].rows
    held.close()
    return rows == objects * ALERTS_EACH


def _built(store: Path, ingests: list[list[Path]]) -> None:
    """Build under a temporary name and rename, so that existing stores are complete."""
    unfinished = store.with_name(store.name + ".unfinished")
    for folder in (unfinished, store):
        shutil.rmtree(folder, ignore_errors=True)
    for number, paths in enumerate(ingests, start=1):
        click.echo(f"{store.name}: ingest {number} of {len(ingests)}", err=True)
        run("ingest", *paths, "--data", unfinished)
    if len(ingests) == 1:
        run("compact", "--full", "--data", unfinished)
    unfinished.rename(store)
