"""How messages travel: what stands beside a batch, and how its buffers are packed."""

from __future__ import annotations

import json

import pyarrow as pa

from flight_server.execution.messages import Message
from flight_server.protocol.query import Query

__all__ = ["encode_metadata", "ipc_options"]


def encode_metadata(message: Message) -> bytes | None:
    """Give what a message says beside its batch, if anything."""
    if not message.metadata:
        return None
    return json.dumps(message.metadata, separators=(",", ":"), ensure_ascii=False).encode()


def ipc_options(query: Query) -> pa.ipc.IpcWriteOptions:
    """Give the options that the query's messages are written with."""
    return pa.ipc.IpcWriteOptions(compression=None if query.compression == "none" else query.compression)
