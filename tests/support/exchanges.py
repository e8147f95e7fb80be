"""Exchanges as clients make them: batches are sent by one thread and answers read by another."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
from archives import Answered, read

OF_IDS = pa.schema([("id", pa.string())])


def command(**fields: Any) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(json.dumps(fields).encode())


def of(*ids: str) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.string())})


def exchange(client: fl.FlightClient, batches: Iterable[pa.RecordBatch], schema: pa.Schema = OF_IDS, **fields: Any) -> Answered:
    """Send the batches of IDs, or of the schema given; return the answer."""
    writer, reader = client.do_exchange(command(**fields))

    def send() -> None:
        with suppress(fl.FlightError, pa.ArrowException):  # the reader says why nobody listens any more
            writer.begin(schema)
            for batch in batches:
                writer.write_batch(batch)
            writer.done_writing()

    sending = threading.Thread(target=send)
    sending.start()
    try:
        return read(reader)
    finally:
        sending.join()
        with suppress(fl.FlightError):
            writer.close()
