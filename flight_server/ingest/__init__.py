"""From alert files, and files of other tables, to the rows of every table."""

from flight_server.ingest.loading import LoadReport, load
from flight_server.ingest.run import IngestReport, ingest
from flight_server.ingest.statistics import count_nights

__all__ = ["IngestReport", "LoadReport", "count_nights", "ingest", "load"]
