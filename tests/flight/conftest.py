"""A server that accepts uploads, and alerts for it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import TDE
from archives import Opened

from flight_server.settings import Ingest


@pytest.fixture
def tde() -> pa.Table:
    return pq.ParquetFile(TDE).read()


@pytest.fixture
def receiving(open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]) -> tuple[Opened, fl.FlightClient]:
    opened = open_store("receiving")
    return opened, serve(opened, ingest=Ingest("allow"))
