"""The embedded store: sorted, immutable, memory-mapped Arrow files under a SQLite manifest."""

from flight_server.storage.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore"]
