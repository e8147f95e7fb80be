"""The Flight RPCs; no other package imports the server classes of pyarrow.flight."""

from flight_server.flight.server import FlightServer

__all__ = ["FlightServer"]
