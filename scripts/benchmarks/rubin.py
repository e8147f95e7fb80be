"""The lines of `scripts/bench embedded --survey rubin`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from embedded import BULK_GOAL, SINGLE_GOAL, against_bare
from measure import Line, compare, fact, line
from processes import Served, bare_server, real_server
from store import opened, run

from flight_server.catalog.declarations import load_surveys
from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

__all__ = ["bench_rubin"]

TABLE = load_surveys()["rubin"].alert_table.name
OBJECTS, EACH, NIGHTS, SEED = 2000, 10, 30, 4
LONG, LONG_ALERTS = 170_028_528_328_769_656, 500
HISTORIES = 400  # alerts whose histories are ingested, of about 700 points each
CONE_GOAL = 5.0
LIGHT_CURVE = ("r:midpointMjdTai", "r:band", "r:psfFlux", "r:psfFluxErr")
BULK_TICKETS = 5


def bench_rubin(work: Path, repeat: int) -> Iterator[Line]:
    """Measure; yield lines as they are ready."""
    store, points = _built(work)
    archive, held = opened(store)
    ids = _ids(archive)
    held.close()
    random = np.random.default_rng(7)
    forced = _most_forced(store)
    with real_server(store) as real, bare_server(real, work) as bare:
        one = [_ticket(ids=[LONG]) for _ in range(repeat)]
        title = f"one object of {LONG_ALERTS} sources x"
        yield line(f"{title} all columns", "bare server", against_bare(one, real, bare), SINGLE_GOAL)
        one = [_ticket(ids=[LONG], columns=LIGHT_CURVE) for _ in range(repeat)]
        yield line(f"{title} 4 columns", "bare server", against_bare(one, real, bare), SINGLE_GOAL)
        few = [_ticket(ids=random.permutation(ids)[:OBJECTS].tolist()) for _ in range(BULK_TICKETS)]
        times = against_bare(few, real, bare, again=max(1, repeat // 20))
        yield line(f"{OBJECTS} random objects x all columns", "bare server", times, BULK_GOAL)
        name, count = forced
        more = [_ticket(ids=[name], forced=True, columns=LIGHT_CURVE) for _ in range(repeat)]
        title = f"forced photometry of one object, {count} rows x 4 columns"
        yield line(title, "bare server", against_bare(more, real, bare), SINGLE_GOAL)
        yield _cones(real, random, repeat)
    yield fact("ingest --history, points a second", points, np.array([0.0]))


def _cones(real: Served, random: np.random.Generator, repeat: int) -> Line:
    """Measure cones of 5 arcsec against the lookup of one object."""
    places = real.ask(_ticket(table="rubin.pixel1024", all=True, columns=["r:diaObjectId", "r:ra", "r:dec"])).to_pylist()
    drawn = [places[number] for number in random.integers(0, len(places), repeat).tolist()]
    cones = [_ticket(cone={"ra": one["r:ra"], "dec": one["r:dec"], "radius": 5}, columns=LIGHT_CURVE) for one in drawn]
    points = [_ticket(ids=[one["r:diaObjectId"]], columns=LIGHT_CURVE) for one in drawn]
    if any(len(real.ask(cone)) == 0 for cone in cones[:10]):
        raise click.ClickException("an object is not within 5 arcsec of itself")
    pairs = list(zip(cones, points, strict=True))
    times = compare(pairs, lambda pair: real.ask(pair[0]), lambda pair: real.ask(pair[1]), warm=pairs[:20])
    return line("cone of 5 arcsec x 4 columns", "one object by its ID", times, CONE_GOAL)


def _built(work: Path) -> tuple[Path, str]:
    """Build the store, or reuse it; return it and what the ingest of histories took."""
    store, note = work / "rubin", work / "rubin-points.json"
    if store.exists() and note.exists():
        return store, str(json.loads(note.read_text()))
    click.echo(f"building the store of Rubin in {work} (once) ...", err=True)
    alerts, few, unfinished = work / "rubin-alerts", work / "rubin-few", work / "rubin.unfinished"
    for folder in (alerts, few, unfinished, store):
        shutil.rmtree(folder, ignore_errors=True)
    words = ("--survey", "rubin", "--nights", NIGHTS, "--seed", SEED)
    run(
        "simulate",
        *words,
        "--objects",
        OBJECTS,
        "--alerts",
        EACH,
        "--name",
        f"{LONG}:{LONG_ALERTS}",
        "--no-histories",
        "--out",
        alerts,
    )
    run("ingest", alerts, "--data", unfinished)
    run("simulate", *words[:4], "--seed", SEED + 1, "--objects", HISTORIES, "--alerts", 1, "--out", few)
    names = ("prvDiaSources", "prvDiaForcedSources")
    tables = [pq.read_table(file, columns=list(names)) for file in few.rglob("*.parquet")]
    count = sum(pa.compute.sum(pa.compute.list_value_length(table[name])).as_py() for table in tables for name in names)
    begun = time.perf_counter()
    run("ingest", "--history", few, "--data", unfinished)
    rate = f"{count / (time.perf_counter() - begun):.0f} of {count} points, the start of the command included"
    run("compact", "--full", "--data", unfinished)
    unfinished.rename(store)
    note.write_text(json.dumps(rate))
    for folder in (alerts, few):
        shutil.rmtree(folder)
    return store, rate


def _ids(archive: Archive) -> list[int]:
    query = Query(table="rubin.diaObject", all=True, columns=("r:diaObjectId",))
    batches = [message.batch for message in archive.answer(query, Caller()).messages]
    return [one for one in pa.Table.from_batches(batches)[0].to_pylist() if one != LONG]


def _most_forced(store: Path) -> tuple[int, int]:
    """Return the object with the most forced photometry, and the rows of its light curve with it."""
    archive, held = opened(store)
    batches = [
        message.batch
        for message in archive.answer(Query(table="rubin.fp", all=True, columns=("r:diaObjectId",)), Caller()).messages
    ]
    counts = pa.Table.from_batches(batches)[0].value_counts().to_pylist()
    name = max(counts, key=lambda one: one["counts"])["values"]
    query = Query(table=TABLE, ids=(name,), forced=True, columns=("r:midpointMjdTai",))
    rows = sum(len(message.batch) for message in archive.answer(query, Caller()).messages)
    held.close()
    return name, rows


def _ticket(**fields: object) -> bytes:
    return json.dumps({"table": TABLE, **fields}, separators=(",", ":")).encode()
