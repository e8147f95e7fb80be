"""The archive of blocks of a broker on HDFS: reading cutouts, and writing new blocks to one folder per night."""

from __future__ import annotations

import hashlib
import io
import uuid

import numpy as np
import pyarrow as pa

from flight_server.catalog.declarations import BlockLayout
from flight_server.storage.blocks import BlockCutouts, HdfsFiles
from flight_server.storage.blocks.cutouts import READ_THREADS
from flight_server.storage.blocks.output import write_block
from flight_server.storage.outages import Outage

__all__ = ["HdfsBlocks"]


class HdfsBlocks(BlockCutouts):
    """A `CutoutStore` over blocks on HDFS, which can write new ones.

    Parameters
    ----------
    files
        The files of the name service.
    archive
        The folder below which new blocks are written.
    threads
        How many blocks are read in parallel.
    """

    def __init__(self, files: HdfsFiles, archive: str, threads: int = READ_THREADS) -> None:
        super().__init__(files, threads=threads)
        self._hdfs = files
        self._archive = archive.rstrip("/")

    def outages(self) -> tuple[Outage, ...]:
        """Return the services of HDFS that do not answer now, as far as reads have met them."""
        return self._hdfs.outages.present()

    def write(self, alerts: pa.Table, night: np.datetime64, layout: BlockLayout) -> str:
        """Write alerts of one night as a block of a layout; return its URI. The same alerts always yield the same block.

        Raises
        ------
        BackendLost
            HDFS does not accept the block.
        """
        sink = io.BytesIO()
        write_block(sink, alerts, layout, compression="snappy")
        content = sink.getvalue()
        year, month, day = str(night.astype("datetime64[D]")).rsplit("-", 2)  # a year may be negative
        name = uuid.UUID(hex=hashlib.sha256(content).hexdigest()[:32])
        path = f"{self._archive}/science/year={year}/month={month}/day={day}/part-00000-{name}.c000.snappy.parquet"
        self._hdfs.write(path, content)
        return self._hdfs.url + path
