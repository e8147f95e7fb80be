"""Parquet blocks of cutouts, on disk and on HDFS."""

from flight_server.storage.blocks.cutouts import BlockCutouts
from flight_server.storage.blocks.files import BlockFile, BlockFiles, LocalFiles
from flight_server.storage.blocks.hdfs_files import HdfsFiles

__all__ = ["BlockCutouts", "BlockFile", "BlockFiles", "HdfsFiles", "LocalFiles"]
