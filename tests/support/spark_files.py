"""Blocks written by Spark; `scripts/spark_blocks` makes them."""

from __future__ import annotations

import sys

from alert_data import ROOT, SHARED

# scripts/ is no package
sys.path.append(str(ROOT / "scripts"))

from spark_blocks import Block, BlockFault, Writing, rubin_alerts, write_blocks, ztf_alerts

__all__ = ["RUBIN_FILES", "Block", "BlockFault", "Writing", "rubin_alerts", "write_blocks", "ztf_alerts"]

# real Rubin alerts, where they are: that of Spark first, whose schema is the whole one
RUBIN_FILES = sorted(
    (file for file in (SHARED / "lsst").rglob("*.parquet") if file.is_file()), key=lambda file: ("snappy" not in file.name, file)
)
