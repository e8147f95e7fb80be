"""Ingest: alert files, uploads and files of other tables become rows of the tables."""

from flight_server.ingest.outcomes import IngestReport
from flight_server.ingest.run import ingest
from flight_server.ingest.statistics import count_nights
from flight_server.ingest.table_load import LoadReport, load
from flight_server.ingest.uploads import Upload, UploadReport

__all__ = ["IngestReport", "LoadReport", "Upload", "UploadReport", "count_nights", "ingest", "load"]
