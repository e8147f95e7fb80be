"""The Flight RPCs: the only room that knows pyarrow.flight's server."""

from flight_server.flight.server import FlightServer

__all__ = ["FlightServer"]
