"""A column that widens while an answer is read: the client says so, and mixes no types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened
from widening_columns import night, write

from flight_client.answer import Answer
from flight_client.parallel import Ahead
from flight_server.flight import FlightServer
from flight_server.protocol.errors import CursorMismatch
from flight_server.protocol.query import Query


def test_an_answer_of_two_types_is_an_error_that_names_the_column(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    one, other = night(0, 2), night(1, 2)
    opened = open_store()
    opened.ingest(write(tmp_path / "a.parquet", one, "int32"))
    names = one["objectId"].to_pylist()
    # more than one plan, so that the second is made after the ingest
    ids = (*names[:5], *(f"none{number}" for number in range(20_000)), *names[5:])
    with FlightServer(opened.archive, opened.settings) as server:
        query = Query(table="ztf", ids=ids, columns=("i:objectId", "d:score"))
        answer = Answer(f"grpc://127.0.0.1:{server.port}", query, Ahead(threads=1))
        batches = iter(answer)
        assert next(batches).schema.field("d:score").type == pa.int32()
        opened.ingest(write(tmp_path / "b.parquet", other, "double"))
        with pytest.raises(CursorMismatch, match=r"d:score is double.*send the query again"):
            list(batches)
        assert answer.to_arrow().schema.field("d:score").type == pa.float64()
        with fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
            for descriptor in (
                fl.FlightDescriptor.for_path("ztf"),
                fl.FlightDescriptor.for_command(b'{"table":"ztf","all":true}'),
            ):
                assert client.get_schema(descriptor).schema.field("d:score").type == pa.float64()
