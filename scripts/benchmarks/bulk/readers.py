"""The ways in which a client reads many light curves; each fails unless it has read all."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pyarrow.parquet as pq
from processes import Served

import flight_client as af
from bulk.sets import COLUMNS
from flight_client.padding import Padding, pad, regroup

__all__ = ["at_once", "exchanged", "from_parquet", "nested", "padded", "selected"]

SENT = 1000  # IDs per batch
PADDED = 1000  # objects per batch


def at_once(served: Served, tickets: Sequence[bytes], threads: int) -> list[pa.Table]:
    """Read tickets, with a number of threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(served.ask, tickets))


def exchanged(served: Served, ids: Sequence[str]) -> int:
    """Send IDs and read rows in one `do_exchange`; return the number of rows."""
    command = json.dumps({"table": "ztf", "columns": COLUMNS}).encode()
    writer, reader = served.client.do_exchange(fl.FlightDescriptor.for_command(command))
    writer.begin(pa.schema([("id", pa.string())]))

    def send() -> None:
        for first in range(0, len(ids), SENT):
            writer.write_batch(pa.record_batch([pa.array(ids[first : first + SENT])], ["id"]))
        writer.done_writing()

    sender = threading.Thread(target=send)
    sender.start()
    rows, record = 0, {}
    for chunk in reader:
        rows += len(chunk.data)
        if chunk.app_metadata is not None:
            record = json.loads(chunk.app_metadata.to_pybytes())
    sender.join()
    writer.close()
    if not record.get("complete") or record["rows"] != rows:
        raise click.ClickException(f"do_exchange returned {rows} rows, but the last message says {record}")
    return rows


def selected(served: Served, ids: Sequence[str]) -> af.answer.Answer:
    """Select objects with flight_client."""
    return af.connect(served.url, progress=False).objects(ids, columns=list(COLUMNS), missing="raise")


def nested(served: Served, ids: Sequence[str]) -> int:
    """Read nested batches with flight_client; return the number of objects."""
    return sum(len(batch) for batch in selected(served, ids).nested())


def padded(served: Served, ids: Sequence[str]) -> int:
    """Read nested batches with flight_client and make padded arrays of them; return the number of objects."""
    how = Padding(missing="drop")
    return sum(len(pad(batch, how)) for batch in regroup(selected(served, ids).nested(), PADDED))


def from_parquet(file: str, ids: Sequence[str] | None) -> pa.Table:
    """Read all rows of a Parquet file; in the order of a list of IDs if there is one."""
    table = pq.read_table(file, columns=list(COLUMNS))
    if ids is None:
        return table
    places = pc.index_in(table[COLUMNS[0]], value_set=pa.array(ids))
    return table.take(pc.sort_indices(places))
