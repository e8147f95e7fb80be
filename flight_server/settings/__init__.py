"""The settings of one process: packaged defaults, a file, the environment and flags, as one typed value."""

from flight_server.settings.sources import load_settings
from flight_server.settings.values import (
    Compaction,
    Cutouts,
    GatewayProcess,
    Hbase,
    Hdfs,
    Ingest,
    Limits,
    Scrub,
    Server,
    Settings,
    Tickets,
)

__all__ = [
    "Compaction",
    "Cutouts",
    "GatewayProcess",
    "Hbase",
    "Hdfs",
    "Ingest",
    "Limits",
    "Scrub",
    "Server",
    "Settings",
    "Tickets",
    "load_settings",
]
