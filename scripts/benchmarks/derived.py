"""Derived columns against pandas, object by object, and astropy: of Arrow rows (`scripts/bench derived`), and in answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from measure import Line, compare, line
from store import ALERTS_EACH, build_one, opened

from flight_server.derive import derive, load_derived
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

# the reference is that of the tests
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))
import derived_reference

__all__ = ["bench_answers", "bench_derived"]

MOST_RATIO = 0.1
CENTRE = (180.0, 30.0)
# the last digits of errors and fluxes may differ, since the order of sums differs
RELATIVE = 1e-12


def bench_derived(work: Path, rows: int, repeat: int) -> Iterator[Line]:
    """Compute all derived columns of the rows of a store, and those of each function, ours and the reference in turn.

    The reference begins with a pandas frame of the rows, which is made beforehand; ours with the rows.
    """
    table = _read(build_one(work, rows // ALERTS_EACH)[0])
    frame = derived_reference.frame_of(table)
    declared = load_derived("ztf")
    _check_equal(table, frame)
    note = f"{len(table):,} rows, {len(table['i:objectId'].unique()):,} objects"
    reference = "pandas and astropy"
    times = compare(
        [None] * repeat,
        lambda _: derive(table, declared, declared, {"centre": CENTRE}),
        lambda _: derived_reference.pandas_way(frame, CENTRE),
    )
    faster = float(np.median(times[1]) / np.median(times[0]))
    yield line("all derived columns", reference, times, MOST_RATIO, f"{note}; {faster:.0f} times as fast")
    parts = {
        "class": (["v:classification"], derived_reference.classifications),
        "dates": (["v:lastdate", "v:firstdate"], derived_reference.dates),
        "constellation": (["v:constellation"], derived_reference.constellations),
        "rates": (["v:rate", "v:sigma(rate)"], derived_reference.rates),
        "colours": (["v:g-r", "v:rate(g-r)"], derived_reference.colours),
        "fluxes": (["v:flux", "v:sigma(flux)"], derived_reference.fluxes),
    }
    for name, (columns, plain) in parts.items():
        times = compare([(columns, plain)] * repeat, lambda part: derive(table, part[0], declared), lambda part: part[1](frame))
        yield line(name, reference, times)


def bench_answers(work: Path, rows: int, repeat: int) -> Line:
    """Measure an answer with all derived columns of a whole table, in process, against the reference.

    Ours reads the rows from the store, while the reference begins with a frame of them. The separation needs a cone and
    is in neither.
    """
    folder = build_one(work, rows // ALERTS_EACH)[0]
    table = _read(folder)
    frame = derived_reference.frame_of(table)
    _check_equal(table, frame)
    names = tuple(name for name, column in load_derived("ztf").items() if not column.derivation.given)
    archive, store = opened(folder)

    def ours(_: object) -> pa.Table:
        answer = archive.answer(Query(table="ztf", all=True, columns=names), Caller())
        return pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema)

    if len(ours(None)) != len(frame):
        raise click.ClickException("the archive returned other rows")
    times = compare([None] * repeat, ours, lambda _: derived_reference.pandas_way(frame, None), warm=[None])
    store.close()
    faster = float(np.median(times[1]) / np.median(times[0]))
    note = f"{len(table):,} rows, {len(names)} columns, in process; {faster:.0f} times as fast"
    return line("all derived columns of a table", "pandas and astropy", times, MOST_RATIO, note)


def _read(folder: Path) -> pa.Table:
    archive, store = opened(folder)
    columns = sorted({name for derived in load_derived("ztf").values() for name in derived.needs})
    messages = archive.answer(Query(table="ztf", all=True, columns=tuple(columns)), Caller()).messages
    table = pa.Table.from_batches([message.batch for message in messages])
    store.close()
    return table


def _check_equal(table: pa.Table, frame: derived_reference.pd.DataFrame) -> None:
    declared = load_derived("ztf")
    expected = derived_reference.pandas_way(frame, CENTRE)
    for name, array in derive(table, declared, declared, {"centre": CENTRE}).items():
        found, wanted = array.to_numpy(zero_copy_only=False), expected[name].to_numpy()
        if pa.types.is_string(array.type):
            same = bool((found == wanted).all())
        else:
            same = np.allclose(found, wanted.astype(np.float64), rtol=RELATIVE, atol=0.0, equal_nan=True)
        if not same:
            raise click.ClickException(f"{name} differs from the reference")
