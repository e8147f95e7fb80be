"""Tables of HBase for a test to fill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from described_tables import Tables
from hbase_ingested import Ingested
from hbase_stores import HBaseStores


@pytest.fixture
def empty(hbase_stores: HBaseStores) -> Iterator[Ingested]:
    """Tables without rows."""
    prefix = hbase_stores.prefix_with_tables()
    yield Ingested(hbase_stores, prefix)
    hbase_stores.give_back([prefix])


@pytest.fixture
def tables(hbase_stores: HBaseStores) -> Iterator[Tables]:
    """Tables whose schema rows and cells a test writes itself."""
    prefix = hbase_stores.prefix_with_tables()
    yield Tables(hbase_stores, prefix)
    hbase_stores.give_back([prefix])


@pytest.fixture
def own_tables(hbase_stores: HBaseStores) -> Tables:
    """A prefix without tables, for a test that creates them."""
    return Tables(hbase_stores, hbase_stores.prefix())
