"""Open the store of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from flight_server.catalog.catalog import Catalog
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore

if TYPE_CHECKING:
    from flight_server.storage.hbase import HBaseStore
    from flight_server.storage.hdfs_blocks import HdfsBlocks

__all__ = ["Store", "open_blocks", "open_store"]

Store: TypeAlias = "EmbeddedStore | HBaseStore"


def open_store(settings: Settings, catalog: Catalog) -> Store:
    """Open the store.

    Raises
    ------
    AlertflightError
        It cannot be reached or used.
    """
    if settings.store == "embedded":
        return EmbeddedStore(settings.folder, catalog, settings.cutouts.threads)
    return _open_hbase(settings, catalog)


def open_blocks(settings: Settings) -> HdfsBlocks:
    """Return the archive's blocks on HDFS; does not connect yet."""
    from flight_server.storage.blocks import HdfsFiles
    from flight_server.storage.hdfs_blocks import HdfsBlocks

    hdfs = settings.hdfs
    return HdfsBlocks(HdfsFiles(hdfs.url, hdfs.roots, hdfs.rewrite, hdfs.properties), hdfs.archive, settings.cutouts.threads)


def _open_hbase(settings: Settings, catalog: Catalog) -> HBaseStore:
    # imported here, since an embedded store needs neither Java nor the bridge
    from flight_server.storage.hbase import HBaseStore
    from hbase_bridge import GatewaySettings

    hbase, gateway = settings.hbase, settings.gateway
    process = GatewaySettings(
        zookeeper=hbase.zookeeper,
        properties=hbase.properties,
        heap=gateway.heap,
        frame_bytes=gateway.arrow_bytes,
        call_timeout=gateway.call_timeout,
        jar=Path(gateway.jar) if gateway.jar else None,
    )
    return HBaseStore(
        catalog, process, open_blocks(settings), prefix=hbase.prefix, schema=hbase.schema, threads=hbase.scan_threads
    )
