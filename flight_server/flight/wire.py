"""Encoding of messages: metadata as JSON, and the compression of buffers."""

from __future__ import annotations

import json

import pyarrow as pa

from flight_server.execution.messages import Message
from flight_server.protocol.query import Query

__all__ = ["encode_metadata", "ipc_options"]


def encode_metadata(message: Message) -> bytes | None:
    """Return the metadata of a message as JSON, or None if it has none."""
    if not message.metadata:
        return None
    return json.dumps(message.metadata, separators=(",", ":"), ensure_ascii=False).encode()


def ipc_options(query: Query) -> pa.ipc.IpcWriteOptions:
    """Return the IPC options for a query's messages."""
    return pa.ipc.IpcWriteOptions(compression=None if query.compression == "none" else query.compression)
