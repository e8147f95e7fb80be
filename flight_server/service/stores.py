"""Open the store of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from flight_server.catalog.catalog import Catalog
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.outages import NO_WAIT, Waiting

if TYPE_CHECKING:
    from flight_server.storage.hbase import HBaseStore
    from flight_server.storage.hdfs_blocks import HdfsBlocks

__all__ = ["Store", "open_blocks", "open_store"]

Store: TypeAlias = "EmbeddedStore | HBaseStore"


def open_store(settings: Settings, catalog: Catalog, wait: Waiting = NO_WAIT) -> Store:
    """Open the store; `wait` says how long to wait for services behind it.

    Raises
    ------
    AlertflightError
        It cannot be reached or used.
    """
    if settings.store == "embedded":
        return EmbeddedStore(settings.folder, catalog, settings.cutouts.threads)
    return _open_hbase(settings, catalog, wait)


def open_blocks(settings: Settings) -> HdfsBlocks:
    """Return the archive's blocks on HDFS; does not connect yet."""
    from flight_server.storage.blocks import HdfsFiles
    from flight_server.storage.hdfs_blocks import HdfsBlocks

    hdfs = settings.hdfs
    return HdfsBlocks(HdfsFiles(hdfs.url, hdfs.roots, hdfs.rewrite, hdfs.properties), hdfs.archive, settings.cutouts.threads)


def _open_hbase(settings: Settings, catalog: Catalog, wait: Waiting) -> HBaseStore:
    # imported here, since an embedded store needs neither Java nor the bridge
    from flight_server.storage.hbase import HBaseStore
    from flight_server.storage.hbase.table_names import table_names
    from hbase_bridge import GatewaySettings

    hbase, gateway = settings.hbase, settings.gateway
    process = GatewaySettings(
        zookeeper=hbase.zookeeper,
        properties=hbase.properties,
        heap=gateway.heap,
        frame_bytes=gateway.arrow_bytes,
        patience=gateway.patience,
        call_timeout=gateway.call_timeout,
        jar=Path(gateway.jar) if gateway.jar else None,
    )
    return HBaseStore(
        catalog,
        process,
        open_blocks(settings),
        names=table_names(catalog, hbase.prefix, hbase.tables),
        schema=hbase.schema,
        threads=hbase.scan_threads,
        wait=wait,
    )
