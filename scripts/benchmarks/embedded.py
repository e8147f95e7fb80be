"""The lines of `scripts/bench embedded`."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import stages
from duck import duck_queries
from measure import Line, Times, compare, fact, line, timed
from memory import drop_page_cache, during, over_requests, resident_share
from processes import Served, bare_server, real_server
from store import ALERTS_EACH, Stores, build, ids_of, opened, wide_columns
from zero_copy import zero_copy

from flight_server.execution.archive import Archive
from flight_server.execution.digests import Digest
from flight_server.protocol.callers import Caller
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.storage.embedded import EmbeddedStore

__all__ = ["BULK_GOAL", "SINGLE_GOAL", "Sizes", "against_bare", "bench_embedded"]

SINGLE_GOAL, BULK_GOAL, INGESTS_GOAL = 1.5, 1.3, 2.0
FEW = ("i:jd", "i:fid", "i:magpsf")
FIVE = ("i:objectId", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf")
BULK_OBJECTS = 2000
FIVE_ROWS = 100_000
BULK_TICKETS = 5  # distinct ones, requested in turn: the bare server keeps each in memory
COLD_STARTS = 5
WARM_REQUESTS = 500
ZERO_COPY_OBJECTS = 200
PROFILED = 2000


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of the run: objects in the store, repetitions of single and bulk lines, requests of the memory line."""

    objects: int
    single: int
    bulk: int
    requests: int


class Bench:
    """One run: the stores, and the requests drawn from them.

    Parameters
    ----------
    stores, archive, store
        The measured stores, and the compacted one opened in this process.
    sizes
        The size of the run.
    """

    def __init__(self, stores: Stores, archive: Archive, store: EmbeddedStore, sizes: Sizes) -> None:
        self.stores = stores
        self.archive = archive
        self.store = store
        self.sizes = sizes
        self.ids = ids_of(archive)
        self.wide = wide_columns(archive)
        self.random = np.random.default_rng(7)

    def some(self, count: int) -> list[str]:
        """Draw `count` distinct objects, or all if there are fewer."""
        order = self.random.permutation(len(self.ids))[:count].tolist()
        return [self.ids[place] for place in order]

    def singles(self, count: int) -> list[str]:
        """Draw `count` objects, distinct if there are enough."""
        return [object_id for _ in range(-(-count // len(self.ids))) for object_id in self.some(len(self.ids))][:count]

    def tickets(self, ids: Sequence[str], columns: Sequence[str]) -> list[bytes]:
        """Return one ticket per object."""
        return [_ticket([object_id], columns) for object_id in ids]

    def bulk(self, objects: int, columns: Sequence[str]) -> list[bytes]:
        """Return tickets of many random objects each."""
        return [_ticket(self.some(objects), columns) for _ in range(BULK_TICKETS)]


def bench_embedded(work: Path, sizes: Sizes, *, profile: bool) -> Iterator[Line | str]:
    """Measure; yield lines as they are ready, and the tables of the profile."""
    stores = build(work, sizes.objects)
    archive, store = opened(stores.compacted)
    bench = Bench(stores, archive, store, sizes)
    click.echo(f"{len(bench.ids)} objects, {len(bench.wide)} columns wide", err=True)
    with real_server(stores.compacted) as real:
        with bare_server(real, work) as bare:
            yield from _against_bare(bench, real, bare, profile=profile)
        with real_server(stores.ingests) as ingests:
            yield from _against_compacted(bench, ingests, real)
    yield from _in_process(bench, work / f"duck-{sizes.objects}.duckdb")
    # over many requests in a separate server, after its one-time costs
    with real_server(stores.compacted) as real:
        tickets = bench.tickets(bench.singles(sizes.requests), bench.wide)
        yield over_requests(f"server memory (RssAnon), {sizes.requests} single requests", real, tickets)
    yield zero_copy(archive, stores.compacted, bench.some(ZERO_COPY_OBJECTS), bench.wide)
    store.close()
    del bench, archive, store
    gc.collect()  # pages that are still mapped would stay in the page cache
    yield from _cold(stores.compacted, sizes)


def _against_bare(bench: Bench, real: Served, bare: Served, *, profile: bool) -> Iterator[Line | str]:
    sizes = bench.sizes
    for columns in (bench.wide, FEW):
        name, tickets = f"one object x {len(columns)} columns", bench.tickets(bench.singles(sizes.single), columns)
        times = _sides(tickets, real, bare, repeat=1, warm=WARM_REQUESTS)
        yield line(name, "bare server", times, SINGLE_GOAL)
        if profile:
            medians = [float(np.median(side)) for side in times]
            many = bench.tickets(bench.singles(PROFILED), columns)
            yield f"{name}\n" + stages.stages(bench.archive, bench.store, many, *medians)
            yield f"{name}\n" + stages.functions(bench.archive, many)
    objects = min(BULK_OBJECTS, sizes.objects)
    name = f"{objects} random objects x {len(bench.wide)} columns"
    bulk = bench.bulk(objects, bench.wide)
    times = _sides(bulk, real, bare, repeat=-(-sizes.bulk // BULK_TICKETS), warm=BULK_TICKETS)
    yield line(name, "bare server", times, BULK_GOAL, _speed(real, bulk[0], times[0]))
    yield during("server memory (RssAnon), the line above", real.pid, lambda: [real.ask(ticket) for ticket in bulk])
    if profile:
        medians = [float(np.median(side)) for side in times]
        yield f"{name}\n" + stages.stages(bench.archive, bench.store, bulk * 3, *medians)
        yield f"{name}\n" + stages.functions(bench.archive, bulk)
    objects = min(FIVE_ROWS // ALERTS_EACH, sizes.objects)
    five = bench.bulk(objects, FIVE)
    times = _sides(five, real, bare, repeat=-(-sizes.bulk // BULK_TICKETS), warm=BULK_TICKETS)
    name = f"{objects * ALERTS_EACH} rows x {len(FIVE)} columns ({objects} random objects)"
    yield line(name, "bare server", times, note=_speed(real, five[0], times[0]))


def _against_compacted(bench: Bench, ingests: Served, compacted: Served) -> Iterator[Line]:
    sizes = bench.sizes
    single = bench.tickets(bench.singles(sizes.single), bench.wide)
    objects = min(BULK_OBJECTS, sizes.objects)
    for name, tickets, repeat in (
        ("30 ingests: one object", single, 1),
        (f"30 ingests: {objects} objects", bench.bulk(objects, bench.wide), -(-sizes.bulk // (3 * BULK_TICKETS))),
    ):
        for ticket in tickets[:3]:
            _same(ticket, ingests, compacted)
        times = compare(tickets * repeat, ingests.ask, compacted.ask, warm=tickets[:WARM_REQUESTS])
        yield line(name, "the store compacted", times, INGESTS_GOAL)


def _in_process(bench: Bench, file: Path) -> Iterator[Line]:
    one, many = duck_queries(bench.archive, file, bench.wide)
    singles = bench.singles(bench.sizes.single)
    objects = min(BULK_OBJECTS, bench.sizes.objects)
    bulk = [bench.some(objects) for _ in range(BULK_TICKETS)] * -(-bench.sizes.bulk // BULK_TICKETS)
    note = "both in process, to Arrow, no Flight"

    def ours(ids: Sequence[str]) -> pa.Table:
        query = parse_ticket(_ticket(ids, bench.wide))
        return pa.Table.from_batches([message.batch for message in bench.archive.answer(query, Caller()).messages])

    times = compare(singles, lambda object_id: ours([object_id]), one, warm=singles[:WARM_REQUESTS])
    yield line(f"one object x {len(bench.wide)} columns, in process", "DuckDB, indexed table", times, note=note)
    times = compare(bulk, ours, many, warm=bulk[:2])
    yield line(f"{objects} objects x {len(bench.wide)} columns, in process", "DuckDB, join with the IDs", times, note=note)


def _cold(folder: Path, sizes: Sizes) -> Iterator[Line]:
    starts, firsts, seconds, shares = [], [], [], []
    archive, store = opened(folder)
    ids, columns = ids_of(archive), wide_columns(archive)
    store.close()
    del archive, store
    chosen = np.random.default_rng(11).permutation(len(ids))[: 2 * COLD_STARTS].tolist()
    for number in range(COLD_STARTS if sizes.bulk > 1 else 1):
        drop_page_cache(folder)
        shares.append(resident_share(folder))
        with real_server(folder) as real:
            starts.append(real.seconds * 1000)
            first, second = (_ticket([ids[chosen[2 * number + turn]]], columns) for turn in (0, 1))
            firsts.append(timed(lambda: real.ask(first)))  # noqa: B023  (called at once)
            seconds.append(timed(lambda: real.ask(second)))  # noqa: B023
    cached = f"{max(shares):.1%} of the store in the page cache before"
    yield fact("cold page cache: start to ready line", cached, np.array(starts))
    yield fact("cold page cache: first answer (one object)", "", np.array(firsts))
    yield fact("cold page cache: second answer (another object)", "", np.array(seconds))


def against_bare(tickets: Sequence[bytes], real: Served, bare: Served, again: int = 1) -> tuple[Times, Times]:
    """Compare the answers to some tickets with the recorded ones of a bare server; a part of them warms both up."""
    return _sides(tickets, real, bare, repeat=again, warm=min(len(tickets), WARM_REQUESTS // 10))


def _sides(tickets: Sequence[bytes], real: Served, bare: Served, *, repeat: int, warm: int) -> tuple[Times, Times]:
    """Record the answers with the bare server, and compare both sides."""
    for ticket in tickets:
        list(bare.client.do_action(fl.Action("record", ticket)))
    for ticket in tickets[:3]:
        _same(ticket, real, bare)
    return compare(list(tickets) * repeat, real.ask, bare.ask, warm=tickets[:warm])


def _same(ticket: bytes, one: Served, other: Served) -> None:
    """Check that both sides return the same data; by digest, since NaN does not equal NaN."""
    marks = []
    for side in (one, other):
        answer = side.ask(ticket)
        digest = Digest(answer.schema)
        for batch in answer.to_batches():
            digest.update(batch)
        marks.append((answer.schema.metadata, len(answer), digest.hexdigest()))
    if marks[0] != marks[1] or marks[0][1] == 0:
        raise click.ClickException(f"the two sides answer {ticket[:80]!r} differently")


def _speed(real: Served, ticket: bytes, times: Times) -> str:
    answer = real.ask(ticket)
    seconds = float(np.median(times)) / 1000
    return f"{len(answer) / seconds / 1e6:.2f} M rows/s, {answer.nbytes / seconds / 1e6:.0f} MB/s"


def _ticket(ids: Sequence[str], columns: Sequence[str]) -> bytes:
    return json.dumps({"table": "ztf", "ids": list(ids), "columns": list(columns)}, separators=(",", ":")).encode()
