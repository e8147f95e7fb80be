"""Parquet blocks from Spark's own writer, for tests and benchmarks: real alerts with new names."""

from spark_blocks.alerts import ztf_alerts
from spark_blocks.rubin import rubin_alerts
from spark_blocks.writing import Block, BlockFault, Writing, write_blocks

__all__ = ["Block", "BlockFault", "Writing", "rubin_alerts", "write_blocks", "ztf_alerts"]
