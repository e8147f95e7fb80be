"""The embedded lines of `scripts/bench bulk`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import Line, Times, fact, line, rounds, timed
from memory import during
from processes import Served, bare_server, real_server
from store import ALERTS_EACH, build_one

from bulk.readers import at_once, exchanged, from_parquet, nested, padded, selected
from bulk.rest_client import Rest, rest_service
from bulk.sets import COLUMNS, LAYOUTS, Set, against_bare, draw, plan

__all__ = ["Sizes", "bench_bulk"]

BARE_GOAL = 1.5
PADDED_GOAL = 1.3
REST_GOAL = 1 / 50
REST_OBJECTS = 1000
AT_ONCE = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of objects, and of repetitions per line."""

    objects: int
    repeat: int

    @property
    def rows(self) -> int:
        """The number of rows of all objects."""
        return self.objects * ALERTS_EACH


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: the servers, the requests, and a Parquet file of the same rows."""

    real: Served
    bare: Served
    rest: Rest
    parquet: Path
    sizes: Sizes


def bench_bulk(work: Path, sizes: Sizes) -> Iterator[Line]:
    """Measure; yield lines as they are ready."""
    folder, _, _ = build_one(work, sizes.objects)
    with ExitStack() as stack:
        real = stack.enter_context(real_server(folder))
        bare = stack.enter_context(bare_server(real, work))
        rest = stack.enter_context(rest_service(folder))
        bench = Bench(real, bare, rest, work / f"bulk-{sizes.objects}.parquet", sizes)
        sets = draw(real, sizes.objects)
        for asked in sets:
            yield _planning(bench, asked)
            size = {}
            for layout in LAYOUTS:
                times = against_bare(asked, layout, real, bare, sizes.repeat)
                size[layout] = sum(answer.nbytes for answer in asked.read(bare, layout))
                note = f"{len(asked.tickets[layout])} tickets one after the other, {_speed(sizes, size[layout], times[0])}"
                yield line(f"{_name(layout)}, {asked.order}", "bare server", times, BARE_GOAL, note)
            yield from _ways(bench, asked, size["rows"], shuffled=asked is not sets[0])
        yield during("server memory (RssAnon), four tickets at once, do_exchange", real.pid, lambda: _all_again(bench, sets[-1]))


def _planning(bench: Bench, asked: Set) -> Line:
    times = [timed(lambda: plan(bench.real, asked.ids, "rows")) for _ in range(bench.sizes.repeat)]
    return fact(f"get_flight_info, {asked.order}", f"{len(asked.tickets['rows'])} tickets", np.array(times))


def _ways(bench: Bench, asked: Set, size: int, *, shuffled: bool) -> Iterator[Line]:
    """Measure all other ways of reading the same rows, in turn."""
    real, bare, sizes = bench.real, bench.bare, bench.sizes
    tickets = asked.tickets["rows"]
    _check_parquet(bench, asked, shuffled=shuffled)
    share = asked.ids[:REST_OBJECTS]
    sides: dict[str, Callable[[], object]] = {
        "do_exchange": lambda: exchanged(real, asked.ids),
        "pandas": lambda: selected(real, asked.ids).to_pandas(),
        "polars": lambda: selected(real, asked.ids).to_polars(),
        "nested": lambda: nested(real, asked.ids),
        "padded": lambda: padded(real, asked.ids),
        "bare nested": lambda: at_once(bare, asked.tickets["nested"], 1),
        "parquet": lambda: from_parquet(str(bench.parquet), asked.ids if shuffled else None),
        "rest": lambda: bench.rest.read(share),
    }
    for threads in AT_ONCE:
        sides[f"real {threads}"] = lambda threads=threads: at_once(real, tickets, threads)
        sides[f"bare {threads}"] = lambda threads=threads: at_once(bare, tickets, threads)
    measured = rounds([None] * sizes.repeat, [_timed(side) for side in sides.values()], warm=1)
    times = dict(zip(sides, measured, strict=True))
    times["rest"] = times["rest"] * sizes.objects / len(share)
    order = asked.order
    for threads in AT_ONCE:
        both = times[f"real {threads}"], times[f"bare {threads}"]
        title = f"{_name('rows')}, {order}, {threads} at once"
        yield line(title, "bare server, the same", both, note=_speed(sizes, size, both[0]))
    for name, title in (
        ("do_exchange", "do_exchange"),
        ("pandas", "flight_client to pandas"),
        ("polars", "flight_client to Polars"),
    ):
        note = _speed(sizes, size, times[name])
        yield line(f"{title}, {order}", "bare server, flat", (times[name], times["bare 1"]), note=note)
    yield line(f"flight_client nested, {order}", "bare server, nested", (times["nested"], times["bare nested"]))
    both = times["padded"], times["nested"]
    yield line(f"flight_client to padded arrays, {order}", "flight_client nested", both, PADDED_GOAL)
    what = "pyarrow, one Parquet file" + (", joined with the IDs and taken" if shuffled else "")
    yield line(f"{_name('rows')}, {order}", what, (times["real 1"], times["parquet"]))
    both = times["real 1"], times["rest"]
    faster = float(np.median(both[1]) / np.median(both[0]))
    note = f"{len(share)} objects, an object a request, scaled: {faster:.0f} times as fast"
    yield line(f"{_name('rows')}, {order}", "REST, JSON records", both, REST_GOAL, note)


def _check_parquet(bench: Bench, asked: Set, *, shuffled: bool) -> None:
    """Write the file if it does not exist, and check that it has the same rows in the same order."""
    rows = pa.concat_tables(asked.read(bench.bare)).replace_schema_metadata(None)
    if not shuffled:
        pq.write_table(rows, bench.parquet)
    found = from_parquet(str(bench.parquet), asked.ids if shuffled else None)
    for name in COLUMNS[:2]:
        if len(found) != bench.sizes.rows or not found[name].equals(rows[name]):
            raise click.ClickException(f"the Parquet file gives another {name}, or another number of rows")


def _all_again(bench: Bench, asked: Set) -> None:
    for layout in LAYOUTS:
        at_once(bench.real, asked.tickets[layout], AT_ONCE[-1])
    exchanged(bench.real, asked.ids)


def _timed(side: Callable[[], object]) -> Callable[[object], float]:
    return lambda _: timed(side)


def _name(layout: str) -> str:
    return f"{'flat' if layout == 'rows' else layout}, {len(COLUMNS)} columns"


def _speed(sizes: Sizes, size: int, times: Times) -> str:
    """Return the speed of reading all objects, for an answer of `size` bytes."""
    seconds = float(np.median(times)) / 1000
    return f"{sizes.rows / seconds / 1e6:.2f} M rows/s, {size / seconds / 1e6:.0f} MB/s"
