"""The sample alerts in an HBase of their own, as `alertflight ingest` puts them there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alert_data import SAMPLES
from hbase_ingested import Ingested
from hbase_stores import HBaseStores


@pytest.fixture(scope="session")
def ingested(hbase_stores: HBaseStores) -> Ingested:
    """The samples; nobody changes them."""
    tables = Ingested(hbase_stores, hbase_stores.prefix())
    tables.ingest(SAMPLES)
    return tables


@pytest.fixture
def empty(hbase_stores: HBaseStores) -> Iterator[Ingested]:
    """Tables without rows."""
    prefix = hbase_stores.prefix_with_tables()
    yield Ingested(hbase_stores, prefix)
    hbase_stores.give_back([prefix])
