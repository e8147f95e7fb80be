"""The store of a cluster: tables in HBase, stamps in Parquet blocks on HDFS."""

from flight_server.storage.hbase.store import HBaseStore

__all__ = ["HBaseStore"]
