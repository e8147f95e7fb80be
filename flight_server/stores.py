"""Opens the store that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from flight_server.catalogue import Catalogue
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore

if TYPE_CHECKING:
    from flight_server.storage.hbase import HBaseStore

__all__ = ["Store", "open_store"]

Store: TypeAlias = "EmbeddedStore | HBaseStore"


def open_store(settings: Settings, catalogue: Catalogue) -> Store:
    """Open the store.

    Raises
    ------
    AlertflightError
        It cannot be reached or used.
    """
    if settings.store == "embedded":
        return EmbeddedStore(settings.folder, catalogue)
    return _open_hbase(settings, catalogue)


def _open_hbase(settings: Settings, catalogue: Catalogue) -> HBaseStore:
    # only where it is used: an embedded store needs neither Java nor what talks to it
    from flight_server.storage.hbase import HBaseStore
    from flight_server.storage.hdfs_blocks import HdfsBlocks
    from hbase_bridge import GatewaySettings

    hbase, gateway, hdfs = settings.hbase, settings.gateway, settings.hdfs
    process = GatewaySettings(
        zookeeper=hbase.zookeeper,
        properties=hbase.properties,
        heap=gateway.heap,
        frame_bytes=gateway.arrow_bytes,
        call_timeout=gateway.call_timeout,
        jar=Path(gateway.jar) if gateway.jar else None,
    )
    blocks = HdfsBlocks(hdfs.url, hdfs.roots, hdfs.rewrite, hdfs.archive)
    return HBaseStore(catalogue, process, blocks, prefix=hbase.prefix, schema=hbase.schema, threads=hbase.scan_threads)
