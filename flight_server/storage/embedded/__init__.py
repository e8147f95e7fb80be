"""The embedded store: sorted, immutable, memory-mapped Arrow files under a SQLite manifest."""

from flight_server.storage.embedded.store import EmbeddedStore, verify_folder

__all__ = ["EmbeddedStore", "verify_folder"]
