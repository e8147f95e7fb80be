"""The store on a cluster: tables in HBase, cutouts in Parquet blocks on HDFS."""

from flight_server.storage.hbase.store import HBaseStore

__all__ = ["HBaseStore"]
