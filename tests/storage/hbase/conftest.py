"""Tables of HBase for a test to fill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hbase_ingested import Ingested
from hbase_stores import HBaseStores


@pytest.fixture
def empty(hbase_stores: HBaseStores) -> Iterator[Ingested]:
    """Tables without rows."""
    prefix = hbase_stores.prefix_with_tables()
    yield Ingested(hbase_stores, prefix)
    hbase_stores.give_back([prefix])
