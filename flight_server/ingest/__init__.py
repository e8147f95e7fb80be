"""From alert files to the rows of every table."""

from flight_server.ingest.run import IngestReport, ingest

__all__ = ["IngestReport", "ingest"]
