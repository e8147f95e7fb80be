"""The lines of `scripts/bench rows`: scaling of the embedded store from 0.1 to 10 million rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
from measure import aligned, compare, timed
from memory import rss_anon
from processes import Served, bare_server, real_server
from store import ALERTS_EACH, build_one, opened, wide_columns

from flight_server.simulate.recipes import load_recipes
from flight_server.simulate.sky import object_names

__all__ = ["Grown", "bench_rows", "grown_table"]

SIZES = (100_000, 1_000_000, 10_000_000)
ROW_BYTES = 1900  # in segments and key files; measured with the packaged alerts
RUN_BYTES = 2200  # of the temporary runs of an ingest
ALERT_BYTES = 260  # of the simulated files
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Grown:
    """One size: seconds to simulate and to ingest (0: the store existed), bytes, and the times and memory of its server.

    `touch_ms` is the median of lookups that meet batches for the first time since the start, `lookup_ms` of the same
    lookups later, `bare_ms` of the bare server; `grown` is `lookup_ms` over that of the smallest store.
    """

    rows: int
    simulate_s: float
    ingest_s: float
    store_bytes: int
    open_s: float
    memory_open: int
    memory_end: int
    touch_ms: float
    lookup_ms: float
    bare_ms: float
    grown: float

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return asdict(self)


def bench_rows(work: Path, rows: int, repeat: int) -> Iterator[Grown]:
    """Build the stores up to `rows` rows, then measure all of them, interleaved."""
    sizes = [size for size in SIZES if size < rows] + [rows]
    _check_disk(work, sizes)
    built = {size: build_one(work, size // ALERTS_EACH) for size in sizes}
    with ExitStack() as stack:
        servers = {size: stack.enter_context(real_server(built[size][0])) for size in sizes}
        opened_ = {size: rss_anon(server.pid) for size, server in servers.items()}
        tickets = {size: _tickets(built[size][0], size, repeat) for size in sizes}
        touched = {size: _first(servers[size], tickets[size]) for size in sizes}
        with bare_server(servers[sizes[0]], work) as bare:
            for ticket in tickets[sizes[0]]:
                list(bare.client.do_action(fl.Action("record", ticket)))
            lookups = {size: ([], []) for size in sizes}  # type: dict[int, tuple[list[float], list[float]]]
            for part in range(0, repeat, 50):
                for size in sizes:
                    # the bare server sends answers of the smallest store, which have the same shape
                    pairs = list(zip(tickets[size][part : part + 50], tickets[sizes[0]][part : part + 50], strict=True))
                    ours, reference = compare(pairs, partial(_ask, servers[size], 0), partial(_ask, bare, 1))
                    lookups[size][0].extend(ours.tolist())
                    lookups[size][1].extend(reference.tolist())
        base = float(np.median(lookups[sizes[0]][0]))
        for size in sizes:
            store, simulated, ingested = built[size]
            median, bare_median = (float(np.median(side)) for side in lookups[size])
            yield Grown(
                rows=size,
                simulate_s=simulated,
                ingest_s=ingested,
                store_bytes=sum(file.stat().st_size for file in store.rglob("*") if file.is_file()),
                open_s=servers[size].seconds,
                memory_open=opened_[size],
                memory_end=rss_anon(servers[size].pid),
                touch_ms=touched[size],
                lookup_ms=median,
                bare_ms=bare_median,
                grown=median / base,
            )


def grown_table(found: list[Grown]) -> str:
    """Format the sizes as text."""
    head = (
        "rows",
        "simulate/s",
        "ingest/s",
        "store GB",
        "open s",
        "RssAnon MiB at open, end",
        "first touch ms",
        "lookup ms",
        "bare ms",
        "ratio",
        "to smallest",
    )
    return aligned([head, *(_cells(one) for one in found)], left=())


def _cells(one: Grown) -> tuple[str, ...]:
    return (
        f"{one.rows}",
        _rate(one.rows, one.simulate_s),
        _rate(one.rows, one.ingest_s),
        f"{one.store_bytes / 1e9:.2f}",
        f"{one.open_s:.2f}",
        f"{one.memory_open / MIB:.0f}, {one.memory_end / MIB:.0f}",
        f"{one.touch_ms:.3f}",
        f"{one.lookup_ms:.3f}",
        f"{one.bare_ms:.3f}",
        f"{one.lookup_ms / one.bare_ms:.2f}",
        f"{one.grown:.2f}x",
    )


def _check_disk(work: Path, sizes: list[int]) -> None:
    needed = sum(sizes) * ROW_BYTES + max(sizes) * (RUN_BYTES + ALERT_BYTES)
    work.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(work).free
    click.echo(f"needs about {needed / 1e9:.1f} GB in {work}, where {free / 1e9:.1f} GB are free", err=True)
    if needed > free:
        raise click.ClickException("not enough free disk: take fewer --rows, or another --work folder")


def _tickets(store: Path, size: int, repeat: int) -> list[bytes]:
    archive, held = opened(store)
    columns = wide_columns(archive)
    held.close()
    names = object_names(load_recipes()["ztf"].names, size // ALERTS_EACH)
    chosen = np.random.default_rng(3).integers(0, len(names), repeat).tolist()
    return [json.dumps({"table": "ztf", "ids": [names[place].as_py()], "columns": columns}).encode() for place in chosen]


def _ask(server: Served, side: int, pair: tuple[bytes, bytes]) -> pa.Table:
    return server.ask(pair[side])


def _first(server: Served, tickets: list[bytes]) -> float:
    times = [timed(partial(server.ask, ticket)) for ticket in tickets]
    return float(np.median(times))


def _rate(rows: int, seconds: float) -> str:
    return f"{rows / seconds:.0f}" if seconds else "(stood)"
